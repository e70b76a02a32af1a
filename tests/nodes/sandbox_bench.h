// Runs programs of escape_programs/ and of a test's own in sandboxes.
#pragma once
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <QElapsedTimer>
#include <QThread>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/core/problem.h"
#include "nodes/code/program_pool.h"
#include "tests/qt_test.h"

namespace rewardloom::testing {

inline std::string escape_program(const std::string& name) {
  const std::string path =
      std::string(REWARDLOOM_SOURCE_DIR) + "/tests/nodes/escape_programs/" + name + ".py";
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  if (text.str().empty()) throw Failure("no-file", path);
  return text.str();
}

inline ProgramTest says(const std::string& output, const std::string& input = "") {
  ProgramTest test;
  test.input = input;
  test.expected = output;
  return test;
}

inline ProgramTest asserts(const std::string& code) {
  ProgramTest test;
  test.asserts = true;
  test.code = code;
  return test;
}

/// "" if a sandbox can be started here, else why not.
inline std::string no_sandbox() {
  ProgramPoolOptions options;
  options.workers = 1;
  try {
    ProgramPool(options).start();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

/// Whether an ordinary user gets a namespace here (not in a chroot, nor in most containers): only
/// if not may a test be left out.
inline bool has_user_namespaces() {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(1);
    ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
  }
  int status = 1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

/// Long enough for a busy machine, unless a test waits for the deadline.
inline ProgramPoolOptions small_limits(double seconds = 30) {
  ProgramPoolOptions options;
  options.workers = 1;
  options.limits.seconds = seconds;
  options.limits.memory = 256;
  return options;
}

/// A pool of one sandbox and one test at a time.
class Cell {
 public:
  explicit Cell(ProgramPoolOptions options) : pool_(std::move(options)) {}

  TestResult operator()(const std::string& source, const ProgramTest& test) {
    const std::vector<ProgramTest> tests = {test};
    const ProgramVerdicts found = pool_.run({{source, &tests}}, [] { return false; }).at(0);
    return {found.verdicts.at(0), found.message};
  }
  /// Empty if the program says so, else what it gave.
  std::string contained(const std::string& name) {
    const TestResult found = (*this)(escape_program(name), says("contained"));
    return found.verdict == Verdict::pass ? "" : name + ": " + found.message;
  }
  ProgramPool& pool() { return pool_; }

 private:
  ProgramPool pool_;
};

inline std::set<std::string> pid_namespaces_below_us() {
  std::set<std::string> found;
  std::vector<std::string> waiting = {std::to_string(::getpid())};
  std::error_code none;
  const auto own = std::filesystem::read_symlink("/proc/self/ns/pid", none).string();
  while (!waiting.empty()) {
    const std::string folder = "/proc/" + waiting.back();
    waiting.pop_back();
    const auto space = std::filesystem::read_symlink(folder + "/ns/pid", none).string();
    if (!none && space != own) found.insert(space);
    for (std::filesystem::directory_iterator task(folder + "/task", none), end;
         task != end && !none; task.increment(none)) {
      std::ifstream children(task->path() / "children");
      for (std::string child; children >> child;) waiting.push_back(child);
    }
  }
  return found;
}

/// Processes of the machine in any of these namespaces.
inline int processes_in(const std::set<std::string>& spaces) {
  int count = 0;
  std::error_code none;
  for (std::filesystem::directory_iterator entry("/proc", none), end; entry != end;
       entry.increment(none)) {
    const std::string name = entry->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;
    const auto space = std::filesystem::read_symlink(entry->path() / "ns/pid", gone).string();
    if (!gone && spaces.contains(space)) ++count;
  }
  return count;
}

/// Whether `condition` becomes true within some seconds.
template <class Condition>
bool soon(Condition condition, int seconds = 10) {
  QElapsedTimer timer;
  timer.start();
  while (timer.elapsed() < 1000 * seconds) {
    if (condition()) return true;
    QThread::msleep(20);
  }
  return condition();
}

template <class Action>
Problem problem_from(Action action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {};
}

}  // namespace rewardloom::testing
