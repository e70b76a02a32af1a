#include "nodes/optimize/update.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

class TokenObjective final : public Objective {
 public:
  TokenObjective(const LanguageModel& model, const UpdateRows& rows,
                 const std::vector<UpdateTerm>& terms, const UpdateOptions& options)
      : model_(model), rows_(rows), terms_(terms), options_(options) {
    const at::Tensor mask = rows.tokens.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    const at::Tensor lengths = mask.sum(1);
    lengths_.assign(lengths.data_ptr<std::int64_t>(),
                    lengths.data_ptr<std::int64_t>() + lengths.numel());
    for (const UpdateTerm& term : terms) {
      for (const LossArgumentDeclaration& argument : term.function->arguments()) {
        wants_logits_ = wants_logits_ || (argument.name == "logits" && !argument.optional);
      }
    }
  }

  std::int64_t units() const override { return rows_.tokens.rows(); }

  bool begin(const std::vector<std::int64_t>& units) override {
    std::int64_t tokens = 0, sequences = 0;
    for (const std::int64_t row : units) {
      tokens += lengths_[row];
      sequences += lengths_[row] > 0;
    }
    if (tokens == 0) return false;
    step_tokens_ = static_cast<double>(tokens);
    step_sequences_ = static_cast<double>(sequences);
    ++steps_;
    return true;
  }

  void micro_batch(const std::vector<std::int64_t>& units, std::int64_t first, std::int64_t count,
                   Gathered& into) const override {
    micro_batch({units.begin() + first, units.begin() + first + count}, into);
  }

 private:
  LossBatch loss_batch(const std::vector<std::int64_t>& chosen, const UpdateTerm& term,
                       const LossBatch& shared) const {
    LossBatch batch = shared;
    const at::Tensor index = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
    for (const auto& [name, tensor] : term.data) {
      batch.set(name, tensor.index_select(0, index.to(tensor.device())));
    }
    return batch;
  }

  /// Values [S] of the action tokens as a leaf [n,T,...] that losses are
  /// differentiated by.
  at::Tensor leaf_of(const at::Tensor& values, const RowBatch& batch,
                     const at::Tensor& flat) const {
    std::vector<std::int64_t> shape = values.sizes().vec();
    shape[0] = batch.rows * rows_.tokens.width();
    const at::Tensor spread = at::zeros(shape, values.options()).index_copy(0, flat, values);
    shape[0] = rows_.tokens.width();
    shape.insert(shape.begin(), batch.rows);
    return spread.view(shape).requires_grad_();
  }

  /// The gradient of a leaf at the action tokens; undefined where no loss
  /// depends on it.
  static at::Tensor gradient_of(const LossBatch& batch, const char* name, const at::Tensor& flat) {
    if (!batch.has(name) || !batch.at(name).grad().defined()) return {};
    return batch.at(name).grad().flatten(0, 1).index_select(0, flat);
  }

  LossBatch arguments_of(const std::vector<std::int64_t>& chosen, const RowBatch& batch,
                         const TokenStatistics& now, const at::Tensor& logits,
                         const at::Tensor& flat) const {
    LossBatch shared;
    const c10::Device device = logits.device();
    shared.set("log_probs", leaf_of(now.log_probs, batch, flat));
    shared.set("entropy", leaf_of(now.entropy, batch, flat));
    if (wants_logits_) shared.set("logits", leaf_of(logits, batch, flat));
    const at::Tensor index = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
    shared.set("mask", rows_.tokens.kinds.index_select(0, index)
                           .eq(static_cast<std::int64_t>(TokenKind::action))
                           .to(device));
    for (const auto& [name, tensor] : rows_.arguments) {
      shared.set(name, tensor.index_select(0, index.to(tensor.device())).to(device));
    }
    return shared;
  }

  void micro_batch(const std::vector<std::int64_t>& chosen, Gathered& slot) const {
    const RowBatch batch = row_batch(rows_.tokens, chosen);
    if (batch.sequences.tokens.empty()) return;
    const c10::AutoGradMode with_gradients(true);
    const auto pass = model_.decoder().score(batch.sequences, true);
    const c10::Device device = pass->logits().device();
    const at::Tensor targets = batch.targets.to(device), flat = batch.flat.to(device);
    const TokenStatistics now = token_statistics(pass->logits(), targets, options_.sampling);
    LossBatch shared = arguments_of(chosen, batch, now, pass->logits(), flat);
    shared.total_tokens = step_tokens_;
    shared.total_sequences = step_sequences_;
    const at::Tensor loss =
        evaluate(chosen, shared, static_cast<double>(batch.targets.numel()), slot);
    if (loss.requires_grad()) loss.backward();
    const at::Tensor d_log_probs = gradient_of(shared, "log_probs", flat);
    at::Tensor d_logits = token_statistics_backward(
        pass->logits(), targets, options_.sampling,
        d_log_probs.defined() ? d_log_probs : at::zeros_like(now.log_probs),
        gradient_of(shared, "entropy", flat));
    const at::Tensor direct = gradient_of(shared, "logits", flat);
    pass->backward(direct.defined() ? d_logits + direct : d_logits, slot.gradients);
    measure(chosen, batch, shared, now, slot);
  }

