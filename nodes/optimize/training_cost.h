// What optimizer nodes say of their cost before a run, and how many rows they train at once.
#pragma once
#include <cstdint>

#include "nodes/optimize/optimizer_params.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/row_scores.h"

namespace rewardloom {

/// The micro-batch in units of `rows_per_unit` rows: the placement's, else 16, or with "auto" the
/// most that `memory_budget` holds, from the length of the longest row; then it is also a metric,
/// and `micro-batch-budget` is an alarm where one unit alone takes more.
std::int64_t micro_batch_of(Step& step, const OptimizerParams& params, const Decoder& decoder,
                            const TokenRows& rows, std::int64_t rows_per_unit);

/// Units that an optimizer node trains on.
struct TrainingRows {
  Extent rows;  ///< of all units
  std::int64_t rows_per_unit = 1;
  bool whole_step = false;  ///< the losses see a step at once: several micro-batches take one more
                            ///< forward pass
};
/// The cost of training. Failure `estimate` where nothing is known of the rows.
void state_training(Estimate& estimate, const LanguageModelFacts& model,
                    const OptimizerParams& params, const TrainingRows& training);

}  // namespace rewardloom
