// Writes run.db, the SQLite store of a run; engine/io/README.md documents its schema. No LibTorch
// here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "engine/io/run_rows.h"

namespace rewardloom {

/// What a commit survives: `full` a power cut, `normal` the end of the process (and a power cut
/// without corruption, the last commits may be lost), `off` the end of the process only.
enum class Fsync { off, normal, full };

struct RunStoreOptions {
  int busy_timeout_ms = 10000;
  Fsync fsync = Fsync::normal;
  std::size_t batch_rows = 8192;  ///< rows after which add() commits by itself
};

/// The one writer of a run.db, for use by one thread at a time. Rows become visible to readers with
/// commit(). Failure `run-store-version` for a store of another schema version, `run-store-failed`
/// with the path and SQLite's reason (full disk, not a database, locked).
class RunStore {
 public:
  static constexpr int schema_version = 1;

  /// Opens or creates the store at `path`.
  explicit RunStore(const std::filesystem::path& path, const RunStoreOptions& options = {});
  /// Commits what is open; a fault is lost here, so call commit() where it matters.
  ~RunStore();
  RunStore(RunStore&&) noexcept;
  RunStore& operator=(RunStore&&) noexcept;

  void add(const MetricRow& row);
  void add(const HistogramRow& row);
  void add(const SampleRow& row);
  void add(const NodeRow& row);
  void add(const EventRow& row);
  void add(const AlarmRow& row);
  /// Ends the open transaction, if any.
  void commit();
  /// Forgets rows that were added since the last commit().
  void rollback();
  /// Deletes every row of iterations >= `iteration` and commits: what a resumed run writes anew.
  /// The summed rows of `nodes` stay, they are replaced as nodes fire.
  void truncate_after(std::int64_t iteration);
  /// Moves the write-ahead log into the database file, so that run.db alone is complete.
  void checkpoint_log();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rewardloom
