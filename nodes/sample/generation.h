// The loop that lets a model write: prompts in, rows of tokens out.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/core/random.h"
#include "nodes/text/decoder.h"
#include "nodes/text/token_statistics.h"

namespace rewardloom {

/// Calls the function with 0..count-1, possibly several at once.
using ParallelFor = std::function<void(std::size_t, const std::function<void(std::size_t)>&)>;

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = 16;
  std::vector<std::int64_t> stop_tokens;  ///< end a row and stay in it
  /// Whether the tokens written so far end the row; null: only stop_tokens do.
  std::function<bool(const std::vector<std::int64_t>&)> stops;
  /// Rows decoded together, 0: rows_together. Results do not depend on it with own kernels.
  std::int64_t chunk_rows = 0;
};

/// What was written after a prompt.
struct GeneratedRow {
  std::vector<std::int64_t> tokens;
  std::vector<float> log_probs;
  std::vector<float> entropy;
  bool finished = false;  ///< ended by itself, not cut at max_tokens
};

/// Of `rows` rows, how many are decoded together: few in this project's own kernels, so that
/// threads share them, more in LibTorch's operators, whose calls cost as much for few rows, and all
/// on an accelerator.
std::int64_t rows_together(const ModelConfig& config, c10::Device device, std::int64_t rows);

/// Row i continues prompts[prompt_of_row[i]]. Token t of row i is drawn with the uniform number of
/// `random.at(i, t)`: what a row gets depends on neither the other rows nor the thread count.
std::vector<GeneratedRow> generate(const Decoder& decoder,
                                   const std::vector<std::vector<std::int64_t>>& prompts,
                                   const std::vector<std::int64_t>& prompt_of_row,
                                   const GenerationOptions& options, const Random& random,
                                   const ParallelFor& parallel);

}  // namespace rewardloom
