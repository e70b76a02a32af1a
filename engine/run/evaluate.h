// One node on given values, outside any graph: what `rewardloom eval` and the golden tests run.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/package.h"
#include "engine/core/problem.h"
#include "engine/core/registry.h"

namespace rewardloom {

struct EvaluateOptions {
  std::uint64_t seed = 0;
  std::int64_t iteration = 0;
  std::string
      file;  ///< what relative paths in parameters are relative to, besides the working directory
  /// Rows that the node cannot score are absent, with the alarm rows-failed, as under a graph's
  /// on_error skip_row; else the first of them is a Failure.
  bool skip_rows = false;
};

struct EvaluateResult {
  /// Tensors, and everything else in `meta`. A node's outputs stand under `port` (the main field)
  /// and `port.field`, its metrics under their names where no port is called so. A loss gives
  /// `loss`, its further outputs by name, and `INPUT.grad` for every floating-point input.
  Package outputs;
  std::vector<Problem> alarms;
};

/// Runs a node of type `type` once. A key of `inputs` is a port's name (the value goes to its main
/// field), `port.field`, `port.INDEX` or `port.INDEX.field` for a variadic port, or a field's name.
/// A field's name must be unique among the ports, except that one that stands beside a main field
/// (`mask`, `group`) goes to every port that other keys name. For completions `mask` stands for
/// `kinds`, action where it is true, and for step rewards for `boundaries`. One tensor for a
/// variadic port with a dimension too many is its edges; for a node with state it is the updates in
/// order: the node fires once for each, and outputs are stacked. A loss takes its arguments by
/// name, and the scalars total_tokens, total_sequences, total_pairs and total_weight. Truths and
/// whole numbers for what holds real numbers (rewards, log-probs) become double, for a loss the
/// type of the real numbers beside them. Failure
/// `unknown-input`, `ambiguous-input`, `missing-input`, `bad-shape`, and those of the node.
EvaluateResult evaluate(const Registry& registry, std::string_view type, const Json& params,
                        const Package& inputs, const EvaluateOptions& options = {});

}  // namespace rewardloom
