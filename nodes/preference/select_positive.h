// One completion of each group that a rule checker calls correct.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class Pick { first, random };
constexpr auto choices(Pick) {
  return std::to_array<Choice<Pick>>({
      {Pick::first, "first", "in row order"},
      {Pick::random, "random", "each with the same chance, drawn from the run's seed"},
  });
}

struct SelectedRows {
  std::vector<std::int64_t> group;  ///< [G] rising ids
  std::vector<std::int64_t> index;  ///< [G] the chosen row
  std::vector<bool> positive;       ///< [G] whether it reaches min_score
};

/// scores [N], group [N] int64, absent [N] bool or undefined: never positive. `draw(group id,
/// count)` picks one of `count` candidates. A group without a positive gives its first row.
SelectedRows select_positive(const at::Tensor& scores, const at::Tensor& group,
                             const at::Tensor& absent, double min_score,
                             const std::function<std::size_t(std::int64_t, std::size_t)>& draw);

}  // namespace rewardloom
