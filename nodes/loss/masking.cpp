#include "nodes/loss/masking.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>

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

template <class T>
REWARDLOOM_INLINE double sum_on_mask(const bool* mask, const T* x, std::int64_t count) {
  double lanes[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) lanes[j] += mask[i + j] ? static_cast<double>(x[i + j]) : 0.0;
  }
  for (; i < count; ++i) lanes[i & 7] += mask[i] ? static_cast<double>(x[i]) : 0.0;
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

REWARDLOOM_VECTORISED
double sum_of_numbers(const bool* mask, const float* x, std::int64_t count) {
  return sum_on_mask(mask, x, count);
}

REWARDLOOM_VECTORISED
double sum_of_numbers(const bool* mask, const double* x, std::int64_t count) {
  return sum_on_mask(mask, x, count);
}

REWARDLOOM_VECTORISED
std::int64_t counted(const bool* mask, std::int64_t count) {
  std::int64_t tokens = 0;
  // In bytes first: a vector of them holds 255 additions.
  for (std::int64_t first = 0; first < count; first += 255 * 64) {
    const std::int64_t last = std::min<std::int64_t>(count, first + 255 * 64);
    std::uint8_t lanes[64] = {};
    std::int64_t i = first;
    for (; i + 64 <= last; i += 64) {
      for (int j = 0; j < 64; ++j) lanes[j] = static_cast<std::uint8_t>(lanes[j] + mask[i + j]);
    }
    for (; i < last; ++i) tokens += mask[i];
    for (const std::uint8_t lane : lanes) tokens += lane;
  }
  return tokens;
}

double sum_of(const at::Tensor& mask, const at::Tensor& values) {
  const at::Tensor x = values.contiguous();
  const bool* const m = mask.data_ptr<bool>();
  if (x.scalar_type() == at::kFloat) return sum_of_numbers(m, x.data_ptr<float>(), x.numel());
  if (x.scalar_type() == at::kDouble) return sum_of_numbers(m, x.data_ptr<double>(), x.numel());
  const at::Tensor both = x.logical_and(mask);
  return static_cast<double>(counted(both.data_ptr<bool>(), both.numel()));
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
  return at::full({}, static_cast<double>(counted(m.data_ptr<bool>(), m.numel())), at::kDouble);
}

at::Tensor tokens_per_row(const at::Tensor& mask) {
  if (!on_cpu(mask, mask) || mask.dim() != 2) return mask.sum(-1).to(at::kDouble);
  const at::Tensor m = mask.contiguous();
  at::Tensor out = at::empty({m.size(0)}, at::kDouble);
  for (std::int64_t row = 0; row < m.size(0); ++row) {
    out.data_ptr<double>()[row] =
        static_cast<double>(counted(m.data_ptr<bool>() + row * m.size(1), m.size(1)));
  }
  return out;
}

at::Tensor masked_mean(const at::Tensor& values, const at::Tensor& mask) {
  const bool number = at::isFloatingType(values.scalar_type());
  const at::ScalarType type = number ? values.scalar_type() : at::ScalarType(at::kFloat);
  const bool known = has_kernel(values) || values.scalar_type() == at::kBool;
  if (on_cpu(mask, values) && known) {
    const at::Tensor m = mask.contiguous();
    const double tokens = static_cast<double>(counted(m.data_ptr<bool>(), m.numel()));
    return at::full({}, sum_of(m, values.detach()) / std::max(tokens, 1.0),
                    at::TensorOptions().dtype(type));
  }
  const at::Tensor numbers = values.detach().to(type);
  const at::Tensor kept = at::where(mask, numbers, at::zeros({}, numbers.options()));
  return kept.sum() / mask.sum().clamp_min(1);
}

}  // namespace rewardloom
