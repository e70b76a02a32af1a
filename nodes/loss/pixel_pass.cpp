#include "nodes/loss/pixel_pass.h"

#include <c10/util/StringUtil.h>
#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "engine/core/problem.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

using namespace vector_math;

/// One picture: logits [K,P] of both passes, labels [P], what is written for them, and how much the
/// terms of a labelled pixel and of any pixel weigh.
struct Picture {
  const float* first;
  const float* second;
  const std::int64_t* labels;
  float* by_first;
  float* by_second;
  std::int64_t classes, pixels;
  float consistency, uncertainty, u_scale;
  std::int64_t ignore;
};

struct PictureSums {
  double damped = 0, spread = 0;
};

/// [K] times sixteen numbers, of any alignment.
struct PerClass {
  float* at;
  REWARDLOOM_INLINE Floats operator[](std::int64_t k) const { return load(at + k * lanes); }
  REWARDLOOM_INLINE void set(std::int64_t k, const Floats& x) const { store(at + k * lanes, x); }
};

/// log softmax over classes of sixteen pixels: to log_probs [K], with the probabilities [K].
REWARDLOOM_INLINE void softmax(const float* logits, std::int64_t classes, std::int64_t stride,
                               std::int64_t n, const PerClass& log_probs, const PerClass& probs) {
  Floats high = fill(-std::numeric_limits<float>::infinity());
  for (std::int64_t k = 0; k < classes; ++k) {
    const Floats x = load_up_to(logits + k * stride, n);
    log_probs.set(k, x);
    high = larger(x, high);
  }
  Floats sums{};
  for (std::int64_t k = 0; k < classes; ++k) {
    const Floats below = log_probs[k] - high, e = exponential(below);
    log_probs.set(k, below);
    probs.set(k, e);
    sums += e;
  }
  const Floats log_sum = logarithm(sums), share = 1.0f / sums;
  for (std::int64_t k = 0; k < classes; ++k) {
    log_probs.set(k, log_probs[k] - log_sum);
    probs.set(k, probs[k] * share);
  }
}

/// Of `n` pixels: one where they are labelled, and their cross-entropy, both 0 for the others.
struct Labelled {
  Floats one{}, entropy{};

  REWARDLOOM_INLINE Labelled(const std::int64_t* labels, std::int64_t n, std::int64_t ignore,
                             const PerClass& log_probs) {
    float ones[lanes] = {}, entropies[lanes] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      if (labels[i] == ignore) continue;
      ones[i] = 1.0f;
      entropies[i] = -log_probs.at[labels[i] * lanes + i];
    }
    one = load(ones);
    entropy = load(entropies);
  }
};

REWARDLOOM_VECTORISED
PictureSums picture_rows(const Picture& p, float* room) {
  const std::int64_t width = p.classes * lanes;
  const PerClass first{room}, first_probs{room + width};
  const PerClass second{room + 2 * width}, second_probs{room + 3 * width};
  PictureSums sums;
  for (std::int64_t at = 0; at < p.pixels; at += lanes) {
    const std::int64_t n = std::min(lanes, p.pixels - at);
    softmax(p.first + at, p.classes, p.pixels, n, first, first_probs);
    softmax(p.second + at, p.classes, p.pixels, n, second, second_probs);
    Floats kl{};
    for (std::int64_t k = 0; k < p.classes; ++k) kl += second_probs[k] * (second[k] - first[k]);
    const Labelled labelled(p.labels + at, n, p.ignore, first);
    const Floats uncertainty = p.u_scale * kl;
    const Floats damping = labelled.one > 0 ? exponential(-uncertainty) : Floats{};
    const Floats damped = labelled.entropy * damping;
    const Floats by_entropy = p.consistency * damping;
    const Floats by_kl = p.u_scale * (p.uncertainty - p.consistency * damped);
    for (std::int64_t k = 0; k < p.classes; ++k) {
      const Floats by_first =
          by_entropy * first_probs[k] + by_kl * (first_probs[k] - second_probs[k]);
      const Floats by_second = by_kl * second_probs[k] * (second[k] - first[k] - kl);
      store_up_to(p.by_first + k * p.pixels + at, by_first, n);
      store_up_to(p.by_second + k * p.pixels + at, by_second, n);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t label = p.labels[at + i];
      if (label != p.ignore) p.by_first[label * p.pixels + at + i] -= by_entropy[i];
      sums.damped += static_cast<double>(damped[i]);
      sums.spread += static_cast<double>(uncertainty[i]);
    }
  }
  return sums;
}

/// How many labels of the picture count.
std::int64_t labelled_pixels(const std::int64_t* labels, std::int64_t pixels, std::int64_t classes,
                             std::int64_t ignore) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < pixels; ++i) {
    if (labels[i] == ignore) continue;
    if (labels[i] < 0 || labels[i] >= classes) throw no_such_class(labels[i], classes);
    ++count;
  }
  return count;
}

}  // namespace

Failure no_such_class(std::int64_t label, std::int64_t classes) {
  return {"bad-index", c10::str("a label is ", label, ", but there are ", classes, " classes"),
          "labels count from 0; pixels that do not count have the label `ignore`"};
}

bool fits_pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                     const at::Tensor& rows) {
  const auto fits = [](const at::Tensor& x) {
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4;
  };
  return fits(first) && fits(second) && labels.device().is_cpu() && rows.device().is_cpu();
}

PixelPass pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                     const at::Tensor& rows, const PixelWeights& weights) {
  const at::Tensor f = first.detach().contiguous(), s = second.detach().contiguous(),
                   l = labels.to(at::kLong).contiguous(), counts = rows.contiguous();
  const std::int64_t classes = f.size(1), pixels = f.size(2) * f.size(3);
  PixelPass pass{at::zeros({f.size(0)}, at::kFloat), at::zeros({f.size(0)}, at::kFloat),
                 at::empty_like(f), at::empty_like(s)};
  std::vector<float> room(static_cast<std::size_t>(4 * classes * lanes));
  for (std::int64_t row = 0; row < f.size(0); ++row) {
    const std::int64_t from = row * classes * pixels;
    float* const by_first = pass.by_first.data_ptr<float>() + from;
    float* const by_second = pass.by_second.data_ptr<float>() + from;
    if (!counts.data_ptr<bool>()[row]) {
      std::fill_n(by_first, classes * pixels, 0.0f);
      std::fill_n(by_second, classes * pixels, 0.0f);
      continue;
    }
    const std::int64_t* const label = l.data_ptr<std::int64_t>() + row * pixels;
    const double labelled = static_cast<double>(
        std::max<std::int64_t>(1, labelled_pixels(label, pixels, classes, weights.ignore)));
    const double all = static_cast<double>(pixels);
    const PictureSums sums = picture_rows(
        {f.data_ptr<float>() + from, s.data_ptr<float>() + from, label, by_first, by_second,
         classes, pixels, static_cast<float>(weights.consistency / labelled),
         static_cast<float>(weights.uncertainty / all), static_cast<float>(weights.u_scale),
         weights.ignore},
        room.data());
    pass.damped.data_ptr<float>()[row] = static_cast<float>(sums.damped / labelled);
    pass.spread.data_ptr<float>()[row] = static_cast<float>(sums.spread / all);
  }
  return pass;
}

}  // namespace rewardloom
