#include "nodes/eval/tilted_policy.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

TiltedPolicy tilted_policy(const at::Tensor& prior, const at::Tensor& utility, double gamma) {
  const at::Tensor tilted = prior.log() + utility / gamma;
  const at::Tensor log_z = tilted.logsumexp(-1);
  const at::Tensor policy = (tilted - log_z.unsqueeze(-1)).exp();
  // KL = E_pi[u] / gamma - log z: no logarithm of what may be 0.
  const at::Tensor kl = (policy * utility).sum(-1) / gamma - log_z;
  return {policy, kl.clamp_min(0), log_z};
}

namespace {

void require_distribution(const at::Tensor& prior) {
  const at::Tensor sums = prior.sum(-1);
  for (std::int64_t x = 0; x < prior.size(0); ++x) {
    const double least = prior[x].min().item<double>(), sum = sums[x].item<double>();
    if (least >= 0 && std::abs(sum - 1) <= 1e-4) continue;
    throw Failure("bad-prior",
                  least < 0 ? fmt::format("row {} of the prior has {}", x, least)
                            : fmt::format("row {} of the prior sums to {}", x, sum),
                  "every row must be a probability distribution");
  }
}

}  // namespace

struct EvalTiltedPolicy final : Node {
  Input<Values> prior{this, "prior", "probability of each choice", {.dims = "X,Y"}};
  Input<Values> utility{this, "utility", "what each choice is worth", {.dims = "X,Y"}};
  Output<Values> policy{this, "policy", "the best one", {.dims = "X,Y"}};
  Output<Values> kl{this, "kl", "its divergence from the prior", {.dims = "X"}};
  Output<Values> log_z{this, "log_z", "log of the normaliser", {.dims = "X"}};
  Param<double> gamma{
      this, "gamma", 1.0, "price of a nat of divergence", {.min = 0, .exclusive_min = true}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"optimal policy", "RLHF", "Gibbs", "Boltzmann", "KL-regularised"}};
  Doc doc{this,
          "argmax E[u] - gamma KL(pi || prior) = prior exp(u / gamma) / z, per row: what RLHF with "
          "an ideal optimizer ends at. prior, utility [X,Y] -> policy [X,Y], kl, log_z [X]; "
          "logarithms throughout, so small gamma does not overflow."};

  void run(Step& step) const override {
    const at::Tensor p = finite_table(step[prior].values, 2, "prior");
    const at::Tensor u = finite_table(step[utility].values, 2, "utility");
    if (p.sizes() != u.sizes()) {
      throw Failure("bad-shape", c10::str("prior is ", p.sizes(), ", but utility is ", u.sizes()),
                    "both are of the same choices");
    }
    require_distribution(p);
    const TiltedPolicy out = tilted_policy(p, u, gamma());
    step[policy] = Values{out.policy, step[utility].batch};
    step[kl] = Values{out.kl, step[utility].batch};
    step[log_z] = Values{out.log_z, step[utility].batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalTiltedPolicy, "Optimal KL-regularised policy", "arXiv:2402.00742")
