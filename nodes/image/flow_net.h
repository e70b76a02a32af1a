// A class-conditional velocity field for rectified flow: x_sigma = (1 - sigma) x0 + sigma n, the
// network gives v = n - x0.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nodes/image/network.h"

namespace rewardloom {

struct FlowNetShape {
  std::int64_t channels = 1, height = 8, width = 8;
  std::int64_t classes = 10;
  std::int64_t hidden = 192;
  std::int64_t blocks = 3;
  bool unconditional = false;  ///< has an embedding for no class: label `classes`
  std::vector<std::int64_t> chw() const { return {channels, height, width}; }
};

/// x [N,C,H,W], sigma [N] in 0..1, labels [N] int64 -> v [N,C,H,W], differentiable in the weights.
/// The label `classes` stands for no class, where the shape has it.
/// A residual multilayer perceptron over the pixels; each block adds a projection of the condition
/// (Fourier features of sigma and an embedding of the class).
at::Tensor flow_velocity(const TensorMap& weights, const FlowNetShape& shape, const at::Tensor& x,
                         const at::Tensor& sigma, const at::Tensor& labels);

/// The same where all rows are at one sigma: what depends on sigma and class alone is computed once
/// per class.
at::Tensor flow_velocity_at(const TensorMap& weights, const FlowNetShape& shape,
                            const at::Tensor& x, double sigma, const at::Tensor& labels);

/// Classifier-free guidance: v(x) + scale (v(x | class) - v(x)), where v(x) knows no class; with
/// scale 1 v(x | class) alone. Ho and Salimans 2022, arXiv:2207.12598. Failure `no-unconditional`
/// for another scale where the generator has no v(x).
at::Tensor guided_velocity(const TensorMap& weights, const FlowNetShape& shape, const at::Tensor& x,
                           const at::Tensor& sigma, const at::Tensor& labels, double scale);
/// The same where all rows are at one sigma.
at::Tensor guided_velocity_at(const TensorMap& weights, const FlowNetShape& shape,
                              const at::Tensor& x, double sigma, const at::Tensor& labels,
                              double scale);
/// Failure `no-unconditional` unless the generator has an embedding for no class; `who` needs it.
void require_unconditional(const FlowNetShape& shape, const std::string& who);

/// Starts as the zero field.
TensorMap draw_flow_weights(const FlowNetShape& shape, const Random& stream);

class FlowNet final : public Network {
 public:
  static std::string kind_name() { return "rectified-flow generator"; }
  std::string kind() const override { return kind_name(); }
  std::shared_ptr<FlowNet> copy() const;

  FlowNetShape shape;
};

/// What flow matching regresses on: x at sigma, and v. images, noise [N,C,H,W], sigma [N].
struct FlowPair {
  at::Tensor sample;
  at::Tensor velocity;
};
FlowPair flow_pair(const at::Tensor& images, const at::Tensor& noise, const at::Tensor& sigma);

}  // namespace rewardloom
