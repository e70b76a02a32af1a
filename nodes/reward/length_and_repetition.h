// How long an answer is and how little it repeats itself.
#pragma once
#include <string_view>

namespace rewardloom {

class Pattern;

struct LengthAndRepetition {
  double length = 0;    ///< tokens / 100
  double distinct = 1;  ///< distinct trigrams / trigrams; 1 where there are none
};

/// The pattern of a token: a run of word characters, or of what is neither word nor space.
Pattern word_punctuation();
/// Length incentive and repetition penalty. Kim and Seo 2024, arXiv:2402.03469.
LengthAndRepetition length_and_repetition(std::string_view text, const Pattern& token);

}  // namespace rewardloom
