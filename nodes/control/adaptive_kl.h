// The proportional controller of the KL coefficient (Ziegler et al. 2019, arXiv:1909.08593,
// section 2.2).
#pragma once
#include <cstdint>

namespace rewardloom {

struct AdaptiveKlOptions {
  double target = 6.0;
  double horizon = 10000;
  double steps = 256;
};

/// value * (1 + clip(kl / target - 1, +-0.2) * steps / horizon).
double adapted_coefficient(double value, double kl, const AdaptiveKlOptions& options);

}  // namespace rewardloom
