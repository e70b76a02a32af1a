#include "nodes/reward/trust_weighted.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

double trust_of(const std::vector<double>& outcome, const std::vector<double>& thinking,
                std::span<const std::int64_t> rows, double threshold) {
  double right = 0, wrong = 0;
  double rights = 0, wrongs = 0;
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    const bool is_right = outcome[i] >= threshold;
    (is_right ? right : wrong) += thinking[i];
    (is_right ? rights : wrongs) += 1;
  }
  if (rights == 0 || wrongs == 0) return 1;
  return std::min(1.0, std::exp(right / rights - wrong / wrongs));
}

}  // namespace

TrustWeighted trust_weighted(const at::Tensor& outcome, const at::Tensor& thinking,
                             const at::Tensor& group, const at::Tensor& absent,
                             const TrustOptions& options) {
  const std::vector<double> o = finite_rows(outcome, absent, "outcome");
  const std::vector<double> t = finite_rows(thinking, absent, "thinking");
  const Groups groups(group, absent, outcome.size(0));
  std::vector<double> rewards(o.size());
  std::vector<double> trust(o.size());
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const double factor = trust_of(o, t, groups.rows(g), options.threshold);
    for (const std::int64_t row : groups.rows(g)) {
      const auto i = static_cast<std::size_t>(row);
      trust[i] = factor;
      rewards[i] = o[i] + options.alpha * options.anneal * factor * t[i];
    }
  }
  const auto tensor = [&](const std::vector<double>& v) {
    return at::tensor(at::ArrayRef<double>(v), at::dtype(at::kDouble))
        .to(outcome.device(), outcome.scalar_type());
  };
  return {tensor(rewards), tensor(trust)};
}

struct TrustWeightedNode final : Node {
  Input<Rewards> outcome{this, "outcome", "whether the answer is right"};
  Input<Rewards> thinking{this, "thinking", "how good the reasoning looks, 0..1"};
  Output<Rewards> rewards{this, "rewards", "outcome + trusted thinking, both as components"};
  Output<Values> trust{this, "trust", "factor of the row's group", {.dims = "N"}};
  Param<double> alpha{this, "alpha", 0.3, "weight of the thinking reward", {.min = 0}};
  Param<double> horizon{this,
                        "horizon",
                        12000,
                        "T of exp(-step / T), by which thinking loses weight",
                        {.min = 0, .exclusive_min = true, .unit = "iterations"}};
  Param<std::int64_t> step_offset{this, "step", 0, "added to the iteration", {.min = 0}};
  Param<double> threshold{this, "threshold", 0.5, "outcome that counts as right"};
  Synonyms words{this, {"SophiaVL-R1", "Trust-GRPO", "thinking reward"}};
  Doc doc{this,
          "outcome + alpha * exp(-step / T) * trust * thinking; [N]. Trust falls below 1 where the "
          "wrong "
          "answers of a group got the better thinking scores. Metric trust: its mean."};

  void run(Step& step) const override {
    const Rewards& o = step[outcome];
    const Rewards& t = step[thinking];
    const at::Tensor absent = absent_in_any({{"outcome", &o}, {"thinking", &t}});
    const auto now = static_cast<double>(step_offset() + step.iteration());
    const TrustWeighted found =
        trust_weighted(o.total, t.total, o.group.defined() ? o.group : t.group, absent,
                       {alpha(), std::exp(-now / horizon()), threshold()});
    const at::Tensor present =
        absent.defined() ? found.trust.masked_select(absent.logical_not()) : found.trust;
    if (present.numel() > 0) step.metric("trust", present.mean().item<double>());
    Rewards out = rescored(step, o, found.rewards, absent);
    if (!out.group.defined()) out.group = t.group;
    out.components = {{"outcome", o.total}, {"thinking", t.total}};
    step[trust] = Values{found.trust, o.batch};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TrustWeightedNode, "Trust-weighted thinking reward", "arXiv:2505.17018")
