// Contests of advantage, shaping and loss nodes with the vectorised PyTorch form of the same
// formula: what their families share.
#pragma once
#include <torch/types.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/registry.h"

namespace rewardloom::bench {

constexpr std::int64_t kRows = 4096, kTokens = 1024, kGroup = 8, kRounds = 7;

struct Contest {
  std::string name;
  std::function<void()> ours;
  std::function<void()> peer;
  std::int64_t rounds = kRounds;
};

/// A batch of rows whose answers have different lengths.
struct Batch {
  at::Tensor mask, rewards, token_rewards, values, log_probs, old_log_probs, ref_log_probs;
  at::Tensor advantages, group, references;
  at::Generator generator;

  Batch();
  at::Tensor normal(at::IntArrayRef shape) const;
  Rewards row_rewards() const;
  TokenRewards per_token() const { return {token_rewards, mask, group, 0}; }
  Completions completions() const;
  /// Rows as a matrix of groups.
  static at::Tensor by_group(const at::Tensor& rows) { return rows.view({-1, kGroup}); }
};

/// A node that is fired again and again with the same inputs.
std::function<void()> firing(const char* type, const Json& params,
                             std::map<std::string, std::vector<Value>> inputs);

/// Arguments of a loss; the first ones are trained, and fresh leaves in each call.
using Given = std::vector<std::pair<std::string, at::Tensor>>;
using LossPeer = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
struct LossSetup {
  std::string name;
  Json params;
  Given given;
  std::int64_t trained = 1;
  std::optional<double> tokens = {};  ///< of the step
};
/// A loss node with its gradient against a peer that takes the arguments in the same order.
Contest loss_contest(const LossSetup& setup, LossPeer peer);

inline at::Tensor mean_in(const at::Tensor& x, const at::Tensor& mask) {
  return (x * mask).sum() / mask.sum();
}
/// What a peer's loss gives beside its value: the metrics that frameworks log with it.
inline void log_metric(const at::Tensor& x, const at::Tensor& mask) {
  (void)mean_in(x.detach(), mask);
}
inline void log_mean(const at::Tensor& x) { (void)x.detach().mean(); }
inline at::Tensor truths(const at::Tensor& x) { return x.to(at::kFloat); }

std::vector<Contest> row_advantage_contests(const Batch& b);
std::vector<Contest> token_advantage_contests(const Batch& b);
std::vector<Contest> shape_contests(const Batch& b);
std::vector<Contest> token_loss_contests(const Batch& b);
std::vector<Contest> logit_loss_contests(const Batch& b);
std::vector<Contest> row_loss_contests(const Batch& b);

}  // namespace rewardloom::bench
