// Texts as rows of words and of characters.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace rewardloom {

/// Number of different word n-grams that occur more than once over the number of all n-grams; 0 for
/// a text of fewer words. Words are divided by white space.
double ngram_repetition(std::string_view text, std::int64_t n);

/// The text, or its first `head` and last `tail` characters (not bytes) if it has more than `most`.
std::string head_and_tail(const std::string& text, std::int64_t most, std::int64_t head,
                          std::int64_t tail);

}  // namespace rewardloom
