#include "engine/io/durable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::size_t gather_bytes = std::size_t{64} << 10;
// Linux writes at most 2 GiB at once.
constexpr std::size_t largest_write = std::size_t{1} << 30;

std::string reason(int error) { return std::generic_category().message(error); }

std::string advice(int error) {
  if (error == ENOSPC || error == EDQUOT) return "free some space there, or choose another folder";
  if (error == EFBIG) return "raise the limit on file sizes (ulimit -f), or write less";
  if (error == EACCES || error == EPERM || error == EROFS)
    return "choose a folder you may write to";
  if (error == ENOENT) return "create the folder first";
  return {};
}

}  // namespace

DurableFile::DurableFile(std::filesystem::path path, Durability durability)
    : path_(std::move(path)), durability_(durability) {
  struct stat status {};
  const bool exists = ::stat(path_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail(errno, "open");
    return;
  }
  if (exists && std::filesystem::is_symlink(path_)) path_ = std::filesystem::canonical(path_);
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = path_.parent_path() /
                 fmt::format(".{}.tmp-{}-{}", path_.filename().string(), ::getpid(), attempt);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor_ < 0 && errno != EEXIST) fail(errno, "create");
  }
  // Not every file system keeps them.
  if (exists) static_cast<void>(::fchmod(descriptor_, status.st_mode & 07777));
}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void DurableFile::fail(int error, std::string_view doing) const {
  throw Failure("write-failed",
                fmt::format("cannot {} {}: {}", doing, path_.string(), reason(error)),
                advice(error));
}

void DurableFile::write(std::string_view bytes) {
  if (observer_) observer_(bytes);
  size_ += bytes.size();
  if (pending_.size() + bytes.size() > gather_bytes) flush();
  if (bytes.size() > gather_bytes) return write_through(bytes);
  pending_.append(bytes);
}

void DurableFile::flush() {
  write_through(pending_);
  pending_.clear();
}

void DurableFile::write_through(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), std::min(bytes.size(), largest_write));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(errno, "write");
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

void DurableFile::commit() {
  flush();
  const bool takes_its_place = !temporary_.empty();
  const bool synced = takes_its_place && durability_ == Durability::synced;
  if (synced && ::fsync(descriptor_) != 0) fail(errno, "write");
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0) fail(errno, "write");
  if (!takes_its_place) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno, "replace");
  temporary_.clear();
  if (synced) sync_folder(path_.parent_path());
}

void write_durably(const std::filesystem::path& path, std::string_view bytes,
                   Durability durability) {
  DurableFile file(path, durability);
  file.write(bytes);
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const std::string name = folder.empty() ? "." : folder.string();
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int synced = descriptor < 0 ? -1 : ::fsync(descriptor);
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  // Some network file systems cannot sync folders and say so with EINVAL.
  if (synced != 0 && error != EINVAL) {
    throw Failure("write-failed", fmt::format("cannot sync folder {}: {}", name, reason(error)));
  }
}

std::string read_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    const bool missing = errno == ENOENT;
    throw Failure(missing ? "file-not-found" : "read-failed",
                  fmt::format("cannot open {}: {}", path.string(), reason(errno)));
  }
  std::string bytes;
  struct stat status {};
  if (::fstat(descriptor, &status) == 0) bytes.reserve(static_cast<std::size_t>(status.st_size));
  std::string block(std::size_t{1} << 18, '\0');
  for (;;) {
    const ssize_t got = ::read(descriptor, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    const int error = errno;
    if (got <= 0) ::close(descriptor);
    if (got < 0) {
      throw Failure("read-failed", fmt::format("cannot read {}: {}", path.string(), reason(error)));
    }
    if (got == 0) return bytes;
    bytes.append(block, 0, static_cast<std::size_t>(got));
  }
}

}  // namespace rewardloom
