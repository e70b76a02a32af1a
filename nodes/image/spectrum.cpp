#include "nodes/image/spectrum.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

/// Columns of one matrix product: small enough that products leave out most of what is 0 or known
/// by symmetry, large enough for the library to be fast.
constexpr std::int64_t kStrip = 256;

/// Calls f(first, count) for strips of 0..size-1.
template <class F>
void for_strips(std::int64_t size, F f) {
  for (std::int64_t i = 0; i < size; i += kStrip) f(i, std::min(kStrip, size - i));
}

/// The lower triangle of L^t B L, L lower triangular; two fifths of the work of full products.
at::Tensor lower_congruence(const at::Tensor& lower, const at::Tensor& b) {
  const std::int64_t size = lower.size(0);
  const auto column = [&](std::int64_t i, std::int64_t count) {
    return lower.narrow(0, i, size - i).narrow(1, i, count);  // what is not 0 of it
  };
  at::Tensor right = at::empty_like(b);
  for_strips(size, [&](std::int64_t i, std::int64_t count) {
    right.narrow(1, i, count).copy_(b.narrow(1, i, size - i).matmul(column(i, count)));
  });
  at::Tensor out = at::zeros_like(b);
  for_strips(size, [&](std::int64_t i, std::int64_t count) {
    const at::Tensor known = right.narrow(0, i, size - i).narrow(1, 0, i + count);
    out.narrow(0, i, count).narrow(1, 0, i + count).copy_(column(i, count).t().matmul(known));
  });
  return out;
}

/// Sum of the roots of the eigenvalues of A B, both covariances. With A = R R^t they are those of
/// R^t B R, which is symmetric: R is Cholesky's, which takes a tenth of the time, or for a singular
/// A that of its eigenvectors.
at::Tensor sum_of_roots(const at::Tensor& a, const at::Tensor& b) {
  const auto [lower, fault] = at::linalg_cholesky_ex(a);
  at::Tensor product;
  if (fault.item<std::int64_t>() == 0) {
    product = lower_congruence(lower, b);
  } else {
    const auto [values, vectors] = at::linalg_eigh(a, "L");
    const at::Tensor root = vectors.mul(values.clamp_min(0).sqrt().unsqueeze(0));
    product = root.t().matmul(b).matmul(root);
  }
  return at::linalg_eigvalsh(product, "L").clamp_min(0).sqrt().sum();
}

}  // namespace

double frechet_distance(const at::Tensor& mean, const at::Tensor& covariance,
                        const at::Tensor& other_mean, const at::Tensor& other_covariance) {
  const at::Tensor distance = (mean - other_mean).square().sum() + covariance.trace() +
                              other_covariance.trace() -
                              2 * sum_of_roots(covariance, other_covariance);
  return std::max(distance.item<double>(), 0.0);
}

at::Tensor covariance_of(const at::Tensor& rows, bool sample) {
  const at::Tensor centred = rows - rows.mean(0, true);
  const std::int64_t size = rows.size(1);
  at::Tensor lower = at::zeros({size, size}, rows.options());
  for_strips(size, [&](std::int64_t i, std::int64_t count) {
    const at::Tensor strip = centred.narrow(1, i, count).t();
    lower.narrow(0, i, count)
        .narrow(1, 0, i + count)
        .copy_(strip.matmul(centred.narrow(1, 0, i + count)));
  });
  return (lower.tril() + lower.tril(-1).t())
      .div_(static_cast<double>(rows.size(0) - (sample ? 1 : 0)));
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
