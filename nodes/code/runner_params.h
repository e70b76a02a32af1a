// How programs are run, as parameters: the same in every node that runs them.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/step.h"
#include "nodes/code/program_pool.h"

namespace rewardloom {

constexpr auto choices(ProgramLanguage) {
  return std::to_array<Choice<ProgramLanguage>>({
      {ProgramLanguage::python, "python", "Python 3 in a sandbox"},
      {ProgramLanguage::cpp, "cpp", "C++ (g++), compiled and run in a sandbox"},
      {ProgramLanguage::mini, "mini",
       "functions of one integer in a tiny language, run in process"},
  });
}

constexpr auto choices(OutputCompare) {
  return std::to_array<Choice<OutputCompare>>({
      {OutputCompare::strip_equal, "strip_equal", "equal without white space around them"},
      {OutputCompare::float_tol, "float_tol",
       "word by word, numbers may differ by tolerance * max(1, |expected|)"},
  });
}

struct RunnerParams {
  explicit RunnerParams(Node* node);

  Param<ProgramLanguage> language;
  Param<double> timeout_s;
  Param<std::int64_t> memory_mb, processes, output_mb, workers;
  Param<OutputCompare> compare;
  Param<double> tolerance;
  Param<bool> quiet;
  Param<std::int64_t> max_tokens, max_steps;

  ProgramPoolOptions options() const;
};

/// Runs programs as the parameters say, in warm sandboxes that live as long as the node.
class ProgramRunner {
 public:
  /// Starts a sandbox, so that a run without one stops before its first iteration.
  void prepare(const RunnerParams& params) const;
  /// One ProgramVerdicts per job. Failures as ProgramPool and run_mini.
  std::vector<ProgramVerdicts> run(const RunnerParams& params, const std::vector<ProgramJob>& jobs,
                                   const std::function<bool()>& cancelled) const;

 private:
  ProgramPool& pool(const RunnerParams& params) const;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<ProgramPool> pool_;
};

/// Counts of verdicts as metrics: tests, pass_rate, wrong, errors, timeouts, compile_errors
/// (shares of the tests).
void report_verdicts(Step& step, const std::vector<ProgramVerdicts>& programs);

}  // namespace rewardloom
