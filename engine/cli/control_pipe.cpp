#include "engine/cli/control_pipe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace rewardloom::cli {

ControlPipe::ControlPipe(const std::filesystem::path& folder) : path_(folder / "control") {
  // One that a killed run left behind serves as well; anything else of that name is not ours.
  if (::mkfifo(path_.c_str(), 0600) != 0 && errno != EEXIST) return;
  // Open for writing too: the end of a writer is then no end of the pipe.
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  struct stat status {};
  const bool ours = descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0 &&
                    S_ISFIFO(status.st_mode) && status.st_uid == ::geteuid();
  if (!ours && descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

ControlPipe::~ControlPipe() {
  if (descriptor_ < 0) return;
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

}  // namespace rewardloom::cli
