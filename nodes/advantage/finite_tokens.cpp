#include "nodes/advantage/finite_tokens.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

void refuse_first(const NamedTokens& input, const at::Tensor& bad) {
  at::Tensor counted = bad;
  if (input.where.defined()) counted = counted.logical_and(input.where);
  if (input.left_out.defined()) counted = counted.logical_and(input.left_out.logical_not());
  const at::Tensor places = counted.nonzero();
  if (places.size(0) == 0) return;
  const std::int64_t row = places[0][0].item<std::int64_t>();
  const std::int64_t token = places[0][1].item<std::int64_t>();
  throw Failure(
      {Severity::error,
       "not-finite",
       {"", "", input.name},
       fmt::format("row {} is {} at token {}", row, input.values[row][token].item<double>(), token),
       "look at the node that gave it",
       {}});
}

}  // namespace

at::Tensor row_starts(const at::Tensor& values, const at::Tensor& mask) {
  if (!values.is_cpu() || values.numel() == 0) return values;
  if (!mask.defined()) return values.narrow(1, 0, 1);
  const at::Tensor inside = mask.to(at::kBool).contiguous();
  const std::int64_t tokens = values.size(1);
  at::Tensor first = at::empty({values.size(0), 1}, at::dtype(at::kLong));
  for (std::int64_t row = 0; row < values.size(0); ++row) {
    const bool* const in = row_of<const bool>(inside, row);
    const bool* const found = std::find(in, in + tokens, true);
    first.data_ptr<std::int64_t>()[row] = found == in + tokens ? 0 : found - in;
  }
  return values.gather(1, first);
}

void require_finite_tokens(const at::Tensor& result, std::initializer_list<NamedTokens> inputs) {
  if (std::isfinite(result.sum().item<double>())) return;
  for (const NamedTokens& input : inputs) {
    if (input.values.defined()) refuse_first(input, input.values.isnan());
  }
  for (const NamedTokens& input : inputs) {
    if (input.values.defined()) refuse_first(input, input.values.isinf());
  }
}

}  // namespace rewardloom
