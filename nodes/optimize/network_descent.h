// Optimizer steps of a small network: micro-batches side by side, gradients added up in a fixed
// order.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nodes/image/network.h"
#include "nodes/optimize/descent.h"
#include "nodes/optimize/update.h"

namespace rewardloom {

/// A part of an optimizer step.
struct NetworkBatch {
  at::Tensor rows;          ///< [n] int64
  double total = 0;         ///< rows of the whole step: losses are sums over `rows` divided by it
  bool first = true;        ///< of the first optimizer step: the weights are still those before it
  std::uint64_t order = 0;  ///< counts the optimizer steps: for random numbers
};

class NetworkObjective {
 public:
  virtual ~NetworkObjective() = default;
  virtual std::int64_t rows() const = 0;
  /// The loss [] of these rows; numbers that are recorded are added to `into.sums`, where
  /// "mean:..." is a sum over rows. Called from several threads at once.
  virtual at::Tensor loss(const TensorMap& weights, const NetworkBatch& batch,
                          Gathered& into) const = 0;
};

/// Trains `network`; a step whose gradient is not finite is skipped. Gradients are added up in an
/// order that depends on the rows alone. Report: sums "loss" is the sum over optimizer steps.
DescentReport descend_network(Step& step, Network& network, AdamW& optimizer,
                              const NetworkObjective& objective, const DescentOptions& options);

/// loss and what the objective recorded (means over rows), grad_norm, lr, ... under `prefix`, and
/// the alarms of report_descent.
void report_network(Step& step, const std::string& prefix, const DescentReport& report,
                    std::int64_t rows);

/// The gradients that `loss` gives the leaves, added to `into`.
void add_gradients(const at::Tensor& loss, TensorMap& leaves, TensorMap& into);

/// Sum of the terms on `shared` with each term's own rows; losses and outputs are recorded.
at::Tensor evaluate_terms(const std::vector<UpdateTerm>& terms, const LossBatch& shared,
                          const at::Tensor& rows, Gathered& into);

/// False where a connected `turn` says that another trains now.
bool has_turn(Step& step, const Optional<Scalar>& turn);

}  // namespace rewardloom
