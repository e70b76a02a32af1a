// Losses that are means over rows or pairs: their arguments, their divisors, and what a step may
// not be cut into.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "engine/core/node.h"

namespace rewardloom {

/// An argument [N]. Failure `bad-shape` if it is not one-dimensional.
at::Tensor row_argument(const LossBatch& batch, std::string_view name);

/// An argument with the shape of `like`. Failure `bad-shape` naming both.
at::Tensor argument_like(const LossBatch& batch, std::string_view name, const at::Tensor& like,
                         std::string_view like_name);

/// The number of pairs of the whole optimizer step where the optimizer has said it.
std::optional<double> pairs_of_step(const LossBatch& batch);

/// Sum of values [N] / rows of the whole step (those that are here where it is not given) -> [].
at::Tensor row_mean(const at::Tensor& values, const LossBatch& batch);
/// As above, over pairs.
at::Tensor pair_mean(const at::Tensor& values, const LossBatch& batch);
/// The same of the sum [] over `here` rows or pairs.
at::Tensor row_mean_of(const at::Tensor& sum, double here, const LossBatch& batch);
at::Tensor pair_mean_of(const at::Tensor& sum, double here, const LossBatch& batch);
/// Mean of values [N] alone, as it is logged; 0 of none -> [].
at::Tensor plain_mean(const at::Tensor& values);
/// sum / total, and where that is not given / here [] (at least 1).
at::Tensor divided_by(const at::Tensor& sum, const std::optional<double>& total,
                      const at::Tensor& here);

/// Failure `not-separable` if the step has more rows than the `here` ones. `why` says what the loss
/// needs all of them for: "sorts over all pairs of a step".
void require_whole_step(const std::optional<double>& total, double here, std::string_view why);
/// As above for losses on tokens: rows with a token of mask [N,T] count.
void require_whole_step(const LossBatch& batch, const at::Tensor& mask, std::string_view why);

}  // namespace rewardloom
