#include "nodes/shape/running.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

void RunningMoments::add(const std::vector<double>& batch, RunningPreset preset) {
  if (batch.empty()) return;
  if (!begun_ && preset == RunningPreset::oni) {
    count_ = 1e-4;
    squares_ = 1e-4;
  }
  begun_ = true;
  const auto size = static_cast<double>(batch.size());
  double sum = 0;
  for (const double x : batch) sum += x;
  const auto [least, most] = std::minmax_element(batch.begin(), batch.end());
  const double mean = *least == *most ? *least : sum / size;  // equal values have exactly that mean
  double squares = 0;
  for (const double x : batch) {
    squares += (x - mean) * (x - mean);
    low_ = std::min(low_, x);
    high_ = std::max(high_, x);
  }
  if (preset == RunningPreset::oni && batch.size() > 1) squares *= size / (size - 1);
  const double total = count_ + size;
  const double delta = mean - mean_;
  mean_ += delta * (size / total);
  squares_ += squares + delta * delta * (count_ * size / total);
  count_ = total;
}

double RunningMoments::std() const { return count_ > 1 ? std::sqrt(squares_ / count_) : 0; }

double RunningMoments::shaped(double value, RunningMode mode) const {
  const double spread = std();
  switch (mode) {
    case RunningMode::clip: return std::clamp(value, mean_ - spread, mean_ + spread);
    case RunningMode::minmax: return (value - low_) / (high_ > low_ ? high_ - low_ : 1);
    case RunningMode::meanstd: break;
  }
  return (value - mean_) / (spread > 0 ? spread : 1);
}

void RunningMoments::save(Package& out) const {
  out.tensors["moments"] =
      at::tensor({count_, mean_, squares_, low_, high_}, at::dtype(at::kDouble));
  out.meta["begun"] = begun_;
}

void RunningMoments::load(const Package& in) {
  const std::vector<double> moments = numbers_of(in.tensors.at("moments"));
  count_ = moments.at(0);
  mean_ = moments.at(1);
  squares_ = moments.at(2);
  low_ = moments.at(3);
  high_ = moments.at(4);
  begun_ = in.meta.at("begun").get<bool>();
}

namespace {

enum class RunningVariance { population };
constexpr auto choices(RunningVariance) {
  return std::to_array<Choice<RunningVariance>>({
      {RunningVariance::population, "population", "divided by the number of rewards"},
  });
}

}  // namespace

struct Running final : Node {
  Input<Rewards> rewards{this, "rewards", "the rewards of this update"};
  Output<Rewards> out{this, "rewards", "shaped; what shaping changed is a component"};
  Output<Scalar> mean{this, "mean", "of all rewards so far, this update's included"};
  Output<Scalar> std{this, "std", "their standard deviation"};
  Param<RunningMode> mode{this, "mode", RunningMode::meanstd, "the shape"};
  Param<RunningVariance> variance{this, "variance", RunningVariance::population,
                                  "divisor of the running variance"};
  Param<RunningPreset> preset{this, "preset", RunningPreset::par,
                              "whose statistics: how they start and what is merged"};
  State<RunningMoments> state{this, "moments"};
  Synonyms words{this, {"reward normalisation", "reward scaling", "min-max", "running mean"}};
  Doc doc{
      this,
      "rewards [N] -> shaped [N], by mean and spread (or the extremes) of all rewards up to and "
      "including this update. The statistics are checkpointed. Absent rows enter nothing.\n"
      "Metrics: mean, std."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const std::vector<double> values = finite_rows(r.total, r.absent, "rewards");
    const std::vector<double> left_out =
        r.absent.defined() ? numbers_of(r.absent) : std::vector<double>(values.size(), 0.0);
    std::vector<double> present;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (left_out[i] == 0) present.push_back(values[i]);
    }
    RunningMoments& moments = step[state];
    moments.add(present, preset());
    std::vector<double> shaped(values.size(), 0.0);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (left_out[i] == 0) shaped[i] = moments.shaped(values[i], mode());
    }
    const at::Tensor total = at::tensor(at::ArrayRef<double>(shaped), at::dtype(at::kDouble))
                                 .to(r.total.device(), r.total.scalar_type());
    step.metric("mean", moments.mean());
    step.metric("std", moments.std());
    step[mean] = Scalar{moments.mean()};
    step[std] = Scalar{moments.std()};
    step[out] = changed(step, r, total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Running, "Running reward normalisation", "arXiv:2502.18770, arXiv:2410.23022")
