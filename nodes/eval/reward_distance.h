// How far apart two reward functions of one MDP are: EPIC (Gleave et al. 2021, arXiv:2006.13900),
// DARD (Wulfe et al. 2022, arXiv:2201.10081), STARC (Skalse et al. 2024, arXiv:2309.15257). Reward
// tables R and transition probabilities T are [S,A,S] doubles: state, action, next state.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "engine/core/node.h"

namespace rewardloom {

enum class Canonical { none, epic, dard, val, val_potential };
constexpr auto choices(Canonical) {
  return std::to_array<Choice<Canonical>>({
      {Canonical::none, "none", "the table as it is"},
      {Canonical::epic, "epic", "potential shaping removed under uniform states and actions"},
      {Canonical::dard, "dard", "the same with the transitions of the MDP"},
      {Canonical::val, "val",
       "potential shaping and redistribution over next states removed, by the uniform policy's "
       "value (a STARC canonicalisation)"},
      {Canonical::val_potential, "val_potential", "potential shaping removed by that value"},
  });
}

enum class TableNorm { none, l1, l2, linf, weighted_l1, weighted_l2, weighted_linf };
constexpr auto choices(TableNorm) {
  return std::to_array<Choice<TableNorm>>({
      {TableNorm::none, "none", "1: tables are not normalised"},
      {TableNorm::l1, "l1", "sum of absolute values"},
      {TableNorm::l2, "l2", "root of the sum of squares"},
      {TableNorm::linf, "linf", "largest absolute value"},
      {TableNorm::weighted_l1, "weighted_l1", "sum of T |R|"},
      {TableNorm::weighted_l2, "weighted_l2", "root of the sum of T R^2"},
      {TableNorm::weighted_linf, "weighted_linf", "largest T |R|"},
  });
}

enum class TableMetric { l1, l2, linf };
constexpr auto choices(TableMetric) {
  return std::to_array<Choice<TableMetric>>({
      {TableMetric::l1, "l1", "sum of absolute differences"},
      {TableMetric::l2, "l2", "Euclidean distance"},
      {TableMetric::linf, "linf", "largest absolute difference"},
  });
}

enum class EpicForm { pearson, lp };
constexpr auto choices(EpicForm) {
  return std::to_array<Choice<EpicForm>>({
      {EpicForm::pearson, "pearson", "sqrt((1 - correlation) / 2) of the canonical tables"},
      {EpicForm::lp, "lp", "half the Lp distance of the normalised canonical tables, as means"},
  });
}

/// The value [S] of the uniform policy, by a linear solve. gamma < 1.
at::Tensor uniform_value(const at::Tensor& reward, const at::Tensor& transitions, double gamma);

/// The canonical table [S,A,S]. `transitions` may be undefined for none and epic.
at::Tensor canonical_reward(const at::Tensor& reward, const at::Tensor& transitions, double gamma,
                            Canonical form);

/// `transitions` is used by the weighted norms alone.
double table_norm(const at::Tensor& table, const at::Tensor& transitions, TableNorm norm);

/// The table over its norm; unchanged if the norm is 0 (every policy is equally good).
at::Tensor normalised(const at::Tensor& table, double norm);

double table_distance(const at::Tensor& a, const at::Tensor& b, TableMetric metric);

/// EPIC distance of two tables, 0 to 1. Failure `constant-reward` where the Pearson form has no
/// correlation because one canonical table is 0 and the other is not.
double epic_distance(const at::Tensor& reward, const at::Tensor& other, double gamma, EpicForm form,
                     std::int64_t p);

/// Failure `bad-shape` unless the table is [S,A,S].
void require_reward_table(const at::Tensor& table, const char* what);
/// Failure `bad-transitions` naming the first (s,a) whose row is negative or does not sum to 1.
void require_transitions(const at::Tensor& transitions);

}  // namespace rewardloom
