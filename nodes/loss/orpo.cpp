#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/reference_free.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// log odds of both answers, apart. X is a tensor or a dual number of some pairs.
template <class X>
REWARDLOOM_INLINE X log_odds_ratio(const X& chosen, const X& rejected) {
  return (chosen - log1mexp(chosen)) - (rejected - log1mexp(rejected));
}

/// Logged: log odds ratios. Sums: those above 0.
REWARDLOOM_VECTORISED
PassSums orpo_rows(const PassPlaces& places) {
  return each_row<2>(
      places, [](const PassLanes& rows) __attribute__((always_inline)) {
        const Dual<2> odds = log_odds_ratio(trained<2>(rows.in[0], 0), trained<2>(rows.in[1], 1));
        PassTerms<2> terms{logistic_loss(odds)};
        terms.logged[0] = odds.value;
        terms.sums[0] = vector_math::one_where(odds.value > vector_math::Floats{});
        return terms;
      });
}

}  // namespace

namespace {

constexpr double kRounding = 1e-3;  ///< so far above 0 a log-prob may be rounded

void require_log_probs(const char* name, const at::Tensor& mean) {
  const at::Tensor rows = mean.detach();
  if (rows.numel() == 0 || !(rows.max().item().toDouble() > kRounding)) return;
  const auto row = rows.argmax().item<std::int64_t>();
  throw Failure(
      "no-log-prob",
      fmt::format("row {} of {} has a mean log-prob of {:g}, a probability above 1, which "
                  "has no odds",
                  row, name, rows[row].item().toDouble()),
      "hand in log-probs, which are not above 0: averaged over completion tokens, or their "
      "sums with lengths");
}

}  // namespace

std::pair<at::Tensor, at::Tensor> pair_log_probs(const LossBatch& batch, bool averages) {
  at::Tensor chosen = row_argument(batch, "chosen_log_probs");
  at::Tensor rejected = argument_like(batch, "rejected_log_probs", chosen, "chosen_log_probs");
  if (!averages || !batch.has("chosen_lengths")) return {chosen, rejected};
  const auto lengths = [&](const char* name) {
    return argument_like(batch, name, chosen, "chosen_log_probs").clamp_min(1);
  };
  return {chosen / lengths("chosen_lengths"), rejected / lengths("rejected_lengths")};
}

LossResult orpo_loss(const LossBatch& batch, double coefficient) {
  const auto [chosen, rejected] = pair_log_probs(batch, true);
  require_log_probs("chosen_log_probs", chosen);
  require_log_probs("rejected_log_probs", rejected);
  if (fits_row_pass({chosen, rejected})) {
    LossPass pass({chosen, rejected}, {}, {.trained = 2, .logged = 1});
    pass.set(orpo_rows(pass.places()));
    return {coefficient * pair_mean_of(pass.sum(), pass.rows(), batch),
            {{"log_odds", pass.logged(0)}, {"accuracy", logged_number(pass.mean_of(0))}}};
  }
  const at::Tensor log_odds = log_odds_ratio(chosen, rejected), odds = log_odds.detach();
  return {coefficient * pair_mean(logistic_loss(log_odds), batch),
          {{"log_odds", odds}, {"accuracy", plain_mean((odds > 0).to(odds.scalar_type()))}}};
}

struct Orpo final : LossNode {
  Argument chosen_log_probs{this,
                            "chosen_log_probs",
                            "N",
                            "averaged over completion tokens, below 0; with lengths summed",
                            {.differentiable = true}};
  Argument rejected_log_probs{
      this, "rejected_log_probs", "N", "as chosen_log_probs", {.differentiable = true}};
  Argument chosen_lengths{this,
                          "chosen_lengths",
                          "N",
                          "completion tokens: the sums are divided by them",
                          {.optional = true}};
  Argument rejected_lengths{this, "rejected_lengths", "N", "as chosen_lengths", {.optional = true}};
  Param<double> coefficient{this, "coefficient", 0.1, "factor (lambda; TRL calls it beta)"};
  Synonyms words{this, {"ORPO", "odds ratio", "reference-free", "preference optimisation"}};
  Doc doc{
      this,
      "log odds = log p - log(1 - p), log p = mean log-prob per token; pair loss = -coefficient "
      "log sigmoid(log odds of chosen - log odds of rejected) [N]; loss = mean over the step's "
      "pairs.\n"
      "The supervised term is not in it: connect loss.nll on the chosen answers beside it.\n"
      "A log p above 0 is refused; 0, a probability that was rounded to 1, counts as the next lower number. log_odds [N]: the difference; accuracy: share above 0."};

  LossResult evaluate(const LossBatch& batch) const override {
    return orpo_loss(batch, coefficient());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Orpo, "Odds-ratio preference term (ORPO)", "arXiv:2403.07691")
