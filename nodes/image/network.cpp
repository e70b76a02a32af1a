#include "nodes/image/network.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "engine/core/problem.h"
#include "engine/io/safetensors.h"

namespace rewardloom {

void Network::load(const Package& in) {
  weights.clear();
  for (const auto& [name, tensor] : in.tensors) weights[name] = tensor.clone();
}

at::Tensor Network::like_weights(const at::Tensor& values) const {
  return values.to(weights.begin()->second.options());
}

namespace {

std::string names_of(const TensorMap& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names.empty() ? "none" : listed(names, "and");
}

}  // namespace

void read_weights(TensorMap& weights, const std::string& path) {
  std::filesystem::path file = path;
  if (std::filesystem::is_directory(file)) file /= "model.safetensors";
  const Package read = read_safetensors(file);
  for (const auto& [name, tensor] : weights) {
    const auto found = read.tensors.find(name);
    if (found == read.tensors.end()) {
      throw Failure(
          "bad-shape",
          c10::str(file.string(), " has no tensor ", name, ", which the node's sizes make ",
                   tensor.sizes(), "; it has ", names_of(read.tensors)),
          "name its tensors as the node's documentation does, and set the node's sizes");
    }
    if (found->second.sizes() != tensor.sizes()) {
      throw Failure("bad-shape",
                    c10::str(file.string(), ": ", name, " is ", found->second.sizes(),
                             ", but the node's sizes make it ", tensor.sizes()),
                    "set the node's sizes to those of the file");
    }
  }
  for (const auto& [name, tensor] : read.tensors) {
    if (weights.contains(name)) continue;
    throw Failure("bad-shape",
                  c10::str(file.string(), " has a tensor ", name, " ", tensor.sizes(),
                           " for which the node has no place; it takes ", names_of(weights)),
                  "set the node's sizes to those of the file, or leave that tensor out of it");
  }
  for (auto& [name, tensor] : weights) tensor = read.tensors.at(name).to(tensor.options()).clone();
}

TensorMap gradient_leaves(const TensorMap& weights) {
  TensorMap leaves;
  for (const auto& [name, tensor] : weights) leaves[name] = tensor.detach().requires_grad_();
  return leaves;
}

void WeightDraws::layer(TensorMap& into, const std::string& name,
                        std::vector<std::int64_t> shape) const {
  const std::int64_t inputs =
      std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  const auto fill = [&](const std::string& full, std::vector<std::int64_t> sizes) {
    at::Tensor out = at::empty(sizes, at::kFloat);
    Random random = stream_.at(hash_name(full));
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      out.data_ptr<float>()[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
    }
    into[full] = out;
  };
  fill(name + ".bias", {shape[0]});
  fill(name + ".weight", std::move(shape));
}

void WeightDraws::normal(TensorMap& into, const std::string& name, std::vector<std::int64_t> shape,
                         double scale) const {
  at::Tensor out = at::empty(shape, at::kFloat);
  Random random = stream_.at(hash_name(name));
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    out.data_ptr<float>()[i] = static_cast<float>(scale * random.normal());
  }
  into[name] = out;
}

at::Tensor linear_layer(const TensorMap& weights, const std::string& name, const at::Tensor& x) {
  return at::linear(x, weights.at(name + ".weight"), weights.at(name + ".bias"));
}

at::Tensor row_normals(const std::vector<std::int64_t>& shape, const Random& stream,
                       std::uint64_t token) {
  at::Tensor out = at::empty(shape, at::kFloat);
  const std::int64_t width = shape[0] == 0 ? 0 : out.numel() / shape[0];
  float* at = out.data_ptr<float>();
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    Random random = stream.at(static_cast<std::uint64_t>(row), token);
    for (std::int64_t i = 0; i < width; ++i) *at++ = static_cast<float>(random.normal());
  }
  return out;
}

void require_image_shape(const at::Tensor& images, const std::vector<std::int64_t>& chw,
                         const std::string& what) {
  if (images.dim() == 4 && images.sizes().slice(1) == at::IntArrayRef(chw)) return;
  throw Failure("bad-shape",
                c10::str("the images are ", images.sizes(), ", but ", what, " takes [N, ", chw[0],
                         ", ", chw[1], ", ", chw[2], "]"),
                "set channels, height and width to those of the images");
}

const at::Tensor& require_labels(const at::Tensor& labels, std::int64_t rows,
                                 std::int64_t classes) {
  if (!labels.defined()) {
    throw Failure("no-labels", "the images have no labels", "connect images that carry classes");
  }
  if (labels.dim() != 1 || labels.size(0) != rows || labels.scalar_type() != at::kLong) {
    throw Failure("bad-shape",
                  c10::str("labels are ", labels.sizes(), ", but there are ", rows, " images"),
                  "labels are int64, one per image");
  }
  const at::Tensor outside = labels.lt(0).logical_or(labels.ge(classes));
  if (!outside.any().item<bool>()) return labels;
  throw Failure("unknown-class",
                fmt::format("there is an image of class {}, but the classes are 0 to {}",
                            labels.masked_select(outside)[0].item<std::int64_t>(), classes - 1),
                "set classes to their number");
}

}  // namespace rewardloom
