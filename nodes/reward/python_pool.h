// Calls of a Python function, spread over warm worker processes.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/reward/python_process.h"

namespace rewardloom {

/// What a worker says of the function once it has loaded the file.
struct PythonFunction {
  std::string name;
  std::string convention;             ///< verl or trl
  bool any_keyword = false;           ///< takes **kwargs
  std::vector<std::string> names;     ///< the keywords it names
  std::vector<std::string> required;  ///< those without a default
  std::vector<std::string> args;      ///< those that the node's args give

  bool takes(std::string_view keyword) const;
  bool needs(std::string_view keyword) const;
};

struct PythonPoolOptions {
  PythonJob job;
  std::size_t workers = 1;
  double deadline = 10;        ///< seconds per call
  double start_deadline = 60;  ///< seconds to load the file
  std::string log;             ///< file that gets what is printed; empty: none
};

/// The answer to one call: what the driver sent, or why there is none.
struct PythonAnswer {
  Json body;
  std::string failure;
};

/// Up to `workers` processes, started when they are needed and kept. One thread at a time.
class PythonPool {
 public:
  explicit PythonPool(PythonPoolOptions options);
  ~PythonPool();
  PythonPool(const PythonPool&) = delete;
  PythonPool& operator=(const PythonPool&) = delete;

  /// Starts the first worker and waits for it. Failures: python-start, python-syntax,
  /// python-module, python-import, python-function, python-convention, python-argument.
  const PythonFunction& function();

  /// The answers, in the order of the calls whoever gave them. A call that is too slow or ends its
  /// worker fails alone; the worker is replaced. Failure `cancelled`, or as `function`.
  std::vector<PythonAnswer> run(const std::vector<std::string>& calls,
                                const std::function<bool()>& cancelled);

 private:
  using Clock = std::chrono::steady_clock;
  struct Worker {
    std::unique_ptr<PythonProcess> process;
    bool ready = false;
    std::deque<std::size_t> outstanding;  ///< calls that it has, in order
    Clock::time_point since;              ///< when it was started, or began with the first of them
  };
  struct Work;

  void start(Worker& worker);
  void wait(double seconds);
  void serve(Worker& worker, Work* work);
  void take_ready(Worker& worker, const std::string& frame);
  void check_time(Worker& worker, Work* work);
  void lose(Worker& worker, Work* work, const std::string& reason);
  void hand_out(Work& work);
  void note_output(std::string_view text);
  double seconds_left() const;
  [[noreturn]] void fail_start(const PythonProcess& process, const std::string& what) const;

  PythonPoolOptions options_;
  PythonFunction function_;
  bool known_ = false;
  std::vector<Worker> workers_;
  std::vector<std::unique_ptr<PythonProcess>> ending_;
  std::ofstream log_;
  std::size_t logged_ = 0;
};

}  // namespace rewardloom
