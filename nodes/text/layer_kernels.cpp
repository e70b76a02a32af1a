#include "nodes/text/layer_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "nodes/text/vector_math.h"

namespace rewardloom {

using namespace vector_math;

std::int64_t padded_to_lanes(std::int64_t size) { return (size + lanes - 1) / lanes * lanes; }

namespace {

REWARDLOOM_INLINE float dot(const float* a, const float* b, std::int64_t width) {
  Floats total{};
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) total += load(a + i) * load(b + i);
  if (i < width) total += load_some(a + i, width - i, 0) * load_some(b + i, width - i, 0);
  return sum(total);
}

/// sum of a * b * c
REWARDLOOM_INLINE float dot3(const float* a, const float* b, const float* c, std::int64_t width) {
  Floats total{};
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) total += load(a + i) * load(b + i) * load(c + i);
  if (i < width) {
    const std::int64_t n = width - i;
    total += load_some(a + i, n, 0) * load_some(b + i, n, 0) * load_some(c + i, n, 0);
  }
  return sum(total);
}

}  // namespace

REWARDLOOM_VECTORISED
void rms_norm(std::int64_t rows, std::int64_t width, ConstRows x, const float* weight,
              float epsilon, Rows out, float* inverse) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* in = x[r];
    float* to = out[r];
    const float scale = 1.0f / std::sqrt(dot(in, in, width) / static_cast<float>(width) + epsilon);
    inverse[r] = scale;
    for (std::int64_t i = 0; i < width; ++i) to[i] = in[i] * scale * weight[i];
  }
}

REWARDLOOM_VECTORISED
void rms_norm_backward(std::int64_t rows, std::int64_t width, ConstRows x, const float* weight,
                       const float* inverse, ConstRows d_out, Rows dx, float* d_weight) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* in = x[r];
    const float* d = d_out[r];
    float* to = dx[r];
    const float s = inverse[r];
    const float along = dot3(d, weight, in, width) * s * s * s / static_cast<float>(width);
    for (std::int64_t i = 0; i < width; ++i) to[i] += d[i] * weight[i] * s - in[i] * along;
    if (d_weight == nullptr) continue;
    for (std::int64_t i = 0; i < width; ++i) d_weight[i] += d[i] * in[i] * s;
  }
}

RotaryTable rotary_table(const std::vector<double>& frequencies, std::int64_t positions) {
  RotaryTable table;
  table.cosine.reserve(frequencies.size() * positions);
  table.sine.reserve(frequencies.size() * positions);
  for (std::int64_t p = 0; p < positions; ++p) {
    for (const double frequency : frequencies) {
      table.cosine.push_back(static_cast<float>(std::cos(frequency * static_cast<double>(p))));
      table.sine.push_back(static_cast<float>(std::sin(frequency * static_cast<double>(p))));
    }
  }
  return table;
}

REWARDLOOM_VECTORISED
void rotate(std::int64_t rows, std::int64_t heads, std::int64_t head_size, const RotaryTable& table,
            const std::int32_t* positions, Rows x, float direction) {
  const std::int64_t half = head_size / 2;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* cosine = table.cosine.data() + positions[r] * half;
    const float* sine = table.sine.data() + positions[r] * half;
    for (std::int64_t h = 0; h < heads; ++h) {
      float* low = x[r] + h * head_size;
      float* high = low + half;
      for (std::int64_t i = 0; i < half; ++i) {
        const float a = low[i], b = high[i], s = direction * sine[i];
        low[i] = a * cosine[i] - b * s;
        high[i] = b * cosine[i] + a * s;
      }
    }
  }
}

namespace {
REWARDLOOM_INLINE Floats sigmoid(const Floats& x) { return 1.0f / (1.0f + exponential(-x)); }
}  // namespace

