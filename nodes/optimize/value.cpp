#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/optimize/training_cost.h"
#include "nodes/optimize/whole_step.h"

namespace rewardloom {

namespace {

/// Sums for the share of the returns' variance that the values explain.
struct Explained {
  double count = 0, returns = 0, squares = 0, error = 0, error_squares = 0;

  void add(const at::Tensor& values, const at::Tensor& target) {
    const at::Tensor e = target - values;
    count += static_cast<double>(target.numel());
    returns += target.sum().item<double>();
    squares += target.square().sum().item<double>();
    error += e.sum().item<double>();
    error_squares += e.square().sum().item<double>();
  }
  /// 1 - Var(R - V) / Var(R); 0 where all returns are equal.
  double share() const {
    if (count == 0) return 0;
    const double of_returns = squares / count - (returns / count) * (returns / count);
    const double of_error = error_squares / count - (error / count) * (error / count);
    return of_returns <= 0 ? 0 : 1 - of_error / of_returns;
  }
};

}  // namespace

struct OptimizeValue final : Node, Estimates {
  State<AdamW> adam{this, "adam"};
  Writes<ValueModel> value_model{this, "value_model", "the critic to train"};
  Input<Completions> completions{this, "completions", "the rows whose states are valued"};
  Optional<Returns> returns{this, "returns", "what each state turned out to be worth [N,T]"};
  Optional<Values> old_values{this, "old_values", "predictions of sampling time [N,T], to clip"};
  Inputs<LossTerm> terms{this, "terms", "the losses, summed, e.g. loss.value_clip"};
  Output<ValueModel> trained{
      this, "value_model", "the critic after the update", {.same_as = "value_model"}};
  OptimizerParams optimizer{this, 1e-5};
  Rule end{this, OptimizerParams::needs_end()};
  Supplies supplied{this, {"values", "old_values", "returns", "mask"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"critic update", "value function", "PPO", "value loss", "AdamW"}};
  Doc doc{this,
          "Terms are given the critic's values [n,T] of the step's rows: "
          "column t is V(what "
          "stands before token t), as text.values gives them to advantage.gae, "
          "whose returns "
          "are the targets. The losses see the whole step at once: "
          "micro-batches change nothing "
          "beyond rounding.\n"
          "Metrics: loss, values/mean, returns/mean and explained_variance (1 "
          "- Var(R - V) / "
          "Var(R)) over the first epoch, each before its step; grad_norm."};

  void run(Step& step) const override {
    LanguageModel& model = step.write<LanguageModel>(value_model);
    const Completions& c = step[completions];
    check(step, c, model);
    DescentOptions options = optimizer(step);
    const TokenRows rows = token_rows(c.tokens, c.kinds);
    options.micro_batch = micro_batch_of(step, optimizer, model.decoder(), rows, 1);
    const at::Tensor mask = rows.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    const std::vector<UpdateTerm> list = update_terms(step[terms]);
    Means means;
    Explained explained;
    WholeStepObjective objective(
        step, RowReader(model.decoder(), rows, Readout::token_values), rows_with_actions(mask),
        options.micro_batch, [&](const StepRows& now, const at::Tensor& values) {
          LossBatch batch = arguments(step, int64_tensor(now.rows), mask);
          batch.set("values", values);
          if (explained.count < mask.sum().item<double>()) measure(batch, means, explained);
          const at::Tensor loss = evaluate_terms(list, batch, int64_tensor(now.rows),
                                                 static_cast<double>(now.rows.size()), means);
          means.add("loss", loss.detach().item<double>());
          return loss;
        });
    const DescentReport report = descend(step, model, step[adam], objective, options);
    for (const auto& [name, value] : means.all()) step.metric(name, value);
    if (step.connected(returns)) step.metric("explained_variance", explained.share());
    report_descent(step, "", report, true);
    step[trained] = step.pass(value_model);
  }

  void estimate(Estimate& e) const override {
    state_training(e, facts_of(e[value_model]), optimizer, {e[completions], 1, true});
    e[trained] = e[value_model];
  }

 private:
  static std::vector<std::vector<std::int64_t>> rows_with_actions(const at::Tensor& mask) {
    std::vector<std::vector<std::int64_t>> out;
    const at::Tensor there = mask.any(1);
    for (std::int64_t i = 0; i < mask.size(0); ++i) {
      if (there[i].item<bool>()) out.push_back({i});
    }
    return out;
  }

  LossBatch arguments(const Step& step, const at::Tensor& index, const at::Tensor& mask) const {
    const auto of_rows = [&](const at::Tensor& tensor) {
      return tensor.to(at::kCPU, at::kDouble).index_select(0, index);
    };
    LossBatch batch;
    batch.set("mask", mask.index_select(0, index));
    if (const Returns* const r = step[returns]) batch.set("returns", of_rows(r->returns));
    if (const Values* const v = step[old_values]) batch.set("old_values", of_rows(v->values));
    return batch;
  }

  static void measure(const LossBatch& batch, Means& means, Explained& explained) {
    const at::Tensor& mask = batch.at("mask");
    const at::Tensor values = batch.at("values").detach().masked_select(mask);
    const auto count = static_cast<double>(values.numel());
    means.add("values/mean", values.mean().item<double>(), count);
    if (!batch.has("returns")) {
      explained.count += count;
      return;
    }
    const at::Tensor target = batch.at("returns").masked_select(mask);
    means.add("returns/mean", target.mean().item<double>(), count);
    explained.add(values, target);
  }

  void check(const Step& step, const Completions& c, const LanguageModel& model) const {
    if (model.decoder().config().labels != 1) {
      step.fail(
          "model-head",
          fmt::format("a critic has one output, this model {}", model.decoder().config().labels),
          "make it with model.value");
    }
    const auto same = [&](const char* name, const at::Tensor& tensor, std::int64_t batch) {
      if (tensor.sizes() != c.tokens.sizes()) {
        step.fail("bad-shape",
                  c10::str(name, " is ", tensor.sizes(), ", the completions' tokens are ",
                           c.tokens.sizes()),
                  "connect what was made from these completions, one value per "
                  "token");
      }
      if (batch != 0 && c.batch != 0 && batch != c.batch) {
        step.fail("other-rows", fmt::format("{} belongs to other completions", name),
                  "connect what was made from these completions");
      }
    };
    if (const Returns* const r = step[returns]) same("returns", r->returns, r->batch);
    if (const Values* const v = step[old_values]) same("old_values", v->values, v->batch);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeValue, "Value-model training (AdamW)", "arXiv:1707.06347")
