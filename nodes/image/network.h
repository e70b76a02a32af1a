// Small networks as named tensors: their state behind a handle, how they start, and the layers that
// they are made of.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/random.h"
#include "nodes/optimize/adamw.h"

namespace rewardloom {

/// Weights by name; what they compute is up to who holds them.
class Network : public HandleState {
 public:
  static std::string kind_name() { return "network"; }
  void save(Package& out) const override { out.tensors = weights; }
  void load(const Package& in) override;

  /// [N,...] to the device and type of the weights.
  at::Tensor like_weights(const at::Tensor& values) const;

  TensorMap weights;
};

/// Replaces every tensor by that of its name in a safetensors file, or in model.safetensors of a
/// folder. Failure `bad-shape` naming the first tensor that is missing, has another shape or has no
/// place, with what the file and the node have.
void read_weights(TensorMap& weights, const std::string& path);

/// The weights as tensors that gradients are taken by; they share the numbers.
TensorMap gradient_leaves(const TensorMap& weights);

/// Draws tensors that do not depend on each other's order: each from (stream, its name, index).
class WeightDraws {
 public:
  explicit WeightDraws(const Random& stream) : stream_(stream) {}
  /// Uniform in +-1/sqrt(inputs): name.weight of the shape, and name.bias of its first size.
  void layer(TensorMap& into, const std::string& name, std::vector<std::int64_t> shape) const;
  /// Standard normal times `scale`.
  void normal(TensorMap& into, const std::string& name, std::vector<std::int64_t> shape,
              double scale) const;

 private:
  Random stream_;
};

/// x [N,I] -> [N,O] by name.weight [O,I] and name.bias [O].
at::Tensor linear_layer(const TensorMap& weights, const std::string& name, const at::Tensor& x);

/// Standard normal numbers [N,...], the i-th of row r from (stream, r, token): rows keep theirs
/// whatever the number of rows is.
at::Tensor row_normals(const std::vector<std::int64_t>& shape, const Random& stream,
                       std::uint64_t token);

/// Throws `bad-shape` unless images are [N,C,H,W] with these sizes; `what` names the network.
void require_image_shape(const at::Tensor& images, const std::vector<std::int64_t>& chw,
                         const std::string& what);

/// Labels [N] int64 in 0..classes-1, and as many as rows. Failure `no-labels`, `bad-shape`,
/// `unknown-class` naming it.
const at::Tensor& require_labels(const at::Tensor& labels, std::int64_t rows, std::int64_t classes);

}  // namespace rewardloom
