// One Python process that answers calls, with everything that it starts.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/core/json.h"
#include "nodes/code/child_process.h"

namespace rewardloom {

/// What a process runs. `source` is the text of `file`, so that every process runs the same.
struct PythonJob {
  std::string interpreter = "python3";
  std::string file;
  std::string source;
  std::string function;
  std::string convention = "auto";
  Json args = Json::object();
  std::int64_t memory = 0;  ///< MiB of data; 0: no limit
};

/// A supervisor and its worker (python_driver.h). Nothing here waits, except `wait_for_end`.
class PythonProcess {
 public:
  using Log = std::function<void(std::string_view)>;

  /// Starts it; what it prints goes to `log`. Failure `python-start` if there is no such program.
  PythonProcess(const PythonJob& job, Log log);
  /// Lets the worker end by itself for a moment, then ends it and all that it started.
  ~PythonProcess();
  PythonProcess(const PythonProcess&) = delete;
  PythonProcess& operator=(const PythonProcess&) = delete;

  /// Queues a frame; `pump` sends it.
  void send(std::string_view body);
  /// Sends and receives what is possible at once.
  void pump();
  /// The next whole frame, if there is one.
  std::optional<std::string> next() { return in_.next(); }
  /// Whether the worker has ended (by itself or not) and `next` has given its last frame.
  bool ended() const { return ended_; }
  /// "os._exit(3)", "signal 11 (Segmentation fault)".
  std::string how_it_ended() const;
  /// The end of what was printed, on one line, at most some hundred bytes.
  std::string printed() const;

  /// Nothing more is to be asked of it: the worker may end by itself.
  void finish();
  /// The worker and all that it started are to be killed.
  void kill();

  /// For poll: descriptors to read, and whether there is something to be written to the first.
  int data() const { return data_.get(); }
  int output() const { return output_.get(); }
  int status() const { return status_.get(); }
  bool wants_to_send() const { return !out_.empty(); }

 private:
  void spawn(const std::string& interpreter, const std::string& file);
  void read_output();
  void read_data();
  void read_status();
  void write_data();
  /// Until the supervisor has ended, at most `seconds`.
  bool wait_for_end(double seconds);

  Log log_;
  pid_t supervisor_ = -1;
  Descriptor data_;
  Descriptor control_;
  Descriptor output_;
  Descriptor status_;
  FrameReader in_;
  std::string out_;
  std::string tail_;
  std::string status_text_;
  bool status_closed_ = false;
  bool ended_ = false;
};

}  // namespace rewardloom
