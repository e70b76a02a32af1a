// The folder of a run: graph.json, run.json, run.db, graphs/, checkpoints/, models/, trace.json,
// tensorboard/.
#pragma once
#include <filesystem>
#include <string>

#include "engine/graph/document.h"
#include "engine/graph/plan.h"

namespace rewardloom {

/// What run.json holds besides what the run adds when it ends.
struct RunInfo {
  std::string graph_file;  ///< absolute: paths in the graph are relative to it
  std::string graph_hash;
  std::uint64_t seed = 0;
  std::string device;
  int threads = 0;
  std::int64_t iterations = 0;
  std::string state;           ///< running, done, failed, interrupted
  std::int64_t completed = 0;  ///< iterations
  double started = 0;          ///< Unix seconds
  double seconds = 0;          ///< of work, over all resumptions
  Json problem;                ///< of a failed run
  std::string version;
  std::string libtorch;
  std::vector<std::string> plugins;  ///< absolute paths
};

Json to_json(const RunInfo& info);
RunInfo run_info_from_json(const Json& json);

/// `parent`/<graph>-<time>, made; a counter is added if it exists. Failure `run-folder`.
std::filesystem::path make_run_folder(const std::filesystem::path& parent,
                                      const std::string& graph_name);

/// Keeps other processes from running in the same folder while it lives.
class RunFolderLock {
 public:
  RunFolderLock() = default;
  /// Failure `run-in-use` if another run holds the folder.
  explicit RunFolderLock(const std::filesystem::path& folder);
  RunFolderLock(RunFolderLock&& other) noexcept;
  RunFolderLock& operator=(RunFolderLock&& other) noexcept;
  ~RunFolderLock();

 private:
  int file_ = -1;
};

/// Replaces run.json at once.
void write_run_info(const std::filesystem::path& folder, const RunInfo& info);
/// Failure `run-folder` if it is no run folder or run.json is broken.
RunInfo read_run_info(const std::filesystem::path& folder);

/// The graph as run: every parameter of the graph's nodes resolved and filled in.
Document resolved_graph(const Document& document, const Plan& plan);
/// It as graph.json.
void write_graph(const std::filesystem::path& folder, const Document& document, const Plan& plan);

/// Whether run.db holds anything of the run so far. Where it is gone or empty, what SQLite keeps
/// beside it is removed: it belongs to no store any more.
bool has_history(const std::filesystem::path& folder);

}  // namespace rewardloom
