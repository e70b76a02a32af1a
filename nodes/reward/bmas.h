// Bidirectional max-average similarity of two token sequences.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// embeddings [T,D], reference [S,D] -> the mean of the two directed averages of each token's best
/// cosine, in -1..1. Failure `bad-shape`, also for a sequence without tokens.
/// Mixed-R1, Xu et al. 2025, arXiv:2505.24164.
double max_average_similarity(const at::Tensor& embeddings, const at::Tensor& reference);

}  // namespace rewardloom
