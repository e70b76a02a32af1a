#include "nodes/loss/dpo.h"

#include <torch/types.h>

#include "engine/core/registry.h"

namespace rewardloom {
namespace {

enum class DpoPreset { none, trl, trl_0_19, openrlhf };
constexpr auto choices(DpoPreset) {
  return std::to_array<Choice<DpoPreset>>({
      {DpoPreset::none, "none", "the parameters as given"},
      {DpoPreset::trl, "trl", "TRL 1.x: length_normalise, nothing subtracted in bco_pair"},
      {DpoPreset::trl_0_19, "trl-0.19", "TRL below 0.29: bco_delta batch_mean"},
      {DpoPreset::openrlhf, "openrlhf", "no length_normalise"},
  });
}

}  // namespace

struct Dpo final : LossNode {
  Argument chosen_log_probs{this,
                            "chosen_log_probs",
                            "N",
                            "policy, summed over completion tokens",
                            {.differentiable = true}};
  Argument rejected_log_probs{this,
                              "rejected_log_probs",
                              "N",
                              "policy, summed over completion tokens",
                              {.differentiable = true}};
  Argument ref_chosen_log_probs{this,
                                "ref_chosen_log_probs",
                                "N",
                                "the same under the reference; not for reference_free",
                                {.optional = true}};
  Argument ref_rejected_log_probs{this,
                                  "ref_rejected_log_probs",
                                  "N",
                                  "the same under the reference; not for reference_free",
                                  {.optional = true}};
  Argument chosen_lengths{
      this, "chosen_lengths", "N", "completion tokens, for length_normalise", {.optional = true}};
  Argument rejected_lengths{
      this, "rejected_lengths", "N", "completion tokens, for length_normalise", {.optional = true}};
  Param<DpoVariant> variant{this, "variant", DpoVariant::sigmoid, "which loss"};
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "strength of the pull to the reference",
                     {.min = 0, .exclusive_min = true}};
  Param<double> label_smoothing{this,
                                "label_smoothing",
                                0.0,
                                "share of labels that are taken to be wrong (sigmoid, exo_pair, "
                                "robust, aot, aot_unpaired)",
                                {.min = 0, .max = 0.5}};
  Param<Divergence> divergence{this, "divergence", Divergence::reverse_kl,
                               "the f-divergence to the reference (arXiv:2309.16240)"};
  Param<double> alpha{this, "alpha", 0.5, "of alpha_divergence"};
  Param<double> discopop_tau{this,
                             "discopop_tau",
                             0.05,
                             "sharpness of discopop's blend",
                             {.min = 0, .exclusive_min = true}};
  Param<bool> length_normalise{this, "length_normalise", true,
                               "ipo, sigmoid_norm: scores per completion token"};
  Param<BcoDelta> bco_delta{this, "bco_delta", BcoDelta::none, "what bco_pair subtracts"};
  Param<bool> reference_free{this, "reference_free", false, "take the reference to be uniform"};
  Param<DpoPreset> preset{this, "preset", DpoPreset::none,
                          "sets the other parameters as a framework does; explicit ones win"};
  Preset trl{this, "trl", {{"length_normalise", true}, {"bco_delta", "none"}}};
  Preset trl_0_19{this, "trl-0.19", {{"length_normalise", true}, {"bco_delta", "batch_mean"}}};
  Preset openrlhf{this, "openrlhf", {{"length_normalise", false}}};
  Rule smoothed{this,
                {{{"variant", "exo_pair"}},
                 {{"label_smoothing", {{"min", 1e-12}}}},
                 "exo_pair with label_smoothing 0 has an infinite loss",
                 "set label_smoothing above 0, e.g. 0.001"}};
  Rule informative{this,
                   {{{"variant", "robust"}},
                    {{"label_smoothing", {{"max", 0.499999}}}},
                    "robust with label_smoothing 0.5 divides by 0",
                    "set label_smoothing below 0.5"}};
  Rule raw_ratios{
      this,
      {{{"variant", {"apo_zero", "aot", "aot_unpaired"}}},
       {{"divergence", "reverse_kl"}},
       "this variant is a loss on the log-ratios themselves, as TRL computes it: another "
       "divergence would have no effect",
       "set divergence to reverse_kl, or take a variant on scores"}};
  Synonyms words{this,
                 {"DPO", "IPO", "SLiC", "EXO", "NCA", "SPPO", "AOT", "APO", "DiscoPOP",
                  "preference optimisation"}};
  Doc doc{
      this,
      "x = log_probs - ref_log_probs of chosen and rejected [N], s = score(x) by `divergence`, "
      "d = s_chosen - s_rejected; sigmoid: pair loss = -log sigmoid(beta d); loss = mean over "
      "the step's pairs.\n"
      "As in TRL, apo_zero, aot and aot_unpaired are losses on x, whatever `divergence` is, and "
      "apo_down = sigmoid(beta x_chosen) + 1 - sigmoid(beta d) takes scores in d alone. bco_delta "
      "batch_mean subtracts the mean of beta s over both sides of the step's pairs, with "
      "reverse_kl the mean reward.\n"
      "losses [N]: per pair; chosen_rewards, rejected_rewards [N]: beta x; accuracy: share of "
      "pairs with the higher reward for chosen; margin: mean gap of rewards.\n"
      "aot, aot_unpaired and bco_delta batch_mean look at all pairs: the step must be one "
      "micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return dpo_loss(batch, {variant(), beta(), label_smoothing(), divergence(), alpha(),
                            discopop_tau(), length_normalise(), bco_delta(), reference_free()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Dpo, "Direct preference optimisation (DPO)", "arXiv:2305.18290")
