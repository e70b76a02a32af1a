#include "nodes/world/scorer_grid.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/problem.h"
#include "nodes/loss/bradley_terry.h"
#include "nodes/optimize/adamw.h"

namespace rewardloom {
namespace {

at::Tensor normal_tensor(Random& random, std::vector<std::int64_t> sizes, double scale) {
  const at::Tensor out = at::empty(sizes, at::kFloat);
  float* x = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) x[i] = static_cast<float>(scale * random.normal());
  return out;
}

/// Uniform in +-1/sqrt(inputs), as linear layers start.
at::Tensor linear_tensor(Random& random, std::vector<std::int64_t> sizes, std::int64_t inputs) {
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  const at::Tensor out = at::empty(sizes, at::kFloat);
  float* x = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    x[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
  }
  return out;
}

/// One Adam step on tensors whose gradients autograd has left behind.
void adam_step(AdamW& adam, TensorMap& weights, double learning_rate) {
  TensorMap gradients;
  for (auto& [name, weight] : weights) {
    gradients[name] = weight.grad();
    weight.mutable_grad() = at::Tensor();
  }
  AdamWOptions options;
  options.learning_rate = learning_rate;
  adam.step(weights, gradients, options);
}

ScorerWeights new_scorers(const at::Tensor& embedding, const ScorerShape& shape,
                          const std::vector<Random>& heads) {
  const std::int64_t width = embedding.size(1) * (shape.opening ? 2 : 1);
  std::vector<at::Tensor> hidden, hidden_bias, out, out_bias;
  for (Random head : heads) {
    hidden.push_back(linear_tensor(head, {width, shape.hidden}, width));
    hidden_bias.push_back(linear_tensor(head, {1, shape.hidden}, width));
    out.push_back(linear_tensor(head, {shape.hidden, 1}, shape.hidden));
    out_bias.push_back(linear_tensor(head, {1, 1}, shape.hidden));
  }
  const auto models = static_cast<std::int64_t>(heads.size());
  return {embedding.to(at::kFloat).unsqueeze(0).repeat({models, 1, 1}), at::stack(hidden),
          at::stack(hidden_bias), at::stack(out), at::stack(out_bias)};
}

}  // namespace

at::Tensor scorer_features(const at::Tensor& tokens, const ScorerShape& shape) {
  const at::Tensor share = token_counts(tokens, shape.tokens) / static_cast<double>(tokens.size(1));
  if (!shape.opening) return share.to(at::kFloat);
  const at::Tensor first = token_counts(tokens.narrow(1, 0, 1), shape.tokens);
  return at::cat({share, first}, 1).to(at::kFloat);
}

at::Tensor scorer_scores(const ScorerWeights& w, const at::Tensor& features) {
  const std::int64_t models = w.embedding.size(0), tokens = w.embedding.size(1);
  const auto pooled = [&](std::int64_t part) {
    const at::Tensor x = features.narrow(1, part * tokens, tokens);
    return at::bmm(x.expand({models, x.size(0), tokens}), w.embedding);
  };
  const bool opening = features.size(1) > tokens;
  const at::Tensor input = opening ? at::cat({pooled(0), pooled(1)}, 2) : pooled(0);
  const at::Tensor h = at::relu(at::baddbmm(w.hidden_bias, input, w.hidden));
  return at::baddbmm(w.out_bias, h, w.out).squeeze(2);
}

at::Tensor pretrain_embedding(const at::Tensor& prior, const ScorerShape& shape,
                              const EncoderOptions& options, Random random) {
  const c10::AutoGradMode with_gradients(true);
  TensorMap weights;
  weights["embedding"] = normal_tensor(random, {shape.tokens, shape.embedding}, 1);
  weights["read_out"] = normal_tensor(random, {shape.embedding, shape.tokens},
                                      1 / std::sqrt(static_cast<double>(shape.embedding)));
  for (auto& [name, weight] : weights) weight.requires_grad_();
  const at::Tensor p = prior.to(at::kFloat);
  AdamW adam;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const at::Tensor log_p = at::mm(weights["embedding"], weights["read_out"]).log_softmax(1);
    (-(p * log_p.diagonal()).sum()).backward();
    adam_step(adam, weights, options.learning_rate);
  }
  return weights["embedding"].detach();
}

