#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/choice_scores.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// The rows with the right one first in each group. right [N]: above 0.5 for it. Failure
/// `not-one-right` naming the groups with none or several.
Rewards right_first(const Rewards& rewards, const std::vector<double>& right) {
  const Groups groups(rewards.group, {}, rewards.total.size(0));
  std::vector<std::int64_t> order(groups.rows().begin(), groups.rows().end());
  const auto is_right = [&](std::int64_t row) {
    return right[static_cast<std::size_t>(row)] > 0.5;
  };
  std::string wrong;
  auto here = order.begin();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto end = here + static_cast<std::ptrdiff_t>(groups.rows(g).size());
    const auto count = std::count_if(here, end, is_right);
    if (count != 1 && wrong.size() < 60) {
      wrong += fmt::format("{}group {} has {}", wrong.empty() ? "" : ", ",
                           rewards.group[*here].item<std::int64_t>(), count);
    }
    std::stable_partition(here, end, is_right);
    here = end;
  }
  if (!wrong.empty()) {
    throw Failure("not-one-right",
                  fmt::format("every group needs exactly one right solution, but {}", wrong),
                  "leave out such prompts, or keep one right solution of each");
  }
  const at::Tensor rows = at::tensor(at::ArrayRef<std::int64_t>(order), at::kLong);
  Rewards out = rewards;
  out.total = rewards.total.to(at::kCPU).index_select(0, rows);
  out.group = rewards.group.to(at::kCPU).index_select(0, rows);
  if (rewards.absent.defined()) out.absent = rewards.absent.to(at::kCPU).index_select(0, rows);
  return out;
}

}  // namespace

struct EvalOneVsMany final : Node {
  Optional<Values> scores{this, "scores", "column 0 is the right solution", {.dims = "P,K"}};
  Optional<Rewards> rewards{this, "rewards",
                            "instead: the first row of each group is the right solution"};
  Optional<Rewards> correct{this, "correct",
                            "for rewards: above 0.5 for the right solution, in any place"};
  Output<Scalar> accuracy{this, "accuracy", "share of prompts where right > every wrong"};
  Output<Scalar> accuracy_with_ties{this, "accuracy_with_ties", "the same with >="};
  Output<Scalar> mrr{this, "mrr", "mean of 1 / rank of the right solution"};
  Output<Metrics> metrics{this, "metrics",
                          "accuracy, accuracy_with_ties, mrr, tied (their difference), prompts"};
  Param<RankTies> tie_rule{this, "tie_rule", RankTies::rejected_first,
                           "how equal scores rank, for mrr"};
  Rule something{this,
                 {{{"scores", {{"connected", false}}}},
                  {{"rewards", {{"connected", true}}}},
                  "there is nothing to measure",
                  "connect scores, or rewards"}};
  Rule correct_rows{this,
                    {{{"correct", {{"connected", true}}}},
                     {{"rewards", {{"connected", true}}}},
                     "correct says which rows of rewards are right",
                     "connect rewards"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"RewardMATH", "MRR", "mean reciprocal rank", "benchmark"}};
  Doc doc{
      this,
      "A reward model passes a prompt if the right solution scores higher than every wrong one. "
      "scores [P,K], column 0 right; or rewards [N] with groups of one size whose first row is "
      "the right one, or the one that `correct` names. Chance for K = 10: accuracy 0.1, mrr "
      "0.2929. Refused, not averaged: absent rows, groups of unequal size, groups of which "
      "`correct` names none or several."};

  void run(Step& step) const override {
    const at::Tensor table = table_here(step);
    const OneVsMany result = one_vs_many(table, tie_rule());
    step[accuracy] = Scalar{result.accuracy};
    step[accuracy_with_ties] = Scalar{result.accuracy_with_ties};
    step[mrr] = Scalar{result.mrr};
    Metrics out;
    out.add("accuracy", result.accuracy);
    out.add("accuracy_with_ties", result.accuracy_with_ties);
    out.add("mrr", result.mrr);
    out.add("tied", result.accuracy_with_ties - result.accuracy);
    out.add("prompts", static_cast<double>(table.size(0)));
    put_metrics(step, metrics, std::move(out));
  }

 private:
  at::Tensor table_here(const Step& step) const {
    const Rewards* const given = step[rewards];
    const Rewards* const right = step[correct];
    if (given == nullptr || right == nullptr) return table_of(step[scores], given, "scores");
    require_same_rows("rewards", given->total.size(0), given->batch, "correct",
                      right->total.size(0), right->batch);
    const std::vector<double> marks = finite_rows(right->total, right->absent, "correct");
    return reward_table(right_first(*given, marks), "scores");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalOneVsMany, "One right solution against many wrong", "arXiv:2410.01729")
