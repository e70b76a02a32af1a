#include "nodes/loss/log_space.h"

#include <torch/types.h>

#include <cmath>
#include <limits>

namespace rewardloom {
namespace {

constexpr double kLowestLogProb = -1e30;

double spacing(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble
             ? std::numeric_limits<double>::epsilon()
             : static_cast<double>(std::numeric_limits<float>::epsilon());
}

}  // namespace

at::Tensor bounded_exp(const at::Tensor& x) { return x.clamp_max(kLargestExponent).exp(); }

at::Tensor held_within(const at::Tensor& x, const std::optional<double>& limit) {
  return limit ? x.clamp(-*limit, *limit) : x;
}

at::Tensor log1mexp(const at::Tensor& x) {
  const at::Tensor below = x.clamp_max(-spacing(x));
  const at::Tensor near_zero = below > -std::log(2.0);
  // Each branch sees only arguments that are its own, or its gradient would be 0 * inf elsewhere.
  const at::Tensor one = at::full({}, -1.0, x.options().requires_grad(false));
  const at::Tensor near = (-at::where(near_zero, below, one).expm1()).log();
  const at::Tensor far = (-at::where(near_zero, one, below).exp()).log1p();
  return at::where(near_zero, near, far);
}

at::Tensor logistic_loss(const at::Tensor& x, double smoothing) {
  const at::Tensor right = -at::log_sigmoid(x);
  if (smoothing == 0) return right;
  return (1 - smoothing) * right - smoothing * at::log_sigmoid(-x);
}

at::Tensor floored_log_softmax(const at::Tensor& logits) {
  return logits.log_softmax(-1).clamp_min(kLowestLogProb);
}

}  // namespace rewardloom
