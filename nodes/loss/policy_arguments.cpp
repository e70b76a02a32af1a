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
  rows.advantages = at::where(rows.mask, advantages, at::zeros({}, advantages.options()));
  return rows;
}

}  // namespace rewardloom
