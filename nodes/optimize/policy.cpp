#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/optimize/training_cost.h"
#include "nodes/optimize/update.h"

namespace rewardloom {

namespace {

enum class OldLogProbs { behaviour, recomputed };
constexpr auto choices(OldLogProbs) {
  return std::to_array<Choice<OldLogProbs>>({
      {OldLogProbs::behaviour, "behaviour", "those of sampling"},
      {OldLogProbs::recomputed, "recomputed",
       "a forward pass before the first step, with this node's own arithmetic"},
  });
}

}  // namespace

struct OptimizePolicy final : Node, Estimates {
  State<AdamW> adam{this, "adam"};
  Writes<Policy> policy{this, "policy", "the model to train"};
  Input<Completions> completions{this, "completions", "what it wrote"};
  Optional<Advantages> advantages{this, "advantages", "of its answers or their tokens"};
  Optional<LogProbs> reference{this, "ref_log_probs", "the same tokens under a reference"};
  Inputs<LossTerm> terms{this, "terms", "the losses, summed"};
  Output<Policy> trained{this, "policy", "the model after the update", {.same_as = "policy"}};
  OptimizerParams optimizer{this, 1e-6};
  Param<OldLogProbs> old{this, "old_log_probs", OldLogProbs::behaviour,
                         "what ratios are taken against"};
  Param<std::int64_t> top_k{this, "top_k", 0, "as in sampling; 0: every token", {.min = 0}};
  Param<double> top_p{this,
                      "top_p",
                      1.0,
                      "as in sampling; 1: every token",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> min_p{this, "min_p", 0.0, "as in sampling; 0: every token", {.min = 0, .max = 1}};
  Param<double> mismatch{this,
                         "mismatch_limit",
                         1e-5,
                         "difference between sampling and training log-probs that raises an alarm",
                         {.min = 0}};
  Param<std::optional<std::int64_t>> max_staleness{
      this,
      "max_staleness",
      std::nullopt,
      "most updates between sampling and training; older completions are "
      "refused; null: any",
      {.min = 0, .unit = "updates"}};
  Rule end{this, OptimizerParams::needs_end()};
  Supplies supplied{
      this,
      {"log_probs", "old_log_probs", "advantages", "ref_log_probs", "entropy", "logits", "mask"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"AdamW", "actor update", "PPO", "GRPO", "trainer", "learner"}};
  Doc doc{
      this,
      "For each epoch and mini-batch: the losses over micro-batches "
      "(placement.micro_batch "
      "rows, 16 "
      "unless set, as many as memory_budget holds where it is \"auto\"), each given the mini-batch's counts of tokens and rows, "
      "then one AdamW step "
      "(arXiv:1711.05101). Gradients are added up in an order that depends on "
      "the rows alone: "
      "threads "
      "change no bit, micro-batches nothing beyond rounding. Log-probs are "
      "taken at the "
      "temperature of "
      "sampling. In the first optimizer step they are compared with those of "
      "sampling "
      "(mismatch/*). "
      "A step whose gradient is not finite is skipped, counted and reported."};

  void run(Step& step) const override {
    LanguageModel& model = step.write<LanguageModel>(policy);
    const Completions& c = step[completions];
    UpdateOptions options = optimizer(step);
    options.sampling = {c.temperature, top_k(), top_p(), min_p()};
    check(step, c, model);
    UpdateRows rows;
    rows.tokens = token_rows(c.tokens, c.kinds);
    options.micro_batch = micro_batch_of(step, optimizer, model.decoder(), rows.tokens, 1);
    // Sampled by older weights, they differ for a good reason.
    if (c.log_probs.defined() && c.weight_version == model.weight_version()) {
      rows.behaviour_log_probs = c.log_probs;
    }
    rows.arguments.emplace_back("old_log_probs", old_log_probs(step, c, model, rows, options));
    if (const Advantages* const a = step[advantages])
      rows.arguments.emplace_back("advantages", a->advantages);
    if (const LogProbs* const r = step[reference])
      rows.arguments.emplace_back("ref_log_probs", r->log_probs);
    const UpdateReport report =
        update(step, model, step[adam], rows, update_terms(step[terms]), options);
    report_update(step, report, mismatch());
    step.metric("actor/ppo_kl", report.old_minus_new);
    step.metric("staleness",
                static_cast<double>(model.weight_version() - c.weight_version - report.changed));
    step.metric("response_length/mean", c.lengths().to(at::kDouble).mean().item<double>());
    step[trained] = step.pass(policy);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    const Extent& rows = e[completions];
    state_training(e, model, optimizer, {rows});
    e[trained] = e[policy];
    if (old() == OldLogProbs::behaviour) return;
    const PassSize all{rows.rows, rows.tokens, rows.longest, rows.written};
    e.cost.work.push_back(pass_work(model, forward_flop(model.config, all),
                                    some_of(rows, e.cost.micro_batch), false));
  }

 private:
  void check(const Step& step, const Completions& c, const LanguageModel& model) const {
    if (c.temperature == 0) {
      step.fail("greedy-training", "the completions were sampled greedily: they have no log-probs",
                "sample with a temperature above 0");
    }
    if (c.weight_version > model.weight_version()) {
      step.fail("weight-version",
                fmt::format("the completions were sampled by version {} of the "
                            "weights, the model is at {}",
                            c.weight_version, model.weight_version()),
                "connect completions that this policy wrote");
    }
    const std::int64_t age = model.weight_version() - c.weight_version;
    if (max_staleness() && age > *max_staleness()) {
      step.fail("stale-completions",
                fmt::format("the completions are {} updates old, max_staleness is {}", age,
                            *max_staleness()),
                "sample more often, or raise max_staleness and correct with "
                "correction.importance");
    }
    const auto same = [&](const char* name, const at::Tensor& tensor, std::int64_t batch) {
      if (tensor.size(0) != c.rows()) {
        step.fail(
            "bad-shape",
            fmt::format("{} has {} rows, the completions have {}", name, tensor.size(0), c.rows()),
            "connect what was made from these completions");
      }
      if (batch != 0 && c.batch != 0 && batch != c.batch) {
        step.fail("other-rows", fmt::format("{} belongs to other completions", name),
                  "connect what was made from these completions");
      }
    };
    if (const Advantages* const a = step[advantages]) same("advantages", a->advantages, a->batch);
    if (const LogProbs* const r = step[reference]) same("ref_log_probs", r->log_probs, r->batch);
  }

  at::Tensor old_log_probs(Step& step, const Completions& c, const LanguageModel& model,
                           const UpdateRows& rows, const UpdateOptions& options) const {
    if (old() == OldLogProbs::behaviour) {
      if (c.log_probs.defined()) return c.log_probs;
      step.fail("no-log-probs", "the completions carry no log-probs of their sampling",
                "set old_log_probs to recomputed");
    }
    return score_rows(model.decoder(), rows.tokens, options.sampling, options.micro_batch,
                      [&](std::size_t count, const auto& call) { step.parallel(count, call); })
        .log_probs;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizePolicy, "Policy update (AdamW)", "arXiv:1711.05101")
