// A reward for phrases of reasoning, without a look at the answer (RPR, arXiv:2505.22653).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

struct PhraseOptions {
  std::vector<std::string> phrases;
  std::vector<std::string> penalties;  ///< each occurrence costs 1
  double divisor = 20;
  double cap = 1;
  std::int64_t ngram = 20;
};

/// Share of the n-grams of words of which another copy stands in the text: the number of distinct
/// n-grams that occur more than once over the number of n-grams; 0 for fewer than n words.
double repeated_ngrams(std::string_view text, std::int64_t n);

/// max(0, min(cap, phrases present / divisor) - repeated n-grams - penalty phrases), text and
/// phrases in lower case.
double phrase_reward(std::string_view text, const PhraseOptions& options);

}  // namespace rewardloom
