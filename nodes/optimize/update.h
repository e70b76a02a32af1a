// Optimizer steps of a language model: losses over micro-batches, gradients
// added up in a fixed order.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"
#include "nodes/optimize/adamw.h"
#include "nodes/optimize/descent.h"
#include "nodes/text/language_model.h"
#include "nodes/text/row_scores.h"

namespace rewardloom {

/// A loss by name, with row-aligned tensors [N,...] of its own.
struct UpdateTerm {
  std::string name;
  const LossFunction* function = nullptr;
  std::vector<std::pair<std::string, at::Tensor>> data;
  /// Whether the loss asks for an argument of that name.
  bool takes(std::string_view argument) const;
};
std::vector<UpdateTerm> update_terms(const InputList<LossTerm>& given);

struct UpdateRows {
  TokenRows tokens;
  at::Tensor behaviour_log_probs;  ///< [N,T]; undefined where nothing was sampled
  /// Row-aligned tensors [N,...] handed to the losses, e.g. old_log_probs,
  /// advantages.
  std::vector<std::pair<std::string, at::Tensor>> arguments;
};

struct UpdateOptions : DescentOptions {
  SamplingOptions sampling;  ///< the distribution whose log-probs are trained
};

/// Sums over all optimizer steps of one firing.
struct UpdateReport : DescentReport {
  double loss = 0;     ///< mean over optimizer steps
  double entropy = 0;  ///< mean over tokens, as are the next two
  double old_minus_new = 0;
  double tokens = 0;
  /// Before the first optimizer step: training log-probs against behaviour
  /// log-probs.
  double mismatch_largest = 0;
  double mismatch_mean_ratio = 1;  ///< mean e^|difference|
  std::int64_t mismatch_tokens = 0;
  std::map<std::string, double> outputs;  ///< "term/output": mean over tokens
};

/// Trains `model`. The loss of an optimizer step is the sum of its
/// micro-batches' losses, which are given the step's counts of tokens and rows;
/// gradients are added up in an order that depends on the rows alone, so that
/// neither threads nor micro-batches change the result (the latter beyond
/// rounding). A step whose gradient is not finite is skipped.
UpdateReport update(Step& step, LanguageModel& model, AdamW& optimizer, const UpdateRows& rows,
                    const std::vector<UpdateTerm>& terms, const UpdateOptions& options);

/// Metrics under their usual names, and alarms for what should not happen.
void report_update(Step& step, const UpdateReport& report, double mismatch_limit);

}  // namespace rewardloom
