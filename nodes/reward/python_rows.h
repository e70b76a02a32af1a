// Completions as calls in the conventions of verl and TRL, and their answers as scores.
#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/step.h"
#include "nodes/reward/python_pool.h"

namespace rewardloom {

enum class RewardConvention { automatic, verl, trl };
constexpr auto choices(RewardConvention) {
  return std::to_array<Choice<RewardConvention>>({
      {RewardConvention::automatic, "auto", "as the function's parameters are called"},
      {RewardConvention::verl, "verl",
       "one answer a call: data_source, solution_str, ground_truth, extra_info -> a number or a "
       "dict"},
      {RewardConvention::trl, "trl",
       "lists by keyword: prompts, completions, completion_ids and one per column -> a list"},
  });
}

enum class AtOnce { all, group, row };
constexpr auto choices(AtOnce) {
  return std::to_array<Choice<AtOnce>>({
      {AtOnce::all, "all", "all answers in one call, as TRL does on one process"},
      {AtOnce::group, "group", "one call per group: several workers share them, and failures"},
      {AtOnce::row, "row", "one call per answer"},
  });
}

struct PythonRowOptions {
  PythonFunction function;
  AtOnce at_once = AtOnce::all;
  bool conversational = false;
  Json columns = Json::object();  ///< name -> path into the row's fields, or "reference"
};

/// One call: the rows that it scores and the driver's message.
struct PythonCalls {
  std::vector<std::vector<std::size_t>> rows;
  std::vector<std::string> messages;
};

/// verl: data_source, ground_truth and extra_info come from the row's fields (ground_truth also
/// from reward_model.ground_truth or the reference). TRL: every field but prompt is a column.
/// Failure `python-argument` for a keyword without default that no row has.
PythonCalls python_calls(const Step& step, const Completions& completions,
                         const PythonRowOptions& options);

/// The scores of N rows. A row is scored, failed with a reason, or neither (TRL's None).
struct PythonScores {
  std::vector<double> score;
  std::vector<std::uint8_t> scored;
  std::vector<std::string> failure;                    ///< empty: none
  std::vector<std::map<std::string, double>> extras;   ///< a dict's further numbers
  std::map<std::string, std::vector<double>> metrics;  ///< what TRL's log_metric was given

  explicit PythonScores(std::size_t rows)
      : score(rows), scored(rows), failure(rows), extras(rows) {}
};
PythonScores python_scores(std::size_t rows, const PythonCalls& calls,
                           const std::vector<PythonAnswer>& answers);

}  // namespace rewardloom
