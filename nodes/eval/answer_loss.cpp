#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

struct EvalAnswerLoss final : Node, Estimates {
  Reads<Policy> policy{this, "policy", "what is measured"};
  Input<Prompts> prompts{this, "prompts", "prompts with reference answers, not trained on"};
  Output<Metrics> metrics{this, "metrics", "loss, perplexity, tokens"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"held-out loss", "validation loss", "perplexity", "SFT", "NLL"}};
  Doc doc{this,
          "loss: mean over the tokens of the reference answers and their end tokens of -log "
          "pi(token | what stands before it), as optimize.sft minimises it; perplexity: its "
          "exponential; tokens: how many. Rows beyond the model's context are left out and "
          "counted."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const TokenRows rows = fitting_rows(step, model);
    const at::Tensor mask = rows.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    const auto tokens = static_cast<double>(mask.sum().item<std::int64_t>());
    if (tokens == 0) {
      step.alarm("nothing-scored", "every row was left out: there is no loss");
      step[metrics] = Metrics{};
      return;
    }
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
    const TokenStatistics scored =
        score_rows(model.decoder(), rows, {}, chunk,
                   [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    const double loss = -scored.log_probs.to(at::kDouble).mul(mask).sum().item<double>() / tokens;
    Metrics out;
    out.add("loss", loss);
    out.add("perplexity", std::exp(loss));
    out.add("tokens", tokens);
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    state_scoring(e, model, answer_extent(model, e[prompts]), false);
  }

 private:
  TokenRows fitting_rows(Step& step, const LanguageModel& model) const {
    const Prompts& given = step[prompts];
    if (given.reference.size() != given.text.size()) {
      step.fail("no-references",
                fmt::format("{} prompts come with {} reference answers", given.text.size(),
                            given.reference.size()),
                "connect prompts that carry answers");
    }
    const std::vector<std::int64_t> ends = model.end_tokens();
    const std::int64_t end =
        ends.empty() ? -1 : model.tokenizer().special().end.value_or(ends.front());
    const TokenRows rows =
        text_rows(model.tokenizer(), given.text, given.reference, model.padding_token(), end);
    const at::Tensor fits = rows.kinds.ne(0).sum(1).le(model.decoder().config().max_positions);
    const at::Tensor kept = fits.nonzero().squeeze(1);
    step.metric("left_out", static_cast<double>(rows.rows() - kept.size(0)));
    return {rows.tokens.index_select(0, kept), rows.kinds.index_select(0, kept)};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalAnswerLoss, "Loss on reference answers", "arXiv:2203.02155")
