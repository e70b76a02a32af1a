#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

/// sum p log(p / m), a term of probability 0 counts nothing.
double divergence(double p, double m) { return p > 0 ? p * std::log(p / m) : 0; }

/// Jensen-Shannon distance (natural logarithm) of the histogram to the uniform one.
double distance_to_uniform(std::span<const double> histogram, double total) {
  const double u = 1 / static_cast<double>(histogram.size());
  double sum = 0;
  for (const double count : histogram) {
    const double p = count / total, m = 0.5 * (p + u);
    sum += 0.5 * (divergence(p, m) + divergence(u, m));
  }
  return std::sqrt(std::max(sum, 0.0));
}

}  // namespace

struct EvalCoverage final : Node {
  Input<Values> histogram{this, "histogram", "visits of each cell", {.dims = "B,*"}};
  Output<Scalar> coverage{this, "coverage", "share of cells that were visited"};
  Output<Scalar> uniformity{this, "uniformity", "1: all cells equally often"};
  Output<Metrics> metrics{this, "metrics", "coverage, uniformity"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"exploration", "evenness", "quality diversity", "Jensen-Shannon"}};
  Doc doc{
      this,
      "coverage = filled cells / cells; uniformity = 1 - Jensen-Shannon distance (square root of "
      "the divergence, natural logarithm) of the normalised histogram to the uniform one. "
      "histogram [B] or [B,C], counts or weights >= 0."};

  void run(Step& step) const override {
    const at::Tensor& given = step[histogram].values;
    const at::Tensor cells = finite_table(given.flatten(), 1, "histogram");
    double total = 0;
    std::int64_t filled = 0;
    for (const double count : numbers(cells)) {
      if (count < 0) step.fail("bad-value", fmt::format("a cell holds {}", count), "count visits");
      total += count;
      filled += count > 0;
    }
    if (total == 0) step.fail("nothing-to-measure", "no cell was visited", "see the histogram");
    Metrics out;
    out.add("coverage", static_cast<double>(filled) / static_cast<double>(cells.numel()));
    out.add("uniformity", 1 - distance_to_uniform(numbers(cells), total));
    step[coverage] = Scalar{out.values[0]};
    step[uniformity] = Scalar{out.values[1]};
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalCoverage, "Coverage and evenness", "arXiv:2203.01027")
