// A world of short sequences: a prior that seldom uses some tokens, and a value for each token that
// is the gold reward. Tokens are letters: the common ones a, b, ... and the rare ones A, B, ...
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/random.h"

namespace rewardloom {

/// Which letters there are: ids 0 .. common-1 are a, b, ...; the rare ones A, B, ... follow.
struct TokenAlphabet {
  std::int64_t common = 12;  ///< 1 to 26
  std::int64_t rare = 8;     ///< 0 to 26
  std::int64_t size() const { return common + rare; }
  char letter(std::int64_t token) const;
};

/// tokens [N,T] int64 -> N texts. Failure `unknown-token` for an id outside the alphabet.
std::vector<std::string> token_texts(const at::Tensor& tokens, const TokenAlphabet& alphabet);

/// N texts of one length T -> [N,T] int64. Failure `unknown-token` naming the letter,
/// `ragged-texts` naming both lengths, `nothing-to-read`.
at::Tensor text_tokens(const std::vector<std::string>& texts, const TokenAlphabet& alphabet);

struct TokenWorldOptions {
  TokenAlphabet alphabet;
  double rare_weight = 0.04;  ///< probability of a rare token, relative to a common one
  double rare_value = -1;
  std::int64_t marked = 0;  ///< the first letters: worth nothing
};

struct TokenWorld {
  at::Tensor prior;  ///< [V] double, sums to 1
  at::Tensor value;  ///< [V] double
};

/// Values of common tokens are standard normal, centred; then those of marked ones are set to 0.
TokenWorld make_token_world(const TokenWorldOptions& options, const Random& random);

/// Rows drawn token by token: probabilities [K,T,V] double -> [K rows,T] int64, table after table.
/// Token t of row i is drawn with the uniform number of random.at(i, t).
at::Tensor draw_tokens(const at::Tensor& probabilities, std::int64_t rows, const Random& random);

/// How often each token stands in a row: [N,T] int64 -> [N,V] double.
at::Tensor token_counts(const at::Tensor& tokens, std::int64_t size);

/// Sum of the tokens' values over sqrt(T): tokens [N,T], value [V] -> [N] double.
at::Tensor token_value_reward(const at::Tensor& tokens, const at::Tensor& value);

struct TokenPairOptions {
  std::int64_t pairs = 150;
  std::int64_t length = 10;
  double sharpness = 2;  ///< logits of a label per unit of gold difference
  double tilt = 0;       ///< logits for beginning with a marked token
  std::int64_t marked = 0;
};

struct TokenPairs {
  at::Tensor chosen, rejected;  ///< [N,T] int64
};

/// Pairs of rows of the prior; the first is preferred with probability
/// sigmoid(sharpness (gold difference) + tilt (difference in beginning with a marked token)).
TokenPairs draw_token_pairs(const TokenWorld& world, const TokenPairOptions& options,
                            const Random& random);

}  // namespace rewardloom
