#include "nodes/reward/harmonic_mix.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor harmonic_mix(const at::Tensor& image, const at::Tensor& text, double lambda) {
  const at::Tensor a = (image.to(at::kDouble) + 1) / 2;
  const at::Tensor b = (text.to(at::kDouble) + 1) / 2;
  at::Tensor mix;
  if (lambda == 1) {
    mix = a;
  } else if (lambda == 0) {
    mix = b;
  } else {
    mix = 1 / (lambda / (a + 1e-8) + (1 - lambda) / (b + 1e-8));
  }
  return mix.to(image.scalar_type());
}

struct HarmonicMix final : Node {
  Input<Rewards> image_similarity{this, "image_similarity", "cosine with the reference images"};
  Input<Rewards> text_similarity{this, "text_similarity", "cosine with the prompt"};
  Output<Rewards> rewards{this, "rewards", "the mix, 0..1, with its parts as components"};
  Param<double> weight{
      this, "lambda", 0.3, "1: the image alone, 0: the text alone", {.min = 0, .max = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RPO", "lambda-harmonic", "CLIP", "subject-driven"}};
  Doc doc{
      this,
      "1 / (lambda / a + (1 - lambda) / b) with a, b = (cosine + 1) / 2; [N]. Low where either is "
      "low. A row whose similarity lies outside -1..1 cannot be scored."};

  void run(Step& step) const override {
    const Rewards& image = step[image_similarity];
    const Rewards& text = step[text_similarity];
    const at::Tensor absent =
        absent_in_any({{"image_similarity", &image}, {"text_similarity", &text}});
    const at::Tensor wrong = no_cosines(step, image, text, absent);
    Rewards out = rescored(step, image, harmonic_mix(image.total, text.total, weight()),
                           either_absent(absent, wrong));
    out.components = {{"image_similarity", image.total}, {"text_similarity", text.total}};
    step[rewards] = std::move(out);
  }

 private:
  static at::Tensor no_cosines(Step& step, const Rewards& image, const Rewards& text,
                               const at::Tensor& absent) {
    constexpr double kLargest = 1 + 1e-3;  // cosines of half-precision features
    at::Tensor wrong = image.total.abs().gt(kLargest).logical_or(text.total.abs().gt(kLargest));
    if (absent.defined()) wrong = wrong.logical_and(absent.logical_not());
    const std::vector<double> rows = numbers_of(wrong);
    bool any = false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] == 0) continue;
      any = true;
      step.fail_row(static_cast<std::int64_t>(i), "a similarity is no cosine: it is outside -1..1");
    }
    return any ? wrong : at::Tensor();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(HarmonicMix, "Harmonic mix of similarities", "arXiv:2407.12164")
