// AdamW over named tensors, with clipping by the global norm and learning-rate schedules.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "engine/core/package.h"

namespace rewardloom {

/// Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, in the form of PyTorch's AdamW.
struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  double max_grad_norm = 0.0;       ///< 0: no clipping
  bool decay_every_tensor = false;  ///< else vectors (norms and biases) do not decay
};

enum class Schedule { constant, linear, cosine };

/// The factor on the learning rate at `step` (from 0) of `total`: rises linearly over `warmup`
/// steps, then is constant, or falls to `floor` linearly or along half a cosine. `total` 0: no end
/// is known, the factor stays 1 after the warm-up.
double schedule_factor(Schedule schedule, std::int64_t step, std::int64_t warmup,
                       std::int64_t total, double floor = 0.0);

/// What one step did.
struct AdamWStep {
  double gradient_norm = 0;  ///< before clipping
  bool clipped = false;
  bool skipped = false;  ///< a gradient was not finite: nothing was changed
};

using TensorMap = std::map<std::string, at::Tensor>;

/// The moments, and how many steps were taken and skipped.
class AdamW {
 public:
  /// Changes `weights` in place; gradients of the same names and shapes. Tensors without a gradient
  /// stay. Gradients are scaled in place when they are clipped.
  AdamWStep step(TensorMap& weights, TensorMap& gradients, const AdamWOptions& options);

  std::int64_t steps() const { return steps_; }
  std::int64_t skipped() const { return skipped_; }

  void save(Package& out) const;
  void load(const Package& in);

 private:
  struct Moments {
    at::Tensor first;
    at::Tensor second;
  };
  Moments& moments_of(const std::string& name, const at::Tensor& weight);
  void update(at::Tensor& weight, const at::Tensor& gradient, Moments& moments, double decay,
              const AdamWOptions& options) const;

  std::map<std::string, Moments> moments_;
  std::int64_t steps_ = 0;
  std::int64_t skipped_ = 0;
};

/// sqrt of the sum of all squares, summed in double in order of names.
double global_norm(const TensorMap& gradients);

}  // namespace rewardloom
