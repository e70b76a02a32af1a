#include "nodes/loss/aggregate.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "nodes/advantage/token_rows.h"

namespace rewardloom {
namespace {

std::int64_t needed_length(const AggregateOptions& options) {
  if (options.norm_length) return *options.norm_length;
  throw Failure("norm-length-missing",
                "the loss is divided by a constant length, but norm_length is not set",
                "set norm_length, e.g. to the maximum number of new tokens");
}

/// Rows that count, as a tensor so that nothing waits for the device.
at::Tensor row_count(const at::Tensor& mask, EmptyRows empty_rows) {
  if (empty_rows == EmptyRows::count) {
    return at::full({}, static_cast<double>(mask.size(0)), mask.options().dtype(at::kDouble));
  }
  return (row_lengths(mask) > 0).sum().to(at::kDouble);
}

at::Tensor divided(const at::Tensor& sum, const std::optional<double>& total,
                   const at::Tensor& counted) {
  if (total) return sum / *total;
  return sum / counted.clamp_min(1).to(sum.scalar_type());
}

}  // namespace

at::Tensor aggregate(const at::Tensor& token_loss, const at::Tensor& mask,
                     const AggregateOptions& options, const LossBatch& batch) {
  return aggregate_masked(on_mask(mask, token_loss), mask, options, batch);
}

at::Tensor aggregate_masked(const at::Tensor& kept, const at::Tensor& mask,
                            const AggregateOptions& options, const LossBatch& batch) {
  if (options.mode == Aggregate::seq_mean_token_mean) {
    return aggregate_rows(kept.sum(-1), mask, options, batch);
  }
  return aggregate_rows(kept, mask, options, batch);
}

at::Tensor aggregate_rows(const at::Tensor& sums, const at::Tensor& mask,
                          const AggregateOptions& options, const LossBatch& batch) {
  switch (options.mode) {
    case Aggregate::token_mean: return divided(sums.sum(), batch.total_tokens, token_count(mask));
    case Aggregate::token_sum_norm: return sums.sum() / static_cast<double>(needed_length(options));
    case Aggregate::seq_mean_token_sum:
      return divided(sums.sum(), batch.total_sequences, row_count(mask, options.empty_rows));
    case Aggregate::seq_mean_token_sum_norm:
      return divided(sums.sum() / static_cast<double>(needed_length(options)),
                     batch.total_sequences, row_count(mask, options.empty_rows));
    case Aggregate::seq_mean_token_mean: break;
  }
  const at::Tensor lengths = row_lengths(mask).clamp_min(1).to(sums.scalar_type());
  return divided((sums / lengths).sum(), batch.total_sequences,
                 row_count(mask, options.empty_rows));
}

RuleDeclaration AggregateParams::needs_length() {
  return {{{"aggregate", {"seq_mean_token_sum_norm", "token_sum_norm"}}},
          {{"norm_length", {{"set", true}}}},
          "the loss is divided by a constant length, but norm_length is not set",
          "set norm_length, e.g. to the maximum number of new tokens"};
}

const at::Tensor& token_argument(const LossBatch& batch, std::string_view name,
                                 const at::Tensor& mask) {
  const at::Tensor& value = batch.at(name);
  if (value.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str(name, " is ", value.sizes(), ", but the mask is ", mask.sizes()),
                  "rows and tokens of all arguments of a loss must agree");
  }
  return value;
}

at::Tensor masked_argument(const LossBatch& batch, std::string_view name, const at::Tensor& mask) {
  return on_mask(mask, token_argument(batch, name, mask));
}

at::Tensor logits_argument(const LossBatch& batch, std::string_view name, const at::Tensor& mask) {
  const at::Tensor& z = batch.at(name);
  if (z.dim() != 3 || z.size(0) != mask.size(0) || z.size(1) != mask.size(1)) {
    throw Failure("bad-shape",
                  c10::str(name, " is ", z.sizes(), ", but the mask is ", mask.sizes()),
                  "logits are [N,T,V] for the same rows and tokens as the mask");
  }
  return at::where(mask.unsqueeze(-1), z, at::zeros({}, z.options().requires_grad(false)));
}

at::Tensor mask_argument(const LossBatch& batch) {
  const at::Tensor& mask = batch.at("mask");
  if (mask.dim() != 2) {
    throw Failure("bad-shape",
                  fmt::format("the mask must be [N,T], but has {} dimensions", mask.dim()));
  }
  return mask.to(at::kBool);
}

at::Tensor advantages_argument(const LossBatch& batch, const at::Tensor& mask) {
  const at::Tensor advantages = unmasked_advantages(batch, mask);
  return advantages.sizes() == mask.sizes() ? on_mask(mask, advantages) : advantages;
}

at::Tensor unmasked_advantages(const LossBatch& batch, const at::Tensor& mask) {
  const at::Tensor& advantages = batch.at("advantages");
  const bool column = advantages.dim() == 2 && advantages.size(1) == 1 && mask.size(1) != 1;
  if (column && advantages.size(0) == mask.size(0)) return advantages.detach();
  if (advantages.dim() == 2) return token_argument(batch, "advantages", mask).detach();
  if (advantages.dim() == 1 && advantages.size(0) == mask.size(0)) {
    return advantages.detach().unsqueeze(-1);
  }
  throw Failure("bad-shape",
                c10::str("advantages are ", advantages.sizes(), ", but the mask is ", mask.sizes()),
                "advantages are [N] or [N,T] for the same rows as the mask");
}

}  // namespace rewardloom
