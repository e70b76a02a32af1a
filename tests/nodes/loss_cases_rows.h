// The cases of losses on rows, pairs, groups, episodes and pictures.
#pragma once
#include "tests/nodes/loss_cases.h"

namespace rewardloom::testing {

inline void LossCases::pair_losses() {
  for (const Json& params :
       {Json::object(), Json{{"label_smoothing", 0.1}, {"center", 0.1}, {"l2", 0.05}},
        Json{{"form", "log_eps"}, {"epsilon", 0.01}, {"label_smoothing", 0.2}},
        Json{{"strength", "scale"}}, Json{{"reduce", "weighted_mean"}, {"l2", 0.1}},
        Json{{"reduce", "weighted_sum_over_valid"}}}) {
    LossCase c = rows_of("loss.bradley_terry", params, kRows);
    c.totals = {{"total_pairs", kRows}};
    for (const char* name : {"chosen", "rejected"}) c.inputs.tensors[name] = draw({kRows}, -2, 2);
    c.inputs.tensors["margin"] = draw({kRows}, 0.5, 2);
    if (params.contains("reduce")) {
      at::Tensor weight = draw({kRows}, 0.5, 2);
      weight[1] = 0;
      weight[4] = 0;
      c.inputs.tensors["weight"] = weight;
      for (const char* name : {"chosen", "rejected", "margin"}) {
        c.without_influence[name] = weight.eq(0);
      }
    }
    // refused in parts without total_weight; with it: reward_models
    if (params.value("reduce", "") == "weighted_sum_over_valid") c.cuts.clear();
    add(c);
  }
  for (const Json& params : {Json::object(), Json{{"label_smoothing", 0.1}, {"alpha", 0.2}},
                             Json{{"variant", "sigmoid"}, {"nll_coefficient", 0.5}},
                             Json{{"variant", "hinge"}}, Json{{"variant", "ipo"}}}) {
    LossCase c = rows_of("loss.simpo", params, kRows);
    c.inputs.tensors["chosen_log_probs"] = draw({kRows}, -3, -0.1);
    c.inputs.tensors["rejected_log_probs"] = draw({kRows}, -3, -0.1);
    add(c);
  }
  LossCase orpo = rows_of("loss.orpo", {{"coefficient", 0.5}}, kRows);
  orpo.inputs.tensors["chosen_log_probs"] = draw({kRows}, -3, -0.01);
  orpo.inputs.tensors["rejected_log_probs"] = draw({kRows}, -3, -0.01);
  add(orpo);
  LossCase guided = rows_of("loss.token_guided_dpo", {{"beta", 0.7}}, kRows);
  for (const std::string side : {"chosen", "rejected"}) {
    for (const std::string of : {"", "ref_", "guide_"}) {
      const std::string name = of + side + "_log_probs";
      guided.inputs.tensors[name] = draw({kRows, side == "chosen" ? 4 : 3}, -2, 0);
      guided.padded.push_back(name);
    }
  }
  add(guided);
}

inline void LossCases::dpo_losses() {
  std::vector<Json> kinds;
  for (const char* variant :
       {"sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
        "aot_unpaired", "apo_zero", "apo_down", "discopop", "sigmoid_norm"}) {
    kinds.push_back({{"variant", variant}, {"label_smoothing", 0.1}, {"beta", 0.4}});
  }
  for (const char* divergence : {"forward_kl", "js_divergence", "alpha_divergence"}) {
    kinds.push_back({{"divergence", divergence}, {"beta", 0.4}});
  }
  kinds.push_back({{"reference_free", true}});
  kinds.push_back({{"variant", "discopop"}, {"discopop_tau", 2.0}, {"beta", 0.4}});
  for (const Json& params : kinds) {
    LossCase c = rows_of("loss.dpo", params, kRows);
    c.totals = {{"total_pairs", kRows}};
    for (const char* side : {"chosen", "rejected"}) {
      const std::string name = std::string(side) + "_log_probs";
      c.inputs.tensors[name] = draw({kRows}, -9, -3);
      if (!params.contains("reference_free")) {
        c.inputs.tensors["ref_" + name] = draw({kRows}, -9, -3);
      }
      const std::string variant = params.value("variant", "");
      if (variant == "ipo" || variant == "sigmoid_norm") {
        c.inputs.tensors[std::string(side) + "_lengths"] =
            draw({kRows}, 1, 9).floor().to(at::kLong);
      }
    }
    if (params.value("variant", "").starts_with("aot")) c.cuts.clear();
    add(c);
  }
}

inline void LossCases::unpaired_losses() {
  for (const char* kl : {"mismatched", "class_means", "batch_mean", "none"}) {
    LossCase c = rows_of("loss.kto", {{"kl", kl}, {"beta", 0.4}, {"desirable_weight", 1.3}}, kRows);
    const at::Tensor reference = draw({kRows}, -9, -5);
    c.inputs.tensors["log_probs"] = reference + draw({kRows}, 0.1, 3);
    c.inputs.tensors["ref_log_probs"] = reference;
    c.inputs.tensors["desirable"] = flips(kRows);
    if (std::string(kl) == "mismatched") {
      c.inputs.tensors["kl_log_probs"] = draw({4}, -6, -3);
      c.inputs.tensors["ref_kl_log_probs"] = draw({4}, -9, -6);
      c.shared = {"kl_log_probs", "ref_kl_log_probs"};
    } else if (std::string(kl) != "none") {
      c.cuts.clear();
    }
    c.straight_through = std::string(kl) == "batch_mean";
    add(c);
  }
  LossCase apo = rows_of("loss.kto", {{"variant", "apo_zero_unpaired"}, {"kl", "none"}}, kRows);
  apo.inputs = cases_.back().inputs;
  add(apo);
  for (const char* delta : {"batch_mean", "given"}) {
    LossCase c = rows_of("loss.bco", {{"delta", delta}, {"beta", 0.4}}, kRows);
    c.inputs = apo.inputs;
    if (std::string(delta) == "given") {
      c.inputs.tensors["delta"] = at::full({}, 0.3, at::kDouble);
      c.shared = {"delta"};
    } else {
      c.cuts.clear();
      c.straight_through = true;
    }
    add(c);
  }
}

inline void LossCases::denoising() {
  for (const char* utility :
       {"sigmoid", "loss_averse", "risk_seeking_1", "risk_seeking_2", "risk_seeking_3"}) {
    for (const char* offset : {"none", "class_means", "batch_mean"}) {
      LossCase c = rows_of(
          "loss.denoise_pair",
          {{"utility", utility}, {"kl_offset", offset}, {"beta", 3.0}, {"weight_undesirable", 0.6}},
          kRows);
      c.inputs.tensors["error"] = draw({kRows}, 0, 1);
      c.inputs.tensors["ref_error"] = draw({kRows}, 0, 1);
      c.inputs.tensors["desirable"] = flips(kRows);
      if (std::string(offset) != "none") {
        c.cuts.clear();
        c.straight_through = true;
      }
      add(c);
    }
  }
  for (const char* kind : {"dpo", "soft_dpo"}) {
    LossCase c =
        rows_of("loss.denoise_pair", {{"kind", kind}, {"beta", 3.0}, {"similar", 0.7}}, kRows);
    for (const char* name :
         {"chosen_error", "rejected_error", "ref_chosen_error", "ref_rejected_error"}) {
      c.inputs.tensors[name] = draw({kRows}, 0, 1);
    }
    if (std::string(kind) == "soft_dpo") c.inputs.tensors["label"] = draw({kRows}, 0, 1);
    add(c);
  }
}

inline void LossCases::reward_models() {
  LossCase valid = rows_of("loss.bradley_terry", {{"reduce", "weighted_sum_over_valid"}}, kRows);
  for (const char* name : {"chosen", "rejected"}) {
    valid.inputs.tensors[name] = draw({kRows}, -2, 2);
  }
  valid.inputs.tensors["weight"] = draw({kRows}, 0.5, 2);
  valid.totals["total_weight"] = valid.inputs.tensors["weight"].sum().item<double>();
  valid.label = "with total_weight";
  add(valid);

  LossCase ratings = rows_of("loss.attribute_regression", Json::object(), kRows);
  ratings.inputs.tensors["predictions"] = draw({kRows, 3}, -2, 2);
  at::Tensor labels = draw({kRows, 3}, -2, 2);
  labels.masked_fill_(draw({kRows, 3}, 0, 1) < 0.4, -100);
  ratings.inputs.tensors["labels"] = labels;
  ratings.without_influence["predictions"] = labels.eq(-100);
  LossCase refused = ratings;
  refused.cuts.clear();
  refused.label = "without total_weight";
  add(refused);
  ratings.totals["total_weight"] = count(labels.ne(-100));
  add(ratings);

  for (const char* kind : {"hinge", "bce"}) {
    LossCase c = rows_of("loss.discriminator", {{"kind", kind}}, kRows);
    for (const char* name : {"real", "fake"}) c.inputs.tensors[name] = draw({kRows}, -2, 2);
    if (std::string(kind) == "hinge") {
      for (const char* name : {"real_patch", "fake_patch"}) {
        c.inputs.tensors[name] = draw({kRows, 3}, -2, 2);
      }
    }
    add(c);
  }
  LossCase pair =
      rows_of("loss.discriminator", {{"kind", "pair_cross_entropy"}, {"logit_scale", 3.0}}, kRows);
  for (const char* name : {"text_features", "real_features", "fake_features"}) {
    pair.inputs.tensors[name] = draw({kRows, 4}, -1, 1);
  }
  add(pair);
}

inline void LossCases::trajectories() {
  for (const char* form : {"ce", "pairs_mean", "pairs_sum"}) {
    LossCase c = tokens("loss.implicit_process", {{"form", form}, {"beta", 0.5}});
    add_masked(c, "log_ratio", draw({kRows, kTokens}, -1, 1));
    if (std::string(form) == "ce") {
      c.inputs.tensors["outcome"] = draw({kRows}, 0, 1);
      add(c);
      continue;
    }
    const auto ids = [](std::initializer_list<std::int64_t> v) {
      return at::tensor(std::vector<std::int64_t>(v), at::kLong);
    };
    c.inputs.tensors["group"] = ids({7, 7, 7, -2, -2, -2});
    c.inputs.tensors["trajectory"] = ids({1, 1, 2, 1, 5, 9});
    c.inputs.tensors["outcome"] = ids({1, 1, 0, 0, 0, 1}).to(at::kDouble);
    LossCase refused = c;
    refused.cuts.clear();
    refused.label = std::string(form) + " without total_pairs";
    add(refused);
    c.totals["total_pairs"] = 3;
    c.cuts = {{3, 3}};
    add(c);
  }
  for (const char* form : {"top1", "full"}) {
    LossCase c = rows_of("loss.group_ranking", {{"form", form}, {"tau", 0.4}}, 7);
    c.inputs.tensors["scores"] = draw({7}, -2, 2);
    c.inputs.tensors["rewards"] = draw({7}, 0, 1);
    c.inputs.tensors["group"] =
        at::tensor(std::vector<std::int64_t>{4, 4, 4, -1, -1, -1, -1}, at::kLong);
    c.cuts.clear();
    c.label = std::string(form) + " without total_weight";
    add(c);
    c.totals["total_weight"] = 2;
    c.cuts = {{3, 4}};
    c.label = form;
    add(c);
  }
  for (const char* form : {"full", "sampled", "sampled_unbiased"}) {
    LossCase c = rows_of("loss.return_decomposition", {{"form", form}}, 4);
    const at::Tensor lengths = at::tensor(std::vector<std::int64_t>{5, 3, 4, 2}, at::kLong);
    c.inputs.tensors["step_rewards"] = draw({4, 6}, -2, 2);
    c.inputs.tensors["returns"] = draw({4}, -3, 3);
    c.inputs.tensors["lengths"] = lengths;
    c.without_influence["step_rewards"] = at::arange(6) >= lengths.unsqueeze(-1);
    if (std::string(form) != "full") {
      c.inputs.tensors["steps"] =
          at::tensor(std::vector<std::int64_t>{0, 4, 2, 0, 3, 1, 0, 1}, at::kLong).reshape({4, 2});
      if (std::string(form) == "sampled") c.any_width = {"steps"};
    }
    c.any_width.push_back("step_rewards");  // its last column belongs to no episode
    c.padded = {"step_rewards"};
    c.padded_left = false;
    add(c);
  }
}

inline void LossCases::pictures() {
  LossCase c = rows_of("loss.uncertain_consistency",
                       {{"step", 2000}, {"grad_scale", 2.0}, {"u_scale", 0.7}}, 4);
  c.inputs.tensors["logits"] = draw({4, 3, 2, 2}, -2, 2);
  c.inputs.tensors["second_logits"] = draw({4, 3, 2, 2}, -2, 2);
  at::Tensor labels = draw({4, 2, 2}, 0, 3).floor().to(at::kLong);
  labels[0][0][1] = 255;
  c.inputs.tensors["labels"] = labels;
  c.inputs.tensors["timesteps"] = at::tensor(std::vector<std::int64_t>{9, 700, 400, 0}, at::kLong);
  const at::Tensor late = c.inputs.tensors["timesteps"] > 400;
  for (const char* name : {"logits", "second_logits"}) {
    c.without_influence[name] = late.reshape({4, 1, 1, 1}).expand({4, 3, 2, 2});
  }
  c.label = "with total_weight";
  c.totals["total_weight"] = 3;
  add(c);
  c.totals.erase("total_weight");
  c.cuts.clear();
  c.inputs.tensors["base_loss"] = at::full({}, 0.8, at::kDouble);
  c.shared = {"base_loss"};
  c.label = "with base_loss";
  add(c);
}

inline std::vector<LossCase> LossCases::all() {
  LossCases make(17);
  make.token_losses();
  make.ratio_losses();
  make.distillation();
  make.pair_losses();
  make.dpo_losses();
  make.unpaired_losses();
  make.denoising();
  make.reward_models();
  make.trajectories();
  make.pictures();
  return make.cases_;
}

}  // namespace rewardloom::testing
