// What a user can do to a run while it goes on: signals, and commands on standard input.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <thread>

#include "engine/cli/control_pipe.h"
#include "engine/cli/run_report.h"

namespace rewardloom::cli {

/// One line of standard input.
struct RunCommand {
  enum Kind {
    pause,
    resume,
    step,
    stop,
    checkpoint,
    set,
    break_at,
    unbreak,
    step_node,
    run_to
  } kind = pause;
  std::string assignment;  ///< of set: "node.param=value"
  std::string place;       ///< of break: see Breakpoint::parse(); of unbreak and run_to: a node
};

/// Reads "pause", "set node.param=value", {"command": "pause"}, {"command": "set", "assignment":
/// "node.param=value"} or {"command": "set", "node": N, "param": P, "value": V}; "break adv if
/// reward/accuracy > 0.9" or {"command": "break", "at": "adv if reward/accuracy > 0.9"}; "run_to
/// adv" or {"command": "run_to", "node": "adv"}; unbreak likewise, without a node for all.
/// Failure `unknown-command` or `command-shape`.
RunCommand parse_command(std::string_view line);

/// While it lives, SIGINT and SIGTERM stop the run after the iteration (a second one ends the
/// process at once), the lines of FOLDER/control are obeyed (a second stop there ends it at once
/// too), and with `read_commands` those of standard input.
class RunControl {
 public:
  RunControl(Run& run, RunReport& report, bool read_commands);
  ~RunControl();
  RunControl(const RunControl&) = delete;
  RunControl& operator=(const RunControl&) = delete;

 private:
  /// Where commands come from, and what has come of a line whose end has not.
  struct Source {
    int descriptor = -1;
    bool outside = false;  ///< not whoever started the run
    std::string unfinished_line = {};
  };

  void listen();
  /// False when nothing more will come.
  bool read_from(Source& source);
  void obey(const std::string& line, bool from_outside);
  void ask_to_stop();

  Run& run_;
  RunReport& report_;
  ControlPipe pipe_;
  std::array<Source, 2> sources_;
  std::array<int, 2> end_pipe_{};
  std::thread thread_;
};

}  // namespace rewardloom::cli
