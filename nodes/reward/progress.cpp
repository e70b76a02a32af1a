#include "nodes/reward/progress.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

double next_progress(double before, double reading, bool is_first, ProgressMode mode) {
  switch (mode) {
    case ProgressMode::forward: return reading;
    case ProgressMode::backward: return 1 + reading;
    case ProgressMode::incremental: break;
  }
  if (is_first) return reading;
  return reading >= 0 ? before + (1 - before) * reading : before + before * reading;
}

}  // namespace

ProgressReadings progress_of(const at::Tensor& readings, ProgressMode mode, bool clamp) {
  if (readings.dim() != 2) {
    throw Failure("bad-shape", c10::str("the readings are ", readings.sizes()), "they are [N,S]");
  }
  const at::Tensor h = readings.detach().to(at::kCPU, at::kDouble).contiguous();
  at::Tensor progress = at::empty_like(h);
  at::Tensor hop = at::empty_like(h);
  const std::int64_t width = h.size(1);
  for (std::int64_t i = 0; i < h.size(0); ++i) {
    const double* const reading = h.data_ptr<double>() + i * width;
    double* const p = progress.data_ptr<double>() + i * width;
    double* const change = hop.data_ptr<double>() + i * width;
    double before = 0;
    for (std::int64_t s = 0; s < width; ++s) {
      p[s] = next_progress(before, reading[s], s == 0, mode);
      if (clamp) p[s] = std::clamp(p[s], 0.0, 1.0);
      change[s] = mode == ProgressMode::incremental ? reading[s] : p[s] - before;
      before = p[s];
    }
  }
  return {progress.to(readings.options()), hop.to(readings.options())};
}

struct Progress final : Node {
  Input<Values> readings{
      this, "readings", "hops in -1..1 that a progress model read", {.dims = "N,S"}};
  Output<Values> progress{this, "progress", "after each frame; 1 is done", {.dims = "N,S"}};
  Output<Values> hop{this, "hop", "change of progress; incremental: the reading", {.dims = "N,S"}};
  Param<ProgressMode> mode{this, "mode", ProgressMode::incremental,
                           "what a reading is relative to"};
  Param<bool> clamp{this, "clamp", false, "holds progress in 0..1"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"Robo-Dopamine", "potential", "robot"}};
  Doc doc{
      this,
      "[N,S] -> [N,S]. Progress is a potential: reward.potential_shaping turns it into a reward "
      "that keeps the best policy the best."};

  void run(Step& step) const override {
    const Values& given = step[readings];
    if (!given.values.isfinite().all().item<bool>()) {
      step.fail("not-finite", "a reading is no number", "look at the node that gave it");
    }
    ProgressReadings found = progress_of(given.values, mode(), clamp());
    step[progress] = Values{std::move(found.progress), given.batch};
    step[hop] = Values{std::move(found.hop), given.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Progress, "Progress from hops", "arXiv:2512.23703")
