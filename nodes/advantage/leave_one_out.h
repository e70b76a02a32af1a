// Leave-one-out advantages: RLOO (Ahmadian et al. 2024, arXiv:2402.14740).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"

namespace rewardloom {

enum class LeaveOneOutScale { none, leave_one_out_std };
constexpr auto choices(LeaveOneOutScale) {
  return std::to_array<Choice<LeaveOneOutScale>>({
      {LeaveOneOutScale::none, "none", "not divided (RLOO)"},
      {LeaveOneOutScale::leave_one_out_std, "leave_one_out_std",
       "sample spread of the others, as NeMo-RL does"},
  });
}

struct LeaveOneOutOptions {
  LeaveOneOutScale scale = LeaveOneOutScale::none;
  double epsilon = 1e-6;
  Singleton singleton = Singleton::zero;
};

struct LeaveOneOutAdvantages {
  at::Tensor advantages;  ///< [N]
  at::Tensor baseline;    ///< [N] mean of the others
  at::Tensor spread;      ///< [N] sample standard deviation of the others, 0 for fewer than two
};

/// A = r - mean of the other rows of its group. rewards [N], group [N] int64, absent [N] bool or
/// undefined: such rows are among nobody's others and get 0, as do those whose divisor is 0. Linear
/// in N and free of cancellation: the moments of the others follow from those of the group, but for
/// a row that dominates its group.
LeaveOneOutAdvantages leave_one_out_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                               const at::Tensor& absent,
                                               const LeaveOneOutOptions& options);

}  // namespace rewardloom
