// What samplers share: prompts as tokens, and answers laid out as Completions.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"
#include "nodes/sample/generation.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// The ids of each prompt, [P]: its tokens without padding, or its text encoded.
std::vector<std::vector<std::int64_t>> prompt_tokens(const Prompts& prompts,
                                                     const Tokenizer& tokenizer);

/// The text up to the first of the stop texts.
std::string cut_at(std::string text, const std::vector<std::string>& stops);

/// Sets tokens, kinds, log_probs, entropy and finished of `out`: prompts left-padded to the
/// longest, answers right-padded to the longest, [N,T]. Rows without log-probs or entropy get zeros
/// there.
void lay_out(const std::vector<std::vector<std::int64_t>>& prompts,
             const std::vector<std::int64_t>& prompt_of_row, const std::vector<GeneratedRow>& rows,
             std::int64_t padding, Completions& out);

/// The most likely tokens of each written token, [N,T,k] each, laid out as `like`: ids (-1 where
/// there is none) and log-probs.
struct TopTokenRows {
  at::Tensor tokens;
  at::Tensor log_probs;
};
TopTokenRows lay_out_top(const std::vector<GeneratedRow>& rows, std::int64_t count,
                         const Completions& like);

/// Sets prompt, group (both the index of the prompt), text and what the prompts' rows carry.
void describe(const Prompts& given, const std::vector<std::int64_t>& prompt_of_row,
              std::vector<std::string> texts, Completions& out);

/// response_length/mean, max, min and clip_ratio, and the number of tokens, as metrics.
void report_lengths(Step& step, const std::vector<GeneratedRow>& rows);

}  // namespace rewardloom
