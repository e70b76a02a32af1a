// The pipe in a run folder through which other programs of the same user give a run its commands.
#pragma once
#include <filesystem>

namespace rewardloom::cli {

/// FOLDER/control while it lives. A pipe, not a process id: whoever writes into it reaches this run
/// or nobody. Where the file system has no pipes there is none, and the run goes on without.
class ControlPipe {
 public:
  explicit ControlPipe(const std::filesystem::path& folder);
  ~ControlPipe();
  ControlPipe(const ControlPipe&) = delete;
  ControlPipe& operator=(const ControlPipe&) = delete;

  /// To be read from without waiting; -1 where there is no pipe.
  int descriptor() const { return descriptor_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace rewardloom::cli
