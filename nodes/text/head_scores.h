// What a decoder's score head says of rows of tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/text/row_scores.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// Some of the rows as sequences of which the tokens that the head reads are wanted: the last one,
/// or all of them. `flat` [S] int64 says of which row in this batch a sequence is. Rows without
/// tokens are left out; `targets` is undefined.
RowBatch scored_batch(const TokenRows& rows, const std::vector<std::int64_t>& chosen,
                      ScorePooling pooling);
/// A pass's logits [wanted, labels] -> the scores [S, labels] of the batch's sequences.
at::Tensor pooled_scores(const RowBatch& batch, const at::Tensor& logits);
/// d loss / d scores [S, labels] -> d loss / d logits [wanted, labels].
at::Tensor pooled_backward(const RowBatch& batch, const at::Tensor& d_scores);

/// The score before each action: V of the state in which token t is chosen stands in column t, as
/// the log-prob of token t does (read one token earlier). [N,T] float32 on the CPU, 0 elsewhere.
/// Failure `model-head` unless the head has one output.
at::Tensor score_states(const Decoder& decoder, const TokenRows& rows, std::int64_t chunk,
                        const ParallelCalls& parallel);

/// The scores of each row as the model pools them, [N, labels] float32 on the CPU; NaN in rows
/// without tokens. Failure `model-head` for a language model.
at::Tensor score_sequences(const Decoder& decoder, const TokenRows& rows, std::int64_t chunk,
                           const ParallelCalls& parallel);

/// Each prompt with its answer as right-padded rows: prompt tokens, then the answer's tokens and
/// `end` (-1: none) as actions.
TokenRows text_rows(const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                    const std::vector<std::string>& answers, std::int64_t padding,
                    std::int64_t end);

}  // namespace rewardloom
