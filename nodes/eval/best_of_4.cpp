#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/choice_scores.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalBestOf4 final : Node {
  Input<Rewards> scores{this, "scores", "the right answer first, prompt after prompt"};
  Optional<Values> lengths{
      this, "lengths", "answers per prompt; else the groups of scores", {.dims = "P"}};
  Output<Values> results{this, "results", "credit of each prompt", {.dims = "P"}};
  Output<Scalar> accuracy{this, "accuracy", "mean credit"};
  Output<Metrics> metrics{this, "metrics", "accuracy, tied (share of prompts decided by a tie)"};
  Param<ChoiceTies> tie_rule{this, "tie_rule", ChoiceTies::fractional, "what a tie at the top is"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"RewardBench 2", "multiple choice", "accuracy", "four-way"}};
  Doc doc{
      this,
      "Credit 1 if the right answer (index 0 of its prompt) has the highest score, 1/m if it is "
      "one of m highest (fractional) or 0 (strict). Scores are equal only if exactly equal; half "
      "precision ties often, so watch the metric tied. scores [total], lengths [P]."};

  void run(Step& step) const override {
    const Rewards& r = step[scores];
    const std::vector<double> all = finite_rows(r.total, {}, "the score");
    if (r.absent.defined() && r.absent.any().item<bool>()) {
      step.fail("absent-rows", "some answers were not scored", "score every answer of a prompt");
    }
    std::vector<double> credit;
    double tied = 0;
    const auto grade = [&](const std::vector<double>& of_prompt) {
      const Choice4 choice = grade_choice(of_prompt, tie_rule());
      credit.push_back(choice.credit);
      tied += choice.tied ? 1 : 0;
    };
    if (const Values* const given = step[lengths]) {
      for (const auto& prompt : split_by(all, whole_numbers(given->values, "lengths")))
        grade(prompt);
    } else {
      const Groups groups(r.group, {}, r.total.size(0));
      for (std::size_t g = 0; g < groups.count(); ++g) grade(picked(all, groups.rows(g)));
    }
    if (credit.empty()) step.fail("nothing-to-measure", "there are no prompts", "connect scores");
    put(step, credit, tied / static_cast<double>(credit.size()));
  }

 private:
  static std::vector<double> picked(const std::vector<double>& all,
                                    std::span<const std::int64_t> rows) {
    std::vector<double> out;
    for (const std::int64_t row : rows) out.push_back(all[static_cast<std::size_t>(row)]);
    return out;
  }
  void put(Step& step, const std::vector<double>& credit, double tied) const {
    const double mean =
        std::accumulate(credit.begin(), credit.end(), 0.0) / static_cast<double>(credit.size());
    step[results] = Values{as_tensor(credit)};
    step[accuracy] = Scalar{mean};
    Metrics out;
    out.add("accuracy", mean);
    out.add("tied", tied);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalBestOf4, "One right answer among several", "arXiv:2506.01937")
