#include "nodes/loss/unpaired.h"

#include <torch/types.h>

#include "nodes/loss/row_terms.h"

namespace rewardloom {

UnpairedRows unpaired_rows(const LossBatch& batch) {
  const at::Tensor log_probs = row_argument(batch, "log_probs");
  const at::Tensor reference = argument_like(batch, "ref_log_probs", log_probs, "log_probs");
  const at::Tensor desirable = argument_like(batch, "desirable", log_probs, "log_probs");
  return {log_probs - reference.detach(), desirable.to(at::kBool)};
}

at::Tensor mean_over(const at::Tensor& values, const at::Tensor& rows) {
  const at::Tensor kept =
      at::where(rows, values, at::zeros({}, values.options().requires_grad(false)));
  return kept.sum() / rows.sum().clamp_min(1).to(values.scalar_type());
}

}  // namespace rewardloom
