// What the nodes that keep rows of earlier iterations share: parameters, what is offered, what is
// given, and where it comes from.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/port_types.h"
#include "engine/core/step.h"
#include "nodes/code/row_pool.h"

namespace rewardloom {

constexpr auto choices(PoolReplace) {
  return std::to_array<Choice<PoolReplace>>({
      {PoolReplace::oldest, "oldest", "the row that came first"},
      {PoolReplace::worst, "worst", "the row with the lowest score, of equal ones the oldest"},
  });
}
constexpr auto choices(PoolOrder) {
  return std::to_array<Choice<PoolOrder>>({
      {PoolOrder::newest, "newest", "those that came last, in the order in which they came"},
      {PoolOrder::random, "random",
       "drawn without repetition from (seed, node, iteration, prompt)"},
  });
}

/// The pool of a run, and the set of rows that it took in last: rows that a container keeps giving
/// between its firings are no new rows.
struct PoolState {
  RowPool rows;
  std::int64_t last_batch = 0;
  void save(Package& out) const;
  void load(const Package& in);
};

struct PoolParams {
  explicit PoolParams(Node* node)
      : per_task(node, "per_task", 8, "rows kept for each task", {.min = 1, .unit = "rows"}),
        capacity(node, "capacity", 8192, "rows kept of all tasks together",
                 {.min = 1, .unit = "rows"}),
        replace(node, "replace", PoolReplace::oldest, "what leaves where there is no room"),
        refresh(node, "refresh", 1,
                "iterations after which new rows take the place of a task's old ones; 0: never, "
                "only free places are filled",
                {.min = 0, .unit = "iterations"}),
        draw(node, "draw", 8, "rows given for each prompt", {.min = 1, .unit = "rows"}),
        order(node, "order", PoolOrder::newest, "which of them") {}

  PoolOptions options() const { return {per_task(), capacity(), replace(), refresh()}; }

  Param<std::int64_t> per_task, capacity;
  Param<PoolReplace> replace;
  Param<std::int64_t> refresh, draw;
  Param<PoolOrder> order;
};

/// Takes in `contents`, one per completion (none: nothing is new), then draws for every prompt.
/// Where a prompt's own new rows were taken in, these are given first: with refresh 1 and draw as
/// many as were sampled, the pool gives what it was given. Fills `provenance`, records metrics.
std::vector<Json> through_pool(Step& step, PoolState& pool, const PoolParams& params,
                               const Completions* made_by, const std::vector<Json>& contents,
                               const Values* scores, const Prompts& prompts, Table& provenance);

}  // namespace rewardloom