REWARDLOOM_VECTORISED
void gated_unit(std::int64_t rows, std::int64_t width, ConstRows gate_up, Rows out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* gate = gate_up[r];
    const float* up = gate + width;
    for (std::int64_t i = 0; i < width; i += lanes) {
      const std::int64_t n = std::min(lanes, width - i);
      const Floats g = n == lanes ? load(gate + i) : load_some(gate + i, n, 0);
      const Floats u = n == lanes ? load(up + i) : load_some(up + i, n, 0);
      const Floats y = g * sigmoid(g) * u;
      if (n == lanes)
        store(out[r] + i, y);
      else
        store_some(out[r] + i, y, n);
    }
  }
}

REWARDLOOM_VECTORISED
void gated_unit_backward(std::int64_t rows, std::int64_t width, ConstRows gate_up, ConstRows d_out,
                         Rows d_gate_up) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* gate = gate_up[r];
    const float* up = gate + width;
    for (std::int64_t i = 0; i < width; i += lanes) {
      const std::int64_t n = std::min(lanes, width - i);
      const bool whole = n == lanes;
      const Floats g = whole ? load(gate + i) : load_some(gate + i, n, 0);
      const Floats u = whole ? load(up + i) : load_some(up + i, n, 0);
      const Floats d = whole ? load(d_out[r] + i) : load_some(d_out[r] + i, n, 0);
      const Floats s = sigmoid(g);
      const Floats d_gate = d * u * s * (1.0f + g * (1.0f - s));
      const Floats d_up = d * g * s;
      store_some(d_gate_up[r] + i, d_gate, n);
      store_some(d_gate_up[r] + width + i, d_up, n);
    }
  }
}

REWARDLOOM_VECTORISED
void add_bias(std::int64_t rows, std::int64_t width, const float* bias, Rows x) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = x[r];
    for (std::int64_t i = 0; i < width; ++i) to[i] += bias[i];
  }
}

REWARDLOOM_VECTORISED
void bias_backward(std::int64_t rows, std::int64_t width, ConstRows d, float* d_bias) {
  if (d_bias == nullptr) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* from = d[r];
    for (std::int64_t i = 0; i < width; ++i) d_bias[i] += from[i];
  }
}

void store_key_value(const AttentionShape& shape, const float* key, const float* value,
                     std::int64_t position, HeadCache cache) {
  for (std::int64_t i = 0; i < shape.head_size; ++i) {
    cache.keys[i * shape.capacity + position] = key[i];
  }
  std::memcpy(cache.values + position * shape.padded_head, value, shape.head_size * sizeof(float));
}

namespace {

/// What a query sees: positions first..last, in whole vectors from `start` on.
struct KeyRange {
  std::int64_t first;
  std::int64_t last;
  std::int64_t start() const { return first / lanes * lanes; }
};

/// total[v] = the sum over i, in rising order, of weights[i] times the vector at
/// base + i * stride + v * lanes. Several vectors at once hide the wait for each addition.
template <int Vectors>
REWARDLOOM_INLINE void weighted_sums(const float* weights, std::int64_t count, const float* base,
                                     std::int64_t stride, Floats* total) {
  Floats sums[Vectors] = {};
  for (std::int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[v] += weights[i] * load(base + i * stride + v * lanes);
  }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) total[v] = sums[v];
}

/// The same for `vectors` vectors, 4 at most.
REWARDLOOM_INLINE void weighted_sums(const float* weights, std::int64_t count, const float* base,
                                     std::int64_t stride, std::int64_t vectors, Floats* total) {
  switch (vectors) {
    case 1: return weighted_sums<1>(weights, count, base, stride, total);
    case 2: return weighted_sums<2>(weights, count, base, stride, total);
    case 3: return weighted_sums<3>(weights, count, base, stride, total);
    default: return weighted_sums<4>(weights, count, base, stride, total);
  }
}
/// How many vectors to take from `left` elements on.
REWARDLOOM_INLINE std::int64_t vectors_of(std::int64_t left) {
  return std::min<std::int64_t>(4, (left + lanes - 1) / lanes);
}

