#include "nodes/reward/step_aggregate.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/reward/clip_delta.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

template <class Term>
double mean_of(std::span<const double> scores, Term term) {
  double sum = 0;
  for (const double p : scores) sum += term(p);
  return sum / static_cast<double>(scores.size());
}

double raw_aggregate(std::span<const double> scores, StepFunc func) {
  switch (func) {
    case StepFunc::min: return *std::min_element(scores.begin(), scores.end());
    case StepFunc::max: return *std::max_element(scores.begin(), scores.end());
    case StepFunc::prod:
      return std::accumulate(scores.begin(), scores.end(), 1.0, std::multiplies<>());
    case StepFunc::geometric_mean:
      return std::exp(mean_of(scores, [](double p) { return std::log(p); }));
    case StepFunc::mean_logit:
      return 1 / (1 + std::exp(-mean_of(scores, [](double p) { return std::log(p / (1 - p)); })));
    case StepFunc::mean_odd:
      return std::max(0.0, mean_of(scores, [](double p) { return p / (1 - p); }));
    case StepFunc::last: return scores.back();
    case StepFunc::mean: break;
  }
  return mean_of(scores, [](double p) { return p; });
}

constexpr double kVanishing = 1e-30;  ///< rewards are often kept in float

/// Whether so many steps were multiplied that nothing is left, though none of them is 0.
bool vanishes(std::span<const double> scores, double product) {
  return product < kVanishing &&
         std::all_of(scores.begin(), scores.end(), [](double p) { return p > 0; });
}

std::string what_has_no_aggregate(std::span<const double> scores, StepFunc func) {
  for (std::size_t k = 0; k < scores.size(); ++k) {
    const bool has_logit = scores[k] > 0 && scores[k] < 1;
    const bool fits = func == StepFunc::mean_logit
                          ? has_logit
                          : aggregated(scores.subspan(k, 1), func).has_value();
    if (fits) continue;
    return fmt::format("its step {} has the score {}, of which this aggregate is no number", k + 1,
                       scores[k]);
  }
  return "the aggregate of its step scores is no number";
}

}  // namespace

std::optional<double> aggregated(std::span<const double> scores, StepFunc func) {
  for (const double p : scores) {
    if (!std::isfinite(p)) return std::nullopt;
  }
  const double value = raw_aggregate(scores, func);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

struct StepAggregate final : Node {
  Input<StepRewards> step_rewards{this, "step_rewards", "scores of the steps, in (0,1)"};
  Output<Rewards> rewards{this, "rewards", "one reward per row"};
  Param<StepFunc> func{this, "func", StepFunc::prod, "how the steps become one"};
  Param<double> empty_value{this, "empty_value", 0.5, "reward of a row without steps"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PRM", "process reward", "best of n", "RewardMATH"}};
  Doc doc{this,
          "[N,S] -> [N]. A row whose aggregate is no number (logits and odds need scores in (0,1)) "
          "cannot be scored."};

  void run(Step& step) const override {
    const StepRewards& steps = step[step_rewards];
    const std::vector<double> all = numbers_of(steps.rewards);
    const std::vector<double> there = numbers_of(step_mask(steps));
    const auto rows = static_cast<std::size_t>(steps.rewards.size(0));
    const auto width = static_cast<std::size_t>(steps.rewards.size(1));
    RowScores scores(rows);
    std::int64_t vanished = 0;
    std::vector<double> row;
    for (std::size_t i = 0; i < rows; ++i) {
      row.clear();
      for (std::size_t k = i * width; k < (i + 1) * width; ++k) {
        if (there[k] != 0) row.push_back(all[k]);
      }
      const std::optional<double> score = row.empty() ? empty_value() : aggregated(row, func());
      if (score) {
        scores.set(i, *score);
        vanished += !row.empty() && func() == StepFunc::prod && vanishes(row, *score);
      } else {
        scores.fail(step, i, what_has_no_aggregate(row, func()));
      }
    }
    if (vanished > 0) {
      step.alarm("vanishing-product",
                 fmt::format("in {} of {} rows the product of the step scores is below {:g}: long "
                             "rows cannot be told apart; geometric_mean does not fall with length",
                             vanished, rows, kVanishing));
    }
    Rewards out;
    out.total = scores.scores().to(steps.rewards.device(), steps.rewards.scalar_type());
    out.absent = scores.absent();
    out.group = steps.group;
    out.batch = steps.batch;
    out.components = {{step.node(), out.total}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(StepAggregate, "Step scores to one reward", "arXiv:2410.01729")
