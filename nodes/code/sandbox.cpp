#include "nodes/code/sandbox.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/core/problem.h"
#include "nodes/code/program_driver.h"
#include "nodes/code/seccomp_filter.h"

namespace rewardloom {
namespace {

namespace fs = std::filesystem;

constexpr int kFilterNumber = 6;
constexpr std::size_t kSandboxTail = 4096;
constexpr std::size_t kSandboxShown = 600;

void append(std::vector<std::string>& words, std::initializer_list<std::string> more) {
  words.insert(words.end(), more);
}

/// Debian's merged /usr has links in the root, older systems have folders there.
void show_system(std::vector<std::string>& words) {
  append(words, {"--ro-bind", "/usr", "/usr"});
  for (const char* place : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code none;
    if (fs::is_symlink(place, none)) {
      append(words, {"--symlink", fs::read_symlink(place, none).string(), place});
    } else if (fs::is_directory(place, none)) {
      append(words, {"--ro-bind", place, place});
    }
  }
  // The linker's cache, and where c++ and cc point to.
  for (const char* place : {"/etc/ld.so.cache", "/etc/alternatives"}) {
    append(words, {"--ro-bind-try", place, place});
  }
  for (const char* device :
       {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    append(words, {"--dev-bind", device, device});
  }
}

}  // namespace

SandboxUser sandbox_user() {
  if (::geteuid() != 0) return SandboxUser::own;
  // Root of a container that is an ordinary user outside of it is one for limits as well.
  std::uint64_t inside = 0, outside = 0;
  const bool is_mapped =
      static_cast<bool>(std::ifstream("/proc/self/uid_map") >> inside >> outside);
  return is_mapped && inside == 0 && outside != 0 ? SandboxUser::own : SandboxUser::nobody;
}

std::vector<std::string> sandbox_command(const SandboxOptions& options, SandboxUser user,
                                         int filter, const std::vector<std::string>& program) {
  std::vector<std::string> words;
  if (user == SandboxUser::nobody) {
    append(words, {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                   "--"});
  }
  append(words, {options.bubblewrap,
                 "--unshare-user",
                 "--unshare-pid",
                 "--unshare-net",
                 "--unshare-ipc",
                 "--unshare-uts",
                 "--unshare-cgroup-try",
                 "--disable-userns",
                 "--uid",
                 "65534",
                 "--gid",
                 "65534",
                 "--hostname",
                 "sandbox",
                 "--die-with-parent",
                 "--new-session",
                 "--as-pid-1",
                 "--cap-drop",
                 "ALL",
                 "--clearenv"});
  for (const char* setting : {"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8",
                              "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1"}) {
    const char* const value = std::strchr(setting, '=');
    append(words, {"--setenv", std::string(setting, value), value + 1});
  }
  show_system(words);
  append(words, {"--symlink", "/tmp", "/dev/shm", "--size", std::to_string(options.folder << 20),
                 "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp", "--seccomp",
                 std::to_string(filter), "--"});
  words.insert(words.end(), program.begin(), program.end());
  return words;
}

std::string_view sandbox_help() {
  return "install bubblewrap (apt-get install bubblewrap; root needs setpriv as well) and allow user namespaces (sysctl "
         "user.max_user_namespaces, kernel.unprivileged_userns_clone=1, on Ubuntu "
         "kernel.apparmor_restrict_unprivileged_userns=0; in a container run it with "
         "--security-opt seccomp=unconfined, or --privileged): programs that a model wrote run in "
         "a sandbox or not at all";
}

Sandbox::Sandbox(const SandboxOptions& options, SandboxUser user) {
  const Descriptor filter = seccomp_filter();
  Ends input = make_pipe();
  // Sockets, since writing to a pipe whose reader is gone would be a signal to all of us.
  Ends commands = make_socket_pair();
  Ends tests = make_socket_pair();
  Ends answers = make_pipe();
  Ends output = make_pipe();
  input.write.close();
  // -I would do without PYTHONHASHSEED.
  const std::vector<std::string> driver = {options.python, "-s", "-B", "-c",
                                           std::string(program_driver())};
  const int fault = launch({sandbox_command(options, user, kFilterNumber, driver),
                            {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"},
                            {{input.read.get(), 0},
                             {output.write.get(), 1},
                             {output.write.get(), 2},
                             {commands.read.get(), 3},
                             {answers.write.get(), 4},
                             {tests.read.get(), 5},
                             {filter.get(), kFilterNumber}}},
                           process_);
  // EACCES: a folder of PATH that is closed to this user.
  if (fault == ENOENT || fault == EACCES) {
    throw Failure("sandbox-missing",
                  fmt::format("{} cannot be started: {}",
                              user == SandboxUser::nobody ? "setpriv" : options.bubblewrap,
                              std::strerror(fault)),
                  std::string(sandbox_help()));
  }
  if (fault != 0) {
    throw Failure("process-start",
                  fmt::format("no sandbox can be started: {}", std::strerror(fault)),
                  "close other programs, or set fewer workers");
  }
  commands_.end = std::move(commands.write);
  tests_.end = std::move(tests.write);
  answers_ = std::move(answers.read);
  output_ = std::move(output.read);
  for (const Descriptor* one : {&commands_.end, &tests_.end, &answers_, &output_}) {
    without_blocking(*one);
  }
}

Sandbox::~Sandbox() {
  if (process_ < 0) return;
  // Bubblewrap takes the driver along, which is process 1 of its namespace and takes all others.
  ::kill(process_, SIGKILL);
  wait_for(process_);
}

bool Sandbox::send(std::string_view command, std::string_view test) {
  if (test.size() > std::numeric_limits<std::uint32_t>::max()) return false;
  if (!append_frame(commands_.out, command)) return false;
  return test.empty() || append_frame(tests_.out, test);
}

void Sandbox::Stream::write() {
  std::size_t sent = 0;
  while (sent < out.size()) {
    const ssize_t count =
        ::send(end.get(), out.data() + sent, out.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) sent = out.size();  // its end will be noticed
    if (count < 0) break;
    sent += static_cast<std::size_t>(count);
  }
  out.erase(0, sent);
}

void Sandbox::pump() {
  commands_.write();
  tests_.write();
  const auto keep_tail = [this](std::string_view text) {
    tail_.append(text);
    if (tail_.size() > kSandboxTail) tail_.erase(0, tail_.size() - kSandboxTail);
  };
  if (output_.get() >= 0 && !read_available(output_, kSandboxTail, keep_tail)) output_.close();
  if (answers_.get() < 0) return;
  const auto take = [this](std::string_view text) { in_.append(text); };
  if (read_available(answers_, std::numeric_limits<std::size_t>::max(), take)) return;
  answers_.close();
  ended_ = true;
}

std::string Sandbox::printed() const {
  std::string line;
  for (const char c : tail_) {
    if (c == '\n') {
      line += " | ";
    } else if (static_cast<unsigned char>(c) >= ' ' && static_cast<unsigned char>(c) < 0x7f) {
      line += c;
    }
  }
  while (line.ends_with(" | ")) line.resize(line.size() - 3);
  return line.size() > kSandboxShown ? line.substr(line.size() - kSandboxShown) : line;
}

TreeUsage usage_of_tree(pid_t root, std::int64_t most) {
  TreeUsage usage;
  std::vector<std::string> waiting = {std::to_string(root)};
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  while (!waiting.empty() && usage.processes < most) {
    const std::string folder = "/proc/" + waiting.back();
    waiting.pop_back();
    std::int64_t size = 0, resident = 0;
    if (!(std::ifstream(folder + "/statm") >> size >> resident)) continue;
    ++usage.processes;
    usage.resident += resident * page;
    std::error_code none;
    for (fs::directory_iterator task(folder + "/task", none), end; task != end && !none;
         task.increment(none)) {
      std::ifstream children(task->path() / "children");
      for (std::string child; children >> child;) waiting.push_back(child);
    }
  }
  return usage;
}

}  // namespace rewardloom
