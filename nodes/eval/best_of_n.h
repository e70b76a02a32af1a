// What a proxy reward picks as best of n, without the noise of one draw.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace rewardloom {

/// Means over all subsets of n of N samples of what the highest proxy picks.
struct BestOfN {
  double gold = 0;
  double proxy = 0;
};

/// The unbiased estimate from N >= n samples (Coste et al. 2023, arXiv:2310.02743): sorted by
/// rising proxy, sample i of N (from 1) is the best of C(i-1,n-1) of the C(N,n) subsets. Samples of
/// equal proxy share their weight. proxy, gold [N].
BestOfN best_of_n(std::span<const double> proxy, std::span<const double> gold, std::int64_t n);

/// KL divergence of best-of-n from the sampler for continuous rewards: log n - (n-1)/n.
double best_of_n_kl(std::int64_t n);

}  // namespace rewardloom
