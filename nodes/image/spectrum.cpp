#include "nodes/image/spectrum.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

/// R with R R^t = the covariance: Cholesky's, which takes a tenth of the time, or for a singular one
/// that of its eigenvectors.
at::Tensor root_of(const at::Tensor& covariance) {
  const auto [lower, fault] = at::linalg_cholesky_ex(covariance);
  if (fault.item<std::int64_t>() == 0) return lower;
  const auto [values, vectors] = at::linalg_eigh(covariance, "L");
  return vectors.mul(values.clamp_min(0).sqrt().unsqueeze(0));
}

}  // namespace

double frechet_distance(const at::Tensor& mean, const at::Tensor& covariance,
                        const at::Tensor& other_mean, const at::Tensor& other_covariance) {
  const at::Tensor root = root_of(covariance);
  const at::Tensor product = root.t().matmul(other_covariance).matmul(root);
  const at::Tensor shared =
      at::linalg_eigvalsh(0.5 * (product + product.t()), "L").clamp_min(0).sqrt().sum();
  const at::Tensor distance = (mean - other_mean).square().sum() + covariance.trace() +
                              other_covariance.trace() - 2 * shared;
  return std::max(distance.item<double>(), 0.0);
}

at::Tensor covariance_of(const at::Tensor& rows, bool sample) {
  const at::Tensor centred = rows - rows.mean(0, true);
  return centred.t().matmul(centred) / static_cast<double>(rows.size(0) - (sample ? 1 : 0));
}

namespace {

/// exp of the Renyi entropy of order q of eigenvalues that sum to 1.
double effective_number(const at::Tensor& eigenvalues, double q) {
  const double* const p = eigenvalues.data_ptr<double>();
  const std::int64_t count = eigenvalues.numel();
  // What rounding leaves of an eigenvalue 0; it matters for small q.
  const double nothing = 16 * static_cast<double>(count) * std::numeric_limits<double>::epsilon();
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (p[i] <= nothing) continue;
    sum += q == 1 ? -p[i] * std::log(p[i]) : std::pow(p[i], q);
  }
  return q == 1 ? std::exp(sum) : std::pow(sum, 1 / (1 - q));
}

}  // namespace

double vendi_score(const at::Tensor& kernel, double q) {
  const at::Tensor scaled = kernel / static_cast<double>(kernel.size(0));
  return effective_number(at::linalg_eigvalsh(0.5 * (scaled + scaled.t()), "L").contiguous(), q);
}

double vendi_score_of_rows(const at::Tensor& rows, double q) {
  const at::Tensor norms = rows.square().sum(-1, true).sqrt();
  const at::Tensor unit = rows / norms;
  const at::Tensor small =
      rows.size(1) < rows.size(0) ? unit.t().matmul(unit) : unit.matmul(unit.t());
  const at::Tensor scaled = small / static_cast<double>(rows.size(0));
  return effective_number(at::linalg_eigvalsh(scaled, "L").contiguous(), q);
}

}  // namespace rewardloom
