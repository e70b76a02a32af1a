#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

struct TextPositionIds final : Node {
  Input<Completions> completions{this, "completions", "rows, padded on the left or the right"};
  Output<Values> positions{this, "positions", "of each token in its row", {.dims = "N,T"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"position_ids", "padding", "rotary"}};
  Doc doc{
      this,
      "0 at the first token that is no padding, rising by one with every place after it; 0 before "
      "it and in rows without tokens. completions [N,T] -> int64 [N,T]."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    if (!c.kinds.defined())
      step.fail("no-mask", "nothing says which tokens are padding", "see kinds");
    const at::Tensor valid = c.kinds.ne(static_cast<std::int64_t>(TokenKind::padding));
    const at::Tensor begun = valid.to(at::kLong).cumsum(-1).gt(0);
    step[positions] = Values{(begun.to(at::kLong).cumsum(-1) - 1).clamp_min(0), c.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextPositionIds, "Position ids", "")
