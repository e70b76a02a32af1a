#include "nodes/reward/ranking_agreement.h"

#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

double ranking_agreement(const std::vector<double>& predicted, const std::vector<double>& consensus,
                         std::span<const std::int64_t> rows, double few) {
  if (rows.size() < 2) return few;
  double penalty = 0;
  double most = 0;
  for (std::size_t a = 0; a < rows.size(); ++a) {
    for (std::size_t b = a + 1; b < rows.size(); ++b) {
      const auto i = static_cast<std::size_t>(rows[a]), j = static_cast<std::size_t>(rows[b]);
      const double wanted = consensus[i] - consensus[j];
      const double given = predicted[i] - predicted[j];
      const double weight = 1 + std::abs(wanted);
      most += weight;
      if ((given > 0 && wanted < 0) || (given < 0 && wanted > 0)) penalty += weight;
      if (given == 0 && wanted != 0) penalty += weight / 2;
    }
  }
  return std::max(0.0, 1 - penalty / most);
}

struct RankingAgreement final : Node {
  Input<Rewards> predicted{
      this, "predicted",
      "the judge's scores; each group is one judgement, absent rows were not scored"};
  Input<Rewards> consensus{this, "consensus", "the scores that are agreed on"};
  Optional<Values> present{
      this, "present", "which rows the judge scored, besides those that are absent", {.dims = "K"}};
  Output<Scalar> reward{this, "reward", "mean over the judgements"};
  Output<Rewards> rewards{this, "rewards", "one per judgement, in order of their first row"};
  Param<double> few_names{this, "few_names", 0.0,
                          "value where fewer than two rows were scored; the reference gives 1"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RewardAnything", "generative reward model", "listwise", "pairs"}};
  Doc doc{
      this,
      "Weighted pair agreement, 0..1. Without group ids all K rows are one judgement. A judge that "
      "scores one answer only has agreed with nobody: few_names is 0."};

  void run(Step& step) const override {
    const Rewards& p = step[predicted];
    const Rewards& c = step[consensus];
    require_same_rows("predicted", p.total.size(0), p.batch, "consensus", c.total.size(0), c.batch);
    at::Tensor left_out = either_absent(p.absent, c.absent);
    if (const Values* given = step[present]) {
      require_same_rows("predicted", p.total.size(0), 0, "present", given->values.size(0), 0);
      left_out =
          either_absent(left_out, given->values.to(p.total.device(), at::kBool).logical_not());
    }
    const std::vector<double> scores = finite_rows(p.total, left_out, "predicted");
    const std::vector<double> wanted = finite_rows(c.total, left_out, "consensus");
    const at::Tensor group = p.group.defined() ? p.group : at::zeros_like(p.total, at::kLong);
    const Groups all(group, {}, p.total.size(0));
    std::vector<bool> keep(scores.size(), true);
    if (left_out.defined()) {
      const std::vector<double> out = numbers_of(left_out);
      for (std::size_t i = 0; i < out.size(); ++i) keep[i] = out[i] == 0;
    }
    std::vector<double> agreement;
    for (std::size_t g = 0; g < all.count(); ++g) {
      std::vector<std::int64_t> rows;
      for (const std::int64_t row : all.rows(g)) {
        if (keep[static_cast<std::size_t>(row)]) rows.push_back(row);
      }
      agreement.push_back(ranking_agreement(scores, wanted, rows, few_names()));
    }
    give(step, agreement);
  }

 private:
  void give(Step& step, const std::vector<double>& agreement) const {
    const at::Tensor total = at::tensor(at::ArrayRef<double>(agreement), at::dtype(at::kDouble));
    if (!agreement.empty()) step[reward] = Scalar{total.mean().item<double>()};
    Rewards out;
    out.total = total;
    out.components = {{step.node(), total}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(RankingAgreement, "Ranking agreement", "arXiv:2506.03637")
