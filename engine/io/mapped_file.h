// A file in memory, read on demand; writes to the memory stay private to the process.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string_view>

namespace rewardloom {

/// Maps a regular file copy-on-write. Failure `file-not-found` or `read-failed` with the path.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const noexcept { return {data_, size_}; }
  char* data() const noexcept { return data_; }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rewardloom
