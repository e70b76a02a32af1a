// What a probe shows of a value: its components as tensors, and whole samples as JSON.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/random.h"
#include "engine/core/token_texts.h"
#include "engine/core/value.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// One distribution of a probe: `present` marks what counts (undefined: all).
struct ProbeComponent {
  std::string name;
  at::Tensor values;
  at::Tensor present;
};

/// The floating-point fields of a reward-like value, e.g. total, format, length, and the spread
/// within the groups of rewards. Tokens outside the value's mask and absent rows do not count.
std::vector<ProbeComponent> probe_components(const Value& value);

/// The completions that probed values belong to, by batch; the last few are remembered.
class BatchTexts {
 public:
  struct Batch {
    Value completions;
    TokenText token_text;  ///< empty where the tokens have no texts
  };
  void remember(Value completions, TokenText token_text = {});
  /// That batch, or null.
  const Batch* find(std::int64_t batch) const;

 private:
  static constexpr std::size_t kKept = 16;
  std::deque<Batch> kept_;
};

/// `count` rows of the value chosen by a seeded reservoir (Vitter's algorithm R), in order of their
/// rows: batch, prompt and completion where the batch is known, scalars, components and per-token
/// values. Where the batch is known, the latter are those of the tokens that the policy wrote, with
/// what the sampling policy gave them as `behaviour_log_probs`; with them, and with rewards, go the
/// tokens' ids as `tokens` and, where known, their texts as `token_texts`.
std::vector<SampleRow> sample_rows(const Value& value, const BatchTexts& batches, int count,
                                   const RandomKey& key);

/// Bytes as UTF-8: those that are no part of a whole character become \xNN.
std::string printable_utf8(std::string_view bytes);

/// The first non-finite number of the value's main field, as "row 3" or "row 3, token 5"; "" if
/// none.
std::string first_nonfinite(const Value& value);

}  // namespace rewardloom
