// The `rewardloom` program: one add_*_command per command, each in a file of its own.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/problem.h"
#include "engine/graph/document.h"

namespace CLI {
class App;
}

namespace rewardloom {
class Registry;
}

namespace rewardloom::cli {

/// The exit status of the program; scripts rely on it.
enum ExitStatus : int {
  kDone = 0,
  kFailed = 1,       ///< the run, or what was asked for, failed
  kWrongUsage = 2,   ///< the command line is at fault
  kGraphErrors = 3,  ///< the graph does not check
  kInterrupted = 130
};

/// A fault of the command line: the program ends with kWrongUsage.
class WrongUsage : public Failure {
 public:
  using Failure::Failure;
};

/// A graph file that cannot be read, or is no graph: the program ends with kGraphErrors.
class UnreadableGraph : public Failure {
 public:
  using Failure::Failure;
};

/// What the chosen command does once the command line is parsed; gives the exit status.
using Action = std::function<int()>;

void add_run_command(CLI::App& app, Action& action);
void add_check_command(CLI::App& app, Action& action);
void add_nodes_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_graph_command(CLI::App& app, Action& action);
void add_new_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);
void add_completion_command(CLI::App& app, Action& action);
void add_man_command(CLI::App& app, Action& action);

/// What is wrong with the text of an option that takes a whole number of 0 to `most`, or nothing.
std::function<std::string(const std::string&)> whole_number(
    std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// Parses the command line and does what it says; errors go to standard error.
int run_command_line(int argc, char** argv);

/// All node types of the program and of the plug-ins. Throws WrongUsage for a plug-in that cannot
/// be used.
std::unique_ptr<Registry> make_registry(const std::vector<std::string>& plugins);

/// The option --plugin FILE, which may be repeated.
void add_plugin_option(CLI::App& command, std::vector<std::string>& plugins);

/// The graph file that the user named. Throws UnreadableGraph.
Document load_graph(const std::string& file);

/// Calls `function`; a Failure of it becomes a WrongUsage.
template <class Function>
auto as_usage(Function&& function) {
  try {
    return function();
  } catch (const Failure& failure) {
    throw WrongUsage(failure.problem());
  }
}

}  // namespace rewardloom::cli
