#include "nodes/reward/python_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/core/problem.h"
#include "nodes/reward/python_driver.h"

extern char** environ;

namespace rewardloom {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kTailBytes = 4096;
constexpr std::size_t kShownBytes = 400;
constexpr std::size_t kChunk = 1 << 16;
constexpr double kGrace = 0.5;  ///< seconds in which a worker may end by itself
constexpr double kKillTime = 5;

[[noreturn]] void fail_system(const char* what) {
  throw Failure("python-start", fmt::format("{}: {}", what, std::strerror(errno)),
                "close other programs, or set fewer workers");
}

struct Ends {
  Descriptor read;
  Descriptor write;
};

/// The same ends with numbers that the child's own (0..5) cannot collide with.
Ends moved_up(const std::array<int, 2>& ends) {
  const Descriptor first(ends[0]);
  const Descriptor second(ends[1]);
  Ends high{Descriptor(fcntl(first.get(), F_DUPFD_CLOEXEC, 10)),
            Descriptor(fcntl(second.get(), F_DUPFD_CLOEXEC, 10))};
  if (high.read.get() < 0 || high.write.get() < 0) fail_system("no descriptor is free");
  return high;
}

Ends make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail_system("no pipe can be made");
  return moved_up(ends);
}

Ends make_socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    fail_system("no socket can be made");
  }
  return moved_up(ends);
}

void without_blocking(const Descriptor& descriptor) {
  fcntl(descriptor.get(), F_SETFL, fcntl(descriptor.get(), F_GETFL) | O_NONBLOCK);
}

