#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/alphabet_params.h"
#include "nodes/world/table_policy.h"

namespace rewardloom {

struct SampleTokenPolicy final : Node {
  Reads<Policy> policy{this, "policy", "tables of a token world"};
  Output<Completions> completions{this,
                                  "completions",
                                  "rows of every copy, the copy as group id",
                                  {.facts = {{"group_size", "$rows"}}}};
  Param<std::int64_t> rows{this, "rows", 128, "of each copy", {.min = 1}};
  AlphabetParams alphabet{this};
  Synonyms words{this, {"rollout", "tabular policy", "toy policy"}};
  Doc doc{
      this,
      "Row k * rows + i is the i-th of copy k. Token t of a row is drawn with the uniform number "
      "of (seed, node, iteration, row, t). Metric entropy: mean over copies and positions."};

  void run(Step& step) const override {
    const TablePolicy& tables = step.read<TablePolicy>(policy);
    const at::Tensor log_p = tables.logits.log_softmax(-1);
    const std::int64_t copies = log_p.size(0), length = log_p.size(1);
    if (log_p.size(2) != alphabet().size()) {
      step.fail("other-alphabet",
                c10::str("the policy has ", log_p.size(2), " tokens, the alphabet has ",
                         alphabet().size(), " letters"),
                "set common and rare to those of the world");
    }
    Completions out;
    out.tokens = draw_tokens(log_p.exp(), rows(), step.random());
    out.kinds =
        at::full({copies * rows(), length}, static_cast<std::int8_t>(TokenKind::action), at::kChar);
    out.group = at::arange(copies, at::kLong).repeat_interleave(rows());
    out.prompt = out.group;
    out.finished = at::ones({copies * rows()}, at::kBool);
    const at::Tensor place =
        (out.group.unsqueeze(1) * length + at::arange(length, at::kLong)) * log_p.size(2) +
        out.tokens;
    out.log_probs = log_p.flatten().index_select(0, place.flatten()).reshape(place.sizes());
    out.text = token_texts(out.tokens, alphabet());
    out.prompt_text.resize(out.text.size());
    out.weight_version = tables.weight_version();
    out.batch = step.new_batch();
    step.metric("entropy", -(log_p.exp() * log_p).sum(-1).mean().item<double>());
    step[completions] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SampleTokenPolicy, "Sample from tables", "")
