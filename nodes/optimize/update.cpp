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

/// Most gradient buffers, and so most passes at once; a constant, so that sums never depend on
/// threads.
constexpr std::int64_t most_slots = 8;

/// What one slot gathers over its micro-batches.
struct Slot {
  WeightMap gradients;
  double loss = 0, entropy = 0, old_minus_new = 0, tokens = 0;
  double largest = 0, ratio = 0;
  std::map<std::string, double> outputs;
};

/// Sum of all weights' bits: equal before and after only if (all but surely) nothing changed.
std::uint64_t fingerprint(const WeightMap& weights) {
  std::uint64_t total = 0;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor words = tensor.detach().contiguous().view(at::kInt);
    if (!words.device().is_cpu()) {
      total = mix(total, static_cast<std::uint64_t>(words.sum().item<std::int64_t>()));
      continue;
    }
    const auto* data = reinterpret_cast<const std::uint32_t*>(words.data_ptr<int>());
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < words.numel(); ++i)
      sum += data[i] * (2 * static_cast<std::uint64_t>(i) + 1);
    total = mix(total, sum);
  }
  return total;
}

class Updater {
 public:
  Updater(Step& step, LanguageModel& model, AdamW& optimizer, const UpdateRows& rows,
          const std::vector<UpdateTerm>& terms, const UpdateOptions& options)
      : step_(step),
        model_(model),
        optimizer_(optimizer),
        rows_(rows),
        terms_(terms),
        options_(options) {
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

  UpdateReport run() {
    const std::uint64_t before = fingerprint(model_.decoder().weights());
    const std::int64_t count = rows_.tokens.rows();
    const std::int64_t size =
        options_.mini_batch > 0 ? std::min(options_.mini_batch, count) : count;
    for (std::int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      const std::vector<std::int64_t> order = row_order(epoch, size < count);
      for (std::int64_t first = 0; first < count; first += size) {
        const auto start = order.begin() + first;
        mini_batch({start, start + std::min(size, count - first)});
      }
    }
    finish();
    report_.changed = fingerprint(model_.decoder().weights()) != before;
    if (report_.changed) model_.set_weight_version(model_.weight_version() + 1);
    return report_;
  }

 private:
  std::vector<std::int64_t> row_order(std::int64_t epoch, bool several) const {
    std::vector<std::int64_t> order(rows_.tokens.rows());
    std::iota(order.begin(), order.end(), 0);
    if (!several || !options_.shuffle) return order;
    Random random = step_.random(hash_name("row order"), static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    return order;
  }

  void mini_batch(const std::vector<std::int64_t>& chosen) {
    std::int64_t tokens = 0, sequences = 0;
    for (const std::int64_t row : chosen) {
      tokens += lengths_[row];
      sequences += lengths_[row] > 0;
    }
    if (tokens == 0) return;
    const std::int64_t count = static_cast<std::int64_t>(chosen.size());
    const std::int64_t size = options_.micro_batch, batches = (count + size - 1) / size;
    std::vector<Slot> slots(std::min(most_slots, batches));
    step_.parallel(slots.size(), [&](std::size_t s) {
      Slot& slot = slots[s];
      slot.gradients = model_.decoder().zero_gradients();
      for (std::int64_t b = static_cast<std::int64_t>(s); b < batches; b += slots.size()) {
        const auto start = chosen.begin() + b * size;
        micro_batch({start, start + std::min(size, count - b * size)}, static_cast<double>(tokens),
                    static_cast<double>(sequences), slot);
      }
    });
    for (std::size_t s = 1; s < slots.size(); ++s) {
      for (auto& [name, gradient] : slots[0].gradients) gradient.add_(slots[s].gradients.at(name));
    }
    account(slots);
    take_step(slots[0].gradients);
  }

  LossBatch loss_batch(const std::vector<std::int64_t>& chosen, const UpdateTerm& term,
                       const LossBatch& shared) const {
    LossBatch batch = shared;
    const at::Tensor index = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
    for (const auto& [name, tensor] : term.data) {
      batch.set(name, tensor.index_select(0, index.to(tensor.device())));
    }
    return batch;
  }

  /// Values [S] of the action tokens as a leaf [n,T,...] that losses are differentiated by.
  at::Tensor leaf_of(const at::Tensor& values, const RowBatch& batch,
                     const at::Tensor& flat) const {
    std::vector<std::int64_t> shape = values.sizes().vec();
    shape[0] = batch.rows * rows_.tokens.width();
    const at::Tensor spread = at::zeros(shape, values.options()).index_copy(0, flat, values);
    shape[0] = rows_.tokens.width();
    shape.insert(shape.begin(), batch.rows);
    return spread.view(shape).requires_grad_();
  }

  /// The gradient of a leaf at the action tokens; undefined where no loss depends on it.
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

  void micro_batch(const std::vector<std::int64_t>& chosen, double tokens, double sequences,
                   Slot& slot) const {
    const RowBatch batch = row_batch(rows_.tokens, chosen);
    if (batch.sequences.tokens.empty()) return;
    const c10::AutoGradMode with_gradients(true);
    const auto pass = model_.decoder().score(batch.sequences, true);
    const c10::Device device = pass->logits().device();
    const at::Tensor targets = batch.targets.to(device), flat = batch.flat.to(device);
    const TokenStatistics now = token_statistics(pass->logits(), targets, options_.sampling);
    LossBatch shared = arguments_of(chosen, batch, now, pass->logits(), flat);
    shared.total_tokens = tokens;
    shared.total_sequences = sequences;
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
                      double share, Slot& slot) const {
    at::Tensor total;
    for (const UpdateTerm& term : terms_) {
      const LossResult result =
          term.function->evaluate(term.data.empty() ? shared : loss_batch(chosen, term, shared));
      total = total.defined() ? total + result.loss : result.loss;
      slot.outputs[term.name + "/loss"] += result.loss.detach().item<double>();
      for (const auto& [name, value] : result.outputs) {
        if (value.numel() == 1)
          slot.outputs[term.name + "/" + name] += share * value.item<double>();
      }
    }
    slot.loss += total.detach().item<double>();
    return total;
  }

  /// Sums over this micro-batch's tokens for the report.
  void measure(const std::vector<std::int64_t>& chosen, const RowBatch& batch,
               const LossBatch& shared, const TokenStatistics& now, Slot& slot) const {
    slot.tokens += static_cast<double>(batch.targets.numel());
    slot.entropy += now.entropy.to(at::kDouble).sum().item<double>();
    const at::Tensor log_probs = now.log_probs.to(at::kCPU);
    if (shared.has("old_log_probs")) {
      const at::Tensor old =
          shared.at("old_log_probs").to(at::kCPU).reshape(-1).index_select(0, batch.flat);
      slot.old_minus_new += (old - log_probs).to(at::kDouble).sum().item<double>();
    }
    if (!rows_.behaviour_log_probs.defined() || report_.steps > 0) return;
    const at::Tensor index = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
    const at::Tensor behaviour =
        rows_.behaviour_log_probs.to(at::kCPU).index_select(0, index).reshape(-1).index_select(
            0, batch.flat);
    const at::Tensor difference = (log_probs - behaviour).abs().to(at::kDouble);
    slot.largest = std::max(slot.largest, difference.max().item<double>());
    slot.ratio += difference.exp().sum().item<double>();
  }

  void account(const std::vector<Slot>& slots) {
    double tokens = 0;
    for (const Slot& slot : slots) {
      report_.loss += slot.loss;
      report_.entropy += slot.entropy;
      report_.old_minus_new += slot.old_minus_new;
      tokens += slot.tokens;
      report_.mismatch_largest = std::max(report_.mismatch_largest, slot.largest);
      ratio_ += slot.ratio;
      for (const auto& [name, value] : slot.outputs) report_.outputs[name] += value;
    }
    report_.tokens += tokens;
    if (rows_.behaviour_log_probs.defined() && report_.steps == 0) {
      report_.mismatch_tokens = static_cast<std::int64_t>(tokens);
    }
  }

  void take_step(WeightMap& gradients) {
    AdamWOptions options = options_.adamw;
    options.learning_rate *=
        schedule_factor(options_.schedule, optimizer_.steps() + optimizer_.skipped(),
                        options_.warmup_steps, options_.total_steps);
    // The map shares the tensors: they change in place.
    WeightMap weights = model_.decoder().weights();
    const AdamWStep done = optimizer_.step(weights, gradients, options);
    if (!done.skipped) model_.decoder().weights_changed();
    report_.gradient_norm += done.skipped ? 0 : done.gradient_norm;
    report_.learning_rate = options.learning_rate;
    report_.clipped += done.clipped;
    report_.skipped += done.skipped;
    ++report_.steps;
  }

  void finish() {
    const double steps = std::max<double>(1, static_cast<double>(report_.steps));
    const double tokens = std::max(1.0, report_.tokens);
    report_.loss /= steps;
    report_.gradient_norm /= std::max(1.0, steps - static_cast<double>(report_.skipped));
    report_.entropy /= tokens;
    report_.old_minus_new /= tokens;
    for (auto& [name, value] : report_.outputs) value /= name.ends_with("/loss") ? steps : tokens;
    if (report_.mismatch_tokens > 0) {
      report_.mismatch_mean_ratio = ratio_ / static_cast<double>(report_.mismatch_tokens);
    }
  }

  Step& step_;
  LanguageModel& model_;
  AdamW& optimizer_;
  const UpdateRows& rows_;
  const std::vector<UpdateTerm>& terms_;
  const UpdateOptions& options_;
  std::vector<std::int64_t> lengths_;
  bool wants_logits_ = false;
  double ratio_ = 0;
  UpdateReport report_;
};

}  // namespace

UpdateReport update(Step& step, LanguageModel& model, AdamW& optimizer, const UpdateRows& rows,
                    const std::vector<UpdateTerm>& terms, const UpdateOptions& options) {
  return Updater(step, model, optimizer, rows, terms, options).run();
}

void report_update(Step& step, const UpdateReport& r, double mismatch_limit) {
  step.metric("actor/loss", r.loss);
  step.metric("actor/grad_norm", r.gradient_norm);
  step.metric("actor/entropy", r.entropy);
  step.metric("actor/lr", r.learning_rate);
  step.metric("actor/steps", static_cast<double>(r.steps));
  step.metric("actor/grad_clipped", static_cast<double>(r.clipped));
  step.metric("actor/skipped_steps", static_cast<double>(r.skipped));
  for (const auto& [name, value] : r.outputs) {
    step.metric(name, value);
    if (name.ends_with("/clip_fraction")) step.metric("actor/pg_clipfrac", value);
  }
  if (r.skipped > 0) {
    step.alarm(
        "non-finite-gradient",
        fmt::format("{} of {} optimizer steps had a gradient that is not finite and were skipped",
                    r.skipped, r.steps));
  }
  if (!r.changed && r.gradient_norm > 0 && r.learning_rate > 0) {
    step.alarm("weights-unchanged",
               "the gradient was not zero, but no weight has changed: the learning "
               "rate is below what float32 can add");
  }
  if (r.mismatch_tokens == 0) return;
  step.metric("mismatch/max", r.mismatch_largest);
  step.metric("mismatch/token_mult_prob_error", r.mismatch_mean_ratio);
  if (r.mismatch_largest > mismatch_limit) {
    step.alarm(
        "sampler-trainer-mismatch",
        fmt::format("log-probs at sampling and at training differ by up to {:.3g}, above {:.3g}",
                    r.mismatch_largest, mismatch_limit));
  }
}

}  // namespace rewardloom