/// The program's environment with what makes functions repeatable, unless the user has set it.
std::vector<std::string> child_environment() {
  std::vector<std::string> list;
  for (char** entry = environ; *entry != nullptr; ++entry) list.emplace_back(*entry);
  for (const char* setting :
       {"PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "PYTHONIOENCODING=utf-8:backslashreplace"}) {
    const std::string name(setting, std::strchr(setting, '=') + 1);
    bool is_set = false;
    for (const std::string& entry : list) is_set = is_set || entry.starts_with(name);
    if (!is_set) list.emplace_back(setting);
  }
  return list;
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
    for (const auto& [from, to] : descriptors) {
      posix_spawn_file_actions_adddup2(&actions_, from, to);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions_, 6);
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

/// Reads what is there, at most `limit` bytes, and hands it on; false at the end of the stream.
bool read_available(const Descriptor& from, std::size_t limit,
                    const std::function<void(std::string_view)>& take) {
  std::array<char, kChunk> buffer;
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

PythonProcess::PythonProcess(const PythonJob& job, Log log) : log_(std::move(log)) {
  spawn(job.interpreter, job.file);
  const Json setup = {{"file", job.file},
                      {"function", job.function},
                      {"convention", job.convention},
                      {"args", job.args},
                      {"memory", job.memory}};
  send(setup.dump(-1, ' ', false, Json::error_handler_t::replace));
  send(job.source);
}

void PythonProcess::spawn(const std::string& interpreter, const std::string& file) {
  Ends program = make_pipe();
  Ends output = make_pipe();
  Ends control = make_pipe();
  Ends status = make_pipe();
  Ends data = make_socket_pair();
  const SpawnOptions options({{program.read.get(), 0},
                              {output.write.get(), 1},
                              {output.write.get(), 2},
                              {data.write.get(), 3},
                              {control.read.get(), 4},
                              {status.write.get(), 5}});
  std::vector<std::string> words = {interpreter, "-u", "-", "rewardloom", file};
  std::vector<std::string> settings = child_environment();
  const int fault =
      posix_spawnp(&supervisor_, interpreter.c_str(), options.actions(), options.attributes(),
                   pointers(words).data(), pointers(settings).data());
  if (fault != 0) {
    supervisor_ = -1;
    throw Failure("python-start",
                  fmt::format("{} cannot be started: {}", interpreter, std::strerror(fault)),
                  "set the parameter python to a Python 3 interpreter");
  }
  data_ = std::move(data.read);
  output_ = std::move(output.read);
  control_ = std::move(control.write);
  status_ = std::move(status.read);
  for (const Descriptor* one : {&data_, &output_, &status_}) without_blocking(*one);
  // The pipe holds more than the whole program.
  const std::string_view text = python_driver();
  if (::write(program.write.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    fail_system("the driver cannot be handed over");
  }
}

PythonProcess::~PythonProcess() {
  if (supervisor_ < 0) return;
  if (control_.get() >= 0) {
    finish();
    wait_for_end(kGrace);
  }
  kill();
  if (!wait_for_end(kKillTime)) ::kill(supervisor_, SIGKILL);
  while (::waitpid(supervisor_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void PythonProcess::finish() {
  if (data_.get() >= 0) ::shutdown(data_.get(), SHUT_WR);
}

void PythonProcess::kill() { control_.close(); }

bool PythonProcess::wait_for_end(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!status_closed_ && Clock::now() < end) {
    std::array<pollfd, 2> events{{{status_.get(), POLLIN, 0}, {output_.get(), POLLIN, 0}}};
    ::poll(events.data(), output_.get() >= 0 ? 2 : 1, 50);
    read_output();
    read_status();
  }
  return status_closed_;
}

void PythonProcess::send(std::string_view body) {
  if (body.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw Failure("python-size", fmt::format("a call of {} bytes is too large", body.size()),
                  "set at_once to group or row");
  }
  const auto size = static_cast<std::uint32_t>(body.size());
  for (int shift = 0; shift < 32; shift += 8) out_.push_back(static_cast<char>(size >> shift));
  out_.append(body);
}

void PythonProcess::pump() {
  write_data();
  read_output();
  // Whatever it sent before it ended is in the socket by the time that its end is known.
  read_status();
  read_data();
  if (status_closed_) ended_ = true;
}

void PythonProcess::write_data() {
  std::size_t sent = 0;
  while (sent < out_.size()) {
    const ssize_t count =
        ::send(data_.get(), out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) sent = out_.size();  // its end will be noticed
    if (count < 0) break;
    sent += static_cast<std::size_t>(count);
  }
  out_.erase(0, sent);
}

void PythonProcess::read_data() {
  if (data_.get() < 0) return;
  if (!read_available(data_, std::numeric_limits<std::size_t>::max(),
                      [this](std::string_view text) { in_.append(text); })) {
    data_.close();
  }
}

void PythonProcess::read_output() {
  if (output_.get() < 0) return;
  const auto take = [this](std::string_view text) {
    if (log_) log_(text);
    tail_.append(text.substr(text.size() > kTailBytes ? text.size() - kTailBytes : 0));
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  };
  if (!read_available(output_, 16 * kChunk, take)) output_.close();
}

void PythonProcess::read_status() {
  if (status_closed_) return;
  status_closed_ = !read_available(status_, kChunk,
                                   [this](std::string_view text) { status_text_.append(text); });
}

std::optional<std::string> PythonProcess::next() {
  const std::size_t there = in_.size() - in_begin_;
  if (there < 4) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    size |= static_cast<std::size_t>(static_cast<unsigned char>(in_[in_begin_ + i])) << (8 * i);
  }
  if (there < 4 + size) return std::nullopt;
  std::string body = in_.substr(in_begin_ + 4, size);
  in_begin_ += 4 + size;
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
  }
  return body;
}

std::string PythonProcess::how_it_ended() const {
  if (status_text_.empty()) return "its supervisor was killed";
  const int status = std::stoi(status_text_);
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    return fmt::format("signal {} ({}{})", number, strsignal(number),
                       number == SIGKILL ? ", perhaps for want of memory" : "");
  }
  const int code = WEXITSTATUS(status);
  if (code == kPythonChannelLost) {
    return "the function closed the descriptor through which results travel";
  }
  return fmt::format("exit status {}", code);
}

std::string PythonProcess::printed() const {
  std::string text = tail_.substr(tail_.size() > kShownBytes ? tail_.size() - kShownBytes : 0);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line += " | ";
    } else if (static_cast<unsigned char>(c) >= ' ') {
      line += c;
    }
  }
  // A character that the cut left without its first byte.
  std::size_t start = 0;
  while (start < line.size() && (static_cast<unsigned char>(line[start]) & 0xC0) == 0x80) ++start;
  return line.substr(start);
}

}  // namespace rewardloom
