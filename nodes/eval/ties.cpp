#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/choice_scores.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalTies final : Node {
  Input<Rewards> scores{this, "scores", "right answers first, prompt after prompt"};
  Input<Values> lengths{this, "lengths", "answers per prompt", {.dims = "P"}};
  Input<Values> correct{this, "correct", "right answers per prompt", {.dims = "P"}};
  Input<Values> pair{
      this, "pair", "id that a single-answer and a tied prompt share", {.dims = "P"}};
  Input<Values> tied{this, "tied", "whether the prompt is the tied one", {.dims = "P"}};
  Output<Scalar> score{this, "score", "weighted sum; at most 1.01 with the default weights"};
  Output<Metrics> metrics{this, "metrics",
                          "score, tied_accuracy, ref_accuracy, preferred, preferred_hard, margin"};
  Param<std::vector<double>> weights{
      this, "weights", std::vector<double>{0.3, 0.3, 0.2, 0.2, 0.01},
      "of tied accuracy, ref accuracy, preferred, preferred hard, margin"};
  Param<ZeroSpread> zero_spread{this, "zero_spread", ZeroSpread::nan_to_zero,
                                "when all right answers score the same"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"RewardBench 2", "ties", "calibration", "several right answers"}};
  Doc doc{
      this,
      "For each prompt: accurate = worst right > best wrong, spread = best - worst right, gap = "
      "worst right - best wrong. Over pairs: preferred = gap of the tied prompt > its spread; "
      "preferred hard = the smaller of both gaps > that spread; margin = tanh(smaller gap / "
      "spread - 1). score = weights . (accuracies, preferred, preferred hard, margin)."};

  void run(Step& step) const override {
    const Rewards& r = step[scores];
    if (r.absent.defined() && r.absent.any().item<bool>()) {
      step.fail("absent-rows", "some answers were not scored", "score every answer of a prompt");
    }
    const auto cut = split_by(finite_rows(r.total, {}, "the score"),
                              whole_numbers(step[lengths].values, "lengths"));
    const TiesScore result = ties_score(prompts(step, cut), weights(), zero_spread());
    step[score] = Scalar{result.score};
    Metrics out;
    out.add("score", result.score);
    out.add("tied_accuracy", result.tied_accuracy);
    out.add("ref_accuracy", result.ref_accuracy);
    out.add("preferred", result.preferred);
    out.add("preferred_hard", result.preferred_hard);
    out.add("margin", result.margin);
    put_metrics(step, metrics, std::move(out));
  }

 private:
  std::vector<TiesPrompt> prompts(const Step& step,
                                  const std::vector<std::vector<double>>& cut) const {
    const auto right = whole_numbers(step[correct].values, "correct");
    const auto ids = whole_numbers(step[pair].values, "pair");
    const auto several = whole_numbers(step[tied].values, "tied");
    if (right.size() != cut.size() || ids.size() != cut.size() || several.size() != cut.size()) {
      throw Failure("bad-shape",
                    fmt::format("lengths is of {} prompts, correct of {}, pair of {}, tied of {}",
                                cut.size(), right.size(), ids.size(), several.size()),
                    "all four say something of each prompt");
    }
    std::vector<TiesPrompt> out;
    for (std::size_t p = 0; p < cut.size(); ++p) {
      const auto count = static_cast<std::size_t>(std::max<std::int64_t>(right[p], 0));
      out.push_back({ids[p], several[p] != 0, count, cut[p]});
    }
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalTies, "Ties (RewardBench 2)", "arXiv:2506.01937")
