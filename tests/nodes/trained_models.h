// Small models with made-up pairs and answers, trained by one firing of an optimizer node.
#pragma once
#include <ATen/ATen.h>

#include <QString>
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/core/problem.h"
#include "nodes/optimize/adamw.h"
#include "nodes/optimize/pair_rows.h"
#include "nodes/text/language_model.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::testing {

inline const Json tiny_model = {{"init", "random"},
                                {"characters", "0123456789+="},
                                {"config",
                                 {{"hidden_size", 32},
                                  {"intermediate_size", 64},
                                  {"num_hidden_layers", 2},
                                  {"num_attention_heads", 2},
                                  {"num_key_value_heads", 2},
                                  {"initializer_range", 0.15},
                                  {"max_position_embeddings", 64}}}};

template <class Call>
inline QString refusal(Call call) {
  try {
    call();
  } catch (const Failure& failure) {
    return QString::fromStdString(failure.problem().code);
  }
  return {};
}

/// A node that makes a model, fired once.
inline std::shared_ptr<Bench> fired(const std::string& type, Json more = Json::object()) {
  Json params = tiny_model;
  params.update(more);
  auto bench = std::make_shared<Bench>(type, params, "model");
  bench->fire();
  return bench;
}

template <class H>
inline LanguageModel& model_of(const Bench& bench, const std::string& port) {
  return dynamic_cast<LanguageModel&>(*bench.out<H>(port).state);
}
inline LanguageModel& scorer(const Bench& bench) {
  return model_of<RewardModel>(bench, "reward_model");
}
inline LanguageModel& critic(const Bench& bench) {
  return model_of<ValueModel>(bench, "value_model");
}
inline LanguageModel& writer(const Bench& bench) { return model_of<Policy>(bench, "policy"); }

inline Value term(const std::string& type, const Json& params = Json::object()) {
  Bench bench(type, params, type);
  bench.fire();
  return bench.value("term");
}

/// Sums with a right and a wrong answer of another length.
inline Preferences right_and_wrong(std::int64_t count) {
  Preferences p;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t a = i % 7, b = (5 * i) % 9;
    p.prompt.push_back(std::to_string(a) + "+" + std::to_string(b) + "=");
    p.chosen.push_back(std::to_string(a + b));
    p.rejected.push_back(std::to_string(10 * a + b + 3));
  }
  p.batch = 5;
  return p;
}

inline WeightMap double_leaves(const Decoder& decoder) {
  WeightMap leaves;
  for (const auto& [name, tensor] : decoder.weights()) {
    leaves[name] = tensor.to(at::kDouble).requires_grad_();
  }
  return leaves;
}

inline double gradient_norm(const WeightMap& leaves) {
  TensorMap gradients;
  for (const auto& [name, leaf] : leaves) {
    if (leaf.grad().defined()) gradients[name] = leaf.grad();
  }
  return global_norm(gradients);
}

inline double largest_difference(const WeightMap& a, const WeightMap& b) {
  double largest = 0;
  for (const auto& [name, tensor] : a)
    largest = std::max(largest, (tensor - b.at(name)).abs().max().item<double>());
  return largest;
}

inline bool close(double a, double b, double tolerance) {
  return std::abs(a - b) <= tolerance * (1 + std::abs(b));
}
#define CLOSE(a, b, tolerance)           \
  QVERIFY2(close((a), (b), (tolerance)), \
           qPrintable(QString("%1 %2").arg(a, 0, 'g', 12).arg(b, 0, 'g', 12)))

/// Scores [2n] of pairs in LibTorch's operators.
inline at::Tensor scores_of(const Decoder& decoder, const WeightMap& leaves,
                            const TokenRows& rows) {
  const at::Tensor there = rows.kinds.ne(0);
  const at::Tensor out = decoder.forward(rows.tokens, there, leaves);
  const at::Tensor last = there.sum(1) - 1;
  return out.select(2, 0).gather(1, last.unsqueeze(1)).squeeze(1);
}

/// Log-probs [R,T] of the tokens in LibTorch's operators, 0 outside the
/// answers.
inline at::Tensor token_log_probs_of(const Decoder& decoder, const WeightMap& leaves,
                                     const TokenRows& rows) {
  const std::int64_t width = rows.width();
  const at::Tensor log_p = decoder.forward(rows.tokens, rows.kinds.ne(0), leaves)
                               .narrow(1, 0, width - 1)
                               .log_softmax(-1);
  const at::Tensor taken =
      log_p.gather(2, rows.tokens.narrow(1, 1, width - 1).unsqueeze(2)).squeeze(2);
  return taken * rows.kinds.narrow(1, 1, width - 1).eq(2);
}