/// scores[j] = scale * query . key_j within the span, and minus infinity in the rest of its
/// vectors.
REWARDLOOM_INLINE float score(const AttentionShape& shape, const float* query, const KeyRange& span,
                              const float* keys, float scale, float* scores) {
  Floats highest = fill(-std::numeric_limits<float>::infinity());
  const Integers lane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (std::int64_t first = span.start(); first <= span.last;) {
    Floats totals[4];
    const std::int64_t vectors = vectors_of(span.last + 1 - first);
    weighted_sums(query, shape.head_size, keys + first, shape.capacity, vectors, totals);
    for (std::int64_t v = 0; v < vectors; ++v) {
      const std::int64_t j = first + v * lanes;
      Floats total = totals[v] * scale;
      if (j < span.first || j + lanes > span.last + 1) {  // the edges alone need a mask
        const Integers there = (lane <= static_cast<std::int32_t>(span.last - j)) &
                               (lane >= static_cast<std::int32_t>(span.first - j));
        total = there ? total : fill(-std::numeric_limits<float>::infinity());
      }
      store(scores + j, total);
      highest = larger(highest, total);
    }
    first += vectors * lanes;
  }
  return maximum(highest);
}

/// Turns scores into probabilities.
REWARDLOOM_INLINE void softmax(const KeyRange& span, float highest, float* scores) {
  Floats total{};
  for (std::int64_t j = span.start(); j <= span.last; j += lanes) {
    const Floats e = exponential(load(scores + j) - highest);
    store(scores + j, e);
    total += e;
  }
  const float inverse = 1.0f / sum(total);
  for (std::int64_t j = span.start(); j <= span.last; j += lanes) {
    store(scores + j, load(scores + j) * inverse);
  }
}

}  // namespace

REWARDLOOM_VECTORISED
void attend(const AttentionShape& shape, const float* query, std::int64_t first,
            std::int64_t position, HeadCache cache, float* scores, float* out) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  const KeyRange span{first, position};
  softmax(span, score(shape, query, span, cache.keys, scale, scores), scores);
  for (std::int64_t i = 0; i < shape.padded_head;) {
    Floats totals[4];
    const std::int64_t vectors = vectors_of(shape.padded_head - i);
    weighted_sums(scores + first, position + 1 - first,
                  cache.values + first * shape.padded_head + i, shape.padded_head, vectors, totals);
    for (std::int64_t v = 0; v < vectors; ++v, i += lanes) {
      const std::int64_t n = std::min(lanes, shape.head_size - i);
      if (n == lanes)
        store(out + i, totals[v]);
      else
        store_some(out + i, totals[v], n);
    }
  }
}

