#include "engine/core/registry.h"
#include "nodes/code/pool_params.h"

namespace rewardloom {

struct CodeTestPool final : Node {
  State<PoolState> pool{this, "pool"};
  Input<Prompts> prompts{this, "prompts", "the tasks for which suites are wanted", {.dims = "P"}};
  Optional<Tests> tests{this, "tests", "new suites, one per completion"};
  Optional<Completions> completions{this, "completions", "from which the suites were read"};
  Optional<Values> scores{this, "scores", "how good each is, for replace worst", {.dims = "N"}};
  Output<Tests> out{this, "tests", "`draw` suites for each task, task after task", {.dims = "n"}};
  Output<Table> provenance{this, "provenance",
                           "of each: prompt, weight version of its author, iteration, row, score"};
  PoolParams keeps{this};
  Rule both{this,
            {{{"tests", {{"connected", true}}}},
             {{"completions", {{"connected", true}}}},
             "nothing says for which tasks the suites are",
             "connect the completions from which they were read"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"UTRL", "test suites", "replay buffer", "cache", "archive", "unit tests"}};
  Doc doc{this,
          "Suites that a tester wrote, kept for each task (its text) with their provenance: what a "
          "coder is paid by. Everything else as in code.solution_pool; with scores (how many "
          "programs a suite catches) and replace worst the best suites of a task stay.\n"
          "tests [N] -> [P*draw]. A task without a suite is a failure (pool-empty). Metrics: rows, "
          "tasks, added, replaced, refused, age (mean, in iterations)."};

  void run(Step& step) const override {
    const Completions* const made_by = step[completions];
    const Tests* const given = step[tests];
    const bool fresh = made_by != nullptr && given != nullptr;
    Table origin;
    Tests rows;
    rows.batch = step.new_batch();
    rows.tests = through_pool(step, step[pool], keeps, fresh ? made_by : nullptr,
                              given != nullptr ? given->tests : std::vector<Json>{}, step[scores],
                              step[prompts], origin);
    step[out] = std::move(rows);
    step[provenance] = std::move(origin);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeTestPool, "Pool of test suites", "arXiv:2508.21107")
