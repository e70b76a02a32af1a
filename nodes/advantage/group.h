// Group-relative advantages: GRPO (Shao et al. 2024, arXiv:2402.03300) and its published variants.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "engine/core/node.h"

namespace rewardloom {

enum class GroupScale { group_std, batch_std, none };
constexpr auto choices(GroupScale) {
  return std::to_array<Choice<GroupScale>>({
      {GroupScale::group_std, "group_std", "the spread of the row's own group (GRPO)"},
      {GroupScale::batch_std, "batch_std", "the spread of all rewards of the batch"},
      {GroupScale::none, "none", "nothing (Dr.GRPO, arXiv:2503.20783)"},
  });
}

enum class Divisor { sample, population };
constexpr auto choices(Divisor) {
  return std::to_array<Choice<Divisor>>({
      {Divisor::sample, "sample", "divisor n - 1"},
      {Divisor::population, "population", "divisor n"},
  });
}

enum class Singleton { zero, raw };
constexpr auto choices(Singleton) {
  return std::to_array<Choice<Singleton>>({
      {Singleton::zero, "zero", "no baseline, so no signal: 0"},
      {Singleton::raw, "raw", "the reward itself, as verl does"},
  });
}

struct GroupAdvantageOptions {
  GroupScale scale = GroupScale::group_std;
  Divisor divisor = Divisor::sample;
  double epsilon = 1e-6;
  Singleton singleton = Singleton::zero;
  std::optional<double> clip = {};
};

struct GroupAdvantages {
  at::Tensor advantages;  ///< [N], dtype of the rewards
  std::size_t groups = 0;
  std::size_t constant = 0;  ///< groups in which all rewards are equal, those of one row included
};

/// A = (r - mean of its group) / (spread + epsilon). rewards [N], group [N] int64, absent [N] bool
/// or undefined: such rows are in no moment and get 0. A group of equal rewards gets exactly 0.
GroupAdvantages group_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const GroupAdvantageOptions& options);

/// [N] doubles as a tensor like `rewards` in dtype and device.
at::Tensor like_rewards(const std::vector<double>& values, const at::Tensor& rewards);
at::Tensor like_rewards(const at::Tensor& values, const at::Tensor& rewards);

}  // namespace rewardloom
