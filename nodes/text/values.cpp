#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/own_tokens.h"

namespace rewardloom {

struct TextValues final : Node, Estimates {
  Reads<ValueModel> value_model{this, "value_model", "the critic"};
  Input<Completions> completions{this, "completions", "the rows to value"};
  Output<Values> values{this, "values", "of the state before each action, 0 elsewhere"};
  Synonyms words{this, {"critic", "state values", "baseline", "GAE"}};
  Doc doc{this,
          "values [N,T]: column t holds V(all tokens before t) where token t is an action, as "
          "log_probs does for log pi(token t | all tokens before t)."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const LanguageModel& model = step.read<LanguageModel>(value_model);
    require_own_tokens(model, c, "give a model with the tokenizer of the one that sampled");
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
    const at::Tensor scores =
        score_states(model.decoder(), token_rows(c.tokens, c.kinds), chunk,
                     [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    step[values] = Values{scores.to(c.tokens.device()), c.batch};
  }

  void estimate(Estimate& e) const override {
    const Extent& rows = e[completions];
    state_scoring(e, facts_of(e[value_model]), rows, false);
    e[values] = {rows.rows, rows.tokens, rows.longest, rows.written, {}, {}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextValues, "Values of answers' tokens", "arXiv:1707.06347")