namespace {

/// Scratch of one key-value head over one sequence.
struct HeadScratch {
  float* keys_across;    // [head_size, capacity]
  float* values_across;  // [head_size, capacity]
  float* keys;           // [length, padded_head]
  float* d_keys;         // [length, padded_head]
  float* d_values;       // [length, padded_head]
  float* probability;    // [capacity]
  float* d_score;        // [capacity]
  float* query;          // [padded_head]
  float* d_head;         // [padded_head]
};

HeadScratch divide(const AttentionShape& s, std::int64_t length, std::vector<float>& memory) {
  const std::int64_t across = s.head_size * s.capacity, along = length * s.padded_head;
  memory.assign(2 * across + 3 * along + 2 * s.capacity + 2 * s.padded_head, 0.0f);
  float* p = memory.data();
  const auto take = [&p](std::int64_t count) {
    float* const start = p;
    p += count;
    return start;
  };
  return {take(across),     take(across),     take(along),         take(along),        take(along),
          take(s.capacity), take(s.capacity), take(s.padded_head), take(s.padded_head)};
}

REWARDLOOM_INLINE void add_scaled(float* to, float factor, const float* from, std::int64_t width) {
  for (std::int64_t i = 0; i < width; i += lanes) {
    store(to + i, load(to + i) + factor * load(from + i));
  }
}

/// One query: adds to the gradients of its keys and values, gives its own into `d_query`.
REWARDLOOM_INLINE void query_backward(const AttentionShape& s, const KeyRange& span,
                                      const HeadScratch& m, float scale, float* d_query) {
  softmax(span, score(s, m.query, span, m.keys_across, scale, m.probability), m.probability);
  Floats total{};
  for (std::int64_t first = span.start(); first <= span.last;) {
    Floats d[4];
    const std::int64_t vectors = vectors_of(span.last + 1 - first);
    weighted_sums(m.d_head, s.head_size, m.values_across + first, s.capacity, vectors, d);
    for (std::int64_t v = 0; v < vectors; ++v, first += lanes) {
      store(m.d_score + first, d[v]);
      total += d[v] * load(m.probability + first);
    }
  }
  const float mean = sum(total);
  for (std::int64_t j = span.start(); j <= span.last; j += lanes) {
    store(m.d_score + j, load(m.probability + j) * (load(m.d_score + j) - mean) * scale);
  }
  for (std::int64_t j = span.first; j <= span.last; ++j) {
    add_scaled(m.d_values + j * s.padded_head, m.probability[j], m.d_head, s.padded_head);
    add_scaled(m.d_keys + j * s.padded_head, m.d_score[j], m.query, s.padded_head);
  }
  for (std::int64_t i = 0; i < s.padded_head;) {
    Floats d[4];
    const std::int64_t vectors = vectors_of(s.padded_head - i);
    weighted_sums(m.d_score + span.first, span.last + 1 - span.first,
                  m.keys + span.first * s.padded_head + i, s.padded_head, vectors, d);
    for (std::int64_t v = 0; v < vectors; ++v, i += lanes) {
      store_some(d_query + i, d[v], std::min(lanes, s.head_size - i));
    }
  }
}

}  // namespace

REWARDLOOM_VECTORISED
void attention_backward(const AttentionShape& s, std::int64_t length, std::int64_t window,
                        ConstRows qkv, ConstRows d_out, Rows d_qkv, std::vector<float>& scratch) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.head_size));
  const std::int64_t shared = s.heads / s.key_value_heads;
  const std::int64_t keys_at = s.heads * s.head_size;
  const std::int64_t values_at = keys_at + s.key_value_heads * s.head_size;
  const std::size_t head_bytes = s.head_size * sizeof(float);
  for (std::int64_t g = 0; g < s.key_value_heads; ++g) {
    const HeadScratch m = divide(s, length, scratch);
    for (std::int64_t t = 0; t < length; ++t) {
      const float* key = qkv[t] + keys_at + g * s.head_size;
      const float* value = qkv[t] + values_at + g * s.head_size;
      std::memcpy(m.keys + t * s.padded_head, key, head_bytes);
      for (std::int64_t i = 0; i < s.head_size; ++i) {
        m.keys_across[i * s.capacity + t] = key[i];
        m.values_across[i * s.capacity + t] = value[i];
      }
    }
    for (std::int64_t h = g * shared; h < (g + 1) * shared; ++h) {
      for (std::int64_t t = 0; t < length; ++t) {
        std::memcpy(m.query, qkv[t] + h * s.head_size, head_bytes);
        std::memcpy(m.d_head, d_out[t] + h * s.head_size, head_bytes);
        query_backward(s, {first_seen(t, window), t}, m, scale, d_qkv[t] + h * s.head_size);
      }
    }
    for (std::int64_t t = 0; t < length; ++t) {
      std::memcpy(d_qkv[t] + keys_at + g * s.head_size, m.d_keys + t * s.padded_head, head_bytes);
      std::memcpy(d_qkv[t] + values_at + g * s.head_size, m.d_values + t * s.padded_head,
                  head_bytes);
    }
  }
}

}  // namespace rewardloom
