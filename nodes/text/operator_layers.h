// Layers in LibTorch's operators that decoders and encoders share.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "nodes/text/model_weights.h"

namespace rewardloom {

/// By the name in a hidden_act entry; Failure `model-config` for one that is not supported.
Activation activation_of(const std::string& name);
at::Tensor activated(Activation activation, const at::Tensor& x);
/// The norm `name` over the last dimension of x, which is its weight's width.
at::Tensor normed(NormKind kind, double epsilon, const WeightMap& weights, const std::string& name,
                  const at::Tensor& x);
/// x W^T + b; `transposed` weights are stored [in, out].
at::Tensor linear(const WeightMap& weights, const std::string& module, bool transposed,
                  const at::Tensor& x);
/// cap * tanh(x / cap); x itself where cap is 0.
at::Tensor capped(const at::Tensor& x, double cap);
/// [N,T,H*E] as [N,H,T,E].
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads);
/// [N,H,T,E] as [N,T,H*E].
at::Tensor join_heads(const at::Tensor& x);

}  // namespace rewardloom
