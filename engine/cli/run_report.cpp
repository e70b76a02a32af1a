#include "engine/cli/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

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

std::string shell_word(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@%+";
  const auto plain = [&](char c) {
    return kPlain.find(c) != std::string_view::npos || (static_cast<unsigned char>(c) & 0x80) != 0;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string shown_path(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  return shell_word(relative.native().starts_with("..") ? path.string() : relative.string());
}

HowToResume how_to_resume(const Run& run) {
  const std::vector<CheckpointInfo> checkpoints = list_checkpoints(run.folder() / "checkpoints");
  HowToResume how{"rewardloom run --resume " + shown_path(run.folder()), std::nullopt};
  if (!checkpoints.empty()) how.after = checkpoints.back().iteration;
  return how;
}

std::string resume_text(const Run& run) {
  const HowToResume how = how_to_resume(run);
  if (how.after) return fmt::format("{} (goes on after iteration {})", how.command, *how.after);
  return how.command +
         " (there is no checkpoint yet, so it begins anew; the setting checkpoint_every "
         "writes them on the way)";
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