  at::Tensor evaluate(const std::vector<std::int64_t>& chosen, const LossBatch& shared,
                      double share, Gathered& slot) const {
    at::Tensor total;
    for (const UpdateTerm& term : terms_) {
      const LossResult result =
          term.function->evaluate(term.data.empty() ? shared : loss_batch(chosen, term, shared));
      total = total.defined() ? total + result.loss : result.loss;
      slot.sums["term:" + term.name + "/loss"] += result.loss.detach().item<double>();
      for (const auto& [name, value] : result.outputs) {
        if (value.numel() == 1)
          slot.sums["term:" + term.name + "/" + name] += share * value.item<double>();
      }
    }
    slot.sums["loss"] += total.detach().item<double>();
    return total;
  }

  /// Sums over this micro-batch's tokens for the report.
  void measure(const std::vector<std::int64_t>& chosen, const RowBatch& batch,
               const LossBatch& shared, const TokenStatistics& now, Gathered& slot) const {
    slot.sums["tokens"] += static_cast<double>(batch.targets.numel());
    slot.sums["entropy"] += now.entropy.to(at::kDouble).sum().item<double>();
    const at::Tensor log_probs = now.log_probs.to(at::kCPU);
    if (shared.has("old_log_probs")) {
      const at::Tensor old =
          shared.at("old_log_probs").to(at::kCPU).reshape(-1).index_select(0, batch.flat);
      slot.sums["old_minus_new"] += (old - log_probs).to(at::kDouble).sum().item<double>();
    }
    if (!rows_.behaviour_log_probs.defined() || steps_ > 1) return;
    const at::Tensor index = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
    const at::Tensor behaviour =
        rows_.behaviour_log_probs.to(at::kCPU).index_select(0, index).reshape(-1).index_select(
            0, batch.flat);
    const at::Tensor difference = (log_probs - behaviour).abs().to(at::kDouble);
    slot.raise("mismatch", difference.max().item<double>());
    slot.sums["mismatch_tokens"] += static_cast<double>(difference.numel());
    slot.sums["ratio"] += difference.exp().sum().item<double>();
  }

  const LanguageModel& model_;
  const UpdateRows& rows_;
  const std::vector<UpdateTerm>& terms_;
  const UpdateOptions& options_;
  std::vector<std::int64_t> lengths_;
  bool wants_logits_ = false;
  double step_tokens_ = 0, step_sequences_ = 0;
  std::int64_t steps_ = 0;
};

UpdateReport summary(const DescentReport& done) {
  UpdateReport r{done};
  const auto sum = [&](const char* name) {
    const auto found = done.sums.find(name);
    return found == done.sums.end() ? 0.0 : found->second;
  };
  const double steps = std::max<double>(1, static_cast<double>(r.steps));
  r.tokens = sum("tokens");
  const double tokens = std::max(1.0, r.tokens);
  r.loss = sum("loss") / steps;
  r.entropy = sum("entropy") / tokens;
  r.old_minus_new = sum("old_minus_new") / tokens;
  for (const auto& [name, value] : done.sums) {
    if (!name.starts_with("term:")) continue;
    r.outputs[name.substr(5)] = value / (name.ends_with("/loss") ? steps : tokens);
  }
  r.mismatch_tokens = static_cast<std::int64_t>(sum("mismatch_tokens"));
  if (r.mismatch_tokens == 0) return r;
  r.mismatch_largest = done.largest.at("mismatch");
  r.mismatch_mean_ratio = sum("ratio") / static_cast<double>(r.mismatch_tokens);
  return r;
}

}  // namespace

bool UpdateTerm::takes(std::string_view argument) const {
  const auto& arguments = function->arguments();
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const auto& declared) { return declared.name == argument; });
}

std::vector<UpdateTerm> update_terms(const InputList<LossTerm>& given) {
  std::vector<UpdateTerm> list;
  for (std::size_t i = 0; i < given.size(); ++i) {
    list.push_back({given[i].name, given[i].function.get(), given[i].data});
  }
  return list;
}

UpdateReport update(Step& step, LanguageModel& model, AdamW& optimizer, const UpdateRows& rows,
                    const std::vector<UpdateTerm>& terms, const UpdateOptions& options) {
  TokenObjective objective(model, rows, terms, options);
  return summary(descend(step, model, optimizer, objective, options));
}

void report_update(Step& step, const UpdateReport& r, double mismatch_limit) {
  step.metric("actor/loss", r.loss);
  step.metric("actor/entropy", r.entropy);
  report_descent(step, "actor/", r, false);
  for (const auto& [name, value] : r.outputs) {
    step.metric(name, value);
    if (name.ends_with("/clip_fraction")) step.metric("actor/pg_clipfrac", value);
  }
  if (r.mismatch_tokens == 0) return;
  step.metric("mismatch/max", r.mismatch_largest);
  step.metric("mismatch/token_mult_prob_error", r.mismatch_mean_ratio);
  if (r.mismatch_largest > mismatch_limit) {
    step.alarm("sampler-trainer-mismatch",
               fmt::format("log-probs at sampling and at training differ by up "
                           "to {:.3g}, above {:.3g}",
                           r.mismatch_largest, mismatch_limit));
  }
}

}  // namespace rewardloom
