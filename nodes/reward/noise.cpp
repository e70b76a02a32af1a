#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct RewardNoise final : Node {
  Input<Rewards> rewards{this, "rewards", "what is disturbed"};
  Output<Rewards> out{this, "rewards", "the same with noise"};
  Param<double> deviation{
      this, "std", 0.1, "standard deviation of the noise, in units of reward", {.min = 0}};
  Synonyms words{this, {"gaussian", "label noise", "robustness", "noisy reward model"}};
  Doc doc{this,
          "r' = r + std * z, z normal and independent for each row; [N] -> [N]. With reward.flip "
          "before it, the scores of a reward model of known quality. Draws come from (seed, node, "
          "iteration, row), so that branches of a sweep share them. Absent rows stay absent."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    std::vector<double> noise(static_cast<std::size_t>(r.total.size(0)));
    for (std::size_t i = 0; i < noise.size(); ++i) {
      noise[i] = deviation() * step.random(static_cast<std::uint64_t>(i)).normal();
    }
    const at::Tensor added = at::tensor(noise, at::kDouble).to(r.total.options());
    const at::Tensor noisy = r.total + added;
    step[out] = changed(step, r, r.absent.defined() ? noisy.masked_fill(r.absent, 0.0) : noisy);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(RewardNoise, "Noise on rewards", "arXiv:2505.22653")
