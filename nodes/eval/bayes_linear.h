// Bayesian linear regression with a Gaussian prior and known noise (Bishop 2006, section 3.3), the
// sampler of the analytic model of best-of-k (arXiv:2512.19905).
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct LinearPosterior {
  at::Tensor mean;        ///< [D]
  at::Tensor covariance;  ///< [D,D]
};
struct LinearPrediction {
  at::Tensor mean;  ///< [M]
  at::Tensor std;   ///< [M] of the target: weight uncertainty and noise
};

/// inputs [N,D] double, targets [N] double. Covariance = (prior_precision I + noise_precision X^T
/// X)^-1 by Cholesky, mean = noise_precision covariance X^T y.
LinearPosterior fit_bayes_linear(const at::Tensor& inputs, const at::Tensor& targets,
                                 double prior_precision, double noise_precision);
/// queries [M,D] double.
LinearPrediction predict_bayes_linear(const LinearPosterior& posterior, const at::Tensor& queries,
                                      double noise_precision);

}  // namespace rewardloom
