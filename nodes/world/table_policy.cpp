#include "nodes/world/table_policy.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "engine/core/problem.h"

namespace rewardloom {

void TablePolicy::save(Package& out) const {
  if (empty()) return;
  out.tensors["logits"] = logits;
  out.tensors["log_prior"] = log_prior;
}

void TablePolicy::load(const Package& in) {
  if (!in.tensors.contains("logits")) return;
  logits = in.tensors.at("logits").clone();
  log_prior = in.tensors.at("log_prior").clone();
}

void TablePolicy::start(const at::Tensor& prior, std::int64_t copies, std::int64_t length) {
  const at::Tensor p = prior.to(at::kCPU, at::kDouble);
  if (p.dim() != 1 || p.size(0) < 2 || !p.gt(0).all().item<bool>() ||
      std::abs(p.sum().item<double>() - 1) > 1e-6) {
    throw Failure("bad-prior", c10::str("the prior ", p.sizes(), " is no distribution over tokens"),
                  "give positive probabilities that sum to 1");
  }
  log_prior = p.log();
  logits = log_prior.expand({copies, length, p.size(0)}).contiguous();
}

TableGradient table_gradient(const at::Tensor& logits, const at::Tensor& log_prior,
                             const at::Tensor& tokens, const at::Tensor& copy,
                             const at::Tensor& advantages, double beta) {
  const std::int64_t copies = logits.size(0), length = logits.size(1), size = logits.size(2);
  const at::Tensor log_p = logits.log_softmax(-1);
  const at::Tensor p = log_p.exp();
  const at::Tensor rows =
      at::zeros({copies}, at::kDouble).scatter_add(0, copy, at::ones(copy.sizes(), at::kDouble));
  const at::Tensor a = advantages.to(at::kDouble) / rows.index_select(0, copy);
  // Where each token of each row stands in the table.
  const at::Tensor place =
      (copy.unsqueeze(1) * length + at::arange(length, at::kLong)) * size + tokens;
  const at::Tensor pushed =
      at::zeros({copies * length * size}, at::kDouble)
          .scatter_add(0, place.flatten(), a.unsqueeze(1).expand(tokens.sizes()).flatten())
          .reshape(logits.sizes());
  const at::Tensor ratio = log_p - log_prior;
  const at::Tensor kl = (p * ratio).sum(-1, true);  // [K,T,1]
  TableGradient out;
  out.kl = kl.sum({1, 2});
  out.loss = beta * out.kl - (pushed * log_p).sum({1, 2});
  out.gradient = p * pushed.sum(-1, true) - pushed + beta * p * (ratio - kl);
  return out;
}

}  // namespace rewardloom