ScorerWeights fine_tune(const at::Tensor& embedding, const ScorerShape& shape,
                        const at::Tensor& chosen, const at::Tensor& rejected,
                        const FineTuneOptions& options, const std::vector<Random>& heads) {
  const c10::AutoGradMode with_gradients(true);
  ScorerWeights w = new_scorers(embedding, shape, heads);
  TensorMap encoder{{"embedding", w.embedding}};
  TensorMap head{{"hidden", w.hidden},
                 {"hidden_bias", w.hidden_bias},
                 {"out", w.out},
                 {"out_bias", w.out_bias}};
  for (TensorMap* part : {&encoder, &head}) {
    for (auto& [name, weight] : *part) weight.requires_grad_();
  }
  const at::Tensor rows = at::cat({chosen, rejected});
  const std::int64_t pairs = chosen.size(0);
  BradleyTerryOptions loss;
  loss.center = options.center;
  AdamW encoder_adam, head_adam;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const at::Tensor scores = scorer_scores(w, rows);
    LossBatch batch;
    batch.set("chosen", scores.narrow(1, 0, pairs).flatten());
    batch.set("rejected", scores.narrow(1, pairs, pairs).flatten());
    // The models' mean losses add up: none changes the gradient of another.
    batch.total_pairs = static_cast<double>(pairs);
    bradley_terry_loss(batch, loss).loss.backward();
    adam_step(encoder_adam, encoder, options.embedding_rate);
    adam_step(head_adam, head, options.head_rate);
  }
  return {w.embedding.detach(), w.hidden.detach(), w.hidden_bias.detach(), w.out.detach(),
          w.out_bias.detach()};
}

void ScorerGrid::assign(ScorerWeights weights, const ScorerShape& shape, std::int64_t encoders,
                        std::int64_t fine_tunings, at::Tensor means, at::Tensor spreads) {
  weights_ = std::move(weights);
  shape_ = shape;
  encoders_ = encoders;
  fine_tunings_ = fine_tunings;
  means_ = std::move(means);
  spreads_ = std::move(spreads);
  fold();
}

void ScorerGrid::fold() {
  const std::int64_t width = shape_.embedding;
  folded_ = at::bmm(weights_.embedding, weights_.hidden.narrow(1, 0, width));
  if (!shape_.opening) return;
  folded_ =
      at::cat({folded_, at::bmm(weights_.embedding, weights_.hidden.narrow(1, width, width))}, 1);
}

void ScorerGrid::save(Package& out) const {
  if (empty()) return;
  out.tensors = {{"embedding", weights_.embedding},
                 {"hidden", weights_.hidden},
                 {"hidden_bias", weights_.hidden_bias},
                 {"out", weights_.out},
                 {"out_bias", weights_.out_bias},
                 {"means", means_},
                 {"spreads", spreads_}};
  out.meta["encoders"] = encoders_;
  out.meta["fine_tunings"] = fine_tunings_;
}

void ScorerGrid::load(const Package& in) {
  if (!in.tensors.contains("embedding")) return;
  const auto get = [&](const char* name) { return in.tensors.at(name).clone(); };
  ScorerWeights weights{get("embedding"), get("hidden"), get("hidden_bias"), get("out"),
                        get("out_bias")};
  ScorerShape shape;
  shape.tokens = weights.embedding.size(1);
  shape.embedding = weights.embedding.size(2);
  shape.hidden = weights.hidden.size(2);
  shape.opening = weights.hidden.size(1) == 2 * shape.embedding;
  assign(std::move(weights), shape, in.meta.at("encoders").get<std::int64_t>(),
         in.meta.at("fine_tunings").get<std::int64_t>(), get("means"), get("spreads"));
}

at::Tensor ScorerGrid::score(const at::Tensor& tokens,
                             const std::vector<std::int64_t>& models) const {
  if (tokens.numel() > 0 && (tokens.min().item<std::int64_t>() < 0 ||
                             tokens.max().item<std::int64_t>() >= shape_.tokens)) {
    throw Failure("unknown-token",
                  fmt::format("the scorers know tokens 0 to {}, but there is one from {} to {}",
                              shape_.tokens - 1, tokens.min().item<std::int64_t>(),
                              tokens.max().item<std::int64_t>()),
                  "score rows of the world that the scorers were trained in");
  }
  const at::Tensor index = at::tensor(at::ArrayRef<std::int64_t>(models), at::dtype(at::kLong));
  const at::Tensor x = scorer_features(tokens, shape_);
  const auto of = [&](const at::Tensor& all) { return all.index_select(0, index); };
  const at::Tensor h = at::relu(at::baddbmm(
      of(weights_.hidden_bias), x.expand({index.size(0), x.size(0), x.size(1)}), of(folded_)));
  return at::baddbmm(of(weights_.out_bias), h, of(weights_.out)).squeeze(2).to(at::kDouble);
}

}  // namespace rewardloom
