#include "nodes/preference/select_positive.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

SelectedRows select_positive(const at::Tensor& scores, const at::Tensor& group,
                             const at::Tensor& absent, double min_score,
                             const std::function<std::size_t(std::int64_t, std::size_t)>& draw) {
  const std::vector<double> score = finite_rows(scores, absent, "the score");
  const Groups groups(group, {}, scores.size(0));
  const std::vector<std::int64_t> ids = whole_numbers(group, "group");
  const at::Tensor skip = absent.defined() ? absent.to(at::kCPU, at::kBool).contiguous()
                                           : at::zeros({scores.size(0)}, at::kBool);
  const auto id_of = [&](std::size_t g) {
    return ids[static_cast<std::size_t>(groups.rows(g)[0])];
  };
  std::vector<std::size_t> order(groups.count());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return id_of(a) < id_of(b); });
  SelectedRows out;
  for (const std::size_t g : order) {
    std::vector<std::int64_t> right;
    for (const std::int64_t row : groups.rows(g)) {
      const auto i = static_cast<std::size_t>(row);
      if (!skip.data_ptr<bool>()[i] && score[i] >= min_score) right.push_back(row);
    }
    out.group.push_back(id_of(g));
    out.positive.push_back(!right.empty());
    out.index.push_back(right.empty() ? groups.rows(g)[0] : right[draw(id_of(g), right.size())]);
  }
  return out;
}

struct PreferenceSelectPositive final : Node {
  Input<Rewards> scores{this, "scores", "of a rule checker, with group ids"};
  Output<Values> index{this, "index", "row of each group, groups by rising id", {.dims = "G"}};
  Output<Values> has_positive{this, "has_positive", "whether that row is correct", {.dims = "G"}};
  Param<double> min_score{this, "min_score", 1.0, "scores from here on are correct"};
  Param<Pick> pick{this, "pick", Pick::first, "which of several correct rows"};
  Synonyms words{this, {"Cooper", "positive sample", "reward model data", "filter"}};
  Doc doc{
      this,
      "For training a reward model beside the policy: a completion of each group that is "
      "certainly correct. scores [N] -> index int64 [G], has_positive bool [G]. A group without "
      "one gives its first row and false; absent rows are never correct. Metric "
      "has_positive_share: "
      "of the groups."};

  void run(Step& step) const override {
    const Rewards& r = step[scores];
    const SelectedRows rows = select_positive(
        r.total, r.group, r.absent, min_score(), [&](std::int64_t id, std::size_t count) {
          if (pick() == Pick::first) return std::size_t{0};
          return static_cast<std::size_t>(step.random(static_cast<std::uint64_t>(id)).below(count));
        });
    if (rows.index.empty()) step.fail("no-rows", "there are no rows to select from", "see scores");
    std::vector<std::int64_t> flags(rows.positive.begin(), rows.positive.end());
    const double share = static_cast<double>(std::count(flags.begin(), flags.end(), 1)) /
                         static_cast<double>(flags.size());
    step.metric("has_positive_share", share);
    step[index] = Values{as_tensor(rows.index), r.batch};
    step[has_positive] = Values{as_tensor(flags).to(at::kBool), r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceSelectPositive, "One correct row per group", "arXiv:2508.05613")
