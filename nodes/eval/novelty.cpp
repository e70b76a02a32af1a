#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

/// Mean distance of each point [N,D] to its nearest of [M,D] double, the very nearest skipped: [N].
/// Row by row, so that memory stays [M].
std::vector<double> novelty(const at::Tensor& points, const at::Tensor& reference,
                            std::int64_t neighbours) {
  const std::int64_t count = std::min(neighbours, reference.size(0) - 1);
  std::vector<double> out;
  for (std::int64_t i = 0; i < points.size(0); ++i) {
    const at::Tensor distance =
        (reference - points.select(0, i)).square().sum(-1).sqrt().contiguous();
    double* const first = distance.data_ptr<double>();
    std::partial_sort(first, first + count + 1, first + distance.numel());
    double sum = 0;
    for (std::int64_t k = 1; k <= count; ++k) sum += first[k];
    out.push_back(sum / static_cast<double>(count));
  }
  return out;
}

}  // namespace

struct EvalNovelty final : Node {
  Input<Features> points{this, "points", "behaviour descriptors"};
  Input<Features> reference{
      this, "reference", "what they are compared with, themselves included", {.dims = "M,D"}};
  Output<Values> result{this, "novelty", "of each point", {.dims = "N"}};
  Output<Metrics> metrics{this, "metrics", "mean and largest novelty"};
  Param<std::int64_t> neighbours{this, "neighbours", 15, "how many neighbours count", {.min = 1}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"novelty search", "quality diversity", "k nearest neighbours"}};
  Doc doc{this,
          "Mean Euclidean distance to the `neighbours` nearest rows of the reference; the nearest, "
          "which is the point itself or a duplicate, is skipped. points [N,D], reference [M,D] -> "
          "[N]. Fewer rows than that: those there are, and an alarm."};

  void run(Step& step) const override {
    const at::Tensor p = finite_table(step[points].features, 2, "points");
    const at::Tensor r = finite_table(step[reference].features, 2, "reference");
    if (p.size(1) != r.size(1)) {
      throw Failure("bad-shape", c10::str("points are ", p.sizes(), ", the reference ", r.sizes()),
                    "descriptors must have one width");
    }
    if (r.size(0) < 2) {
      step.fail("too-few", "the reference has a single row, which is skipped",
                "give the points and what was found before");
    }
    if (r.size(0) <= neighbours()) {
      step.alarm("few-neighbours",
                 fmt::format("only {} of {} neighbours exist", r.size(0) - 1, neighbours()));
    }
    const std::vector<double> each = rewardloom::novelty(p, r, neighbours());
    Metrics out;
    double sum = 0;
    for (const double value : each) sum += value;
    out.add("mean", sum / static_cast<double>(each.size()));
    out.add("largest", *std::max_element(each.begin(), each.end()));
    step[result] = Values{as_tensor(each), step[points].batch};
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalNovelty, "Novelty", "arXiv:2203.01027")
