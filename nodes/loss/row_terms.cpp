#include "nodes/loss/row_terms.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "nodes/advantage/token_rows.h"

namespace rewardloom {

at::Tensor row_argument(const LossBatch& batch, std::string_view name) {
  const at::Tensor& value = batch.at(name);
  if (value.dim() == 1) return value;
  throw Failure("bad-shape", c10::str(name, " is ", value.sizes(), ", but must be [N]"),
                "give one value per row");
}

at::Tensor argument_like(const LossBatch& batch, std::string_view name, const at::Tensor& like,
                         std::string_view like_name) {
  const at::Tensor& value = batch.at(name);
  if (value.sizes() == like.sizes()) return value;
  throw Failure("bad-shape",
                c10::str(name, " is ", value.sizes(), ", but ", like_name, " is ", like.sizes()),
                "they must agree in number and order of rows");
}

std::optional<double> pairs_of_step(const LossBatch& batch) {
  return batch.total_pairs ? batch.total_pairs : batch.total_sequences;
}

at::Tensor divided_by(const at::Tensor& sum, const std::optional<double>& total,
                      const at::Tensor& here) {
  if (total) return sum / *total;
  return sum / here.clamp_min(1).to(sum.scalar_type());
}

at::Tensor plain_mean(const at::Tensor& values) {
  return values.sum() / std::max<double>(1, static_cast<double>(values.numel()));
}

at::Tensor row_mean_of(const at::Tensor& sum, double here, const LossBatch& batch) {
  return sum / batch.total_sequences.value_or(std::max(1.0, here));
}

at::Tensor pair_mean_of(const at::Tensor& sum, double here, const LossBatch& batch) {
  return sum / pairs_of_step(batch).value_or(std::max(1.0, here));
}

at::Tensor row_mean(const at::Tensor& values, const LossBatch& batch) {
  return row_mean_of(values.sum(), static_cast<double>(values.size(0)), batch);
}

at::Tensor pair_mean(const at::Tensor& values, const LossBatch& batch) {
  return pair_mean_of(values.sum(), static_cast<double>(values.size(0)), batch);
}

void require_whole_step(const std::optional<double>& total, double here, std::string_view why) {
  if (!total || *total <= here + 0.5) return;
  throw Failure("not-separable",
                fmt::format("this loss {}, but was given {} of {}", why, here, *total),
                "set the optimizer's micro_batch so that a step is one micro-batch");
}

void require_whole_step(const LossBatch& batch, const at::Tensor& mask, std::string_view why) {
  if (!batch.total_sequences && !batch.total_tokens) return;
  const at::Tensor lengths = row_lengths(mask);
  const auto sum = [](const at::Tensor& numbers) { return numbers.sum().item().toDouble(); };
  if (batch.total_sequences) require_whole_step(batch.total_sequences, sum(lengths.gt(0)), why);
  if (batch.total_tokens) require_whole_step(batch.total_tokens, sum(lengths), why);
}

}  // namespace rewardloom
