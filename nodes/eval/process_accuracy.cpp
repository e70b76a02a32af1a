#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Weighted pair accuracy of one group, in row order; 0.5 where all outcomes are equal.
double pair_accuracy(const std::vector<double>& score, const std::vector<double>& outcome,
                     std::span<const std::int64_t> rows) {
  double right = 0, weight = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = i + 1; j < rows.size(); ++j) {
      const auto a = static_cast<std::size_t>(rows[i]), b = static_cast<std::size_t>(rows[j]);
      const double difference = outcome[a] - outcome[b];
      weight += std::abs(difference);
      if ((score[a] > score[b]) == (difference > 0)) right += std::abs(difference);
    }
  }
  return weight > 0 ? right / weight : 0.5;
}

}  // namespace

struct EvalProcessAccuracy final : Node {
  Input<TokenRewards> scores{this, "scores", "process reward of each token, with its mask"};
  Input<Rewards> outcome{this, "outcome", "what the row was worth in the end, with group ids"};
  Output<Scalar> accuracy{this, "accuracy", "mean over groups"};
  Output<Metrics> metrics{this, "metrics", "accuracy, undecided (groups of equal outcomes)"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"PRIME", "implicit process reward", "reward accuracy", "dpo_acc"}};
  Doc doc{
      this,
      "In each group, over pairs of rows: does the row with the higher sum of process scores "
      "have the better outcome? Pairs weigh |difference of outcome|; equal sums count as `not "
      "greater`; a group of equal outcomes counts 0.5. scores [N,T], outcome [N]. Group ids and "
      "absent rows are those of outcome."};

  void run(Step& step) const override {
    const TokenRewards& s = step[scores];
    const Rewards& r = step[outcome];
    require_same_rows("scores", s.rewards.size(0), s.batch, "outcome", r.total.size(0), r.batch);
    at::Tensor tokens = s.rewards.to(at::kDouble);
    if (s.mask.defined()) tokens = tokens.masked_fill(s.mask.to(at::kBool).logical_not(), 0);
    const std::vector<double> sums = finite_rows(tokens.sum(-1), r.absent, "the sum of scores");
    const std::vector<double> worth = finite_rows(r.total, r.absent, "the outcome");
    const Groups groups(r.group.defined() ? r.group : s.group, r.absent, r.total.size(0));
    if (groups.count() == 0) step.fail("nothing-to-measure", "no row is scored", "see outcome");
    double sum = 0, undecided = 0;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      sum += pair_accuracy(sums, worth, groups.rows(g));
      undecided += Moments(worth, groups.rows(g)).constant;
    }
    const double count = static_cast<double>(groups.count());
    step[accuracy] = Scalar{sum / count};
    Metrics out;
    out.add("accuracy", sum / count);
    out.add("undecided", undecided / count);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalProcessAccuracy, "Accuracy of process rewards", "arXiv:2502.01456")
