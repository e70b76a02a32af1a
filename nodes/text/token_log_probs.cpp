#include "nodes/text/token_log_probs.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

TokenLogProbs token_log_probs(const at::Tensor& logits, const at::Tensor& tokens,
                              double temperature) {
  if (logits.dim() != 3 || tokens.sizes() != logits.sizes().slice(0, 2)) {
    throw Failure("bad-shape",
                  c10::str("logits are ", logits.sizes(), ", but tokens are ", tokens.sizes()),
                  "logits [N,T,V] belong to tokens [N,T]; shift them first");
  }
  if (tokens.numel() > 0) {
    const std::int64_t low = tokens.min().item<std::int64_t>();
    const std::int64_t high = tokens.max().item<std::int64_t>();
    if (low < 0 || high >= logits.size(2)) {
      throw Failure("bad-token",
                    fmt::format("token {} is outside the vocabulary of {}", low < 0 ? low : high,
                                logits.size(2)),
                    "use the tokenizer of the model that gave the logits");
    }
  }
  const at::Tensor scaled = temperature == 1 ? logits : logits / temperature;
  const at::Tensor log_z = scaled.logsumexp(-1);
  const at::Tensor taken = scaled.gather(-1, tokens.unsqueeze(-1)).squeeze(-1);
  return {taken - log_z, ((2 * scaled).logsumexp(-1) - 2 * log_z).exp()};
}

struct TextTokenLogProbs final : Node {
  Input<Values> logits{this, "logits", "at t, of token t", {.dims = "N,T,V"}};
  Input<Completions> completions{this, "completions", "the tokens, and which of them are actions"};
  Output<LogProbs> log_probs{this, "log_probs", "of the action tokens, 0 elsewhere"};
  Output<Values> sum_pi_squared{
      this, "sum_pi_squared", "sum of squared probabilities, 0 elsewhere", {.dims = "N,T"}};
  Param<double> temperature{this,
                            "temperature",
                            1.0,
                            "logits are divided by it; the same as in sampling",
                            {.min = 0, .exclusive_min = true}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"log_softmax", "selective log softmax", "logprobs", "scoring"}};
  Doc doc{this,
          "log softmax(logits / temperature) at the given tokens, by log-sum-exp; and sum p^2 over "
          "the vocabulary, which advantage.optimal_token_baseline takes. logits [N,T,V] -> [N,T]."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const TokenLogProbs out = token_log_probs(step[logits].values, c.tokens, temperature());
    const at::Tensor mask = c.kinds.defined() ? c.mask() : at::ones_like(c.tokens, at::kBool);
    const at::Tensor zero = at::zeros({}, out.log_probs.options());
    LogProbs scored;
    scored.log_probs = at::where(mask, out.log_probs, zero);
    scored.mask = mask;
    scored.batch = c.batch;
    step[log_probs] = std::move(scored);
    step[sum_pi_squared] = Values{at::where(mask, out.sum_pi_squared, zero), c.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextTokenLogProbs, "Log-probabilities of tokens under logits", "")
