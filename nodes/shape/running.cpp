#include "nodes/shape/running.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/advantage/host_rows.h"
#include "nodes/reward/rows.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

constexpr std::size_t kSide = 8;  // independent sums, so that the compiler vectorises

struct Range {
  double sum, least, most;
};

REWARDLOOM_VECTORISED
Range range_of(const double* x, std::size_t count) {
  double sum[kSide] = {}, least[kSide], most[kSide];
  std::fill_n(least, kSide, x[0]);
  std::fill_n(most, kSide, x[0]);
  const auto take = [&](std::size_t i, std::size_t j) __attribute__((always_inline)) {
    sum[j] += x[i];
    least[j] = x[i] < least[j] ? x[i] : least[j];
    most[j] = x[i] > most[j] ? x[i] : most[j];
  };
  std::size_t i = 0;
  for (; i + kSide <= count; i += kSide) {
    for (std::size_t j = 0; j < kSide; ++j) take(i + j, j);
  }
  for (; i < count; ++i) take(i, 0);
  return {std::accumulate(sum, sum + kSide, 0.0), *std::min_element(least, least + kSide),
          *std::max_element(most, most + kSide)};
}

/// Sum of (x - mean)^2.
REWARDLOOM_VECTORISED
double squares_around(const double* x, std::size_t count, double mean) {
  double sum[kSide] = {};
  const auto square = [=](std::size_t i) __attribute__((always_inline)) {
    return (x[i] - mean) * (x[i] - mean);
  };
  std::size_t i = 0;
  for (; i + kSide <= count; i += kSide) {
    for (std::size_t j = 0; j < kSide; ++j) sum[j] += square(i + j);
  }
  for (; i < count; ++i) sum[0] += square(i);
  return std::accumulate(sum, sum + kSide, 0.0);
}

}  // namespace

void RunningMoments::add(const std::vector<double>& batch, RunningPreset preset) {
  if (batch.empty()) return;
  if (!begun_ && preset == RunningPreset::oni) {
    count_ = 1e-4;
    squares_ = 1e-4;
  }
  begun_ = true;
  const auto size = static_cast<double>(batch.size());
  const Range range = range_of(batch.data(), batch.size());
  const bool equal = range.least == range.most;  // such values have exactly that mean
  const double mean = equal ? range.least : range.sum / size;
  double squares = squares_around(batch.data(), batch.size(), mean);
  low_ = std::min(low_, range.least);
  high_ = std::max(high_, range.most);
  if (preset == RunningPreset::oni && batch.size() > 1) squares *= size / (size - 1);
  const double total = count_ + size;
  const double delta = mean - mean_;
  mean_ += delta * (size / total);
  squares_ += squares + delta * delta * (count_ * size / total);
  count_ = total;
}

double RunningMoments::std() const { return count_ > 1 ? std::sqrt(squares_ / count_) : 0; }

at::Tensor RunningMoments::shaped(const at::Tensor& values, RunningMode mode) const {
  const double spread = std();
  switch (mode) {
    case RunningMode::clip: return values.clamp(mean_ - spread, mean_ + spread);
    case RunningMode::minmax:
      if (!(high_ > low_)) return at::full_like(values, 0.5);  // there is no range yet
      return (values - low_).div_(high_ - low_);
    case RunningMode::meanstd: break;
  }
  return (values - mean_).div_(spread > 0 ? spread : 1);
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
  Output<Rewards> out{this,
                      "rewards",
                      "shaped; what shaping changed is a component",
                      {.facts = {{"scale", {{"normalised", {{"mode", {"meanstd", "minmax"}}}}}}}}};
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
      "including this update. minmax gives 0.5 until two different rewards were seen. The statistics "
      "are checkpointed. Absent rows enter nothing.\n"
      "Metrics: mean, std."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const at::Tensor values = host_rows(r.total, r.absent, "rewards");
    const at::Tensor absent = r.absent.defined() ? r.absent.to(at::kCPU, at::kBool) : r.absent;
    RunningMoments& moments = step[state];
    moments.add(numbers_of(absent.defined() ? values.masked_select(absent.logical_not()) : values),
                preset());
    at::Tensor shaped = moments.shaped(values, mode());
    if (absent.defined()) shaped = shaped.masked_fill(absent, 0.0);
    const at::Tensor total = shaped.to(r.total.device(), r.total.scalar_type());
    step.metric("mean", moments.mean());
    step.metric("std", moments.std());
    step[mean] = Scalar{moments.mean()};
    step[std] = Scalar{moments.std()};
    step[out] = changed(step, r, total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Running, "Running reward normalisation", "arXiv:2502.18770, arXiv:2410.23022")
