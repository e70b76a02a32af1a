#include "nodes/reward/rows.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "nodes/advantage/groups.h"

namespace rewardloom {

Rewards scored(const Step& step, const Completions& completions,
               const std::vector<double>& scores) {
  const at::Tensor total = at::tensor(at::ArrayRef<double>(scores), at::dtype(at::kDouble))
                               .to(completions.tokens.device(), at::kFloat);
  Rewards rewards = Rewards::of(completions, total);
  rewards.components = {{step.node(), total}};
  return rewards;
}

Rewards changed(const Step& step, const Rewards& rewards, const at::Tensor& total) {
  Rewards out = rewards;
  out.components.emplace_back(step.node(), total - rewards.total);
  out.total = total;
  return out;
}

Rewards scored(const Step& step, const Completions& completions, const at::Tensor& scores,
               const at::Tensor& absent) {
  Rewards rewards = Rewards::of(completions, scores.to(completions.tokens.device()));
  if (absent.defined()) {
    rewards.absent = absent.to(rewards.total.device());
    rewards.total = rewards.total.masked_fill(rewards.absent, 0.0);
  }
  rewards.components = {{step.node(), rewards.total}};
  return rewards;
}

Rewards rescored(const Step& step, const Rewards& from, const at::Tensor& scores,
                 const at::Tensor& absent) {
  Rewards out = from;
  out.absent = either_absent(from.absent, absent);
  out.total = scores.to(from.total.device());
  if (out.absent.defined()) {
    out.absent = out.absent.to(out.total.device());
    out.total = out.total.masked_fill(out.absent, 0.0);
  }
  out.components = {{step.node(), out.total}};
  return out;
}

at::Tensor either_absent(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined()) return b;
  if (!b.defined()) return a;
  return a.logical_or(b.to(a.device()));
}

void RowScores::fail(Step& step, std::size_t row, std::string_view reason) {
  step.fail_row(static_cast<std::int64_t>(row), reason);
  failed_[row] = 1;
  scores_[row] = 0;
}

at::Tensor RowScores::scores() const {
  return at::tensor(at::ArrayRef<double>(scores_), at::dtype(at::kDouble));
}

at::Tensor RowScores::absent() const {
  if (std::find(failed_.begin(), failed_.end(), 1) == failed_.end()) return {};
  return at::tensor(at::ArrayRef<std::uint8_t>(failed_), at::dtype(at::kByte)).to(at::kBool);
}

std::vector<double> numbers_of(const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* const first = host.data_ptr<double>();
  return {first, first + host.numel()};
}

const std::vector<std::string>& answers(const Completions& completions) {
  if (static_cast<std::int64_t>(completions.text.size()) == completions.rows()) {
    return completions.text;
  }
  throw Failure("no-text",
                fmt::format("there are {} completions, but {} texts", completions.rows(),
                            completions.text.size()),
                "take completions from a sampler that decodes its answers");
}

const std::vector<std::string>& references(const Completions& completions) {
  if (static_cast<std::int64_t>(completions.reference.size()) == completions.rows()) {
    return completions.reference;
  }
  throw Failure("no-references",
                fmt::format("there are {} completions, but {} reference answers",
                            completions.rows(), completions.reference.size()),
                "sample from prompts that carry a reference answer");
}

void require_same_rows(std::string_view a, std::int64_t a_rows, std::int64_t a_batch,
                       std::string_view b, std::int64_t b_rows, std::int64_t b_batch) {
  if (a_rows != b_rows) {
    throw Failure("bad-shape", fmt::format("{} has {} rows, but {} has {}", a, a_rows, b, b_rows),
                  "rows must agree in number and order");
  }
  if (a_batch != 0 && b_batch != 0 && a_batch != b_batch) {
    throw Failure("other-rows", fmt::format("{} and {} come from different samplings", a, b),
                  "connect both to nodes that score the same completions");
  }
}

at::Tensor absent_in_any(std::initializer_list<NamedRewards> parts) {
  const NamedRewards& first = *parts.begin();
  at::Tensor absent;
  for (const auto& [name, rewards] : parts) {
    require_same_rows(first.name, first.rewards->total.size(0), first.rewards->batch, name,
                      rewards->total.size(0), rewards->batch);
    finite_rows(rewards->total, rewards->absent, name);
    absent = either_absent(absent, rewards->absent);
  }
  return absent;
}

}  // namespace rewardloom
