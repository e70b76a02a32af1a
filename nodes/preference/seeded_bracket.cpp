#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"
#include "nodes/preference/tournament.h"

namespace rewardloom {

struct PreferenceSeededBracket final : Node {
  Input<Values> points{this, "points", "mean points of each player", {.dims = "N"}};
  Output<Values> order{this, "order", "players in bracket order, neighbours meet", {.dims = "N"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"single elimination", "seeding", "ArenaRL"}};
  Doc doc{this,
          "Seeds by falling points, mirrored again and again, so that the best meets the worst and "
          "the best two meet in the final: for eight seeds 0 7 3 4 1 6 2 5. Where the number is no "
          "power of two the missing seeds are left out. points [N] -> int64 [N]."};

  void run(Step& step) const override {
    const at::Tensor table = finite_table(step[points].values, 1, "points");
    const auto all = numbers(table);
    Values out;
    out.values = as_tensor(seeded_bracket({all.begin(), all.end()}));
    step[order] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceSeededBracket, "Seeded bracket", "arXiv:2601.06487")
