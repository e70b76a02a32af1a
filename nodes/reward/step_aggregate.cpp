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
    case StepFunc::mean_odd: return mean_of(scores, [](double p) { return p / (1 - p); });
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

/// Whether the aggregate is one of probabilities with a logit, or odds, that are finite.
bool fits(double p, StepFunc func) {
  switch (func) {
    case StepFunc::mean_logit: return p > 0 && p < 1;
    case StepFunc::mean_odd: return p >= 0 && p < 1;
    case StepFunc::geometric_mean: return p >= 0;
    default: return std::isfinite(p);
  }
}

bool takes_odds(StepFunc func) {
  return func == StepFunc::mean_logit || func == StepFunc::mean_odd;
}

bool multiplies(StepFunc func) {
  return func == StepFunc::prod || func == StepFunc::geometric_mean;
}

std::string what_has_no_aggregate(std::span<const double> scores, StepFunc func) {
  for (std::size_t k = 0; k < scores.size(); ++k) {
    if (fits(scores[k], func)) continue;
    const bool certain = takes_odds(func) && (scores[k] == 0 || scores[k] == 1);
    return fmt::format("its step {} has the score {}, of which this aggregate is no number{}",
                       k + 1, scores[k],
                       certain ? "; eps, e.g. 1e-7, keeps scores away from 0 and 1" : "");
  }
  return "the aggregate of its step scores is no number";
}

}  // namespace

std::optional<double> aggregated(std::span<const double> scores, StepFunc func) {
  for (const double p : scores) {
    if (!std::isfinite(p) || !fits(p, func)) return std::nullopt;
  }
  const double value = raw_aggregate(scores, func);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

struct StepAggregate final : Node {
  Input<StepRewards> step_rewards{this, "step_rewards",
                                  "scores of the steps; probabilities where func is of such"};
  Output<Rewards> rewards{this, "rewards", "one reward per row"};
  Param<StepFunc> func{this, "func", StepFunc::prod, "how the steps become one"};
  Param<double> empty_value{this, "empty_value", 0.5, "reward of a row without steps"};
  Param<double> eps{this,
                    "eps",
                    0.0,
                    "mean_logit, mean_odd: scores of 0 .. 1 are kept so far from both ends, e.g. "
                    "1e-7; 0: they are taken as they are",
                    {.min = 0, .max = 0.1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PRM", "process reward", "best of n", "RewardMATH"}};
  Doc doc{this,
          "[N,S] -> [N]. prod, geometric_mean, mean_logit and mean_odd are of probabilities. A row "
          "whose aggregate is no number (logits need scores in (0,1), odds in [0,1)) cannot be "
          "scored: a step score of exactly 1, as a saturated sigmoid gives it in single precision, "
          "has no logit. eps lets such rows count. Step scores outside 0 .. 1 in a product raise "
          "the alarm not-probabilities."};

  void run(Step& step) const override {
    const StepRewards& steps = step[step_rewards];
    const std::vector<double> all = numbers_of(steps.rewards);
    const std::vector<double> there = numbers_of(step_mask(steps));
    const auto rows = static_cast<std::size_t>(steps.rewards.size(0));
    const auto width = static_cast<std::size_t>(steps.rewards.size(1));
    RowScores scores(rows);
    std::int64_t vanished = 0, improbable = 0;
    std::vector<double> row;
    for (std::size_t i = 0; i < rows; ++i) {
      row.clear();
      for (std::size_t k = i * width; k < (i + 1) * width; ++k) {
        if (there[k] != 0) row.push_back(away_from_ends(all[k]));
      }
      improbable += multiplies(func()) &&
                    std::any_of(row.begin(), row.end(), [](double p) { return p < 0 || p > 1; });
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
    if (improbable > 0) {
      step.alarm("not-probabilities",
                 fmt::format("in {} of {} rows a step score lies outside 0 .. 1: a product of such "
                             "is no probability; use min, mean or last, or scores in 0 .. 1",
                             improbable, rows));
    }
    Rewards out;
    const bool real = at::isFloatingType(steps.rewards.scalar_type());
    out.total =
        scores.scores().to(steps.rewards.device(), real ? steps.rewards.scalar_type() : at::kFloat);
    out.absent = scores.absent();
    out.group = steps.group;
    out.batch = steps.batch;
    out.components = {{step.node(), out.total}};
    step[rewards] = std::move(out);
  }

 private:
  double away_from_ends(double p) const {
    const bool kept = takes_odds(func()) && p >= 0 && p <= 1;
    return kept ? std::clamp(p, eps(), 1 - eps()) : p;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(StepAggregate, "Step scores to one reward", "arXiv:2410.01729")
