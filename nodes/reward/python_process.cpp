#include "nodes/reward/python_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
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

}  // namespace

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
  const int fault = launch({{interpreter, "-u", "-", "rewardloom", file},
                            child_environment(),
                            {{program.read.get(), 0},
                             {output.write.get(), 1},
                             {output.write.get(), 2},
                             {data.write.get(), 3},
                             {control.read.get(), 4},
                             {status.write.get(), 5}}},
                           supervisor_);
  if (fault != 0) {
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
  wait_for(supervisor_);
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
  if (append_frame(out_, body)) return;
  throw Failure("python-size", fmt::format("a call of {} bytes is too large", body.size()),
                "set at_once to group or row");
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
