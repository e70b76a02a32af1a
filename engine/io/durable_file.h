// A file that appears whole or not at all: temporary name, fsync, rename, fsync of the folder.
#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace rewardloom {

/// What a committed file survives: `synced` a power cut, `buffered` the end of the process.
enum class Durability { synced, buffered };

/// Writes beside `path` and takes its place on commit(); without one it leaves nothing behind. A
/// link is followed and a file's permissions are kept; what is no file (a pipe, /dev/stdout) is
/// written as it comes.
/// A full disk or any other fault throws Failure `write-failed` with the path and the system's
/// reason.
class DurableFile {
 public:
  explicit DurableFile(std::filesystem::path path, Durability durability = Durability::synced);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  /// Appends; large blocks go straight to the system, small ones are gathered.
  void write(std::string_view bytes);
  void write(const void* data, std::size_t size) {
    write(std::string_view(static_cast<const char*>(data), size));
  }
  /// Makes the file durable and visible under its name.
  void commit();
  /// Called with every block in the order it is written, e.g. to hash it on the way.
  void observe(std::function<void(std::string_view)> observer) { observer_ = std::move(observer); }
  std::size_t size() const noexcept { return size_; }

 private:
  void flush();
  void write_through(std::string_view bytes);
  [[noreturn]] void fail(int error, std::string_view doing) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Durability durability_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
  std::string pending_;
  std::function<void(std::string_view)> observer_;
};

/// Replaces `path` by `bytes` atomically.
void write_durably(const std::filesystem::path& path, std::string_view bytes,
                   Durability durability = Durability::synced);
/// Makes renames and deletions within `folder` durable.
void sync_folder(const std::filesystem::path& folder);
/// The whole file; Failure `file-not-found` or `read-failed` with the path.
std::string read_file(const std::filesystem::path& path);

}  // namespace rewardloom
