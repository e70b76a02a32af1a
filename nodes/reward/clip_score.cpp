#include "nodes/reward/clip_score.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <numeric>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor clip_scores(const at::Tensor& image, const at::Tensor& text, const at::Tensor& classes,
                       double scale) {
  if (image.dim() != 2 || text.dim() != 2 || image.size(1) != text.size(1) || classes.dim() != 2 ||
      classes.size(0) != image.size(0)) {
    throw Failure("bad-shape",
                  c10::str("image features are ", image.sizes(), ", text features ", text.sizes(),
                           ", classes ", classes.sizes()),
                  "they are [N,D], [C,D] and [N,K]");
  }
  const at::Tensor index = classes.to(image.device(), at::kLong);
  if (index.numel() > 0 &&
      (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= text.size(0))) {
    throw Failure(
        "bad-class",
        fmt::format("a class is {} or {}, but there are {} texts", index.min().item<std::int64_t>(),
                    index.max().item<std::int64_t>(), text.size(0)),
        "classes count from 0");
  }
  const at::Tensor similarity = at::mm(image, text.to(image.options()).t());
  return similarity.gather(1, index).mul_(scale).clamp_min_(0);
}

at::Tensor pooled_clip_scores(const at::Tensor& scores, const std::vector<double>& weights,
                              ClipBaseline baseline) {
  at::Tensor pooled = scores.mean(0);
  if (!weights.empty()) {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (static_cast<std::int64_t>(weights.size()) != scores.size(0) || !(sum > 0)) {
      throw Failure("bad-weights",
                    fmt::format("{} weights that add up to {} are given for {} encoders",
                                weights.size(), sum, scores.size(0)),
                    "give one weight per encoder, not all of them 0");
    }
    const at::Tensor w = at::tensor(at::ArrayRef<double>(weights), scores.options());
    pooled = (scores * w.reshape({-1, 1, 1})).sum(0);
  }
  if (baseline == ClipBaseline::none || pooled.size(1) < 2) return pooled;
  const at::Tensor centred = pooled - pooled.mean(1, true);
  if (baseline == ClipBaseline::mean) return centred;
  return centred / (pooled.std(1, true, true) + 1e-5);
}

struct ClipScore final : Node {
  Inputs<Features> image_features{
      this, "image_features", "of unit length, one edge per encoder", 1, {.dims = "N,D"}};
  Inputs<Features> text_features{this,
                                 "text_features",
                                 "of the C texts, of unit length, one edge per encoder",
                                 1,
                                 {.dims = "C,D"}};
  Input<Values> classes{this, "classes", "candidate texts of each image", {.dims = "N,K"}};
  Output<Values> rewards{this, "rewards", "one per image and candidate", {.dims = "N,K"}};
  Output<Rewards> candidates{this, "candidates",
                             "the same as N*K rows, an image's candidates being a group"};
  Param<double> scale{this, "scale", 2.5, "w of CLIPScore", {.min = 0, .exclusive_min = true}};
  Param<ClipBaseline> baseline{this, "baseline", ClipBaseline::none,
                               "what is subtracted per image"};
  Param<std::optional<std::vector<double>>> weights{this, "weights", std::nullopt,
                                                    "one per encoder; null: their mean"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"CLIP", "RLCF", "test-time adaptation", "image-text"}};
  Doc doc{
      this,
      "w * max(cos(image, text), 0) for K candidate texts of each of N images, averaged over the "
      "encoders, optionally centred per image."};

  void run(Step& step) const override {
    const auto images = step[image_features];
    const auto texts = step[text_features];
    if (images.size() != texts.size() || images.size() == 0) {
      step.fail("bad-shape",
                fmt::format("there are image features of {} encoders, but text features of {}",
                            images.size(), texts.size()),
                "give both, encoder by encoder");
    }
    const Values& candidate = step[classes];
    std::vector<at::Tensor> scores;
    for (std::size_t e = 0; e < images.size(); ++e) {
      scores.push_back(
          clip_scores(images[e].features, texts[e].features, candidate.values, scale()));
    }
    const at::Tensor pooled = pooled_clip_scores(
        at::stack(scores), weights().value_or(std::vector<double>{}), baseline());
    Rewards flat;
    flat.total = pooled.reshape({-1});
    flat.group = at::arange(pooled.size(0), pooled.options().dtype(at::kLong))
                     .repeat_interleave(pooled.size(1));
    flat.batch = images[0].batch;
    step[candidates] = rescored(step, flat, flat.total);
    step[rewards] = Values{pooled, images[0].batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ClipScore, "CLIPScore", "arXiv:2104.08718, arXiv:2305.18010")
