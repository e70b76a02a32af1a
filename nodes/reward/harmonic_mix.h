// Image and text similarity as one reward.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// Weighted harmonic mean of two cosines [N], each mapped to 0..1; lambda 1 is the image alone, 0
/// the text alone. Miao et al. 2024, "Subject-driven Text-to-Image Generation via Preference-based
/// Reinforcement Learning", arXiv:2407.12164.
at::Tensor harmonic_mix(const at::Tensor& image, const at::Tensor& text, double lambda);

}  // namespace rewardloom
