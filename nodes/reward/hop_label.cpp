#include "nodes/reward/hop_label.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

double hop_percent(std::int64_t before, std::int64_t after, std::int64_t first, std::int64_t last) {
  if (before == after) return 0;
  const std::int64_t way = after > before ? last - before : before - first;
  return 100.0 * static_cast<double>(after - before) / static_cast<double>(way);
}

std::int64_t hop_bin(double percent, std::int64_t bins) {
  const double place = std::clamp(percent, -100.0, 100.0) + 100;
  const double width = 200.0 / static_cast<double>(bins);
  // The remainder first: a quotient that rounds up must not reach the next bin.
  const auto bin =
      static_cast<std::int64_t>(std::llround((place - std::fmod(place, width)) / width));
  return std::min(bin, bins - 1);
}

struct HopLabel final : Node {
  Input<Values> before{this, "before", "frame number", {.dims = "N"}};
  Input<Values> after{this, "after", "frame number", {.dims = "N"}};
  Input<Values> first{this, "first", "first frame of the demonstration", {.dims = "N"}};
  Input<Values> last{this, "last", "its last frame, where the task is done", {.dims = "N"}};
  Output<Values> hop{this, "hop", "percent, -100..100", {.dims = "N"}};
  Output<Values> bin{this, "bin", "int64", {.dims = "N"}};
  Param<std::int64_t> score_bins{this, "score_bins", 25, "bins of -100..100", {.min = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"Robo-Dopamine", "progress", "robot", "process reward"}};
  Doc doc{
      this,
      "100 (after - before) / (last - before) forward, / (before - first) backward; [N]. Training "
      "labels of a progress model."};

  void run(Step& step) const override {
    const std::vector<double> b = frames(step, before, "before");
    const std::vector<double> a = frames(step, after, "after");
    const std::vector<double> f = frames(step, first, "first");
    const std::vector<double> l = frames(step, last, "last");
    std::vector<double> hops(b.size());
    std::vector<std::int64_t> bins(b.size());
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (std::min(b[i], a[i]) < f[i] || std::max(b[i], a[i]) > l[i]) {
        step.fail("bad-value",
                  fmt::format("row {}: frames {} and {} do not lie within {}..{}", i, b[i], a[i],
                              f[i], l[i]),
                  "before and after are frames of the demonstration");
      }
      const auto number = [](double x) { return static_cast<std::int64_t>(x); };
      hops[i] = hop_percent(number(b[i]), number(a[i]), number(f[i]), number(l[i]));
      bins[i] = hop_bin(hops[i], score_bins());
    }
    step[hop] = Values{at::tensor(at::ArrayRef<double>(hops), at::dtype(at::kDouble))};
    step[bin] = Values{at::tensor(at::ArrayRef<std::int64_t>(bins), at::dtype(at::kLong))};
  }

 private:
  std::vector<double> frames(Step& step, const Input<Values>& port, const char* name) const {
    const at::Tensor& numbers = step[port].values;
    require_same_rows("before", step[before].values.size(0), 0, name, numbers.size(0), 0);
    return numbers_of(numbers);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(HopLabel, "Hop labels", "arXiv:2512.23703")
