#include "nodes/advantage/reinforce_pp.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/whiten.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

AdvantagesAndReturns reinforce_pp(const at::Tensor& rewards, const at::Tensor& mask, double gamma,
                                  ReturnWhiten whitening, const ParallelCalls& parallel) {
  AdvantagesAndReturns out;
  out.returns = discounted_returns(rewards, mask, gamma, parallel);
  const auto whitened = [&](Divisor variance) {
    return whiten(out.returns, mask, whitening_of(variance), parallel);
  };
  switch (whitening) {
    case ReturnWhiten::sample: out.advantages = whitened(Divisor::sample); break;
    case ReturnWhiten::population: out.advantages = whitened(Divisor::population); break;
    case ReturnWhiten::mean_only:
      out.advantages = subtract_mean(out.returns, mask, parallel);
      break;
    case ReturnWhiten::none: out.advantages = out.returns; break;
  }
  return out;
}

namespace {

enum class ReinforcePreset { none, verl, openrlhf };
constexpr auto choices(ReinforcePreset) {
  return std::to_array<Choice<ReinforcePreset>>({
      {ReinforcePreset::none, "none", "the parameters as given"},
      {ReinforcePreset::verl, "verl", "whiten sample"},
      {ReinforcePreset::openrlhf, "openrlhf", "whiten population"},
  });
}

}  // namespace

struct ReinforcePp final : Node {
  Input<TokenRewards> rewards{this,
                              "rewards",
                              "the outcome on the last token, KL anywhere",
                              {.needs = {{"scale", {{"not", "normalised"}}}}}};
  Optional<Completions> completions{this, "completions", "the mask, where rewards carry none"};
  Output<Advantages> advantages{
      this,
      "advantages",
      "whitened returns, 0 outside the mask",
      {.dims = "N,T", .facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Output<Returns> returns{
      this, "returns", "discounted sum of what follows, 0 outside the mask", {.dims = "N,T"}};
  Param<double> gamma{this, "gamma", 1.0, "discount", {.min = 0, .max = 1}};
  Param<ReturnWhiten> whitening{this, "whiten", ReturnWhiten::sample, "normalises the returns"};
  Param<ReinforcePreset> preset{this, "preset", ReinforcePreset::none,
                                "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this, "verl", {{"whiten", "sample"}}};
  Preset openrlhf{this, "openrlhf", {{"whiten", "population"}}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"REINFORCE++", "reward to go", "critic-free"}};
  Doc doc{this,
          "G_t = r_t + gamma G_{t+1}; advantage = G whitened over all tokens of the batch; [N,T].\n"
          "A return passes over observation tokens: a reward after a tool's answer reaches the "
          "tokens before it."};

  void run(Step& step) const override {
    const TokenRewards& r = step[rewards];
    const Completions* const c = step[completions];
    if (c != nullptr) {
      require_same_rows("rewards", r.rewards.size(0), r.batch, "completions", c->rows(), c->batch);
    }
    const at::Tensor mask = needed_mask(r.mask, c);
    const AdvantagesAndReturns out =
        reinforce_pp(r.rewards, mask, gamma(), whitening(), calls_of(step));
    require_finite_tokens(row_starts(out.returns, mask), {{"rewards", r.rewards, mask}});
    step[advantages] = advantages_of(out.advantages, r);
    step[returns] = Returns{out.returns, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ReinforcePp, "REINFORCE++", "arXiv:2501.03262")
