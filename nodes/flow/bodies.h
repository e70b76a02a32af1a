// What the containers share: bodies' outputs become their own, and conditions on what a body
// measured.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/package.h"
#include "engine/core/step.h"

namespace rewardloom {

/// Puts each value at the container's output of that name; empty values leave theirs untouched.
void deliver(Step& step, const NamedValues& values);

/// {"metric": NAME, "above": x} or {"metric": NAME, "below": x} (or both: outside of a band). NAME
/// is that of a number in a Metrics output of the body, or "output.NAME", or that of a Scalar
/// output.
class MetricCondition {
 public:
  /// Null is a condition that never holds. Failure `bad-condition` that names what is wrong.
  static MetricCondition from_json(const Json& json);
  /// Whether the outputs of a body fulfil it; not if one of them is absent and the number is in no
  /// other. Failure `no-metric` if all are there, but not the number.
  bool holds(const NamedValues& outputs) const;

 private:
  std::string metric_;
  std::optional<double> above_;
  std::optional<double> below_;
};

/// Values that stay until they are replaced, checkpointed with the run. Failure `no-codec` at `set`
/// for handles and loss terms, which cannot be kept.
class KeptValues {
 public:
  void set(const NamedValues& values);
  const NamedValues& values() const { return values_; }
  void save(Package& out) const;
  void load(const Package& in);

 private:
  NamedValues values_;
};

}  // namespace rewardloom
