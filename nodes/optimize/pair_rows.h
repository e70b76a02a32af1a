// Preferences and their tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/core/port_types.h"
#include "nodes/text/language_model.h"
#include "nodes/text/row_scores.h"

namespace rewardloom {

/// Several tables under one another, right-padded to the widest.
TokenRows stacked(const std::vector<TokenRows>& tables, std::int64_t padding);

/// Answers behind their prompts: n pairs make 2n rows, first the chosen ones.
struct PairRows {
  TokenRows rows;
  std::vector<std::int64_t> pair;  ///< [n]: which of the preferences
  std::int64_t left_out = 0;       ///< pairs with a row beyond the limit, or without any token
  std::int64_t count() const { return static_cast<std::int64_t>(pair.size()); }
};

/// Tokens by the model's own tokenizer, with its end token behind each answer.
/// Pairs of which a row is longer than `limit` tokens (0: than the model's
/// context) are left out. Failure `bad-shape` where prompts, chosen and
/// rejected differ in number, or margin or weight have other rows.
PairRows pair_rows(const LanguageModel& model, const Preferences& preferences, std::int64_t limit);

}  // namespace rewardloom
