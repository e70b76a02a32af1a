#include "nodes/loss/row_pass.h"

#include <torch/types.h>

#include "nodes/loss/known_derivative.h"

namespace rewardloom {
bool fits_row_pass(std::initializer_list<at::Tensor> inputs, const at::Tensor& flag) {
  if (flag.defined() && (!flag.device().is_cpu() || flag.sizes() != inputs.begin()->sizes())) {
    return false;
  }
  return std::all_of(inputs.begin(), inputs.end(), [&](const at::Tensor& x) {
    return !x.defined() || (x.device().is_cpu() && x.scalar_type() == at::kFloat &&
                            x.sizes() == inputs.begin()->sizes());
  });
}

at::Tensor logged_number(double x) { return at::scalar_tensor(x, at::kFloat); }

LossPass::LossPass(std::initializer_list<at::Tensor> inputs, const at::Tensor& flag,
                   const Wanted& wanted) {
  const bool learning = at::GradMode::is_enabled();
  const at::AutoGradMode constants(false);
  const at::Tensor& first = *inputs.begin();
  places_.count = first.numel();
  std::size_t k = 0;
  for (const at::Tensor& input : inputs) {
    if (input.defined()) {
      inputs_[k] = input.contiguous();
      places_.in[k] = static_cast<const float*>(inputs_[k].data_ptr());
    }
    if (k < static_cast<std::size_t>(wanted.trained)) trained_[k] = input;
    ++k;
  }
  if (flag.defined()) {
    flag_ = flag.contiguous();
    places_.flag = flag_.data_ptr<bool>();
  }
  const auto fresh = [&](at::Tensor& tensor) {
    tensor = at::empty(first.sizes(), at::kFloat);
    return static_cast<float*>(tensor.data_ptr());
  };
  if (wanted.losses) places_.loss = fresh(losses_);
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    const bool moves = learning && trained_[i].defined() && trained_[i].requires_grad();
    if (moves) places_.derivative[i] = fresh(derivatives_[i]);
  }
  for (int i = 0; i < wanted.logged; ++i) {
    places_.logged[static_cast<std::size_t>(i)] = fresh(logged_[static_cast<std::size_t>(i)]);
  }
}

at::Tensor LossPass::sum() const {
  return with_derivatives(logged_number(sums_.loss), trained_[0], derivatives_[0], trained_[1],
                          derivatives_[1]);
}

}  // namespace rewardloom
