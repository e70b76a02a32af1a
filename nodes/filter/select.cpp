#include "nodes/filter/select.h"

#include <torch/types.h>

#include <algorithm>

#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

at::Tensor selected(const at::Tensor& rows, const at::Tensor& index) {
  return rows.defined() ? rows.index_select(0, index.to(rows.device())) : rows;
}

template <class T>
std::vector<T> selected(const std::vector<T>& rows, const std::vector<std::int64_t>& index) {
  if (rows.empty()) return {};
  std::vector<T> out;
  for (const std::int64_t i : index) out.push_back(rows.at(static_cast<std::size_t>(i)));
  return out;
}

at::Tensor tensor_of(const std::vector<std::int64_t>& index) {
  return at::tensor(at::ArrayRef<std::int64_t>(index), at::dtype(at::kLong));
}

}  // namespace

Completions select_rows(const Completions& rows, const std::vector<std::int64_t>& index,
                        std::int64_t batch) {
  const at::Tensor at = tensor_of(index);
  Completions out;
  out.tokens = selected(rows.tokens, at);
  out.kinds = selected(rows.kinds, at);
  out.prompt = selected(rows.prompt, at);
  out.group = selected(rows.group, at);
  out.log_probs = selected(rows.log_probs, at);
  out.entropy = selected(rows.entropy, at);
  out.finished = selected(rows.finished, at);
  out.text = selected(rows.text, index);
  out.prompt_text = selected(rows.prompt_text, index);
  out.reference = selected(rows.reference, index);
  out.fields = selected(rows.fields, index);
  out.temperature = rows.temperature;
  out.weight_version = rows.weight_version;
  out.batch = batch;
  return out;
}

Rewards select_rows(const Rewards& rows, const std::vector<std::int64_t>& index,
                    std::int64_t batch) {
  const at::Tensor at = tensor_of(index);
  Rewards out;
  out.total = selected(rows.total, at);
  for (const auto& [name, part] : rows.components) {
    out.components.emplace_back(name, selected(part, at));
  }
  out.absent = selected(rows.absent, at);
  out.group = selected(rows.group, at);
  out.batch = batch;
  return out;
}

KeptRows kept_groups(const Rewards& rewards, const std::function<bool(const Moments&)>& keep) {
  const std::vector<double> totals = finite_rows(rewards.total, rewards.absent, "rewards");
  const std::vector<double> absent = rewards.absent.defined()
                                         ? numbers_of(rewards.absent)
                                         : std::vector<double>(totals.size(), 0.0);
  const Groups groups(rewards.group, {}, rewards.total.size(0));
  KeptRows out;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    std::vector<std::int64_t> present;
    for (const std::int64_t row : groups.rows(g)) {
      if (absent[static_cast<std::size_t>(row)] == 0) present.push_back(row);
    }
    if (present.empty()) continue;
    ++out.groups;
    if (!keep(Moments(totals, present))) continue;
    ++out.kept;
    out.rows.insert(out.rows.end(), groups.rows(g).begin(), groups.rows(g).end());
  }
  std::sort(out.rows.begin(), out.rows.end());
  return out;
}

void GroupFilter::run(Step& step) const {
  const Rewards& r = step[rewards];
  const Completions* const c = step[completions];
  if (c != nullptr) {
    require_same_rows("rewards", r.total.size(0), r.batch, "completions", c->rows(), c->batch);
  }
  const KeptRows kept = kept_groups(r, [this](const Moments& moments) { return keeps(moments); });
  if (kept.groups > 0) {
    step.metric("kept_groups", static_cast<double>(kept.kept) / static_cast<double>(kept.groups));
  }
  if (kept.kept == 0) {
    step.alarm("nothing-kept", "no group passes the filter: all rows stay");
    step[out_rewards] = r;
    if (c != nullptr) step[out_completions] = *c;
    return;
  }
  const std::int64_t batch = step.new_batch();
  step[out_rewards] = select_rows(r, kept.rows, batch);
  if (c != nullptr) step[out_completions] = select_rows(*c, kept.rows, batch);
}

}  // namespace rewardloom
