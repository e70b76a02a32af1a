#include "nodes/eval/tables.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <string>

#include "nodes/advantage/groups.h"

namespace rewardloom {
namespace {

/// "[2,0,1]" of the element that stands at `flat` in row-major order.
std::string place(std::int64_t flat, at::IntArrayRef sizes) {
  std::vector<std::int64_t> index(sizes.size());
  for (std::size_t d = sizes.size(); d-- > 0;) {
    index[d] = flat % sizes[d];
    flat /= sizes[d];
  }
  std::string out = "[";
  for (std::size_t d = 0; d < index.size(); ++d) {
    out += (d == 0 ? "" : ",") + std::to_string(index[d]);
  }
  return out + "]";
}

}  // namespace

at::Tensor finite_table(const at::Tensor& values, std::int64_t rank, const char* what) {
  if (values.dim() != rank) {
    throw Failure("bad-shape",
                  c10::str(what, " is ", values.sizes(), ", but must have ", rank, " dimension",
                           rank == 1 ? "" : "s"),
                  "reshape it, or connect another output");
  }
  if (values.numel() == 0) {
    throw Failure("nothing-to-measure", c10::str(what, " is empty: ", values.sizes()),
                  "connect something that gives rows");
  }
  const at::Tensor table = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const std::span<const double> all = numbers(table);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::isfinite(all[i])) continue;
    throw Failure("not-finite",
                  fmt::format("{} has {} at {}", what, all[i],
                              place(static_cast<std::int64_t>(i), table.sizes())),
                  "mark what could not be scored as absent, or look at the node that gave it");
  }
  return table;
}

std::span<const double> numbers(const at::Tensor& table) {
  return {table.data_ptr<double>(), static_cast<std::size_t>(table.numel())};
}

std::vector<std::int64_t> whole_numbers(const at::Tensor& values, const char* what) {
  if (values.dim() != 1) {
    throw Failure("bad-shape", c10::str(what, " is ", values.sizes(), ", but must be a list"));
  }
  if (at::isFloatingType(values.scalar_type())) {
    throw Failure(
        "bad-dtype",
        fmt::format("{} is {}, but must be integers", what, c10::toString(values.scalar_type())),
        "give whole numbers");
  }
  const at::Tensor list = values.to(at::kCPU, at::kLong).contiguous();
  return {list.data_ptr<std::int64_t>(), list.data_ptr<std::int64_t>() + list.numel()};
}

std::vector<double> present_rewards(const Rewards& rewards, const char* what) {
  const std::vector<double> all = finite_rows(rewards.total, rewards.absent, what);
  std::vector<double> out;
  const at::Tensor absent = rewards.absent.defined()
                                ? rewards.absent.to(at::kCPU, at::kBool).contiguous()
                                : at::zeros({rewards.total.size(0)}, at::kBool);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!absent.data_ptr<bool>()[i]) out.push_back(all[i]);
  }
  if (!out.empty()) return out;
  throw Failure("nothing-to-measure",
                fmt::format("{}: none of {} rows is scored", what, all.size()),
                "connect rewards with at least one row that is not absent");
}

at::Tensor as_tensor(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
}

at::Tensor as_tensor(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}

at::Tensor reward_table(const Rewards& rewards, const char* what) {
  if (rewards.absent.defined() && rewards.absent.any().item<bool>()) {
    throw Failure(
        "absent-rows",
        fmt::format("{} of {} {} are absent: a table has no gaps",
                    rewards.absent.sum().item<std::int64_t>(), rewards.absent.numel(), what),
        "score every row, or leave out the prompts that were not scored");
  }
  const std::vector<double> all = finite_rows(rewards.total, {}, what);
  const Groups groups(rewards.group, {}, rewards.total.size(0));
  if (groups.count() == 0) {
    throw Failure("nothing-to-measure", fmt::format("there are no {}", what),
                  "connect something that gives rows");
  }
  const std::size_t wide = groups.rows(0).size();
  std::string others;
  std::vector<double> table;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    for (const std::int64_t row : rows) table.push_back(all[static_cast<std::size_t>(row)]);
    if (rows.size() == wide || others.size() > 60) continue;
    others += fmt::format("{}{} has {}", others.empty() ? "" : ", ",
                          rewards.group[rows[0]].item<std::int64_t>(), rows.size());
  }
  if (!others.empty()) {
    throw Failure(
        "ragged-groups",
        fmt::format("group {} has {} {}, but group {}",
                    rewards.group[groups.rows(0)[0]].item<std::int64_t>(), wide, what, others),
        "every group needs as many rows: averages over unequal groups are no benchmark");
  }
  return as_tensor(table).reshape(
      {static_cast<std::int64_t>(groups.count()), static_cast<std::int64_t>(wide)});
}

at::Tensor table_of(const Values* scores, const Rewards* rewards, const char* what) {
  if (scores != nullptr) return finite_table(scores->values, 2, what);
  if (rewards != nullptr) return reward_table(*rewards, what);
  throw Failure("nothing-to-measure", fmt::format("there are no {}", what),
                "connect a table, or rewards with groups");
}

void put_metrics(Step& step, const Output<Metrics>& port, Metrics metrics) {
  for (std::size_t i = 0; i < metrics.names.size(); ++i) {
    step.metric(metrics.names[i], metrics.values[i]);
  }
  step[port] = std::move(metrics);
}

}  // namespace rewardloom
