#include "engine/core/registry.h"
#include "nodes/code/pool_params.h"

namespace rewardloom {

struct CodeSolutionPool final : Node {
  State<PoolState> pool{this, "pool"};
  Input<Prompts> prompts{this, "prompts", "the tasks for which programs are wanted", {.dims = "P"}};
  Optional<TextRows> programs{this, "programs", "new ones, one per completion"};
  Optional<Completions> completions{this, "completions", "from which the programs were read"};
  Optional<Values> scores{this, "scores", "how good each is, for replace worst", {.dims = "N"}};
  Output<TextRows> out{this, "programs", "`draw` for each task, task after task", {.dims = "n"}};
  Output<Table> provenance{this, "provenance",
                           "of each: prompt, weight version of its author, iteration, row, score"};
  PoolParams keeps{this};
  Rule both{this,
            {{{"programs", {{"connected", true}}}},
             {{"completions", {{"connected", true}}}},
             "nothing says for which tasks the programs are",
             "connect the completions from which they were read"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"UTRL", "SolutionPool", "replay buffer", "candidates", "cache", "archive"}};
  Doc doc{
      this,
      "Programs that a coder wrote, kept for each task (its text) with their provenance: what a "
      "tester is tried on. refresh 1 gives each iteration's own programs (UTRL's algorithm), "
      "k those of up to k iterations ago, 0 those that were written first (the released code: "
      "sampled once for a phase). With per_task above draw, programs of earlier weights stay "
      "beside new ones. Rows that a container repeats between its firings are taken in once.\n"
      "programs [N] -> [P*draw]. A task without a program is a failure (pool-empty), never an "
      "empty program. Metrics: rows, tasks, added, replaced, refused, age (mean, in "
      "iterations)."};

  void run(Step& step) const override {
    const Completions* const made_by = step[completions];
    std::vector<Json> contents;
    if (const TextRows* const given = step[programs]) {
      for (const std::string& text : given->texts) contents.emplace_back(text);
    }
    const bool fresh = made_by != nullptr && step[programs] != nullptr;
    Table origin;
    TextRows rows;
    rows.batch = step.new_batch();
    for (const Json& row : through_pool(step, step[pool], keeps, fresh ? made_by : nullptr,
                                        contents, step[scores], step[prompts], origin)) {
      rows.texts.push_back(row.get<std::string>());
    }
    step[out] = std::move(rows);
    step[provenance] = std::move(origin);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeSolutionPool, "Pool of programs", "arXiv:2508.21107")
