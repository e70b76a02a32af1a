#include "nodes/loss/unpaired.h"

#include <torch/types.h>

#include <algorithm>

#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

REWARDLOOM_VECTORISED
PassSums difference_rows(const PassPlaces& places) {
  return each_row<1>(
      places, [](const PassLanes& rows) __attribute__((always_inline)) {
        return PassTerms<1>{{rows.in[0] - rows.in[1], {}}};
      });
}

}  // namespace

UnpairedRows unpaired_rows(const LossBatch& batch) {
  const at::Tensor log_probs = row_argument(batch, "log_probs");
  const at::Tensor reference = argument_like(batch, "ref_log_probs", log_probs, "log_probs");
  const at::Tensor desirable = argument_like(batch, "desirable", log_probs, "log_probs");
  return {log_probs, reference.detach(), desirable.to(at::kBool)};
}

at::Tensor mean_over(const at::Tensor& values, const at::Tensor& rows) {
  const at::Tensor kept =
      at::where(rows, values, at::zeros({}, values.options().requires_grad(false)));
  return kept.sum() / rows.sum().clamp_min(1).to(values.scalar_type());
}

at::Tensor mean_difference(const at::Tensor& a, const at::Tensor& b) {
  const double rows = std::max<double>(1, static_cast<double>(a.numel()));
  if (!fits_row_pass({a, b})) return (a - b).detach().sum() / rows;
  const LossPass pass({a, b}, {}, {.trained = 0});
  return logged_number(difference_rows(pass.places()).loss / rows);
}

at::Tensor by_class(const at::Tensor& desirable, double yes, double no, const at::Tensor& like) {
  const auto number = [&](double x) {
    return at::full({}, x, like.options().requires_grad(false));
  };
  return at::where(desirable, number(yes), number(no));
}

}  // namespace rewardloom
