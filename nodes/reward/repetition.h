// Repeated n-grams of token ids.
#pragma once
#include <cstdint>
#include <span>

namespace rewardloom {

/// The share of n-grams that occurred before in the row, 0..1; 0 for rows shorter than ngram.
double repeated_share(std::span<const std::int64_t> tokens, std::int64_t ngram);

}  // namespace rewardloom
