#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/reward/answer_match.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct Accuracy final : Node {
  Optional<Completions> completions{this, "completions", "answers whose prompts carry a reference"};
  Optional<Rewards> rewards{this, "rewards",
                            "instead: a row is right if its reward is high enough"};
  Output<Metrics> metrics{this, "metrics", "accuracy, its standard error, rows, absent rows"};
  MatchParams match{this};
  Param<double> threshold{this, "threshold", 1.0, "rewards from here on count as right"};
  Rule something{this,
                 {{{"completions", {{"connected", false}}}},
                  {{"rewards", {{"connected", true}}}},
                  "there is nothing to measure",
                  "connect completions, or rewards"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"evaluation", "success rate", "pass@1", "exact match"}};
  Doc doc{this,
          "accuracy = right rows / scored rows; standard_error = sqrt(p (1 - p) / n). Absent rows "
          "are counted, not scored. If both inputs are connected, rewards are used."};

  void run(Step& step) const override {
    std::int64_t right = 0;
    std::int64_t scored_rows = 0;
    std::int64_t absent = 0;
    if (const Rewards* const r = step[rewards]) {
      const at::Tensor there =
          r->absent.defined() ? r->absent.logical_not() : at::ones_like(r->total, at::kBool);
      right = r->total.ge(threshold()).logical_and(there).sum().item<std::int64_t>();
      scored_rows = there.sum().item<std::int64_t>();
      absent = r->total.numel() - scored_rows;
    } else if (const Completions* const c = step[completions]) {
      const auto& given = answers(*c);
      const auto& wanted = references(*c);
      for (std::size_t i = 0; i < given.size(); ++i) right += matches(given[i], wanted[i], match());
      scored_rows = static_cast<std::int64_t>(given.size());
    } else {
      step.fail("there is nothing to measure", "connect completions, or rewards");
    }
    report(step, right, scored_rows, absent);
  }

 private:
  void report(Step& step, std::int64_t right, std::int64_t rows, std::int64_t absent) const {
    Metrics out;
    if (rows > 0) {
      const double n = static_cast<double>(rows);
      const double p = static_cast<double>(right) / n;
      out.add("accuracy", p);
      out.add("standard_error", std::sqrt(p * (1 - p) / n));
    } else {
      step.alarm("nothing-scored",
                 fmt::format("all {} rows are absent: there is no accuracy", absent));
    }
    out.add("rows", static_cast<double>(rows));
    out.add("absent", static_cast<double>(absent));
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Accuracy, "Accuracy", "")
