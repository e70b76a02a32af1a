#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/loss/attribute_regression.h"
#include "nodes/loss/bradley_terry.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/optimize/pair_rows.h"
#include "nodes/optimize/training_cost.h"
#include "nodes/optimize/whole_step.h"
#include "nodes/text/own_tokens.h"

namespace rewardloom {

namespace {

enum class RowLoss { squared_error, binary_cross_entropy, cross_entropy };
constexpr auto choices(RowLoss) {
  return std::to_array<Choice<RowLoss>>({
      {RowLoss::squared_error, "squared_error", "(score - target)^2, mean over labels"},
      {RowLoss::binary_cross_entropy, "binary_cross_entropy",
       "-y log sigmoid(score) - (1 - y) log sigmoid(-score), y the target in "
       "[0, 1]"},
      {RowLoss::cross_entropy, "cross_entropy", "of the class that the target numbers, from 0"},
  });
}

/// What is minimised on pairs where no term is connected.
class PairDefault final : public LossFunction {
 public:
  LossResult evaluate(const LossBatch& batch) const override {
    return bradley_terry_loss(batch, {});
  }
  const std::vector<LossArgumentDeclaration>& arguments() const override {
    static const std::vector<LossArgumentDeclaration> list{
        {"chosen", "N", "rewards of the preferred answers", false, true},
        {"rejected", "N", "rewards of the others", false, true}};
    return list;
  }
};

/// What is minimised on rows with targets where no term is connected.
class RowDefault final : public LossFunction {
 public:
  explicit RowDefault(RowLoss form) : form_(form) {}
  LossResult evaluate(const LossBatch& batch) const override {
    if (form_ == RowLoss::squared_error) return attribute_regression_loss(batch, -100.0);
    const at::Tensor& scores = batch.at("predictions");
    const at::Tensor labels = batch.at("labels").to(scores.scalar_type());
    if (form_ == RowLoss::binary_cross_entropy) {
      const at::Tensor right = scores.detach().gt(0).eq(labels.gt(0.5)).to(at::kDouble).mean();
      return {-(labels * at::log_sigmoid(scores) + (1 - labels) * at::log_sigmoid(-scores)).mean(),
              {{"accuracy", right}}};
    }
    const at::Tensor wanted = labels.select(1, 0).to(at::kLong);
    const at::Tensor log_p = scores.log_softmax(1);
    return {-log_p.gather(1, wanted.unsqueeze(1)).mean(),
            {{"accuracy", log_p.detach().argmax(1).eq(wanted).to(at::kDouble).mean()}}};
  }
  const std::vector<LossArgumentDeclaration>& arguments() const override {
    static const std::vector<LossArgumentDeclaration> list{
        {"predictions", "N,K", "one per label", false, true},
        {"labels", "N,K", "targets", false, false}};
    return list;
  }

