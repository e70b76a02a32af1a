// Relevance, length and repetition as one reward.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rewardloom {

/// All [N]. Open-ended rows: relevance * length * distinct. Constrained rows: relevance to the
/// reference, mapped from 0..3.5 to 0..max_length / 100, times distinct.
/// Kim and Seo 2024, "Rethinking the Role of Proxy Rewards in Language Model Alignment",
/// arXiv:2402.03469.
at::Tensor relevance_reward(const at::Tensor& relevance, const at::Tensor& length,
                            const at::Tensor& distinct, const at::Tensor& constrained,
                            std::int64_t max_length);

}  // namespace rewardloom
