// A grid of small reward models of token sequences: each pretrained encoder is fine-tuned with
// several seeds, so that models can be put together by what they share.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/random.h"
#include "nodes/world/token_world.h"

namespace rewardloom {

struct ScorerShape {
  std::int64_t tokens = 20;     ///< V
  std::int64_t embedding = 12;  ///< D
  std::int64_t hidden = 32;     ///< H
  bool opening = false;         ///< the first token's embedding is a second part of the input
};

/// M models of one shape: r(x) = out . relu(hidden [mean_t e(x_t); e(x_1)] + hidden_bias) +
/// out_bias.
struct ScorerWeights {
  at::Tensor embedding;    ///< [M,V,D]
  at::Tensor hidden;       ///< [M,D,H], or [M,2D,H] with opening
  at::Tensor hidden_bias;  ///< [M,1,H]
  at::Tensor out;          ///< [M,H,1]
  at::Tensor out_bias;     ///< [M,1,1]
};

/// What the models read: tokens [N,T] -> shares of the tokens [N,V], and behind them with opening
/// which token comes first [N,V].
at::Tensor scorer_features(const at::Tensor& tokens, const ScorerShape& shape);

/// features [N,V or 2V] -> scores [M,N]; differentiable in the weights.
at::Tensor scorer_scores(const ScorerWeights& weights, const at::Tensor& features);

struct EncoderOptions {
  std::int64_t steps = 200;
  double learning_rate = 0.01;
};

/// An embedding [V,D] that can tell its own tokens: standard normal at first, then trained on the
/// cross-entropy of each token given its embedding, tokens weighted by the prior [V].
at::Tensor pretrain_embedding(const at::Tensor& prior, const ScorerShape& shape,
                              const EncoderOptions& options, Random random);

struct FineTuneOptions {
  std::int64_t steps = 100;
  double head_rate = 3e-3;
  double embedding_rate = 3e-5;
  double center = 0.01;  ///< weight of (chosen + rejected)^2
};

/// Models that start at one embedding [V,D] and differ in the draws of their heads, all trained in
/// one pass on the same pairs (Bradley-Terry with centring, full batches, Adam).
/// chosen, rejected: features [P,...]. heads: one stream per model.
ScorerWeights fine_tune(const at::Tensor& embedding, const ScorerShape& shape,
                        const at::Tensor& chosen, const at::Tensor& rejected,
                        const FineTuneOptions& options, const std::vector<Random>& heads);

/// The state behind a RewardModel handle: E encoders x F fine-tunings, model e * F + f.
class ScorerGrid final : public HandleState {
 public:
  static std::string kind_name() { return "grid of token scorers"; }
  std::string kind() const override { return kind_name(); }
  void save(Package& out) const override;
  void load(const Package& in) override;

  bool empty() const { return !weights_.embedding.defined(); }
  /// weights of E * F models; means, spreads [M]: of their scores of the rows they were trained on.
  void assign(ScorerWeights weights, const ScorerShape& shape, std::int64_t encoders,
              std::int64_t fine_tunings, at::Tensor means, at::Tensor spreads);

  std::int64_t encoders() const { return encoders_; }
  std::int64_t fine_tunings() const { return fine_tunings_; }
  const ScorerShape& shape() const { return shape_; }
  const at::Tensor& means() const { return means_; }
  const at::Tensor& spreads() const { return spreads_; }
  /// Scores of some of the models: tokens [N,T], models [m] -> [m,N] double. Failure
  /// `unknown-token`.
  at::Tensor score(const at::Tensor& tokens, const std::vector<std::int64_t>& models) const;

 private:
  void fold();
  ScorerWeights weights_;
  ScorerShape shape_;
  std::int64_t encoders_ = 0, fine_tunings_ = 0;
  at::Tensor means_, spreads_;
  at::Tensor folded_;  ///< [M,V or 2V,H]: embedding and hidden layer in one
};

}  // namespace rewardloom
