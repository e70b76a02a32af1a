#include "nodes/loss/masking.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>

#include "nodes/advantage/token_rows.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

bool on_cpu(const at::Tensor& mask, const at::Tensor& x) {
  return mask.device().is_cpu() && x.device().is_cpu() && x.sizes() == mask.sizes() &&
         mask.scalar_type() == at::kBool;
}

bool has_kernel(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
}

// Bits instead of products: 0 times what is not finite would not be 0.

REWARDLOOM_VECTORISED
void keep_bits(const bool* mask, const std::uint32_t* x, std::uint32_t* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] & (0 - std::uint32_t{mask[i]});
}

REWARDLOOM_VECTORISED
void keep_bits(const bool* mask, const std::uint64_t* x, std::uint64_t* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] & (0 - std::uint64_t{mask[i]});
}

at::Tensor kept_on_cpu(const at::Tensor& mask, const at::Tensor& x) {
  const at::Tensor from = x.contiguous(), m = mask.contiguous();
  at::Tensor out = at::empty_like(from, from.options().requires_grad(false));
  if (x.scalar_type() == at::kFloat) {
    keep_bits(m.data_ptr<bool>(), static_cast<const std::uint32_t*>(from.data_ptr()),
              static_cast<std::uint32_t*>(out.data_ptr()), from.numel());
  } else {
    keep_bits(m.data_ptr<bool>(), static_cast<const std::uint64_t*>(from.data_ptr()),
              static_cast<std::uint64_t*>(out.data_ptr()), from.numel());
  }
  return out;
}

struct OnMask : torch::autograd::Function<OnMask> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& mask) {
    context->save_for_backward({mask});
    return kept_on_cpu(mask, x);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    return {kept_on_cpu(context->get_saved_variables()[0], gradients[0]), at::Tensor()};
  }
};

double sum_of(const at::Tensor& mask, const at::Tensor& values) {
  const at::Tensor x = values.contiguous();
  const bool* const m = mask.data_ptr<bool>();
  const auto sum = [&](const auto* numbers) {
    return masked_sum(m, x.numel(),
                      [=](std::int64_t i) { return static_cast<double>(numbers[i]); });
  };
  if (x.scalar_type() == at::kFloat) return sum(x.data_ptr<float>());
  if (x.scalar_type() == at::kDouble) return sum(x.data_ptr<double>());
  const at::Tensor both = x.logical_and(mask);
  return static_cast<double>(count_tokens(both.data_ptr<bool>(), both.numel()));
}

}  // namespace

at::Tensor on_mask(const at::Tensor& mask, const at::Tensor& x) {
  if (!on_cpu(mask, x) || !has_kernel(x)) {
    return at::where(mask, x, at::zeros({}, x.options().requires_grad(false)));
  }
  if (!x.requires_grad() || !at::GradMode::is_enabled()) return kept_on_cpu(mask, x);
  return OnMask::apply(x, mask);
}

at::Tensor token_count(const at::Tensor& mask) {
  if (!on_cpu(mask, mask)) return mask.sum().to(at::kDouble);
  const at::Tensor m = mask.contiguous();
  return at::full({}, static_cast<double>(count_tokens(m.data_ptr<bool>(), m.numel())),
                  at::kDouble);
}

at::Tensor masked_mean(const at::Tensor& values, const at::Tensor& mask) {
  const bool number = at::isFloatingType(values.scalar_type());
  const at::ScalarType type = number ? values.scalar_type() : at::ScalarType(at::kFloat);
  const bool known = has_kernel(values) || values.scalar_type() == at::kBool;
  if (on_cpu(mask, values) && known) {
    const at::Tensor m = mask.contiguous();
    const double tokens = static_cast<double>(count_tokens(m.data_ptr<bool>(), m.numel()));
    return at::full({}, sum_of(m, values.detach()) / std::max(tokens, 1.0),
                    at::TensorOptions().dtype(type));
  }
  const at::Tensor numbers = values.detach().to(type);
  const at::Tensor kept = at::where(mask, numbers, at::zeros({}, numbers.options()));
  return kept.sum() / mask.sum().clamp_min(1);
}

}  // namespace rewardloom
