// A policy without a network: for each position a table of logits over the tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "engine/core/port_types.h"

namespace rewardloom {

/// K independent policies side by side, each with its own table.
class TablePolicy final : public HandleState {
 public:
  static std::string kind_name() { return "table policy"; }
  std::string kind() const override { return kind_name(); }
  void save(Package& out) const override;
  void load(const Package& in) override;

  bool empty() const { return !logits.defined(); }
  /// All K policies are the prior [V] at each of `length` positions. Failure `bad-prior`.
  void start(const at::Tensor& prior, std::int64_t copies, std::int64_t length);

  at::Tensor logits;     ///< [K,T,V] double
  at::Tensor log_prior;  ///< [V] double: the reference, at every position
};

struct TableGradient {
  at::Tensor loss;      ///< [K] double
  at::Tensor kl;        ///< [K] double: to the prior, summed over positions
  at::Tensor gradient;  ///< [K,T,V] double, of the sum of the losses with respect to the logits
};

/// REINFORCE with the exact divergence: for each copy k
///   loss = - mean over its rows of A_i sum_t log pi(x_it) + beta sum_t KL(pi_t || prior).
/// logits [K,T,V], log_prior [V], tokens [N,T] int64, copy [N] int64 in 0..K-1, advantages [N].
/// The mean is over the rows that a copy has; a copy without rows has the divergence alone.
TableGradient table_gradient(const at::Tensor& logits, const at::Tensor& log_prior,
                             const at::Tensor& tokens, const at::Tensor& copy,
                             const at::Tensor& advantages, double beta);

}  // namespace rewardloom
