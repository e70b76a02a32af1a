#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/own_tokens.h"
#include "nodes/text/row_scores.h"

namespace rewardloom {

struct TextLogProbs final : Node, Estimates {
  Reads<Policy> policy{this, "policy", "the model that scores", true};
  Reads<ReferenceModel> reference{this, "reference", "instead: a frozen model", true};
  Input<Completions> completions{this, "completions", "the rows to score"};
  Output<LogProbs> log_probs{this, "log_probs", "of the action tokens, 0 elsewhere"};
  Param<std::int64_t> top_k{this, "top_k", 0, "as in sampling; 0: every token", {.min = 0}};
  Param<double> top_p{this,
                      "top_p",
                      1.0,
                      "as in sampling; 1: every token",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> min_p{this, "min_p", 0.0, "as in sampling; 0: every token", {.min = 0, .max = 1}};
  Rule one{this,
           {{{"policy", {{"connected", false}}}},
            {{"reference", {{"connected", true}}}},
            "there is no model to score with",
            "connect a policy or a reference"}};
  Synonyms words{this, {"logprobs", "reference log-probs", "old log-probs", "scoring"}};
  Doc doc{
      this,
      "log pi(token | what stands before it) at the temperature with which the rows were sampled."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const bool frozen = step.connected(reference);
    const LanguageModel& model =
        frozen ? step.read<LanguageModel>(reference) : step.read<LanguageModel>(policy);
    require_own_tokens(model, c, "give a model with the tokenizer of the one that sampled");
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
    LogProbs out;
    out.log_probs =
        score_rows(model.decoder(), token_rows(c.tokens, c.kinds),
                   {c.temperature, top_k(), top_p(), min_p()}, chunk,
                   [&](std::size_t count, const auto& call) { step.parallel(count, call); })
            .log_probs;
    out.mask = c.mask();
    out.weight_version = model.weight_version();
    out.batch = c.batch;
    step[log_probs] = std::move(out);
  }

  void estimate(Estimate& e) const override {
    const Extent& rows = e[completions];
    state_scoring(e, facts_of(e.connected(reference) ? e[reference] : e[policy]), rows, false);
    e[log_probs] = {rows.rows, rows.tokens, rows.longest, rows.written, {}, {}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextLogProbs, "Log-probabilities of answers", "")
