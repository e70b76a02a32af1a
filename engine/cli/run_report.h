// Who tells of a run: on a terminal (progress_report.h) or as a stream of JSON (event_stream.h).
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/cli/command_line.h"
#include "engine/run/run.h"

namespace rewardloom::cli {

class RunReport : public RunObserver {
 public:
  /// The run cannot begin.
  virtual void refused(const std::vector<Problem>& problems, ExitStatus status) = 0;
  /// The user asked for the end; it comes after this iteration.
  virtual void stopping() = 0;
  /// A command that was read from standard input took effect, or could not.
  virtual void command_done(const std::string& command) = 0;
  virtual void command_failed(const std::string& command, const Problem& problem) = 0;
  /// After execute(). The folder is complete.
  virtual void finished(const Run& run, RunEnd end) = 0;
  /// The run is about to be gone: nothing may look at it any more.
  virtual void forget_run() = 0;
};

ExitStatus exit_status(RunEnd end);
/// "done", "failed" or "interrupted"
std::string to_string(RunEnd end);
/// How to go on with a run that stopped early: a command line, and what it would begin with.
struct HowToResume {
  std::string command;
  std::optional<std::int64_t> after;  ///< iterations that are kept; nothing: it begins anew
};
HowToResume how_to_resume(const Run& run);
/// The same for people.
std::string resume_text(const Run& run);
/// A word of a command line, in quotes where a shell would take it apart.
std::string shell_word(const std::string& word);
/// The folder as the user would type it.
std::string shown_path(const std::filesystem::path& path);

/// Calls a function regularly from a thread of its own until it is destroyed.
class Ticker {
 public:
  Ticker(double seconds, std::function<void()> function);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace rewardloom::cli
