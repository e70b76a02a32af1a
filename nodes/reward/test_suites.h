// Rewards of programs and of test suites from the verdicts of running one on the other. Nothing is
// run here. UTRL, arXiv:2508.21107.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

enum class Verdict : std::int64_t {
  pass = 0,
  wrong = 1,
  error = 2,
  timeout = 3,
  fault = 4,  ///< of the harness or of the test, not of the program
  compile_error = 5,
};
std::string_view name_of(Verdict verdict);

/// "pass", "wrong", "error", "timeout", "fault", "compile_error". Failure `bad-verdict`.
Verdict verdict_of(std::string_view text);
/// Numbers 0..5 in the same order. Failure `bad-verdict`.
Verdict verdict_of(std::int64_t number);
/// A list of texts or of numbers.
std::vector<Verdict> verdicts_of(const Json& list);

struct SuiteOptions {
  double discrimination_weight = 0.85;
  double validity_weight = 0.05;
  double format_weight = 0.1;
  double tau = 12;
  bool clip_denominator = true;
};

struct SuiteScore {
  double reward = 0;
  double discrimination = 0;  ///< share of candidate programs that a valid case catches
  double validity = 0;        ///< valid / max(unique, tau), or validity_ratio if not clipped
  double validity_ratio = 0;  ///< valid / unique
  double duplicate_share = 0;
  std::int64_t unique = 0;
};

/// Scores a suite of K cases. case_id [K]: equal ids are the same case, of which the first counts;
/// reference [K]: a case is valid if the reference program passes it; candidates [M][K]. A wrong
/// output, an error, a timeout and a program that does not compile are catches, a fault of the
/// harness is none. Failure `bad-shape`, also without candidates.
SuiteScore score_suite(const std::vector<std::int64_t>& case_id,
                       const std::vector<Verdict>& reference,
                       const std::vector<std::vector<Verdict>>& candidates, double format,
                       const SuiteOptions& options);

struct ProgramScore {
  double pass_rate = 0;
  std::int64_t valid = 0;
};

/// passed / (valid + epsilon) over the cases that the reference passes; duplicates count as often
/// as they occur. Failure `bad-shape`; `harness-fault` if a valid case could not be run.
ProgramScore score_program(const std::vector<Verdict>& reference,
                           const std::vector<Verdict>& program, double epsilon);

}  // namespace rewardloom
