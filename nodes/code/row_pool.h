// Rows that were made in earlier iterations, kept for each task: programs that a coder wrote,
// suites that a tester wrote.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/package.h"
#include "engine/core/random.h"

namespace rewardloom {

/// What is kept, and who made it.
struct PooledRow {
  Json content;
  double score = 0;
  std::int64_t weight_version = 0;  ///< of the model that wrote it
  std::int64_t iteration = 0;       ///< in which it was taken in
  std::int64_t row = 0;             ///< its place among the rows of that iteration
};

enum class PoolReplace { oldest, worst };
enum class PoolOrder { newest, random };

struct PoolOptions {
  std::int64_t per_task = 8;
  std::int64_t capacity = 8192;  ///< rows of all tasks together
  /// What leaves where there is no room; the older of equally bad ones.
  PoolReplace replace = PoolReplace::oldest;
  /// New rows of a task are taken in only if its newest row is at least so many iterations old; 0:
  /// only while the task has free places.
  std::int64_t refresh = 1;
};

struct PoolChange {
  std::int64_t added = 0;
  std::int64_t replaced = 0;
  std::int64_t refused = 0;  ///< not due, or worse than all that is kept
};

/// Places per task, each with the row that was put there; rows of a task stand in the order in
/// which they came. What it holds depends on what was offered alone, never on threads.
class RowPool {
 public:
  /// `rows` of one task, in order; their content, score, version and row number are theirs.
  PoolChange offer(const std::string& task, std::vector<PooledRow> rows, std::int64_t iteration,
                   const PoolOptions& options);
  /// `count` rows of the task: the newest, oldest first, or drawn without repetition. Where it has
  /// fewer, they come again from the start. Failure `pool-empty` for a task without any.
  std::vector<PooledRow> draw(const std::string& task, std::int64_t count, PoolOrder order,
                              Random random) const;

  bool holds(const std::string& task) const { return tasks_.contains(task); }
  std::int64_t size() const { return size_; }
  std::int64_t tasks() const { return static_cast<std::int64_t>(tasks_.size()); }

  void save(Package& out) const;
  void load(const Package& in);

 private:
  void make_room(const PoolOptions& options, PoolChange& change);

  std::map<std::string, std::vector<PooledRow>> tasks_;
  std::int64_t size_ = 0;
};

}  // namespace rewardloom
