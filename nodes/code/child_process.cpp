#include "nodes/code/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::size_t kReadChunk = 1 << 16;

[[noreturn]] void fail_without_descriptor(const char* what) {
  throw Failure("process-start", fmt::format("{}: {}", what, std::strerror(errno)),
                "close other programs, raise the limit of open files, or set fewer workers");
}

Ends moved_up(const std::array<int, 2>& ends) {
  const Descriptor first(ends[0]);
  const Descriptor second(ends[1]);
  Ends high{Descriptor(fcntl(first.get(), F_DUPFD_CLOEXEC, 10)),
            Descriptor(fcntl(second.get(), F_DUPFD_CLOEXEC, 10))};
  if (high.read.get() < 0 || high.write.get() < 0) {
    fail_without_descriptor("no descriptor is free");
  }
  return high;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

/// Attributes of the child: a session of its own, no blocked signals, default actions.
class SpawnOptions {
 public:
  explicit SpawnOptions(const std::vector<std::pair<int, int>>& descriptors) {
    posix_spawn_file_actions_init(&actions_);
    int last = -1;
    for (const auto& [from, to] : descriptors) {
      posix_spawn_file_actions_adddup2(&actions_, from, to);
      last = std::max(last, to);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions_, last + 1);
    posix_spawnattr_init(&attributes_);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes_, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

void Descriptor::close() {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

Ends make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail_without_descriptor("no pipe can be made");
  return moved_up(ends);
}

Ends make_socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    fail_without_descriptor("no socket can be made");
  }
  return moved_up(ends);
}

void without_blocking(const Descriptor& descriptor) {
  fcntl(descriptor.get(), F_SETFL, fcntl(descriptor.get(), F_GETFL) | O_NONBLOCK);
}

bool read_available(const Descriptor& from, std::size_t limit,
                    const std::function<void(std::string_view)>& take) {
  std::array<char, kReadChunk> buffer;
  for (std::size_t total = 0; total < limit;) {
    const ssize_t count = ::read(from.get(), buffer.data(), buffer.size());
    if (count == 0) return false;
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    take({buffer.data(), static_cast<std::size_t>(count)});
    total += static_cast<std::size_t>(count);
  }
  return true;
}

int launch(Launch program, pid_t& child) {
  const SpawnOptions options(program.descriptors);
  const int fault =
      posix_spawnp(&child, program.words.front().c_str(), options.actions(), options.attributes(),
                   pointers(program.words).data(), pointers(program.environment).data());
  if (fault != 0) child = -1;
  return fault;
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

bool append_frame(std::string& stream, std::string_view body) {
  if (body.size() > std::numeric_limits<std::uint32_t>::max()) return false;
  const auto size = static_cast<std::uint32_t>(body.size());
  for (int shift = 0; shift < 32; shift += 8) stream.push_back(static_cast<char>(size >> shift));
  stream.append(body);
  return true;
}

std::optional<std::string> FrameReader::next() {
  const std::size_t there = bytes_.size() - begin_;
  if (there < 4) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    size |= static_cast<std::size_t>(static_cast<unsigned char>(bytes_[begin_ + i])) << (8 * i);
  }
  if (there < 4 + size) return std::nullopt;
  std::string body = bytes_.substr(begin_ + 4, size);
  begin_ += 4 + size;
  if (begin_ == bytes_.size()) {
    bytes_.clear();
    begin_ = 0;
  }
  return body;
}

}  // namespace rewardloom
