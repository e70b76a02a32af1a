// Measures on the eigenvalues of symmetric matrices, in double.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// Frechet distance of two Gaussians (Heusel et al. 2017, arXiv:1706.08500): |m - n|^2 + tr(A + B -
/// 2 sqrt(A B)), the last trace as the sum of roots of the eigenvalues of sqrt(A) B sqrt(A). Means
/// [D], covariances [D,D] symmetric, double.
double frechet_distance(const at::Tensor& mean, const at::Tensor& covariance,
                        const at::Tensor& other_mean, const at::Tensor& other_covariance);

/// [D,D] of rows [N,D] double, divisor N - 1 (`sample`) or N.
at::Tensor covariance_of(const at::Tensor& rows, bool sample);

/// Vendi score (Friedman and Dieng 2023, arXiv:2210.02410; order q: arXiv:2310.12952): exp of the
/// Renyi entropy of order q of the eigenvalues of kernel / N. kernel [N,N] with unit diagonal.
double vendi_score(const at::Tensor& kernel, double q);
/// The same of the cosine kernel of rows [N,D]; works on [D,D] where D < N.
double vendi_score_of_rows(const at::Tensor& rows, double q);

}  // namespace rewardloom