 private:
  RowLoss form_;
};

/// Pairs come first, then rows with targets: unit u is pair u, or row u -
/// pairs.
struct Examples {
  TokenRows rows;
  std::vector<std::vector<std::int64_t>> unit_rows;
  PairRows pairs;
  at::Tensor margin, weight;  ///< [pairs]; optional
  at::Tensor labels;          ///< [rows with targets, K]
  std::vector<std::int64_t> target_row;
};

}  // namespace

struct OptimizeRewardModel final : Node, Estimates {
  State<AdamW> adam{this, "adam"};
  Writes<RewardModel> reward_model{this, "reward_model", "the model to train"};
  Optional<Preferences> preferences{this, "preferences", "pairs to tell apart"};
  Optional<Completions> completions{this, "completions", "rows to score, with targets"};
  Optional<Rewards> targets{this, "targets", "what the rows' scores should be"};
  Inputs<LossTerm> terms{this, "terms", "the losses, summed; none: Bradley-Terry and row_loss", 0};
  Output<RewardModel> trained{
      this, "reward_model", "the model after the update", {.same_as = "reward_model"}};
  OptimizerParams optimizer{this, 1e-5};
  Param<RowLoss> row_loss{this, "row_loss", RowLoss::squared_error,
                          "on rows with targets where no term takes predictions"};
  Param<std::int64_t> max_length{this,
                                 "max_length",
                                 0,
                                 "longest row of a pair; longer pairs are left "
                                 "out, counted; 0: the model's context",
                                 {.min = 0, .unit = "tokens"}};
  Rule end{this, OptimizerParams::needs_end()};
  Rule something{this,
                 {{{"preferences", {{"connected", false}}}},
                  {{"completions", {{"connected", true}}}},
                  "there is nothing to learn from",
                  "connect preferences, or completions and targets"}};
  Supplies supplied{this, {"chosen", "rejected", "margin", "weight", "predictions", "labels"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this,
                 {"reward model training", "Bradley-Terry", "preference model", "RM", "classifier",
                  "regression", "verifier training"}};
  Doc doc{this,
          "Trains a scorer on pairs (chosen above rejected), on rows "
          "with targets, or on both. "
          "Terms that take `chosen` are given the scores of the step's "
          "pairs [n], terms that take "
          "`predictions` those of its rows [n,K].\n"
          "mini_batch and micro_batch count units: a pair, or a row. The "
          "losses see the whole "
          "step at once, whatever its micro-batches: these change "
          "nothing beyond rounding, at "
          "the cost of one more forward pass where there are several.\n"
          "Metrics: loss; accuracy: pairs with chosen above rejected; "
          "margin: mean of their gap; "
          "rewards/chosen, rewards/rejected: means; grad_norm. All are "
          "taken before each step."};

  void run(Step& step) const override {
    LanguageModel& model = step.write<LanguageModel>(reward_model);
    DescentOptions options = optimizer(step);
    const Examples examples = gather(step, model);
    options.micro_batch = micro_batch_of(step, optimizer, model.decoder(), examples.rows,
                                         examples.pairs.count() > 0 ? 2 : 1);
    const PairDefault pair_loss;
    const RowDefault loss_of_rows(row_loss());
    const auto [on_pairs, on_rows] = sorted_terms(step, pair_loss, loss_of_rows);
    Means means;
    WholeStepObjective objective(
        step, RowReader(model.decoder(), examples.rows, Readout::row_score), examples.unit_rows,
        options.micro_batch,
        [&, &on_pairs = on_pairs, &on_rows = on_rows](const StepRows& rows,
                                                      const at::Tensor& scores) {
          const at::Tensor loss = loss_on_pairs(examples, rows, scores, on_pairs, means) +
                                  loss_on_rows(examples, rows, scores, on_rows, means);
          means.add("loss", loss.detach().item<double>());
          return loss;
        });
    const DescentReport report = descend(step, model, step[adam], objective, options);
    for (const auto& [name, value] : means.all()) step.metric(name, value);
    report_descent(step, "", report, true);
    step.metric("pairs", static_cast<double>(examples.pairs.count()));
    step.metric("pairs/left_out", static_cast<double>(examples.pairs.left_out));
    if (examples.unit_rows.empty()) {
      step.alarm("nothing-to-learn", "every pair or row was left out: the model is as it was");
    }
    step[trained] = step.pass(reward_model);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[reward_model]);
    const bool pairs = e.connected(preferences);
    Extent rows = pairs ? pair_extent(model, e[preferences]) : e[completions];
    rows.written = rows.rows;
    state_training(e, model, optimizer, {rows, pairs ? 2 : 1, true});
    e[trained] = e[reward_model];
  }

 private:
  Examples gather(const Step& step, const LanguageModel& model) const {
    Examples e;
    std::vector<TokenRows> tables;
    if (const Preferences* const p = step[preferences]) {
      e.pairs = pair_rows(model, *p, max_length());
      const at::Tensor kept = int64_tensor(e.pairs.pair);
      if (p->margin.defined()) e.margin = p->margin.to(at::kCPU).index_select(0, kept);
      if (p->weight.defined()) e.weight = p->weight.to(at::kCPU).index_select(0, kept);
      tables.push_back(e.pairs.rows);
      if (model.decoder().config().labels != 1) {
        step.fail("model-head",
                  fmt::format("pairs need one score per answer, the model has {}",
                              model.decoder().config().labels),
                  "make it with model.reward and labels 1");
      }
    }
    const std::int64_t n = e.pairs.count();
    for (std::int64_t i = 0; i < n; ++i) e.unit_rows.push_back({i, n + i});
    if (const Completions* const c = step[completions]) {
      require_own_tokens(model, *c, "give a model with the tokenizer of the one that sampled");
      tables.push_back(token_rows(c->tokens, c->kinds));
      add_targets(step, *c, model.decoder().config().labels, e);
    }
    if (tables.empty()) {
      step.fail("there is nothing to learn from",
                "connect preferences, or completions and targets");
    }
    e.rows = stacked(tables, model.padding_token());
    return e;
  }

  void add_targets(const Step& step, const Completions& c, std::int64_t labels, Examples& e) const {
    const Rewards* const r = step[targets];
    at::Tensor out = c.kinds.to(at::kCPU).ne(0).any(1).logical_not();
    if (r != nullptr) {
      if (r->total.size(0) != c.rows() || (r->batch != 0 && c.batch != 0 && r->batch != c.batch)) {
        step.fail("other-rows", "the targets belong to other completions",
                  "connect rewards of these completions");
      }
      if (r->absent.defined()) out = out.logical_or(r->absent.to(at::kCPU));
    }
    for (std::int64_t i = 0; i < c.rows(); ++i) {
      if (out[i].item<bool>()) continue;
      e.unit_rows.push_back({2 * e.pairs.count() + i});
      e.target_row.push_back(i);
    }
    if (r == nullptr) return;
    e.labels = labels_of(step, *r, labels).index_select(0, int64_tensor(e.target_row));
  }

