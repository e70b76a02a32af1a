// Some rows of a batch as a batch of their own.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"

namespace rewardloom {

/// The rows `index` [K] int64, in that order, as batch `batch`.
Completions select_rows(const Completions& rows, const std::vector<std::int64_t>& index,
                        std::int64_t batch);
Rewards select_rows(const Rewards& rows, const std::vector<std::int64_t>& index,
                    std::int64_t batch);

/// What a filter keeps, in the order in which the rows came.
struct KeptRows {
  std::vector<std::int64_t> rows;
  std::size_t groups = 0;  ///< of which some row could be scored
  std::size_t kept = 0;
};

/// The rows of the groups for which `keep(moments of the group's rewards)` holds. Absent rows enter
/// no moment and go with their group; a group of which no row could be scored is not kept. Failure
/// `no-groups`, `not-finite`.
KeptRows kept_groups(const Rewards& rewards, const std::function<bool(const Moments&)>& keep);

/// Ports and behaviour of a node that drops whole groups.
struct GroupFilter : Node {
  Input<Rewards> rewards{this, "rewards", "with group ids"};
  Optional<Completions> completions{this, "completions", "the same rows"};
  Output<Rewards> out_rewards{this, "rewards", "of the groups that are kept"};
  Output<Completions> out_completions{this, "completions", "of the groups that are kept"};

  /// Whether a group with these rewards is kept.
  virtual bool keeps(const Moments& moments) const = 0;
  void run(Step& step) const final;
};

}  // namespace rewardloom
