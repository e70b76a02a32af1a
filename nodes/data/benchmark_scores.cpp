#include "nodes/data/benchmark_scores.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

using Rows = std::vector<std::vector<double>>;

at::Tensor integers(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}

/// Ragged rows as [N,S]; 0 where a row has ended.
at::Tensor padded(const Rows& rows, std::int64_t wide) {
  const at::Tensor out = at::zeros({static_cast<std::int64_t>(rows.size()), wide}, at::kDouble);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy(rows[i].begin(), rows[i].end(),
              out.data_ptr<double>() + static_cast<std::int64_t>(i) * wide);
  }
  return out;
}

/// [N,S]: 0, 1, ... of the steps that there are, then -1.
at::Tensor boundaries(const Rows& rows, std::int64_t wide) {
  std::vector<std::int64_t> lengths;
  for (const auto& row : rows) lengths.push_back(static_cast<std::int64_t>(row.size()));
  const at::Tensor places = at::arange(wide, at::kLong).expand({integers(lengths).size(0), wide});
  const at::Tensor none = at::full({}, std::int64_t{-1}, at::kLong);
  return at::where(places.lt(integers(lengths).unsqueeze(-1)), places, none);
}

}  // namespace

struct BenchmarkScores final : Node {
  Output<Rewards> rewards{this, "rewards",
                          "one row per solution, the right one first of its group"};
  Output<StepRewards> step_rewards{this, "step_rewards", "instead, where the file has step scores"};
  Param<std::string> folder{this, "folder", "", "where the files are", {.path = true}};
  Param<std::string> model{this, "model", required, "file name without .json: whose scores"};
  Param<std::string> score_field{this, "score_field", "score", "one score, or list, per solution"};
  Param<std::string> source_field{this, "source_field", "solution_reference",
                                  "who wrote each solution; without it the first is right"};
  Param<std::vector<std::string>> correct_source{
      this, "correct_source", std::vector<std::string>{"human_to_GPT-4", "chosen"},
      "what source_field says of the right solution"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RewardMATH", "RewardBench", "benchmark", "reward model", "file"}};
  Doc doc{
      this,
      "Scores of one reward model on a benchmark: folder/model.json is a JSON list, or one object "
      "a line, with a list of scores per problem. Groups are problems, the right solution comes "
      "first. Either rewards, or, where every score is a list of step scores, step_rewards (its "
      "boundaries count the steps); the other output is absent. Feed eval.one_vs_many. Refused: "
      "no or several right solutions, a score without source."};

  void run(Step& step) const override {
    const std::string path =
        step.path(folder().empty() ? model() + ".json" : folder() + "/" + model() + ".json");
    const auto problems =
        read_benchmark_scores(path, {score_field(), source_field(), correct_source()});
    Rows rows;
    std::vector<std::int64_t> group;
    for (std::size_t p = 0; p < problems.size(); ++p) {
      for (const auto& solution : problems[p].solutions) {
        rows.push_back(solution);
        group.push_back(static_cast<std::int64_t>(p));
      }
    }
    std::size_t most = 1;
    for (const auto& row : rows) most = std::max(most, row.size());
    const auto wide = static_cast<std::int64_t>(most);
    const at::Tensor table = padded(rows, wide);
    if (problems[0].steps) {
      step[step_rewards] =
          StepRewards{table, boundaries(rows, wide), integers(group), step.new_batch()};
      return;
    }
    Rewards out;
    out.total = table.squeeze(-1);
    out.group = integers(group);
    out.batch = step.new_batch();
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(BenchmarkScores, "Scores of a benchmark", "arXiv:2410.01729")
