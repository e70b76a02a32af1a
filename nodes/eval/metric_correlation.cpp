#include <fmt/format.h>

#include <cmath>
#include <map>

#include "engine/core/registry.h"
#include "nodes/eval/ranks.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

/// Numbers called "BRANCH/metric" by branch.
std::map<std::string, double> by_branch(const Metrics& metrics, const std::string& metric) {
  const std::string ending = "/" + metric;
  std::map<std::string, double> out;
  for (std::size_t i = 0; i < metrics.names.size(); ++i) {
    const std::string& name = metrics.names[i];
    if (!name.ends_with(ending)) continue;
    out[name.substr(0, name.size() - ending.size())] = metrics.values[i];
  }
  return out;
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  double mean_x = 0, mean_y = 0, both = 0, first = 0, second = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    mean_x += x[i] / static_cast<double>(x.size());
    mean_y += y[i] / static_cast<double>(x.size());
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    both += (x[i] - mean_x) * (y[i] - mean_y);
    first += (x[i] - mean_x) * (x[i] - mean_x);
    second += (y[i] - mean_y) * (y[i] - mean_y);
  }
  return both / std::sqrt(first * second);
}

}  // namespace

struct EvalMetricCorrelation final : Node {
  Input<Metrics> a{this, "a", "one benchmark, a number per branch"};
  Input<Metrics> b{this, "b", "another one of the same branches"};
  Output<Scalar> spearman_of{this, "spearman", "rank correlation over the branches"};
  Output<Scalar> pearson_of{this, "pearson", "linear correlation"};
  Output<Metrics> metrics{this, "metrics", "spearman, pearson, branches"};
  Param<std::string> metric_a{this, "metric_a", "accuracy", "which number of a"};
  Param<std::string> metric_b{this, "metric_b", "accuracy", "which number of b"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"benchmark validity", "Spearman", "Pearson", "sweep"}};
  Doc doc{this,
          "Do two benchmarks rank the same things the same way? Takes what two sweeps measured, "
          "BRANCH/metric, and correlates over the branches. Branches must be the same in both, at "
          "least three; with few of them the interval is wide."};

  void run(Step& step) const override {
    const auto first = by_branch(step[a], metric_a());
    const auto second = by_branch(step[b], metric_b());
    std::vector<double> x, y;
    std::string alone;
    for (const auto& [branch, value] : first) {
      const auto it = second.find(branch);
      if (it == second.end()) alone += (alone.empty() ? "" : ", ") + branch;
      x.push_back(value);
      y.push_back(it == second.end() ? 0 : it->second);
    }
    if (!alone.empty() || first.size() != second.size()) {
      throw Failure(
          "other-rows",
          fmt::format("a has {} branches with {}, b has {} with {}{}", first.size(), metric_a(),
                      second.size(), metric_b(), alone.empty() ? "" : "; only in a: " + alone),
          "sweep both over the same values");
    }
    if (x.size() < 3) {
      step.fail("too-few", fmt::format("there are {} branches", x.size()),
                "a correlation needs at least 3 points");
    }
    const double rank = spearman(x, y);
    if (!std::isfinite(rank)) {
      step.fail("constant", "one side is the same in every branch", "there is nothing to rank");
    }
    Metrics out;
    out.add("spearman", rank);
    out.add("pearson", pearson(x, y));
    out.add("branches", static_cast<double>(x.size()));
    step[spearman_of] = Scalar{out.values[0]};
    step[pearson_of] = Scalar{out.values[1]};
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalMetricCorrelation, "Correlation of two benchmarks", "arXiv:2410.01729")
