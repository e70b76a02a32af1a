#include "nodes/text/pass_cost.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <limits>

#include "engine/core/estimate.h"
#include "nodes/text/decoder.h"
#include "nodes/text/layer_kernels.h"
#include "nodes/text/lora.h"

namespace rewardloom {

namespace {

constexpr double float_bytes = 4;

/// Widths as floating-point numbers: the products below go beyond 2^31.
struct PassWidths {
  double hidden, inner, query, key_value, heads, outputs, layers;
  explicit PassWidths(const ModelConfig& c)
      : hidden(static_cast<double>(c.hidden_size)),
        inner(static_cast<double>(c.intermediate_size)),
        query(static_cast<double>(c.query_width())),
        key_value(static_cast<double>(c.key_value_width())),
        heads(static_cast<double>(c.heads)),
        outputs(static_cast<double>(c.outputs())),
        layers(static_cast<double>(c.layers)) {}
  double qkv() const { return query + 2 * key_value; }
};

/// Floats per token that a layer's kernels fill.
double kernel_layer(const ModelConfig& c) {
  const PassWidths w(c);
  const double norms = c.query_key_norm ? w.qkv() + w.heads : 0;
  return w.qkv() + w.query + 2 * w.inner + 2 + norms;
}

/// Floats per token that a layer's operators make; with gradients all of them are kept.
double operator_layer(const ModelConfig& c, double longest) {
  const PassWidths w(c);
  const double rotated = 3 * (w.query + w.key_value), spread = 2 * w.query;
  return 8 * w.hidden + w.qkv() + rotated + spread + 2 * w.query + 4 * w.inner +
         3 * w.heads * longest;
}

double cache_floats(const ModelConfig& c, double layers, double slots, std::int64_t capacity,
                    bool own_kernels) {
  const double length = static_cast<double>(own_kernels ? padded_to_lanes(capacity) : capacity);
  const double head =
      static_cast<double>(c.head_size + (own_kernels ? padded_to_lanes(c.head_size) : c.head_size));
  return layers * slots * static_cast<double>(c.key_value_heads) * head * length;
}

/// Scratch of attention's backward pass: keys and values of one head, twice
/// laid out, and their gradients.
double attention_scratch(const ModelConfig& c, std::int64_t longest) {
  const double length = static_cast<double>(padded_to_lanes(longest));
  return length * (5.0 * static_cast<double>(padded_to_lanes(c.head_size)) + 2);
}

/// Tokens as the passes lay them out: operators fill rows of the longest sequence's length.
double laid_out(const PassSize& size, bool own_kernels) {
  if (own_kernels || size.longest == 0) return static_cast<double>(size.tokens);
  const std::int64_t rows = (size.tokens + size.longest - 1) / size.longest;
  return static_cast<double>(rows * size.longest);
}

}  // namespace

PassSize pass_size(std::int64_t rows, std::int64_t longest, std::int64_t wanted) {
  return {rows, rows * longest, longest, rows * wanted};
}

PassBytes scoring_bytes(const ModelConfig& c, const PassSize& size, bool own_kernels) {
  const PassWidths w(c);
  const double tokens = laid_out(size, own_kernels), wanted = static_cast<double>(size.wanted);
  const double layer =
      own_kernels ? kernel_layer(c) : operator_layer(c, static_cast<double>(size.longest));
  PassBytes bytes;
  bytes.activations =
      float_bytes * (tokens * (2 * w.hidden + w.inner + layer) + 2 * wanted * w.hidden);
  if (own_kernels) {
    bytes.cache =
        float_bytes * cache_floats(c, 1, static_cast<double>(size.sequences), size.longest, true);
  }
  bytes.logits = float_bytes * wanted * w.outputs;
  return bytes;
}

PassBytes training_bytes(const ModelConfig& c, const PassSize& size, bool own_kernels) {
  const PassWidths w(c);
  PassBytes bytes = scoring_bytes(c, size, own_kernels);
  const double tokens = laid_out(size, own_kernels), wanted = static_cast<double>(size.wanted);
  const double layer = own_kernels ? kernel_layer(c) + 2 * w.hidden
                                   : operator_layer(c, static_cast<double>(size.longest));
  const double kept = c.recomputes_layers ? w.layers * w.hidden + 2 * w.hidden
                                          : (w.layers - 1) * layer + 2 * w.hidden;
  bytes.activations += float_bytes * tokens * kept;
  if (own_kernels) {
    const double widest = std::max({w.hidden, w.inner, w.query});
    const double back =
        2 * w.hidden + 3 * w.inner + w.qkv() + w.query + widest + (c.query_key_norm ? w.qkv() : 0);
    bytes.activations +=
        float_bytes * (tokens * back + 2 * wanted * w.hidden + attention_scratch(c, size.longest));
  } else {
    bytes.activations += float_bytes * tokens * layer;
  }
  bytes.logits *= own_kernels ? 2 : 3;
  return bytes;
}

PassBytes decoding_bytes(const ModelConfig& c, std::int64_t slots, std::int64_t capacity,
                         std::int64_t prompt_tokens, bool own_kernels) {
  const std::int64_t tokens = std::max(slots, prompt_tokens);
  PassBytes bytes = scoring_bytes(
      c, {slots, tokens, std::max<std::int64_t>(1, tokens / slots), slots}, own_kernels);
  bytes.cache = float_bytes * cache_floats(c, static_cast<double>(c.layers),
                                           static_cast<double>(slots), capacity, own_kernels);
  bytes.logits *= 3;  // of the prefill, of its rows spread over the slots, of the step
  return bytes;
}

double copied_bytes(const ModelConfig& c, bool own_kernels, bool with_gradient) {
  const double weights = float_bytes * static_cast<double>(c.parameter_count());
  if (!own_kernels) return c.compute == ComputeType::bfloat16 ? weights / 2 : 0;
  const PassWidths w(c);
  const double tied = c.tied_embeddings && c.head == HeadKind::language_model
                          ? float_bytes * w.hidden * w.outputs
                          : 0;
  const double embedding = float_bytes * w.hidden * static_cast<double>(c.vocab_size);
  const double rotary = float_bytes * static_cast<double>(c.max_positions * c.head_size);
  double packed = weights + tied - embedding;  // matrices, all but all of it
  if (c.compute == ComputeType::bfloat16) packed /= 2;
  return (with_gradient ? 2 : 1) * packed + embedding + rotary;
}

double forward_flop(const ModelConfig& c, const PassSize& size) {
  const PassWidths w(c);
  double products = 0;
  for (const LinearModule& module : linear_modules(c)) {
    products += static_cast<double>(module.in) * static_cast<double>(module.out);
  }
  const double tokens = static_cast<double>(size.tokens);
  const double seen = 0.5 * static_cast<double>(size.longest);
  return 2 * tokens * products + 4 * tokens * seen * w.query * w.layers +
         2 * static_cast<double>(size.wanted) * w.hidden * w.outputs;
}

double training_flop(const ModelConfig& c, const PassSize& size) {
  return (c.recomputes_layers ? 4 : 3) * forward_flop(c, size);
}

ModelConfig one_layer_of(ModelConfig c) {
  c.layers = 1;
  if (!c.windowed.empty()) c.windowed.resize(1);
  c.vocab_size = std::min<std::int64_t>(c.vocab_size, 4096);
  c.lora.reset();
  return c;
}

double pass_rate(const ModelConfig& whole, const PassSize& size, bool with_gradient,
                 c10::Device device) {
  const ModelConfig config = one_layer_of(whole);
  Decoder decoder(config, random_weights(config, {1, 2, 3}));
  if (!device.is_cpu()) decoder.to(device);
  const std::int64_t length =
      std::max<std::int64_t>(1, size.tokens / std::max<std::int64_t>(1, size.sequences));
  const std::int64_t wanted =
      std::min(length, size.wanted / std::max<std::int64_t>(1, size.sequences));
  TokenSequences sequences;
  for (std::int64_t i = 0; i < size.sequences; ++i) {
    auto& row = sequences.tokens.emplace_back();
    for (std::int64_t t = 0; t < length; ++t) row.push_back((i + t) % config.vocab_size);
    auto& read = sequences.wanted.emplace_back();
    for (std::int64_t t = length - std::max<std::int64_t>(1, wanted); t < length; ++t) {
      read.push_back(t);
    }
  }
  const PassSize measured{size.sequences, size.sequences * length, length,
                          sequences.wanted_count()};
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 4; ++i) {
    const double start = processor_seconds();
    const auto pass = decoder.score(sequences, with_gradient);
    if (with_gradient) {
      WeightMap gradients = decoder.zero_gradients();
      pass->backward(at::ones_like(pass->logits()), gradients);
    }
    // The first one also prepares the weights.
    if (i > 0) best = std::min(best, processor_seconds() - start);
  }
  return (with_gradient ? training_flop(config, measured) : forward_flop(config, measured)) / best;
}

std::int64_t units_within(const ModelConfig& config, double bytes, std::int64_t rows,
                          std::int64_t longest, std::int64_t units) {
  const auto fits = [&](std::int64_t count) {
    const PassSize size = pass_size(count * rows, longest, longest);
    return training_bytes(config, size, config.has_own_kernels()).total() <= bytes;
  };
  std::int64_t low = 1, high = std::max<std::int64_t>(1, units);
  while (low < high) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace rewardloom
