#include "nodes/text/operator_layers.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/problem.h"

namespace rewardloom {

Activation activation_of(const std::string& name) {
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  throw Failure("model-config", fmt::format("hidden_act {} is not supported", name),
                "silu, gelu, gelu_new and gelu_pytorch_tanh are");
}

at::Tensor activated(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::gelu: return at::gelu(x);
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
    case Activation::silu: break;
  }
  return at::silu(x);
}

at::Tensor normed(NormKind kind, double epsilon, const WeightMap& weights, const std::string& name,
                  const at::Tensor& x) {
  const at::Tensor& weight = weights.at(name + ".weight");
  if (kind == NormKind::layer) {
    return at::layer_norm(x, {x.size(-1)}, weight, weights.at(name + ".bias"), epsilon);
  }
  // Squares of 8-bit mantissas would lose too much.
  const at::Tensor wide =
      at::promote_types(x.scalar_type(), at::kFloat) == x.scalar_type() ? x : x.to(at::kFloat);
  const at::Tensor unit = wide * (wide.square().mean(-1, true) + epsilon).rsqrt();
  return (unit * (kind == NormKind::rms_plus_one ? weight + 1 : weight)).to(x.scalar_type());
}

at::Tensor linear(const WeightMap& weights, const std::string& module, bool transposed,
                  const at::Tensor& x) {
  const at::Tensor& stored = weights.at(module + ".weight");
  const at::Tensor weight = transposed ? stored.t() : stored;
  const auto bias = weights.find(module + ".bias");
  return bias == weights.end() ? at::linear(x, weight) : at::linear(x, weight, bias->second);
}

at::Tensor capped(const at::Tensor& x, double cap) { return cap > 0 ? at::tanh(x / cap) * cap : x; }

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor join_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

}  // namespace rewardloom
