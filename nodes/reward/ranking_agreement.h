// How far predicted scores put answers in the same order as consensus scores.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace rewardloom {

/// 1 - (weight of the pairs in the wrong order + half of that of the pairs that only the prediction
/// ties) / all weight; a pair weighs 1 + |difference of its consensus scores|. `rows`: which
/// entries count. `few`: the value where there are fewer than two. RewardAnything, Yu et al. 2025,
/// arXiv:2506.03637.
double ranking_agreement(const std::vector<double>& predicted, const std::vector<double>& consensus,
                         std::span<const std::int64_t> rows, double few);

}  // namespace rewardloom
