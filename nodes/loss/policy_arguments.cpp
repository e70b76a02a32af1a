#include "nodes/loss/policy_arguments.h"

#include <torch/types.h>

namespace rewardloom {

PolicyRows policy_rows(const LossBatch& batch) {
  PolicyRows rows;
  rows.mask = mask_argument(batch);
  rows.log_probs = masked_argument(batch, "log_probs", rows.mask);
  rows.old_log_probs = masked_argument(batch, "old_log_probs", rows.mask).detach();
  const at::Tensor advantages =
      advantages_argument(batch, rows.mask).to(rows.log_probs.scalar_type());
  // Rows of tokens are masked already.
  rows.advantages = batch.at("advantages").sizes() == rows.mask.sizes()
                        ? advantages
                        : on_mask(rows.mask, advantages.expand_as(rows.log_probs));
  return rows;
}

PolicyRows unmasked_policy_rows(const LossBatch& batch) {
  PolicyRows rows;
  rows.mask = mask_argument(batch);
  rows.log_probs = token_argument(batch, "log_probs", rows.mask);
  rows.old_log_probs = token_argument(batch, "old_log_probs", rows.mask).detach();
  rows.advantages = unmasked_advantages(batch, rows.mask)
                        .to(rows.log_probs.scalar_type())
                        .expand_as(rows.log_probs);
  return rows;
}

}  // namespace rewardloom
