// Memory and floating-point work of a decoder's passes, from shapes alone.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>

#include "nodes/text/model_config.h"

namespace rewardloom {

/// Whole sequences that go through the network together.
struct PassSize {
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;   ///< of all of them
  std::int64_t longest = 0;  ///< of one
  std::int64_t wanted = 0;   ///< positions whose logits are read
};
/// `rows` sequences, all of `longest` tokens, `wanted` of each read.
PassSize pass_size(std::int64_t rows, std::int64_t longest, std::int64_t wanted);

struct PassBytes {
  double activations = 0;
  double cache = 0;
  double logits = 0;
  double total() const { return activations + cache + logits; }
};
/// A forward pass. `own_kernels`: in this project's kernels, else in LibTorch's operators.
PassBytes scoring_bytes(const ModelConfig& config, const PassSize& size, bool own_kernels);
/// Forward and backward pass, what the backward pass needs included; the gradients of the weights
/// are not.
PassBytes training_bytes(const ModelConfig& config, const PassSize& size, bool own_kernels);
/// A decoding session of `slots` sequences of up to `capacity` tokens, whose prompts have
/// `prompt_tokens` tokens together.
PassBytes decoding_bytes(const ModelConfig& config, std::int64_t slots, std::int64_t capacity,
                         std::int64_t prompt_tokens, bool own_kernels);
/// Copies of the weights that the passes work with.
double copied_bytes(const ModelConfig& config, bool own_kernels, bool with_gradient);

/// Multiplications and additions of a forward pass; one with gradients takes three times as many,
/// or four where layers are computed again.
double forward_flop(const ModelConfig& config, const PassSize& size);
double training_flop(const ModelConfig& config, const PassSize& size);

/// FLOP/s of a pass of that size through one layer of this network and its head, with random
/// weights on `device`.
double pass_rate(const ModelConfig& config, const PassSize& size, bool with_gradient,
                 c10::Device device);
/// The network with one layer and a vocabulary of at most 4096, for measuring.
ModelConfig one_layer_of(ModelConfig config);

/// The most units of `rows` rows (1, or 2 for pairs) of up to `longest` tokens whose training pass
/// fits into `bytes`; at least 1, at most `units`. From shapes alone, so that it is the same on
/// every machine.
std::int64_t units_within(const ModelConfig& config, double bytes, std::int64_t rows,
                          std::int64_t longest, std::int64_t units);

}  // namespace rewardloom
