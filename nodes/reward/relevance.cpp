#include "nodes/reward/relevance.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor relevance_reward(const at::Tensor& relevance, const at::Tensor& length,
                            const at::Tensor& distinct, const at::Tensor& constrained,
                            std::int64_t max_length) {
  constexpr double kLargestRelevance = 3.5;
  const double scale = static_cast<double>(max_length) / 100 / kLargestRelevance;
  return at::where(constrained.to(at::kBool), relevance * scale, relevance * length) * distinct;
}

struct Relevance final : Node {
  Input<Rewards> relevance{this, "relevance",
                           "to the query, or to the reference answer where a row is constrained"};
  Input<Rewards> length{this, "length", "length factor, e.g. of reward.length_and_repetition"};
  Input<Rewards> distinct{this, "distinct", "repetition factor"};
  Optional<Values> constrained{
      this, "constrained", "rows with one right answer; else none is", {.dims = "N"}};
  Output<Rewards> rewards{this, "rewards", "the product, with its factors as components"};
  Param<std::int64_t> max_length{
      this, "max_length", 512, "of an answer", {.min = 1, .unit = "tokens"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"proxy reward", "reverse-engineered reward", "query relevance"}};
  Doc doc{
      this,
      "[N]. Open-ended rows earn by length, constrained ones by agreement with the reference, both "
      "times the share of distinct trigrams."};

  void run(Step& step) const override {
    const Rewards& r = step[relevance];
    const Rewards& l = step[length];
    const Rewards& d = step[distinct];
    const at::Tensor absent = absent_in_any({{"relevance", &r}, {"length", &l}, {"distinct", &d}});
    at::Tensor closed = at::zeros_like(r.total, at::kBool);
    if (const Values* given = step[constrained]) {
      require_same_rows("relevance", r.total.size(0), r.batch, "constrained", given->values.size(0),
                        given->batch);
      closed = given->values.to(r.total.device());
    }
    Rewards out = rescored(
        step, r, relevance_reward(r.total, l.total, d.total, closed, max_length()), absent);
    out.components = {{"relevance", r.total}, {"length", l.total}, {"distinct", d.total}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Relevance, "Relevance reward", "arXiv:2402.03469")
