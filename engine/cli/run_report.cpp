#include "engine/cli/run_report.h"

#include <fmt/format.h>

#include "engine/io/checkpoint_files.h"

namespace rewardloom::cli {
namespace fs = std::filesystem;

ExitStatus exit_status(RunEnd end) {
  switch (end) {
    case RunEnd::done: return kDone;
    case RunEnd::interrupted: return kInterrupted;
    case RunEnd::failed: break;
  }
  return kFailed;
}

std::string to_string(RunEnd end) {
  switch (end) {
    case RunEnd::done: return "done";
    case RunEnd::interrupted: return "interrupted";
    case RunEnd::failed: break;
  }
  return "failed";
}

std::string shown_path(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  const std::string text = relative.native().starts_with("..") ? path.string() : relative.string();
  return text.find_first_of(" '\"()$&;*?") == std::string::npos ? text : "'" + text + "'";
}

std::string how_to_resume(const Run& run) {
  const std::vector<CheckpointInfo> checkpoints = list_checkpoints(run.folder() / "checkpoints");
  const std::string command = "rewardloom run --resume " + shown_path(run.folder());
  if (checkpoints.empty()) {
    return command +
           " (there is no checkpoint yet, so it begins anew; the setting checkpoint_every "
           "writes them on the way)";
  }
  return fmt::format("{} (goes on after iteration {})", command, checkpoints.back().iteration);
}

Ticker::Ticker(double seconds, std::function<void()> function)
    : thread_([this, seconds, function = std::move(function)] {
        std::unique_lock lock(mutex_);
        const auto period = std::chrono::duration<double>(seconds);
        while (!wake_.wait_for(lock, period, [this] { return stop_; })) {
          lock.unlock();
          function();
          lock.lock();
        }
      }) {}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace rewardloom::cli
