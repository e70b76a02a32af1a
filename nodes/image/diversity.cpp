#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

/// Mean Euclidean distance over pairs of different rows [N,D], all and those of one class.
Metrics pairwise_distances(const at::Tensor& rows, const at::Tensor& labels) {
  const at::Tensor distance = at::cdist(rows, rows);
  const std::int64_t count = rows.size(0);
  const at::Tensor other = at::eye(count, at::kBool).logical_not();
  const auto mean_where = [&](const at::Tensor& pairs) {
    return distance.masked_select(pairs).mean().item<double>();
  };
  Metrics out;
  out.add("distance", mean_where(other));
  if (!labels.defined()) return out;
  const at::Tensor same = labels.unsqueeze(0).eq(labels.unsqueeze(1)).logical_and(other);
  if (same.any().item<bool>()) out.add("within_class", mean_where(same));
  return out;
}

}  // namespace

struct ImageDiversity final : Node {
  Input<Images> images{this, "images", "to be compared with each other"};
  Output<Metrics> metrics{this, "metrics", "distance, within_class, brightness"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"mode collapse", "pairwise distance", "brightness", "ink"}};
  Doc doc{this,
          "Mean Euclidean distance of pixels over pairs of images, of all and of the same class, "
          "and brightness, the mean pixel on a scale of 0 to 1."};

  void run(Step& step) const override {
    const Images& in = step[images];
    if (in.images.size(0) < 2) step.fail("too-few", "a single image has no pairs", "give more");
    const at::Tensor rows = finite_table(in.images.flatten(1), 2, "images");
    Metrics out = pairwise_distances(rows, in.labels);
    out.add("brightness", (rows.mean().item<double>() + 1) / 2);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageDiversity, "Diversity of images", "")
