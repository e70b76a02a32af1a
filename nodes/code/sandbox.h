// One sandbox: bubblewrap around an interpreter that waits for programs to run.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/code/child_process.h"

namespace rewardloom {

struct SandboxOptions {
  std::string bubblewrap = "bwrap";
  std::string python = "/usr/bin/python3";  ///< as seen from inside: below /usr
  std::int64_t folder = 64;                 ///< MiB of /tmp, the only place that can be written
};

/// Who the sandbox's processes are outside of it: nobody for the machine's root, for whom the
/// kernel knows no limit on the number of processes; else the user.
enum class SandboxUser { own, nobody };
SandboxUser sandbox_user();

/// The words that start `program` in a sandbox: user, mount, PID, network, IPC, UTS and cgroup
/// namespaces of its own; /usr read-only and a private /tmp, no /proc, no /etc, no home; an empty
/// environment; `filter` is the descriptor of the system call filter in the child.
std::vector<std::string> sandbox_command(const SandboxOptions& options, SandboxUser user,
                                         int filter, const std::vector<std::string>& program);

/// What to do where there is no sandbox.
std::string_view sandbox_help();

/// A running sandbox with the driver of program_driver.h. Nothing here waits but the destructor,
/// for processes that it has killed.
class Sandbox {
 public:
  /// Failure `sandbox-missing` if there is no bubblewrap, `process-start`, `sandbox-failed`.
  Sandbox(const SandboxOptions& options, SandboxUser user);
  /// Ends all that runs inside.
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  /// Queues a command and, for one with asserts, its test; `pump` sends them. False if too large.
  bool send(std::string_view command, std::string_view test);
  /// Sends and receives what is possible at once.
  void pump();
  std::optional<std::string> next() { return in_.next(); }
  /// Whether the driver has ended and `next` has given its last frame.
  bool ended() const { return ended_; }
  /// The end of what bubblewrap and the driver said themselves, on one line.
  std::string printed() const;
  /// Bubblewrap's own process, the ancestor of all others.
  pid_t process() const { return process_; }

  int answers() const { return answers_.get(); }
  int output() const { return output_.get(); }
  /// The descriptors to which something is to be written, -1 for none.
  int commands_waiting() const { return commands_.out.empty() ? -1 : commands_.end.get(); }
  int tests_waiting() const { return tests_.out.empty() ? -1 : tests_.end.get(); }

 private:
  struct Stream {
    Descriptor end;
    std::string out;
    void write();
  };

  pid_t process_ = -1;
  Stream commands_;
  Stream tests_;
  Descriptor answers_;
  Descriptor output_;
  FrameReader in_;
  std::string tail_;
  bool ended_ = false;
};

struct TreeUsage {
  std::int64_t processes = 0;
  std::int64_t resident = 0;  ///< bytes in memory, shared pages counted for each process
};
/// Of a process and its descendants. Stops counting at `most` processes.
TreeUsage usage_of_tree(pid_t root, std::int64_t most);

}  // namespace rewardloom
