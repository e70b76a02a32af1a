// Forms of exponentials and logarithms that stay finite where the plain ones do not.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace rewardloom {

inline constexpr double kLargestExponent = 80;

/// exp(x) with x held at most 80: its square still fits float64, itself float32. The gradient is 0
/// beyond.
at::Tensor bounded_exp(const at::Tensor& x);

/// x within +-limit where there is one.
at::Tensor held_within(const at::Tensor& x, const std::optional<double>& limit);

/// log(1 - exp(x)) for x < 0 (Maechler 2012, "Accurately computing log(1 - exp(-|a|))"). Where x
/// is nearer to 0 than the spacing of its type, it is taken to be that far away.
at::Tensor log1mexp(const at::Tensor& x);

/// -(1 - smoothing) log sigmoid(x) - smoothing log sigmoid(-x).
at::Tensor logistic_loss(const at::Tensor& x, double smoothing = 0);

/// log softmax over the last dimension, at least -1e30: impossible tokens (logits of -inf) have
/// probability 0 and products with it are 0.
at::Tensor floored_log_softmax(const at::Tensor& logits);

}  // namespace rewardloom
