// The loop that lets a model write: prompts in, rows of tokens out.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/core/random.h"
#include "nodes/text/decoder.h"
#include "nodes/text/parallel_calls.h"
#include "nodes/text/token_statistics.h"

namespace rewardloom {

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = 16;
  std::vector<std::int64_t> stop_tokens;  ///< end a row and stay in it
  /// Whether the tokens written so far end the row; null: only stop_tokens do.
  std::function<bool(const std::vector<std::int64_t>&)> stops;
  /// Rows decoded at once, 0: rows_together. As rows end, the next ones take their places. Results
  /// do not depend on it with own kernels.
  std::int64_t batch_rows = 0;
  /// Steps of fixed shapes, recorded where the device can: Decoder::decode.
  bool recorded = false;
  std::int64_t top_tokens = 0;  ///< most likely tokens that are kept beside each written one
};

/// What was written after a prompt.
struct GeneratedRow {
  std::vector<std::int64_t> tokens;
  std::vector<float> log_probs;
  std::vector<float> entropy;
  std::vector<std::int64_t> top_tokens;  ///< options.top_tokens for each token, as TopTokens
  std::vector<float> top_log_probs;
  bool finished = false;  ///< ended by itself, not cut at max_tokens
};

/// Of `rows` rows, how many are decoded at once: few in this project's own kernels, so that
/// threads share them, more where a pass reads more weights than a cache holds and in LibTorch's
/// operators, whose calls cost as much for few rows, and all on an accelerator.
std::int64_t rows_together(const ModelConfig& config, c10::Device device, std::int64_t rows);

/// Sessions of `slots` slots that `rows` rows are shared among, some of them at once.
std::int64_t decoding_sessions(const ModelConfig& config, c10::Device device, std::int64_t rows,
                               std::int64_t slots);

/// Row i continues prompts[prompt_of_row[i]]. Token t of row i is drawn with the uniform number of
/// `random.at(i, t)`: what a row gets depends on neither the other rows nor the thread count. Rows
/// begin in their order; a prompt is computed once for rows behind each other that share it, up to
/// as many as are decoded at once. Failure `sampling-options`, and those of DecodingSession.
std::vector<GeneratedRow> generate(const Decoder& decoder,
                                   const std::vector<std::vector<std::int64_t>>& prompts,
                                   const std::vector<std::int64_t>& prompt_of_row,
                                   const GenerationOptions& options, const Random& random,
                                   const ParallelCalls& parallel);

}  // namespace rewardloom
