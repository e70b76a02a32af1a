#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct SoftOverlong final : Node {
  Optional<Completions> completions{this, "completions", "whose action tokens are counted"};
  Optional<Values> lengths{
      this, "lengths", "tokens per row, instead of completions", {.dims = "N"}};
  Output<Rewards> rewards{this, "rewards", "0 down to -factor"};
  Param<std::int64_t> max_length{
      this, "max_length", 100, "from here on the full penalty", {.min = 1, .unit = "tokens"}};
  Param<std::int64_t> cache{
      this, "cache", 20, "how far before that the penalty begins", {.min = 1, .unit = "tokens"}};
  Param<double> factor{this, "factor", 1.0, "the full penalty", {.min = 0}};
  Rule one_source{this,
                  {{{"completions", {{"connected", false}}}},
                   {{"lengths", {{"connected", true}}}},
                   "nothing says how long the answers are",
                   "connect completions, or lengths"}};
  Rule fits{this,
            {Json::object(),
             {{"cache", {{"max", "$max_length"}}}},
             "the penalty would begin before the first token",
             "set cache to max_length at most"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"DAPO", "overlong", "length penalty"}};
  Doc doc{this,
          "0 up to max_length - cache tokens, falling linearly to -factor at max_length, "
          "-factor beyond; [N]."};

  void run(Step& step) const override {
    const Values* const given = step[lengths];
    const Completions* const c = step[completions];
    if (given == nullptr && c == nullptr) {
      step.fail("nothing says how long the answers are", "connect completions, or lengths");
    }
    const at::Tensor counted = (given != nullptr ? given->values : c->lengths()).to(at::kDouble);
    const double free = static_cast<double>(max_length() - cache());
    const at::Tensor over = ((counted - free) / static_cast<double>(cache())).clamp(0, 1);
    const at::Tensor total = -factor() * over;
    if (c != nullptr) {
      const at::Tensor host = total.to(at::kCPU).contiguous();
      const double* const first = host.data_ptr<double>();
      step[rewards] = scored(step, *c, std::vector<double>(first, first + host.numel()));
      return;
    }
    Rewards out;
    out.total = total.to(at::kFloat);
    out.batch = given->batch;
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SoftOverlong, "Soft overlong penalty (DAPO)", "arXiv:2503.14476")
