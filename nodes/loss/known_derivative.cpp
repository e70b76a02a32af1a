#include "nodes/loss/known_derivative.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/types.h>

#include <array>
#include <memory>

namespace rewardloom {
namespace {

using Derivatives = std::array<at::Tensor, 2>;

bool moves(const at::Tensor& input) { return input.defined() && input.requires_grad(); }

/// The derivative is a constant of the graph, so a second one would be wrong without a word: asking
/// for it is an error.
at::Tensor once_differentiable(const at::Tensor& gradient) {
  if (!at::GradMode::is_enabled()) return gradient;
  const auto refusal = std::make_shared<torch::autograd::DelayedError>(
      "this loss has no second derivative: its gradient was computed with its value, as a constant",
      1);
  return (*refusal)({gradient.detach().requires_grad_(true)})[0];
}

struct KnownDerivative : torch::autograd::Function<KnownDerivative> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                            const c10::optional<at::Tensor>&, const at::Tensor& value,
                            const Derivatives& derivatives) {
    context->save_for_backward({derivatives[0], derivatives[1]});
    return value.view_as(value);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    torch::autograd::tensor_list out(4);
    const torch::autograd::tensor_list derivatives = context->get_saved_variables();
    for (std::size_t k = 0; k < derivatives.size(); ++k) {
      const at::Tensor& by = derivatives[k];
      if (!by.defined()) continue;
      const bool of_each = gradients[0].dim() > 0 && gradients[0].dim() < by.dim();
      out[k] = once_differentiable(by * (of_each ? gradients[0].unsqueeze(-1) : gradients[0]));
    }
    return out;
  }
};

}  // namespace

at::Tensor with_derivative(const at::Tensor& value, const at::Tensor& input,
                           const at::Tensor& derivative) {
  return with_derivatives(value, input, derivative, {}, {});
}

at::Tensor with_derivatives(const at::Tensor& value, const at::Tensor& first,
                            const at::Tensor& by_first, const at::Tensor& second,
                            const at::Tensor& by_second) {
  if (!at::GradMode::is_enabled() || (!moves(first) && !moves(second))) return value;
  const auto other = second.defined() ? c10::make_optional(second) : c10::nullopt;
  return KnownDerivative::apply(first, other, value, Derivatives{by_first, by_second});
}

}  // namespace rewardloom
