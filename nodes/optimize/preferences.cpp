#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/optimize/pair_rows.h"
#include "nodes/optimize/training_cost.h"
#include "nodes/optimize/whole_step.h"

namespace rewardloom {

namespace {

/// Log-probs summed over each answer's tokens, float64.
at::Tensor summed(const at::Tensor& log_probs, const at::Tensor& mask) {
  return log_probs.to(at::kDouble).mul(mask).sum(1);
}

/// Each prompt with the chosen answer of the pair behind it: what KTO's
/// reference point is from.
Preferences mismatched(const Preferences& p) {
  Preferences out;
  const std::size_t n = p.prompt.size();
  for (std::size_t i = 0; i < n; ++i) {
    out.prompt.push_back(p.prompt[i]);
    out.chosen.push_back(p.chosen[(i + 1) % n]);
    out.rejected.push_back(p.rejected[(i + 1) % n]);
  }
  return out;
}

/// What is fixed while the policy is trained on a set of pairs.
struct PairData {
  PairRows pairs;
  at::Tensor mask;             ///< [2n,T] bool
  at::Tensor reference;        ///< [2n]; undefined without a reference
  at::Tensor margin, weight;   ///< [n]; optional
  TokenRows other;             ///< [m,T] mismatched rows; none: no loss asks for them
  at::Tensor other_reference;  ///< [m]
};

}  // namespace

struct OptimizePreferences final : Node, Estimates {
  State<AdamW> adam{this, "adam"};
  Writes<Policy> policy{this, "policy", "the model to train"};
  Input<Preferences> preferences{this, "preferences", "pairs of answers"};
  Reads<ReferenceModel> reference{this, "reference", "what the policy is compared with", true};
  Inputs<LossTerm> terms{this, "terms", "the losses, summed, e.g. loss.dpo"};
  Output<Policy> trained{this, "policy", "the model after the update", {.same_as = "policy"}};
  OptimizerParams optimizer{this, 1e-6};
  Param<std::int64_t> max_length{this,
                                 "max_length",
                                 0,
                                 "longest row of a pair; longer pairs are left "
                                 "out, counted; 0: the model's context",
                                 {.min = 0, .unit = "tokens"}};
  Rule end{this, OptimizerParams::needs_end()};
  Supplies supplied{
      this,
      {"chosen_log_probs", "rejected_log_probs", "ref_chosen_log_probs", "ref_rejected_log_probs",
       "chosen_lengths", "rejected_lengths", "margin", "weight", "log_probs", "mask",
       "ref_log_probs", "desirable", "kl_log_probs", "ref_kl_log_probs"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this,
                 {"DPO", "IPO", "SimPO", "ORPO", "KTO", "CPO", "preference optimisation",
                  "direct "
                  "alignment"}};
  Doc doc{this,
          "Trains a policy on pairs of answers. Terms on pairs are given log-probs "
          "summed over "
          "the answers' tokens and their lengths [n], with a reference connected "
          "also its "
          "log-probs; a term on tokens (loss.nll) is given the chosen answers' "
          "log_probs and mask "
          "[n,T]; a term that takes `desirable` (loss.kto, loss.bco) is given "
          "every answer as a "
          "row [2n], and the chosen answer of the next pair behind each prompt "
          "where it takes "
          "kl_log_probs.\n"
          "mini_batch and micro_batch count pairs. The losses see the whole step "
          "at once: "
          "micro-batches change nothing beyond rounding, at the cost of one more "
          "forward pass "
          "where there are several.\n"
          "Metrics: loss, rewards/chosen, rewards/rejected, rewards/margins (as "
          "the losses give "
          "them), rewards/accuracies, logps/chosen, logps/rejected; grad_norm."};

  void run(Step& step) const override {
    LanguageModel& model = step.write<LanguageModel>(policy);
    DescentOptions options = optimizer(step);
    const std::vector<UpdateTerm> list = update_terms(step[terms]);
    const PairData data = gather(step, model, list, options.micro_batch);
    options.micro_batch = micro_batch_of(step, optimizer, model.decoder(), data.pairs.rows, 2);
    std::vector<std::vector<std::int64_t>> units;
    for (std::int64_t i = 0; i < data.pairs.count(); ++i) {
      units.push_back({i, data.pairs.count() + i});
    }
    Means means;
    WholeStepObjective objective(
        step, RowReader(model.decoder(), data.pairs.rows, Readout::token_log_probs), units,
        options.micro_batch, [&](const StepRows& rows, const at::Tensor& log_probs) {
          return step_loss(step, model, data, list, rows, log_probs, options.micro_batch, means);
        });
    const DescentReport report = descend(step, model, step[adam], objective, options);
    publish(step, means);
    report_descent(step, "", report, true);
    step.metric("pairs", static_cast<double>(data.pairs.count()));
    step.metric("pairs/left_out", static_cast<double>(data.pairs.left_out));
    if (units.empty()) {
      step.alarm("nothing-to-learn", "every pair was left out: the policy is as it was");
    }
    step[trained] = step.pass(policy);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    const Extent rows = pair_extent(model, e[preferences]);
    state_training(e, model, optimizer, {rows, 2, true});
    e[trained] = e[policy];
    if (!e.connected(reference)) return;
    const LanguageModelFacts& fixed = facts_of(e[reference]);
    e.cost.copies += fixed.take_copies(false);
    const PassSize all{rows.rows, rows.tokens, rows.longest, rows.written};
    const PassSize pass = some_of(rows, optimizer.micro_batch(e));
    // The reference keeps the memory of its passes for the next ones.
    e.cost.activations += scoring_bytes(fixed.config, pass, fixed.own_kernels()).activations;
    e.cost.work.push_back(pass_work(fixed, forward_flop(fixed.config, all), pass, false));
  }

 private:
  /// Answer log-probs [R] of rows under a model that is not trained here.
  static at::Tensor answer_log_probs(Step& step, const LanguageModel& model, const TokenRows& rows,
                                     std::int64_t chunk) {
    const auto parallel = [&](std::size_t count, const auto& call) { step.parallel(count, call); };
    const at::Tensor mask = rows.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    return summed(score_rows(model.decoder(), rows, {}, chunk, parallel).log_probs, mask);
  }

  PairData gather(Step& step, const LanguageModel& model, const std::vector<UpdateTerm>& list,
                  std::int64_t chunk) const {
    PairData data;
    const Preferences& given = step[preferences];
    data.pairs = pair_rows(model, given, max_length());
    data.mask = data.pairs.rows.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    const at::Tensor kept = int64_tensor(data.pairs.pair);
    if (given.margin.defined()) data.margin = given.margin.to(at::kCPU).index_select(0, kept);
    if (given.weight.defined()) data.weight = given.weight.to(at::kCPU).index_select(0, kept);
    const bool wants_other = std::any_of(list.begin(), list.end(), [](const UpdateTerm& term) {
      return term.takes("kl_log_probs");
    });
    if (wants_other) {
      const PairRows other = pair_rows(model, mismatched(given), max_length());
      data.other = {other.rows.tokens.narrow(0, 0, other.count()).contiguous(),
                    other.rows.kinds.narrow(0, 0, other.count()).contiguous()};
    }
    if (!step.connected(reference)) return data;
    const auto& fixed = step.read<LanguageModel>(reference);
    if (fixed.tokenizer().size() != model.tokenizer().size()) {
      step.fail("other-tokenizer",
                fmt::format("the reference has {} tokens, the policy {}", fixed.tokenizer().size(),
                            model.tokenizer().size()),
                "use a reference with the policy's tokenizer");
    }
    data.reference = answer_log_probs(step, fixed, data.pairs.rows, chunk);
    if (wants_other) data.other_reference = answer_log_probs(step, fixed, data.other, chunk);
    return data;
  }

  at::Tensor step_loss(Step& step, const LanguageModel& model, const PairData& data,
                       const std::vector<UpdateTerm>& list, const StepRows& rows,
                       const at::Tensor& log_probs, std::int64_t chunk, Means& means) const {
    const LossBatch of_pairs = pair_arguments(data, rows, log_probs, means);
    const auto count = static_cast<double>(rows.units.size());
    std::vector<std::int64_t> original;
    for (const std::int64_t unit : rows.units) {
      original.push_back(data.pairs.pair[static_cast<std::size_t>(unit)]);
    }
    std::vector<UpdateTerm> paired, unpaired;
    for (const UpdateTerm& term : list) {
      (term.takes("desirable") ? unpaired : paired).push_back(term);
    }
    at::Tensor loss = evaluate_terms(paired, of_pairs, int64_tensor(original), count, means);
    if (!unpaired.empty()) {
      LossBatch of_rows = row_arguments(data, rows, log_probs);
      if (data.other.tokens.defined()) add_mismatched(step, model, data, rows, chunk, of_rows);
      loss = loss + evaluate_terms(unpaired, of_rows, int64_tensor(rows.rows), count, means);
    }
    means.add("loss", loss.detach().item<double>());
    return loss;
  }

  static LossBatch pair_arguments(const PairData& data, const StepRows& rows,
                                  const at::Tensor& log_probs, Means& means) {
    const at::Tensor first = int64_tensor(rows.first), unit = int64_tensor(rows.units);
    const at::Tensor other = unit + data.pairs.count();
    const at::Tensor mask = data.mask.index_select(0, int64_tensor(rows.rows));
    const at::Tensor sums = summed(log_probs, mask), lengths = mask.sum(1);
    LossBatch batch;
    batch.set("chosen_log_probs", sums.index_select(0, first));
    batch.set("rejected_log_probs", sums.index_select(0, first + 1));
    batch.set("chosen_lengths", lengths.index_select(0, first));
    batch.set("rejected_lengths", lengths.index_select(0, first + 1));
    batch.set("log_probs", log_probs.index_select(0, first));
    batch.set("mask", mask.index_select(0, first));
    if (data.margin.defined()) batch.set("margin", data.margin.index_select(0, unit));
    if (data.weight.defined()) batch.set("weight", data.weight.index_select(0, unit));
    if (data.reference.defined()) {
      batch.set("ref_chosen_log_probs", data.reference.index_select(0, unit));
      batch.set("ref_rejected_log_probs", data.reference.index_select(0, other));
    }
    const auto count = static_cast<double>(rows.units.size());
    for (const char* side : {"chosen", "rejected"}) {
      const at::Tensor value = batch.at(std::string(side) + "_log_probs").detach();
      means.add(std::string("logps/") + side, value.mean().item<double>(), count);
    }
    return batch;
  }

  /// Every answer as a row of its own, chosen and rejected in turn.
  static LossBatch row_arguments(const PairData& data, const StepRows& rows,
                                 const at::Tensor& log_probs) {
    const at::Tensor index = int64_tensor(rows.rows);
    LossBatch batch;
    batch.set("log_probs", summed(log_probs, data.mask.index_select(0, index)));
    batch.set("desirable", index.lt(data.pairs.count()));
    if (data.reference.defined()) batch.set("ref_log_probs", data.reference.index_select(0, index));
    return batch;
  }

  static void add_mismatched(Step& step, const LanguageModel& model, const PairData& data,
                             const StepRows& rows, std::int64_t chunk, LossBatch& batch) {
    std::vector<std::int64_t> there;
    for (const std::int64_t unit : rows.units) {
      if (unit < data.other.rows()) there.push_back(unit);
    }
    const at::Tensor index = int64_tensor(there);
    const TokenRows other{data.other.tokens.index_select(0, index),
                          data.other.kinds.index_select(0, index)};
    batch.set("kl_log_probs", answer_log_probs(step, model, other, chunk));
    if (data.other_reference.defined()) {
      batch.set("ref_kl_log_probs", data.other_reference.index_select(0, index));
    }
  }

  /// The losses' outputs, and once more under the names that other trainers
  /// log.
  static void publish(Step& step, const Means& means) {
    for (const auto& [name, value] : means.all()) {
      step.metric(name, value);
      const std::size_t slash = name.rfind('/');
      const std::string output = slash == std::string::npos ? name : name.substr(slash + 1);
      if (output == "chosen_rewards") step.metric("rewards/chosen", value);
      if (output == "rejected_rewards") step.metric("rewards/rejected", value);
      if (output == "accuracy") step.metric("rewards/accuracies", value);
      if (output == "margin") step.metric("rewards/margins", value);
    }
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizePreferences, "Preference optimisation (AdamW)", "arXiv:2305.18290")
