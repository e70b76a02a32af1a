// The cases of losses on tokens: policies, critics, distillation.
#pragma once
#include "tests/nodes/loss_cases.h"

namespace rewardloom::testing {

inline void LossCases::token_losses() {
  for (const char* mode : {"token_mean", "seq_mean_token_sum", "seq_mean_token_mean"}) {
    LossCase kl = tokens("loss.kl", {{"aggregate", mode}, {"estimator", "k3"}});
    add_masked(kl, "log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(kl, "ref_log_probs", draw({kRows, kTokens}, -3, 0));
    add(kl);
    LossCase nll = tokens("loss.nll", {{"aggregate", mode}});
    add_masked(nll, "log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(nll, "weights", draw({kRows, kTokens}, 0.5, 2));
    add(nll);
    LossCase entropy = tokens("loss.entropy", {{"aggregate", mode}});
    add_masked(entropy, "logits", draw({kRows, kTokens, 4}, -2, 2));
    add(entropy);
    LossCase gradient = tokens("loss.policy_gradient", {{"aggregate", mode}});
    add_masked(gradient, "log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(gradient, "advantages", draw({kRows, kTokens}, -2, 2));
    add(gradient);
    for (const Json& clip : {Json(0.2), Json(nullptr)}) {
      LossCase value = tokens("loss.value_clip", {{"aggregate", mode}, {"clip", clip}});
      add_masked(value, "values", draw({kRows, kTokens}, -1, 1));
      if (!clip.is_null()) add_masked(value, "old_values", draw({kRows, kTokens}, -1, 1));
      add_masked(value, "returns", draw({kRows, kTokens}, -1, 1));
      add(value);
    }
    LossCase labels = tokens("loss.value_cross_entropy", {{"aggregate", mode}});
    add_masked(labels, "values", draw({kRows, kTokens}, -3, 3));
    add_masked(labels, "labels", draw({kRows, kTokens}, 0, 1));
    add(labels);
  }
  for (const Json& limit : {Json(10.0), Json(nullptr)}) {
    LossCase kl = tokens("loss.kl", {{"input_clamp", nullptr}, {"output_clamp", limit}});
    add_masked(kl, "log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(kl, "ref_log_probs", draw({kRows, kTokens}, -3, 0));
    add(kl);
  }
  for (const char* estimator : {"k1", "abs", "k2"}) {
    LossCase kl = tokens("loss.kl", {{"estimator", estimator}, {"output_clamp", 1.0}});
    add_masked(kl, "log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(kl, "ref_log_probs", draw({kRows, kTokens}, -3, 0));
    add_masked(kl, "weights", draw({kRows, kTokens}, 0.5, 2));
    add(kl);
  }
}

/// Types, parameters, and whether rows without tokens count.
inline void LossCases::ratio_losses() {
  const std::vector<std::tuple<std::string, Json, bool>> kinds{
      {"loss.policy_clip", {{"dual", 1.5}}, false},
      {"loss.policy_clip", {{"ratio_cap", 1.3}, {"log_ratio_clamp", nullptr}}, false},
      {"loss.gspo", {{"low", 0.1}, {"high", 0.1}}, false},
      {"loss.gspo", {{"low", 0.1}, {"high", 0.1}, {"aggregate", "seq_mean_token_mean"}}, false},
      {"loss.gspo", {{"low", 0.1}, {"high", 0.1}, {"length_weighted", true}}, true},
      {"loss.gspo", {{"gradient", "token"}, {"low", 0.1}, {"high", 0.1}}, false},
      {"loss.cispo", {{"low", 0.3}, {"high", 0.2}}, false},
      {"loss.cispo", {{"low", nullptr}, {"high", 1.1}, {"bound", "absolute"}}, false},
      {"loss.sapo", {{"aggregate", "seq_mean_token_mean"}}, false},
      {"loss.sapo", {{"aggregate", "seq_mean_token_mean"}, {"empty_rows", "count"}}, true},
      {"loss.geo_mean", Json::object(), true},
      {"loss.vespo", Json::object(), false},
      {"loss.clip_cov", {{"ratio", 1.0}, {"cov_low", 0.05}}, false},
      {"loss.kl_cov", {{"ratio", 0.3}}, false},
  };
  for (const auto& [type, params, all_rows] : kinds) {
    for (const bool per_token : {true, false}) {
      LossCase c = tokens(type, params, all_rows);
      add_masked(c, "log_probs", draw({kRows, kTokens}, -3, 0));
      add_masked(c, "old_log_probs",
                 c.inputs.tensors["log_probs"] + draw({kRows, kTokens}, -0.6, 0.6));
      if (per_token) {
        add_masked(c, "advantages", draw({kRows, kTokens}, -2, 2));
      } else {
        c.inputs.tensors["advantages"] = draw({kRows}, -2, 2);
      }
      c.label = params.dump() + (per_token ? " A [N,T]" : " A [N]");
      const bool weighted = type == "loss.geo_mean" || type == "loss.vespo";
      if (weighted && per_token) add_masked(c, "weights", draw({kRows, kTokens}, 0.7, 1.4));
      if (type.ends_with("_cov")) c.cuts.clear();
      if (type == "loss.cispo" || type == "loss.vespo") {
        c.together["log_probs"] = {"old_log_probs"};
      }
      c.straight_through = params.contains("gradient");
      add(c);
    }
  }
}

inline void LossCases::distillation() {
  std::vector<std::pair<std::string, Json>> kinds;
  for (const double beta : {0.0, 0.3, 1.0}) {
    kinds.emplace_back("loss.distill", Json{{"beta", beta}, {"temperature", 1.5}});
  }
  kinds.emplace_back("loss.distill", Json{{"form", "cross_entropy"}, {"reduce", "batch_mean"}});
  for (const char* form :
       {"theorem1", "theorem1_contrast", "theorem1_adaptive", "aligndistil", "gkd"}) {
    kinds.emplace_back("loss.align_distill", Json{{"form", form}, {"scale", 2.0}});
  }
  kinds.emplace_back("loss.align_distill", Json{{"length_normalise", false}});
  for (const auto& [type, params] : kinds) {
    LossCase c = tokens(type, params);
    add_masked(c, "logits", draw({kRows, kTokens, 4}, -2, 2));
    add_masked(c, "teacher_logits", draw({kRows, kTokens, 4}, -2, 2));
    const bool two = type == "loss.align_distill" && params.value("form", "") != "gkd";
    if (two) add_masked(c, "ref_logits", draw({kRows, kTokens, 4}, -2, 2));
    add(c);
  }
}

}  // namespace rewardloom::testing
