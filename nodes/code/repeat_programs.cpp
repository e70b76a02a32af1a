#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

struct CodeRepeatPrograms final : Node {
  Input<TextRows> programs{this, "programs", "those of each task one after the other"};
  Output<TextRows> out{this, "programs", "each task's programs, `times` times", {.dims = "R"}};
  Param<std::int64_t> per_task{this, "per_task", 1, "programs of a task", {.min = 1}};
  Param<std::int64_t> times{this, "times", required, "test suites of a task", {.min = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"UTRL", "candidates", "expand", "pair"}};
  Doc doc{this,
          "For code.run_tests where a task has several suites: programs [P*M] -> [P*G*M], M "
          "programs and G suites a task. The M programs of task p stand at every suite of p."};

  void run(Step& step) const override {
    const TextRows& given = step[programs];
    const auto block = static_cast<std::size_t>(per_task());
    if (given.texts.size() % block != 0) {
      step.fail("bad-shape",
                fmt::format("there are {} programs, not a multiple of per_task {}",
                            given.texts.size(), block),
                "set per_task to the group size of the sampler that wrote them");
    }
    TextRows result;
    result.batch = step.new_batch();
    for (std::size_t first = 0; first < given.texts.size(); first += block) {
      for (std::int64_t t = 0; t < times(); ++t) {
        for (std::size_t m = 0; m < block; ++m) result.texts.push_back(given.texts[first + m]);
      }
    }
    step[out] = std::move(result);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeRepeatPrograms, "Programs for several suites", "arXiv:2508.21107")
