// Runs programs on tests in warm sandboxes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nodes/code/program_tests.h"
#include "nodes/code/sandbox.h"

namespace rewardloom {

struct ProgramPoolOptions {
  ProgramLanguage language = ProgramLanguage::python;  ///< python or cpp
  SandboxOptions sandbox;
  ProgramLimits limits;
  OutputRules rules;
  std::string compiler = "/usr/bin/g++";
  std::vector<std::string> compiler_flags = {"-std=gnu++20", "-O2"};
  std::size_t workers = 2;  ///< sandboxes at once
  SandboxUser user = sandbox_user();
};

/// Up to `workers` sandboxes, started when they are needed and kept. Each test runs in processes of
/// its own. One thread at a time.
class ProgramPool {
 public:
  explicit ProgramPool(ProgramPoolOptions options);
  ~ProgramPool();
  ProgramPool(const ProgramPool&) = delete;
  ProgramPool& operator=(const ProgramPool&) = delete;

  /// Starts the first sandbox and waits for it. Failures: sandbox-missing, sandbox-failed,
  /// process-start.
  void start();

  /// The verdicts of each job, in order. Whatever a program does gives a verdict; Failures are
  /// those of the harness: as `start`, sandbox-lost if a sandbox ends twice under the same test,
  /// sandbox-compiler, bad-test, cancelled.
  std::vector<ProgramVerdicts> run(const std::vector<ProgramJob>& jobs,
                                   const std::function<bool()>& cancelled);

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace rewardloom
