// What a probe shows of a value: its components as tensors, and whole samples as JSON.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/random.h"
#include "engine/core/token_texts.h"
#include "engine/core/value.h"
#include "engine/io/run_rows.h"
#include "engine/run/branches.h"

namespace rewardloom {

/// One distribution of a probe: `present` marks what counts (undefined: all).
struct ProbeComponent {
  std::string name;
  at::Tensor values;
  at::Tensor present;
};

/// The floating-point fields of a reward-like value, e.g. total, format, length, and the spread
/// within the groups of rewards. Tokens outside the value's mask and absent rows do not count.
/// Components named for nodes are called as they are within the value's branches.
std::vector<ProbeComponent> probe_components(const Value& value, const Branches& branches = {});

/// The completions that probed values belong to, by branch and batch; the last few of each branch
/// are remembered. Branches have the same batch ids, as they draw the same random numbers.
class BatchTexts {
 public:
  struct Batch {
    Value completions;
    TokenText token_text;  ///< empty where the tokens have no texts
  };
  /// `branches` are those of the node that gave the completions.
  void remember(Value completions, TokenText token_text = {}, const Branches& branches = {});
  struct Found {
    const Batch* batch = nullptr;  ///< null: not known
    std::int64_t id = 0;           ///< of the batch among those of all branches
  };
  /// The batch that a node in `branches` means: its own branch's, else one from outside.
  Found find(std::int64_t batch, const Branches& branches = {}) const;

 private:
  static constexpr std::size_t kKept = 16;
  std::map<std::string, std::deque<Batch>> kept_;  ///< by innermost branch
};

/// `count` rows of the value chosen by a seeded reservoir (Vitter's algorithm R), in order of their
/// rows: batch, prompt and completion where the batch is known, scalars, components and per-token
/// values. Where the batch is known, the latter are those of the tokens that the policy wrote, with
/// what the sampling policy gave them as `behaviour_log_probs`; with them, and with rewards, go the
/// tokens' ids as `tokens` and, where known, their texts as `token_texts`.
std::vector<SampleRow> sample_rows(const Value& value, const BatchTexts& batches, int count,
                                   const RandomKey& key, const Branches& branches = {});

/// Bytes as UTF-8: those that are no part of a whole character become \xNN.
std::string printable_utf8(std::string_view bytes);

/// The first non-finite number of the value's main field, as "row 3" or "row 3, token 5"; "" if
/// none.
std::string first_nonfinite(const Value& value);

}  // namespace rewardloom
