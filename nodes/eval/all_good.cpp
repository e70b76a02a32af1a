#include "nodes/eval/all_good.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

AllGood all_good(const std::vector<std::vector<double>>& properties,
                 const std::vector<double>& thresholds) {
  AllGood out;
  out.below.resize(thresholds.size());
  const std::size_t rows = properties.empty() ? 0 : properties.front().size();
  for (std::size_t i = 0; i < rows; ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < thresholds.size(); ++k) {
      least = std::fmin(least, properties[k][i] - thresholds[k]);
      if (std::isnan(properties[k][i])) least = -std::numeric_limits<double>::infinity();
    }
    if (std::isinf(least)) continue;
    ++out.rows;
    out.all += least >= 0;
    out.mean_min += least;
    for (std::size_t k = 0; k < thresholds.size(); ++k) {
      out.below[k] += properties[k][i] < thresholds[k];
    }
  }
  if (out.rows == 0) return out;
  out.all /= out.rows;
  out.mean_min /= out.rows;
  for (double& share : out.below) share /= out.rows;
  return out;
}

struct EvalAllGood final : Node {
  Inputs<Rewards> properties{this, "properties", "one per respect", 1};
  Output<Metrics> metrics{this, "metrics", "shares of the rows"};
  Param<std::vector<double>> thresholds{
      this, "thresholds", {}, "from where on a row is good, one per edge"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"Pareto", "conjunction", "multi-objective", "helpful and harmless"}};
  Doc doc{this,
          "Metrics: all_good, share of the rows that reach every threshold; mean_min, mean of the "
          "property that is furthest below (or least above) its threshold; below/K, share below "
          "threshold K, from 0. Rows that any property leaves out count nowhere."};

  void run(Step& step) const override {
    const auto given = step[properties];
    if (given.size() != thresholds().size()) {
      step.fail("bad-thresholds",
                fmt::format("there are {} properties, but {} thresholds", given.size(),
                            thresholds().size()),
                "list one threshold per edge of properties");
    }
    std::vector<std::vector<double>> rows;
    for (std::size_t k = 0; k < given.size(); ++k) {
      const Rewards& r = given[k];
      require_same_rows("the first property", given[0].total.size(0), given[0].batch,
                        fmt::format("property {}", k), r.total.size(0), r.batch);
      const at::Tensor values =
          r.absent.defined() ? r.total.masked_fill(r.absent, std::nan("")) : r.total;
      rows.push_back(numbers_of(values));
    }
    const AllGood good = all_good(rows, thresholds());
    if (good.rows == 0) step.fail("no-rows", "no row has every property", "see the inputs");
    Metrics out;
    out.add("all_good", good.all);
    out.add("mean_min", good.mean_min);
    for (std::size_t k = 0; k < good.below.size(); ++k) {
      out.add(fmt::format("below/{}", k), good.below[k]);
    }
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalAllGood, "Good in every respect", "arXiv:2402.00742")
