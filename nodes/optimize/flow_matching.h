// Flow matching: regression on the straight velocity between noise and images.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nodes/image/flow_net.h"
#include "nodes/optimize/network_descent.h"

namespace rewardloom {

/// loss = mean over rows and elements of (v(x_sigma, sigma, class) - (n - x0))^2, x_sigma = (1 -
/// sigma) x0 + sigma n. Lipman et al. 2022, arXiv:2210.02747. images, noise [N,C,H,W], sigma [N],
/// labels [N] int64.
class FlowMatching final : public NetworkObjective {
 public:
  FlowMatching(FlowNetShape shape, at::Tensor images, at::Tensor labels, at::Tensor noise,
               at::Tensor sigma)
      : shape_(shape), labels_(std::move(labels)), sigma_(std::move(sigma)) {
    pair_ = flow_pair(images, noise, sigma_);
  }
  std::int64_t rows() const override { return labels_.size(0); }
  at::Tensor loss(const TensorMap& weights, const NetworkBatch& batch,
                  Gathered& into) const override;

 private:
  FlowNetShape shape_;
  FlowPair pair_;
  at::Tensor labels_, sigma_;
};

}  // namespace rewardloom
