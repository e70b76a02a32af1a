// Values whose derivatives were computed with them. They have no second derivative: to ask for it
// is an error of autograd.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// `value` as a function of `input`, where derivative = d value / d input is known. The value has
/// the sizes of the input, or lacks its last dimension and is the same for all of that.
at::Tensor with_derivative(const at::Tensor& value, const at::Tensor& input,
                           const at::Tensor& derivative);

/// The same of two inputs. The second one may be undefined, a derivative where its input does not
/// move.
at::Tensor with_derivatives(const at::Tensor& value, const at::Tensor& first,
                            const at::Tensor& by_first, const at::Tensor& second,
                            const at::Tensor& by_second);

}  // namespace rewardloom
