// Whether a judge's text ends with the right verdict.
#pragma once
#include <cstddef>
#include <string_view>

namespace rewardloom {

/// Whether the last `tail` characters hold <answer>[[A]]</answer> (for label model_a) or
/// <answer>[[B]]</answer> (model_b), and not the other one. Chen et al. 2025, arXiv:2505.02387.
bool is_right_verdict(std::string_view text, std::string_view label, std::size_t tail);

}  // namespace rewardloom
