// Score files of reward-model benchmarks: one row per problem, one score (or list of step scores)
// per solution, one solution right.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

struct ScoreFields {
  std::string score = "score";
  std::string source = "solution_reference";
  std::vector<std::string> correct;  ///< what `source` says of the right solution
};

/// The scores of one problem, the right solution first, the others in file order.
struct ProblemScores {
  std::vector<std::vector<double>> solutions;  ///< [K][steps]; a plain score is one step
  bool steps = false;                          ///< the file holds lists of step scores
};

/// `place` names the row in errors. A row without the source field has its right solution first.
/// Failure `data-field` for what is missing or no number, `not-one-correct` for none or several
/// right solutions.
ProblemScores problem_scores(const Json& row, const ScoreFields& fields, const std::string& place);

/// All rows of a file: one JSON list, or one JSON object a line. Failure `data-empty`,
/// `mixed-scores` where some problems have step scores and some have not, and those of the readers.
std::vector<ProblemScores> read_benchmark_scores(const std::string& path,
                                                 const ScoreFields& fields);

}  // namespace rewardloom
