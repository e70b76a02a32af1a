// The layers of a decoder on the CPU, over tokens laid out one after the other without padding.
// What is computed for a token depends on that token's row and its own sequence alone.
#pragma once
#include <cstdint>
#include <vector>

namespace rewardloom {

/// Rows of floats in memory, `stride` apart.
struct Rows {
  float* data = nullptr;
  std::int64_t stride = 0;
  float* operator[](std::int64_t row) const { return data + row * stride; }
};
struct ConstRows {
  const float* data = nullptr;
  std::int64_t stride = 0;
  ConstRows(const float* d, std::int64_t s) : data(d), stride(s) {}
  ConstRows(const Rows& rows) : data(rows.data), stride(rows.stride) {}
  const float* operator[](std::int64_t row) const { return data + row * stride; }
};

/// out = x / sqrt(mean(x^2) + epsilon) * weight; keeps the inverse roots [rows].
void rms_norm(std::int64_t rows, std::int64_t width, ConstRows x, const float* weight,
              float epsilon, Rows out, float* inverse);
/// Adds to dx, and to d_weight [width] unless it is null.
void rms_norm_backward(std::int64_t rows, std::int64_t width, ConstRows x, const float* weight,
                       const float* inverse, ConstRows d_out, Rows dx, float* d_weight);

/// Cosines and sines [positions, head_size / 2].
struct RotaryTable {
  std::vector<float> cosine;
  std::vector<float> sine;
};
RotaryTable rotary_table(const std::vector<double>& frequencies, std::int64_t positions);
/// Rotates `heads` heads of each row in place by its position; `direction` -1 rotates back.
void rotate(std::int64_t rows, std::int64_t heads, std::int64_t head_size, const RotaryTable& table,
            const std::int32_t* positions, Rows x, float direction);

/// out = silu(gate) * up, where a row of `gate_up` holds gate [width] and then up [width].
void gated_unit(std::int64_t rows, std::int64_t width, ConstRows gate_up, Rows out);
void gated_unit_backward(std::int64_t rows, std::int64_t width, ConstRows gate_up, ConstRows d_out,
                         Rows d_gate_up);

void add_bias(std::int64_t rows, std::int64_t width, const float* bias, Rows x);
/// d_bias += the sum over the rows, in rising order; nothing where it is null.
void bias_backward(std::int64_t rows, std::int64_t width, ConstRows d, float* d_bias);

/// Keys and values of one sequence and one key-value head: keys [head_size, capacity],
/// values [capacity, padded_head] with zeros behind head_size. capacity is a multiple of 16.
struct HeadCache {
  float* keys;
  float* values;
};
struct AttentionShape {
  std::int64_t heads;
  std::int64_t key_value_heads;
  std::int64_t head_size;
  std::int64_t padded_head;  ///< head_size rounded up to 16
  std::int64_t capacity;
};
std::int64_t padded_to_lanes(std::int64_t size);
void store_key_value(const AttentionShape& shape, const float* key, const float* value,
                     std::int64_t position, HeadCache cache);
/// The first position that a query at `position` sees through a window, itself included; window 0
/// shows all.
inline std::int64_t first_seen(std::int64_t position, std::int64_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}
/// One query head against positions first..position: out [head_size]. `scores` holds capacity
/// floats and keeps the probabilities.
void attend(const AttentionShape& shape, const float* query, std::int64_t first,
            std::int64_t position, HeadCache cache, float* scores, float* out);

/// Gradient of causal attention over one whole sequence, through a window (0: none). A row of `qkv`
/// holds the rotated queries, keys and values; d_out rows hold the heads' outputs. Fills d_qkv.
void attention_backward(const AttentionShape& shape, std::int64_t length, std::int64_t window,
                        ConstRows qkv, ConstRows d_out, Rows d_qkv, std::vector<float>& scratch);

}  // namespace rewardloom