struct Trained {
  WeightMap weights;
  std::map<std::string, double> metrics;
  std::vector<std::string> alarms;
};

inline Trained train_scorer(const Json& params, const Preferences& pairs, std::vector<Value> terms,
                            std::int64_t micro_batch, bool threads = false) {
  const auto model = fired("model.reward");
  Bench update("optimize.reward_model", params, "update");
  update.connect("reward_model", {model->value("reward_model")});
  update.connect("preferences", {Value::of(pairs)});
  update.connect("terms", std::move(terms));
  update.settings().micro_batch = micro_batch;
  update.context.threads = threads;
  update.fire();
  return {scorer(*model).decoder().copy().weights(), update.context.metrics, update.context.alarms};
}

inline Trained train_policy(const Json& params, const Preferences& pairs, std::vector<Value> terms,
                            std::int64_t micro_batch, bool threads = false) {
  const auto policy = fired("text.policy");
  const auto reference = fired("text.reference", {{"seed", 3}});
  Bench update("optimize.preferences", params, "update");
  update.connect("policy", {policy->value("policy")});
  update.connect("reference", {reference->value("reference")});
  update.connect("preferences", {Value::of(pairs)});
  update.connect("terms", std::move(terms));
  update.settings().micro_batch = micro_batch;
  update.context.threads = threads;
  update.fire();
  return {writer(*policy).decoder().copy().weights(), update.context.metrics,
          update.context.alarms};
}

/// Rows of two answers to each sum, with a reward each.
inline Completions answers_to(std::int64_t groups) {
  const auto policy = fired("text.policy");
  Prompts prompts;
  for (std::int64_t i = 0; i < groups; ++i) {
    prompts.id.push_back(std::to_string(i));
    prompts.text.push_back(std::to_string(i % 8) + "+1=");
  }
  Bench generate("sample.generate", {{"group_size", 3}, {"max_tokens", 5}}, "rollout");
  generate.connect("policy", {policy->value("policy")});
  generate.connect("prompts", {Value::of(prompts)});
  generate.fire();
  return generate.out<Completions>("completions");
}

struct ValueRun {
  Trained trained;
  double want_loss = 0, want_norm = 0;
};

inline ValueRun train_critic(std::int64_t micro_batch, bool threads, const Json& loss) {
  const Completions c = answers_to(6);
  const auto model = fired("model.value");
  Bench values("text.values", Json::object(), "values");
  values.connect("value_model", {model->value("value_model")});
  values.connect("completions", {Value::of(c)});
  values.fire();
  TokenRewards rewards;
  rewards.rewards =
      at::sin(at::arange(c.tokens.numel(), at::kFloat)).view(c.tokens.sizes()) * c.mask();
  rewards.mask = c.mask();
  rewards.batch = c.batch;
  Bench gae("advantage.gae", Json::object(), "gae");
  gae.connect("rewards", {Value::of(rewards)});
  gae.connect("values", {values.value("values")});
  gae.fire();
  ValueRun run;
  const WeightMap leaves = double_leaves(critic(*model).decoder());
  const at::Tensor read = critic(*model).decoder().forward(c.tokens, c.kinds.ne(0), leaves);
  const std::int64_t width = c.tokens.size(1);
  const at::Tensor v = read.select(2, 0).narrow(1, 0, width - 1);
  const at::Tensor mask = c.mask().narrow(1, 1, width - 1).to(at::kDouble);
  const at::Tensor target =
      gae.out<Returns>("returns").returns.narrow(1, 1, width - 1).to(at::kDouble);
  const at::Tensor want = 0.5 * ((v - target).square() * mask).sum() / mask.sum();
  want.backward();
  run.want_loss = want.item<double>();
  run.want_norm = gradient_norm(leaves);
  Bench update("optimize.value",
               {{"learning_rate", 1e-3}, {"epsilon", 1e-4}, {"max_grad_norm", 0.0}}, "update");
  update.connect("value_model", {model->value("value_model")});
  update.connect("completions", {Value::of(c)});
  update.connect("returns", {gae.value("returns")});
  update.connect("old_values", {values.value("values")});
  update.connect("terms", {term("loss.value_clip", loss)});
  update.settings().micro_batch = micro_batch;
  update.context.threads = threads;
  update.fire();
  run.trained = {critic(*model).decoder().copy().weights(), update.context.metrics,
                 update.context.alarms};
  return run;
}

inline const Json careful = {{"learning_rate", 1e-3}, {"epsilon", 1e-4}, {"max_grad_norm", 0.0}};

}  // namespace rewardloom::testing