  /// [N,K]: the components where there are as many as the model has outputs,
  /// else the total.
  at::Tensor labels_of(const Step& step, const Rewards& r, std::int64_t labels) const {
    if (labels == 1 || row_loss() == RowLoss::cross_entropy) {
      const at::Tensor one = r.total.to(at::kCPU, at::kDouble).unsqueeze(1);
      return labels == 1 ? one : one.expand({one.size(0), labels}).contiguous();
    }
    if (static_cast<std::int64_t>(r.components.size()) != labels) {
      step.fail("bad-shape",
                fmt::format("the model has {} outputs, the targets have {} components", labels,
                            r.components.size()),
                "give one component per output, or use row_loss cross_entropy");
    }
    std::vector<at::Tensor> columns;
    for (const auto& [name, column] : r.components)
      columns.push_back(column.to(at::kCPU, at::kDouble));
    return at::stack(columns, 1);
  }

  struct Terms {
    std::vector<UpdateTerm> on_pairs, on_rows;
  };
  Terms sorted_terms(const Step& step, const LossFunction& pair_loss,
                     const LossFunction& loss_of_rows) const {
    Terms out;
    for (UpdateTerm& term : update_terms(step[terms])) {
      const bool rows = term.takes("predictions");
      if (!rows && !term.takes("chosen")) {
        step.fail("loss-argument-missing",
                  fmt::format("{} takes neither chosen nor predictions", term.name),
                  "use a loss on scores, e.g. loss.bradley_terry or "
                  "loss.attribute_regression");
      }
      (rows ? out.on_rows : out.on_pairs).push_back(std::move(term));
    }
    if (out.on_pairs.empty()) out.on_pairs.push_back({"pairs", &pair_loss, {}});
    if (out.on_rows.empty()) out.on_rows.push_back({"rows", &loss_of_rows, {}});
    return out;
  }

  static at::Tensor loss_on_pairs(const Examples& e, const StepRows& rows, const at::Tensor& scores,
                                  const std::vector<UpdateTerm>& list, Means& means) {
    std::vector<std::int64_t> places, unit, original;
    for (std::size_t i = 0; i < rows.units.size(); ++i) {
      if (rows.units[i] >= e.pairs.count()) continue;
      places.push_back(rows.first[i]);
      unit.push_back(rows.units[i]);
      original.push_back(e.pairs.pair[static_cast<std::size_t>(rows.units[i])]);
    }
    if (places.empty()) return at::zeros({}, at::kDouble);
    const at::Tensor first = int64_tensor(places), pair = int64_tensor(unit);
    LossBatch batch;
    batch.set("chosen", scores.select(1, 0).index_select(0, first));
    batch.set("rejected", scores.select(1, 0).index_select(0, first + 1));
    if (e.margin.defined()) batch.set("margin", e.margin.index_select(0, pair));
    if (e.weight.defined()) batch.set("weight", e.weight.index_select(0, pair));
    const auto count = static_cast<double>(places.size());
    const at::Tensor chosen = batch.at("chosen").detach(), other = batch.at("rejected").detach();
    means.add("accuracy", chosen.gt(other).to(at::kDouble).mean().item<double>(), count);
    means.add("margin", (chosen - other).mean().item<double>(), count);
    means.add("rewards/chosen", chosen.mean().item<double>(), count);
    means.add("rewards/rejected", other.mean().item<double>(), count);
    return evaluate_terms(list, batch, int64_tensor(original), count, means);
  }

  static at::Tensor loss_on_rows(const Examples& e, const StepRows& rows, const at::Tensor& scores,
                                 const std::vector<UpdateTerm>& list, Means& means) {
    std::vector<std::int64_t> places, target, original;
    for (std::size_t i = 0; i < rows.units.size(); ++i) {
      if (rows.units[i] < e.pairs.count()) continue;
      places.push_back(rows.first[i]);
      target.push_back(rows.units[i] - e.pairs.count());
      original.push_back(e.target_row[static_cast<std::size_t>(target.back())]);
    }
    if (places.empty()) return at::zeros({}, at::kDouble);
    LossBatch batch;
    batch.set("predictions", scores.index_select(0, int64_tensor(places)));
    if (e.labels.defined()) batch.set("labels", e.labels.index_select(0, int64_tensor(target)));
    return evaluate_terms(list, batch, int64_tensor(original), static_cast<double>(places.size()),
                          means);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeRewardModel, "Reward-model training (AdamW)", "arXiv:2203.02155")
