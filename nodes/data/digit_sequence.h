// Arithmetic sequences modulo a maximum: the task of verl's end-to-end test.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace rewardloom {

/// The answer to "a,b:M,n": the next n numbers after a, b of the sequence with difference (b - a)
/// mod M, each modulo M, divided by commas; empty for n = 0. Nothing if the prompt is not of that
/// form.
std::optional<std::string> digit_sequence_answer(std::string_view prompt);

}  // namespace rewardloom
