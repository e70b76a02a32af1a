#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/length_penalty.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct Length final : Node {
  Input<Completions> completions{this, "completions", "whose action tokens are counted"};
  Output<Rewards> rewards{this, "rewards", "what each answer's length costs, 0 or less"};
  Param<double> per_token{this, "per_token", 0.01, "penalty per token; negative: a bonus"};
  Param<std::int64_t> free_length{
      this, "free_length", 0, "tokens that cost nothing", {.min = 0, .unit = "tokens"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"brevity", "verbosity", "overlong"}};
  Doc doc{this, "rewards [N] = -per_token * max(0, action tokens - free_length)."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const at::Tensor cost = -length_excess(c.lengths(), per_token(), free_length());
    const at::Tensor host = cost.to(at::kCPU).contiguous();
    const double* const first = host.data_ptr<double>();
    step[rewards] = scored(step, c, std::vector<double>(first, first + host.numel()));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Length, "Length", "")
