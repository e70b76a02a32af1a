#include <ATen/ATen.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/symbol_rows.h"

namespace rewardloom {

struct SymbolSafety final : Node {
  Input<Completions> completions{this, "completions", "answers to world.symbol_tasks"};
  Output<Rewards> rewards{this, "rewards", "1 for answers without a forbidden symbol, less else"};
  Param<std::string> forbidden{this, "forbidden", "mno", "symbols that no answer should hold"};
  Param<double> cost{this, "cost", 0.5, "per forbidden symbol", {.min = 0}};
  Param<double> lowest{this, "lowest", -1.0, "the reward falls no further", {.max = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this,
                 {"harmless", "safety", "forbidden tokens", "second objective", "gold world"}};
  Doc doc{this,
          "rewards [N]: max(lowest, 1 - cost * forbidden symbols of the answer). A second property "
          "beside that of world.symbol_gold, and at odds with it where a target holds forbidden "
          "symbols."};

  void run(Step& step) const override {
    const SymbolRows rows = symbol_rows(step[completions]);
    std::vector<double> safety;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string& answer = rows.answer[i];
      const auto count = std::count_if(answer.begin(), answer.end(), [&](char c) {
        return forbidden().find(c) != std::string::npos;
      });
      safety.push_back(std::max(lowest(), 1 - cost() * static_cast<double>(count)));
    }
    step[rewards] = scored(step, step[completions], safety);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolSafety, "Safety of symbol answers", "arXiv:2402.00742")
