#include "nodes/image/flow_net.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kFrequencies = 16;

/// sin and cos of sigma at frequencies 1 to 100, [N] -> [N,32].
at::Tensor fourier_features(const at::Tensor& sigma) {
  const at::Tensor frequencies =
      at::linspace(0, std::log(100.0), kFrequencies, sigma.options()).exp();
  const at::Tensor angles = sigma.unsqueeze(1) * frequencies;
  return at::cat({angles.sin(), angles.cos()}, 1);
}

std::string block_name(std::int64_t block, const char* part) {
  return fmt::format("blocks.{}.{}", block, part);
}

/// Embeddings of the classes, and of no class behind them where there is one.
at::Tensor class_table(const TensorMap& w) {
  const auto none = w.find("class.none");
  return none == w.end() ? w.at("class.weight") : at::cat({w.at("class.weight"), none->second});
}

at::Tensor no_labels(const FlowNetShape& shape, const at::Tensor& labels) {
  require_unconditional(shape, "guidance");
  return at::full_like(labels, shape.classes);
}

/// `condition` [R,hidden] and, for each row of x, which of its rows holds; undefined: its own.
at::Tensor velocity(const TensorMap& w, const FlowNetShape& shape, const at::Tensor& x,
                    const at::Tensor& condition, const at::Tensor& row) {
  at::Tensor h = linear_layer(w, "in", x.flatten(1));
  for (std::int64_t b = 0; b < shape.blocks; ++b) {
    at::Tensor given = linear_layer(w, block_name(b, "condition"), condition);
    if (row.defined()) given = given.index_select(0, row);
    const at::Tensor inner =
        linear_layer(w, block_name(b, "up"), at::layer_norm(h, {h.size(1)})) + given;
    h = h + linear_layer(w, block_name(b, "down"), at::gelu(inner));
  }
  return linear_layer(w, "out", at::layer_norm(h, {h.size(1)})).view_as(x);
}

}  // namespace

at::Tensor flow_velocity(const TensorMap& w, const FlowNetShape& shape, const at::Tensor& x,
                         const at::Tensor& sigma, const at::Tensor& labels) {
  const at::Tensor condition = at::silu(linear_layer(w, "sigma", fourier_features(sigma)) +
                                        class_table(w).index_select(0, labels));
  return velocity(w, shape, x, condition, {});
}

at::Tensor flow_velocity_at(const TensorMap& w, const FlowNetShape& shape, const at::Tensor& x,
                            double sigma, const at::Tensor& labels) {
  const at::Tensor condition =
      at::silu(linear_layer(w, "sigma", fourier_features(at::full({1}, sigma, x.options()))) +
               class_table(w));
  return velocity(w, shape, x, condition, labels);
}

at::Tensor guided_velocity(const TensorMap& w, const FlowNetShape& shape, const at::Tensor& x,
                           const at::Tensor& sigma, const at::Tensor& labels, double scale) {
  const at::Tensor given = flow_velocity(w, shape, x, sigma, labels);
  if (scale == 1) return given;
  const at::Tensor free = flow_velocity(w, shape, x, sigma, no_labels(shape, labels));
  return free + scale * (given - free);
}

at::Tensor guided_velocity_at(const TensorMap& w, const FlowNetShape& shape, const at::Tensor& x,
                              double sigma, const at::Tensor& labels, double scale) {
  const at::Tensor given = flow_velocity_at(w, shape, x, sigma, labels);
  if (scale == 1) return given;
  const at::Tensor free = flow_velocity_at(w, shape, x, sigma, no_labels(shape, labels));
  return free + scale * (given - free);
}

void require_unconditional(const FlowNetShape& shape, const std::string& who) {
  if (shape.unconditional) return;
  throw Failure("no-unconditional",
                fmt::format("{} needs a generator that also draws without a class", who),
                "set unconditional of image.generator, and train it with label_dropout");
}

TensorMap draw_flow_weights(const FlowNetShape& shape, const Random& stream) {
  const WeightDraws draws(stream);
  const std::int64_t pixels = shape.channels * shape.height * shape.width, wide = shape.hidden;
  TensorMap out;
  draws.layer(out, "sigma", {wide, 2 * kFrequencies});
  draws.normal(out, "class.weight", {shape.classes, wide}, 0.5);
  if (shape.unconditional) draws.normal(out, "class.none", {1, wide}, 0.5);
  draws.layer(out, "in", {wide, pixels});
  for (std::int64_t b = 0; b < shape.blocks; ++b) {
    draws.layer(out, block_name(b, "up"), {wide, wide});
    draws.layer(out, block_name(b, "condition"), {wide, wide});
    draws.layer(out, block_name(b, "down"), {wide, wide});
  }
  draws.layer(out, "out", {pixels, wide});
  out["out.weight"].zero_();
  out["out.bias"].zero_();
  return out;
}

std::shared_ptr<FlowNet> FlowNet::copy() const {
  auto out = std::make_shared<FlowNet>();
  out->shape = shape;
  for (const auto& [name, tensor] : weights) out->weights[name] = tensor.clone();
  return out;
}

FlowPair flow_pair(const at::Tensor& images, const at::Tensor& noise, const at::Tensor& sigma) {
  const at::Tensor s = sigma.view({-1, 1, 1, 1});
  return {(1 - s) * images + s * noise, noise - images};
}

}  // namespace rewardloom
