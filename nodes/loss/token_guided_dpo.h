// DPO with token rewards from a guide (arXiv:2506.14574).
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/node.h"

namespace rewardloom {

struct TokenGuidedDpoOptions {
  double beta = 0.1;
  double alpha = 0.5;  ///< 0: DPO
};

/// r = beta (guide - ref) per token; logits = beta sum (1 + alpha r) (chosen - ref) - beta sum (1 -
/// alpha r) (rejected - ref); loss = mean over the step's pairs of -log sigmoid(logits).
/// chosen_log_probs, ref_chosen_log_probs, guide_chosen_log_probs [N,T]; the same for rejected
/// [N,T'], all 0 at padding -> loss []; losses [N], accuracy [].
LossResult token_guided_dpo_loss(const LossBatch& batch, const TokenGuidedDpoOptions& options);

}  // namespace rewardloom
