// A checkpoint is a folder of safetensors files under a manifest with their checksums; it appears
// whole or not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/package.h"

namespace rewardloom {

struct CheckpointFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string checksum;  ///< XXH3 (128 bits) in hexadecimal, as `xxhsum -H2` prints it
};

/// What the manifest of one checkpoint says.
struct CheckpointInfo {
  std::int64_t iteration = 0;
  std::filesystem::path path;
  std::vector<CheckpointFile> files;
  Json meta = Json::object();
  std::uint64_t bytes() const;
};

/// Writes `folder`/000010 for iteration 10: first into a hidden folder, which commit() makes
/// durable and renames. One writer at a time per folder: opening one removes what a killed process
/// left unfinished. Without commit() nothing remains. Failure `write-failed` (full disk, ...)
/// leaves older checkpoints as they were.
class CheckpointWriter {
 public:
  CheckpointWriter(const std::filesystem::path& folder, std::int64_t iteration);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Adds `name`.safetensors; names are of letters, digits, '_', '-' and '.', each once.
  void add(const std::string& name, const Package& package);
  /// Adds a file of plain bytes under its full name.
  void add_bytes(const std::string& file_name, std::string_view bytes);
  /// What the manifest keeps besides the files, e.g. the program's version.
  void set_meta(Json meta) { meta_ = std::move(meta); }
  /// Publishes the checkpoint (replacing one of the same iteration), then deletes the oldest until
  /// `keep_last` remain; 0 keeps all. Gives its folder.
  std::filesystem::path commit(int keep_last);

 private:
  std::filesystem::path entry(const std::string& file_name);
  void write_manifest() const;

  std::filesystem::path folder_;
  std::int64_t iteration_;
  std::filesystem::path temporary_;
  std::vector<CheckpointFile> files_;
  Json meta_ = Json::object();
};

/// The finished checkpoints of a folder by rising iteration; those with an unreadable manifest are
/// left out. A folder that does not exist has none.
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& folder);

/// The manifest of one checkpoint. Failure `checkpoint-missing`, `checkpoint-corrupt` or
/// `checkpoint-version`.
CheckpointInfo read_checkpoint(const std::filesystem::path& checkpoint);

/// The checkpoint of the highest iteration, verified: where a run resumes. Failure
/// `checkpoint-missing` if there is none, `checkpoint-corrupt` if that one is damaged, even if
/// older ones are intact.
CheckpointInfo newest_checkpoint(const std::filesystem::path& folder);

/// Reads every file and compares size and checksum. Failure `checkpoint-corrupt` names the file,
/// what was expected and what was found, and the newest intact checkpoint before it.
CheckpointInfo verify_checkpoint(const std::filesystem::path& checkpoint);

/// One package of a checkpoint, its checksum compared first. Failure as verify_checkpoint.
Package load_checkpoint(const std::filesystem::path& checkpoint, const std::string& name);
/// One file of plain bytes, its checksum compared first.
std::string load_checkpoint_bytes(const std::filesystem::path& checkpoint,
                                  const std::string& file_name);

/// Deletes checkpoints of iterations > `iteration`: a resumed run writes them anew.
void remove_checkpoints_after(const std::filesystem::path& folder, std::int64_t iteration);
/// Deletes unfinished checkpoints of killed processes; gives their number.
std::size_t remove_unfinished_checkpoints(const std::filesystem::path& folder);

/// XXH3 (128 bits, seed 0) of `bytes` in hexadecimal.
std::string xxh3_128(std::string_view bytes);

}  // namespace rewardloom
