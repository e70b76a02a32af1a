#include "nodes/advantage/returns.h"

#include <torch/types.h>

namespace rewardloom {
namespace {

template <class T>
at::Tensor returns_of_rows(const at::Tensor& rewards, const at::Tensor& mask, double gamma,
                           const ParallelCalls& parallel) {
  at::Tensor out = at::empty_like(rewards);
  const std::int64_t tokens = rewards.size(1);
  for_rows(rewards.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T* const r = row_of<const T>(rewards, row);
      const bool* const m = row_of<const bool>(mask, row);
      T* const g = row_of<T>(out, row);
      double later = 0;
      for (std::int64_t t = tokens; t-- > 0;) {
        const bool in = m[t];
        later = static_cast<double>(kept(r[t], in)) + gamma * later;
        g[t] = kept(static_cast<T>(later), in);
      }
    }
  });
  return out;
}

}  // namespace

at::Tensor discounted_returns_by_scan(const at::Tensor& rewards, const at::Tensor& mask,
                                      double gamma) {
  require_matrix("rewards", rewards);
  const at::Tensor where = checked_mask(mask, "rewards", rewards.sizes());
  const at::Tensor zero = at::zeros({}, rewards.options().dtype(at::kDouble));
  const at::Tensor kept = at::where(where, rewards.to(at::kDouble), zero);
  const at::Tensor sums = gamma == 1 ? kept.flip(-1).cumsum(-1).flip(-1)
                                     : reverse_scan(at::full_like(kept, gamma), kept);
  return at::where(where, sums, zero).to(rewards.scalar_type());
}

at::Tensor discounted_returns(const at::Tensor& rewards, const at::Tensor& mask, double gamma,
                              const ParallelCalls& parallel) {
  if (!rewards.is_cpu()) return discounted_returns_by_scan(rewards, mask, gamma);
  require_matrix("rewards", rewards);
  const at::Tensor where = checked_mask(mask, "rewards", rewards.sizes());
  const at::ScalarType type = working_type({rewards});
  const at::Tensor r = prepared(rewards, type);
  const at::Tensor out = type == at::kDouble ? returns_of_rows<double>(r, where, gamma, parallel)
                                             : returns_of_rows<float>(r, where, gamma, parallel);
  return out.to(rewards.scalar_type());
}

}  // namespace rewardloom
