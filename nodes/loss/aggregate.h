// How a loss per token becomes one number, and how micro-batches add up to the whole step.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "engine/core/node.h"
#include "nodes/loss/masking.h"

namespace rewardloom {

enum class Aggregate {
  token_mean,
  seq_mean_token_sum,
  seq_mean_token_mean,
  seq_mean_token_sum_norm,
  token_sum_norm
};
constexpr auto choices(Aggregate) {
  return std::to_array<Choice<Aggregate>>({
      {Aggregate::token_mean, "token_mean", "sum over tokens / number of tokens (DAPO)"},
      {Aggregate::seq_mean_token_sum, "seq_mean_token_sum", "mean over rows of the token sum"},
      {Aggregate::seq_mean_token_mean, "seq_mean_token_mean",
       "mean over rows of the token mean (GRPO)"},
      {Aggregate::seq_mean_token_sum_norm, "seq_mean_token_sum_norm",
       "sum over tokens / (rows * norm_length) (Dr.GRPO as TRL has it)"},
      {Aggregate::token_sum_norm, "token_sum_norm",
       "sum over tokens / norm_length (verl's seq-mean-token-sum-norm)"},
  });
}

enum class EmptyRows { exclude, count };
constexpr auto choices(EmptyRows) {
  return std::to_array<Choice<EmptyRows>>({
      {EmptyRows::exclude, "exclude", "rows without any token are not counted (verl)"},
      {EmptyRows::count, "count", "every row is counted (TRL grpo)"},
  });
}

struct AggregateOptions {
  Aggregate mode = Aggregate::token_mean;
  std::optional<std::int64_t> norm_length = {};
  EmptyRows empty_rows = EmptyRows::exclude;
};

/// token_loss [N,T], mask [N,T] bool -> []. The counts in `batch` are those of the whole optimizer
/// step (rows: those that count under `empty_rows`); where they are not given, this batch is the
/// step. No token at all gives 0. Failure `norm-length-missing` for a *_norm mode without it.
at::Tensor aggregate(const at::Tensor& token_loss, const at::Tensor& mask,
                     const AggregateOptions& options, const LossBatch& batch);

/// The same for a loss that is 0 outside the mask already.
at::Tensor aggregate_masked(const at::Tensor& token_loss, const at::Tensor& mask,
                            const AggregateOptions& options, const LossBatch& batch);

/// The same of the sums of each row's token losses [N].
at::Tensor aggregate_rows(const at::Tensor& sums, const at::Tensor& mask,
                          const AggregateOptions& options, const LossBatch& batch);

/// The parameters of `aggregate` as members of a loss node.
struct AggregateParams {
  explicit AggregateParams(Node* node)
      : mode_(node, "aggregate", Aggregate::token_mean, kMode),
        norm_length_(node, "norm_length", std::nullopt, kLength, {.min = 1, .unit = "tokens"}),
        empty_rows_(node, "empty_rows", EmptyRows::exclude, kEmpty),
        rule_(node, needs_length()) {}
  AggregateOptions operator()() const { return {mode_(), norm_length_(), empty_rows_()}; }

 private:
  static constexpr const char* kMode = "how the loss per token becomes one number";
  static constexpr const char* kLength = "constant length, for the *_norm modes";
  static constexpr const char* kEmpty = "whether rows without any token count in means over rows";
  static RuleDeclaration needs_length();
  Param<Aggregate> mode_;
  Param<std::optional<std::int64_t>> norm_length_;
  Param<EmptyRows> empty_rows_;
  Rule rule_;
};

/// An argument of a loss on the tokens of its mask; outside it 0, without gradient, whatever stood
/// there. Failure `bad-shape` if it has not the mask's shape [N,T].
at::Tensor masked_argument(const LossBatch& batch, std::string_view name, const at::Tensor& mask);
/// As masked_argument, but with what stands outside the mask: for passes that mask by themselves.
const at::Tensor& token_argument(const LossBatch& batch, std::string_view name,
                                 const at::Tensor& mask);
/// Logits [N,T,V] on the tokens of the mask [N,T]; outside it 0, without gradient. Failure
/// `bad-shape` if rows or tokens differ.
at::Tensor logits_argument(const LossBatch& batch, std::string_view name, const at::Tensor& mask);
/// The mask of a loss, [N,T] bool.
at::Tensor mask_argument(const LossBatch& batch);

/// The argument `advantages`: [N,T], or [N,1] for one advantage per row ([N] or [N,1]); constant
/// for the gradient. Failure `bad-shape` for other rows.
at::Tensor advantages_argument(const LossBatch& batch, const at::Tensor& mask);
/// As above, but with what stands outside the mask.
at::Tensor unmasked_advantages(const LossBatch& batch, const at::Tensor& mask);

}  // namespace rewardloom
