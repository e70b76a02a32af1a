#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/symbol_rows.h"
#include "nodes/world/symbols.h"

namespace rewardloom {

struct SymbolGold final : Node {
  Input<Completions> completions{this, "completions", "answers to world.symbol_tasks"};
  Output<Rewards> rewards{this,
                          "rewards",
                          "what the answers are truly worth; f1, repetition and length are "
                          "components",
                          {.gold = true}};
  SymbolRewardParams parts{this};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"gold reward", "true reward", "ground truth", "F1"}};
  Doc doc{this,
          "rewards [N]: scale (F1 - repetition_cost repetitions - length_cost max(0, length - "
          "free_length)). F1 = 2 m / (symbols of the target + symbols of the answer), m the "
          "symbols that both hold, counted as often as both hold them. A repetition is a symbol "
          "equal to the one right before it. The prompt's text is the target; answers are taken "
          "symbol by symbol (byte by byte).\n"
          "For measuring alone: the checker refuses a graph in which it reaches an optimizer. What "
          "people would say of the answers is world.symbol_annotator."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const SymbolRows rows = symbol_rows(c);
    const auto count = static_cast<std::int64_t>(rows.size());
    at::Tensor out = at::empty({4, count}, at::kDouble);
    auto part = out.accessor<double, 2>();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::size_t>(i);
      const SymbolReward r = symbol_reward(rows.target[row], rows.answer[row], parts());
      part[0][i] = r.total();
      part[1][i] = r.f1;
      part[2][i] = r.repetition;
      part[3][i] = r.length;
    }
    out = out.to(c.tokens.device());
    Rewards result = Rewards::of(c, out[0].clone());
    result.components = {{"f1", out[1]}, {"repetition", out[2]}, {"length", out[3]}};
    step[rewards] = std::move(result);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolGold, "Gold reward of symbol tasks", "arXiv:2502.18770")
