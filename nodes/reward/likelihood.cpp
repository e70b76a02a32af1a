#include "nodes/reward/likelihood.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

Likelihood answer_likelihood(const at::Tensor& log_probs, const at::Tensor& mask,
                             LikelihoodMode mode) {
  if (log_probs.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str("log_probs are ", log_probs.sizes(), ", but the mask is ", mask.sizes()),
                  "both are [N,T]");
  }
  const at::Tensor here = mask.to(at::kBool);
  const at::Tensor zero = at::zeros({}, log_probs.options().dtype(at::kDouble));
  const at::Tensor x = at::where(here, log_probs.to(at::kDouble), zero);
  const at::Tensor in = here.to(at::kDouble);
  const at::Tensor length = in.sum(1).clamp_min(1);
  const at::Tensor sum = x.sum(1);
  Likelihood out;
  switch (mode) {
    case LikelihoodMode::logprob: out = {sum, in}; break;
    case LikelihoodMode::avg_logprob: out = {sum / length, in / length.unsqueeze(1)}; break;
    case LikelihoodMode::prob:
      out.rewards = sum.exp();
      out.weights = in * out.rewards.unsqueeze(1);
      break;
    case LikelihoodMode::avg_prob:
      out.weights = in * x.exp() / length.unsqueeze(1);
      out.rewards = out.weights.sum(1);
      break;
    case LikelihoodMode::geo_mean:
      out.rewards = (sum / length).exp();
      out.weights = in * (out.rewards / length).unsqueeze(1);
      break;
  }
  return {out.rewards.to(log_probs.scalar_type()), out.weights.to(log_probs.scalar_type())};
}

struct LikelihoodNode final : Node {
  Input<LogProbs> log_probs{this, "log_probs",
                            "of the reference answer, given prompt and reasoning"};
  Optional<LogProbs> no_cot_log_probs{this, "no_cot_log_probs",
                                      "of the same answer without the reasoning, to be subtracted"};
  Optional<Completions> completions{this, "completions", "whose groups the rewards carry"};
  Output<Rewards> rewards{this, "rewards", "one per row"};
  Output<Values> answer_weights{this,
                                "answer_weights",
                                "d reward / d log_probs: weight of the answer's NLL",
                                {.dims = "N,T"}};
  Param<LikelihoodMode> mode{this, "mode", LikelihoodMode::logprob, "which likelihood"};
  Param<bool> subtract_no_cot{this, "subtract_no_cot", false,
                              "subtracts what the answer scores without reasoning (RLPR)"};
  Rule needs_baseline{this,
                      {{{"subtract_no_cot", true}},
                       {{"no_cot_log_probs", {{"connected", true}}}},
                       "subtract_no_cot needs the answer's likelihood without reasoning",
                       "connect no_cot_log_probs"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"VeriFree", "RLPR", "JEPO", "verifier-free", "log-likelihood"}};
  Doc doc{this,
          "log_probs [N,T] -> rewards [N]. A row whose answer has no token, or is given no number, "
          "cannot be scored."};

  void run(Step& step) const override {
    const LogProbs& given = step[log_probs];
    const at::Tensor mask = mask_of(given);
    Likelihood found = answer_likelihood(given.log_probs, mask, mode());
    at::Tensor empty = mask.any(1).logical_not();
    if (subtract_no_cot()) {
      const LogProbs* const other = step[no_cot_log_probs];
      if (other == nullptr) step.fail("there is nothing to subtract", "connect no_cot_log_probs");
      require_same_rows("log_probs", given.log_probs.size(0), 0, "no_cot_log_probs",
                        other->log_probs.size(0), 0);
      const at::Tensor without = mask_of(*other);
      found.rewards = found.rewards - answer_likelihood(other->log_probs, without, mode()).rewards;
      empty = empty.logical_or(without.any(1).logical_not());
    }
    const at::Tensor absent = failed(step, found.rewards, empty);
    if (absent.defined()) found.weights = found.weights.masked_fill(absent.unsqueeze(1), 0.0);
    step[answer_weights] = Values{found.weights, given.batch};
    step[rewards] = rewards_of(step, given, found.rewards, absent);
  }

 private:
  static at::Tensor mask_of(const LogProbs& given) {
    return given.mask.defined() ? given.mask.to(at::kBool)
                                : at::ones_like(given.log_probs, at::kBool);
  }

  static at::Tensor failed(Step& step, const at::Tensor& rewards, const at::Tensor& empty) {
    const at::Tensor bad = empty.logical_or(rewards.isfinite().logical_not());
    const std::vector<double> is_bad = numbers_of(bad);
    const std::vector<double> is_empty = numbers_of(empty);
    bool any = false;
    for (std::size_t i = 0; i < is_bad.size(); ++i) {
      if (is_bad[i] == 0) continue;
      any = true;
      step.fail_row(static_cast<std::int64_t>(i), is_empty[i] != 0
                                                      ? "the reference answer has no token"
                                                      : "its log-probabilities are no numbers");
    }
    return any ? bad : at::Tensor();
  }

  Rewards rewards_of(Step& step, const LogProbs& given, const at::Tensor& total,
                     const at::Tensor& absent) const {
    if (const Completions* c = step[completions]) {
      require_same_rows("log_probs", total.size(0), given.batch, "completions", c->rows(),
                        c->batch);
      return scored(step, *c, total, absent);
    }
    Rewards rows;
    rows.total = total;
    rows.batch = given.batch;
    return rescored(step, rows, total, absent);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LikelihoodNode, "Likelihood of the reference answer",
                "arXiv:2505.21493, arXiv:2506.18254")
