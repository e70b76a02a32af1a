#include "nodes/optimize/whole_step.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/core/problem.h"
#include "nodes/text/head_scores.h"

namespace rewardloom {

void Means::add(const std::string& name, double value, double weight) {
  Sum& sum = sums_[name];
  sum.total += value * weight;
  sum.weight += weight;
}

double Means::at(const std::string& name) const {
  const auto found = sums_.find(name);
  if (found == sums_.end() || found->second.weight == 0) return 0;
  return found->second.total / found->second.weight;
}

std::map<std::string, double> Means::all() const {
  std::map<std::string, double> out;
  for (const auto& [name, sum] : sums_) out[name] = at(name);
  return out;
}

RowReader::RowReader(const Decoder& decoder, const TokenRows& rows, Readout readout)
    : decoder_(decoder), rows_(rows), readout_(readout) {
  const bool scores = decoder.config().head != HeadKind::language_model;
  if (scores == (readout != Readout::token_log_probs)) return;
  throw Failure("model-head",
                fmt::format("{} {}", decoder.config().architecture,
                            scores ? "has a score head and gives no log-probs"
                                   : "is a language model and gives no scores"),
                scores ? "open the model with text.policy"
                       : "open the model with model.reward or model.value");
}

RowPass RowReader::forward(const std::vector<std::int64_t>& rows, bool with_gradient) const {
  RowPass out;
  const auto count = static_cast<std::int64_t>(rows.size());
  const bool whole = readout_ == Readout::row_score;
  out.batch = whole ? scored_batch(rows_, rows, decoder_.config().pooling) : row_batch(rows_, rows);
  const std::int64_t width = whole ? decoder_.config().labels : rows_.width();
  out.values = at::zeros({count, width});
  if (out.batch.sequences.tokens.empty()) return out;
  out.pass = decoder_.score(out.batch.sequences, with_gradient);
  const at::Tensor& logits = out.pass->logits();
  if (whole) {
    out.values.index_copy_(0, out.batch.flat,
                           pooled_scores(out.batch, logits).to(at::kCPU, at::kFloat));
    return out;
  }
  const at::Tensor read =
      readout_ == Readout::token_values
          ? logits.squeeze(1)
          : token_statistics(logits, out.batch.targets.to(logits.device()), {}).log_probs;
  out.values.view(-1).index_copy_(0, out.batch.flat, read.to(at::kCPU, at::kFloat));
  return out;
}

void RowReader::backward(const RowPass& pass, const at::Tensor& d_values,
                         WeightMap& gradients) const {
  if (!pass.pass) return;
  const at::Tensor& logits = pass.pass->logits();
  const at::Tensor d = d_values.to(at::kFloat);
  if (readout_ == Readout::row_score) {
    const at::Tensor d_scores = d.index_select(0, pass.batch.flat).to(logits.device());
    return pass.pass->backward(pooled_backward(pass.batch, d_scores), gradients);
  }
  const at::Tensor read = d.reshape(-1).index_select(0, pass.batch.flat).to(logits.device());
  if (readout_ == Readout::token_values) {
    return pass.pass->backward(read.unsqueeze(1), gradients);
  }
  const at::Tensor targets = pass.batch.targets.to(logits.device());
  pass.pass->backward(token_statistics_backward(logits, targets, {}, read, {}), gradients);
}

WholeStepObjective::WholeStepObjective(Step& step, RowReader reader,
                                       std::vector<std::vector<std::int64_t>> unit_rows,
                                       std::int64_t micro_batch, StepLoss loss)
    : step_(step),
      reader_(reader),
      unit_rows_(std::move(unit_rows)),
      micro_batch_(micro_batch),
      loss_(std::move(loss)) {}

std::vector<std::int64_t> WholeStepObjective::rows_of(std::int64_t first,
                                                      std::int64_t count) const {
  const auto end = first + count < static_cast<std::int64_t>(now_.first.size())
                       ? now_.first[static_cast<std::size_t>(first + count)]
                       : static_cast<std::int64_t>(now_.rows.size());
  return {now_.rows.begin() + now_.first[static_cast<std::size_t>(first)], now_.rows.begin() + end};
}

/// The values of the step's rows [R,...], in float32.
at::Tensor WholeStepObjective::read_all() {
  const auto count = static_cast<std::int64_t>(now_.units.size());
  only_ = {};
  if (count <= micro_batch_) {
    only_ = reader_.forward(now_.rows, true);
    return only_.values;
  }
  const std::int64_t batches = (count + micro_batch_ - 1) / micro_batch_;
  std::vector<at::Tensor> parts(static_cast<std::size_t>(batches));
  step_.parallel(parts.size(), [&](std::size_t b) {
    const std::int64_t first = static_cast<std::int64_t>(b) * micro_batch_;
    parts[b] = reader_.forward(rows_of(first, std::min(micro_batch_, count - first)), false).values;
  });
  return at::cat(parts);
}

bool WholeStepObjective::begin(const std::vector<std::int64_t>& units) {
  now_ = {units, {}, {}};
  for (const std::int64_t unit : units) {
    now_.first.push_back(static_cast<std::int64_t>(now_.rows.size()));
    const auto& rows = unit_rows_[static_cast<std::size_t>(unit)];
    now_.rows.insert(now_.rows.end(), rows.begin(), rows.end());
  }
  if (now_.rows.empty()) return false;
  const at::Tensor read = read_all();
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor values = read.to(at::kDouble).requires_grad_();
  const at::Tensor loss = loss_(now_, values);
  if (loss.requires_grad()) loss.backward();
  d_values_ = values.grad().defined() ? values.grad() : at::zeros_like(read);
  return true;
}

void WholeStepObjective::micro_batch(const std::vector<std::int64_t>&, std::int64_t first,
                                     std::int64_t count, Gathered& into) const {
  const std::vector<std::int64_t> rows = rows_of(first, count);
  const at::Tensor d = d_values_.narrow(0, now_.first[static_cast<std::size_t>(first)],
                                        static_cast<std::int64_t>(rows.size()));
  if (only_.values.defined()) return reader_.backward(only_, d, into.gradients);
  reader_.backward(reader_.forward(rows, true), d, into.gradients);
}

at::Tensor evaluate_terms(const std::vector<UpdateTerm>& terms, const LossBatch& batch,
                          const at::Tensor& index, double weight, Means& means) {
  at::Tensor total = at::zeros({}, at::kDouble);
  for (const UpdateTerm& term : terms) {
    LossBatch own = batch;
    for (const auto& [name, tensor] : term.data) {
      own.set(name, tensor.to(at::kCPU).index_select(0, index));
    }
    const LossResult result = term.function->evaluate(own);
    total = total + result.loss;
    means.add(term.name + "/loss", result.loss.detach().item<double>(), weight);
    for (const auto& [name, value] : result.outputs) {
      if (value.numel() == 0) continue;
      means.add(term.name + "/" + name, value.to(at::kDouble).mean().item<double>(), weight);
    }
  }
  return total;
}

at::Tensor int64_tensor(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::TensorOptions().dtype(at::kLong));
}

}  // namespace rewardloom
