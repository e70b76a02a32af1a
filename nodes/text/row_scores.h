// Log-probabilities of the tokens of rows that hold prompts and answers.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "nodes/text/decoder.h"
#include "nodes/text/parallel_calls.h"
#include "nodes/text/token_statistics.h"

namespace rewardloom {

/// tokens [N,T] int64 and kinds [N,T] int8 (TokenKind) on the CPU, contiguous; padding only at the
/// ends.
struct TokenRows {
  at::Tensor tokens;
  at::Tensor kinds;
  std::int64_t rows() const { return tokens.size(0); }
  std::int64_t width() const { return tokens.size(1); }
};
/// Failure `bad-shape`, or `row-layout` for padding between tokens or an action with nothing before
/// it.
TokenRows token_rows(const at::Tensor& tokens, const at::Tensor& kinds);

/// Some of the rows as sequences, and where the wanted values lie in [n,T].
struct RowBatch {
  TokenSequences sequences;
  at::Tensor targets;  ///< [S] int64: the action tokens
  at::Tensor flat;     ///< [S] int64: row in this batch * T + column
  std::int64_t rows = 0;
};
RowBatch row_batch(const TokenRows& rows, const std::vector<std::int64_t>& chosen);

/// Log-probs and entropy [N,T] float32 of the action tokens, 0 elsewhere; `chunk` rows at once.
TokenStatistics score_rows(const Decoder& decoder, const TokenRows& rows,
                           const SamplingOptions& options, std::int64_t chunk,
                           const ParallelCalls& parallel);

}  // namespace rewardloom
