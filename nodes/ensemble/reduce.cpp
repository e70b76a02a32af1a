#include "nodes/ensemble/reduce.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Quantile q over the members with linear interpolation; [M,N] double -> [N]. Members are few:
/// sorting each row in a buffer is several times as fast as a sort along the first dimension.
at::Tensor member_quantile(const at::Tensor& scores, double q) {
  const at::Tensor host = scores.to(at::kCPU).contiguous();
  const std::int64_t members = host.size(0), rows = host.size(1);
  at::Tensor out = at::empty({rows}, host.options());
  const double place = q * static_cast<double>(members - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, static_cast<std::size_t>(members - 1));
  const double part = place - static_cast<double>(below);
  const double* const x = host.data_ptr<double>();
  std::vector<double> row(static_cast<std::size_t>(members));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t m = 0; m < members; ++m) row[static_cast<std::size_t>(m)] = x[m * rows + i];
    std::sort(row.begin(), row.end());
    out.data_ptr<double>()[i] = row[below] + part * (row[above] - row[below]);
  }
  return out.to(scores.device());
}

/// Mean and spread of one member's scores.
struct Level {
  double mean = 0;
  double spread = 0;
};

}  // namespace

std::optional<ScaleGap> scale_gap(const std::vector<std::vector<double>>& members,
                                  const std::vector<bool>& counted) {
  const auto rows = std::count(counted.begin(), counted.end(), true);
  if (members.size() < 2 || rows < 2) return {};
  std::vector<Level> levels;
  double spread = 0;
  for (const std::vector<double>& scores : members) {
    Level level;
    for (std::size_t i = 0; i < scores.size(); ++i) level.mean += counted[i] ? scores[i] : 0;
    level.mean /= static_cast<double>(rows);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      level.spread += counted[i] ? (scores[i] - level.mean) * (scores[i] - level.mean) : 0;
    }
    level.spread = std::sqrt(level.spread / static_cast<double>(rows - 1));
    spread += level.spread / static_cast<double>(members.size());
    levels.push_back(level);
  }
  const auto [low, high] = std::minmax_element(
      levels.begin(), levels.end(), [](const Level& a, const Level& b) { return a.mean < b.mean; });
  if (!(high->mean - low->mean > spread) || spread == 0) return {};
  return ScaleGap{low - levels.begin(), high - levels.begin(), low->mean, high->mean, spread};
}

EnsembleScores reduce_ensemble(const at::Tensor& scores, const EnsembleOptions& options) {
  if (scores.dim() != 2 || scores.size(0) == 0) {
    throw Failure("bad-shape", c10::str("the scores are ", scores.sizes(), ", but must be [M,N]"),
                  "give one row per reward model, at least one");
  }
  const at::Tensor x = scores.to(at::kDouble);
  const auto members = static_cast<double>(x.size(0));
  const double lost = options.divisor == Divisor::sample && members > 1 ? 1 : 0;
  const at::Tensor mean = x.mean(0);
  const at::Tensor variance = (x - mean).square_().sum(0) / (members - lost);
  const at::Tensor spread = variance.sqrt();
  at::Tensor out = mean;
  switch (options.op) {
    case EnsembleOp::mean: break;
    case EnsembleOp::median: out = member_quantile(x, 0.5); break;
    case EnsembleOp::min: out = x.amin(0); break;
    case EnsembleOp::mean_minus_std: out = mean - options.k * spread; break;
    case EnsembleOp::mean_minus_var: out = mean - options.k * variance; break;
    case EnsembleOp::quantile: out = member_quantile(x, options.q); break;
  }
  return {out.to(scores.scalar_type()), spread.to(scores.scalar_type())};
}

struct EnsembleReduce final : Node {
  Inputs<Rewards> rewards{this, "rewards", "the members' scores of the same rows"};
  Output<Rewards> out{this, "rewards", "the ensemble's reward; each member is a component"};
  Output<Values> std{this, "std", "how far the members disagree", {.dims = "N"}};
  Param<EnsembleOp> op{this, "op", EnsembleOp::mean, "how the members become one"};
  Param<double> k{this, "k", 1.0, "weight of the spread", {.min = 0}};
  Param<Divisor> divisor{this, "divisor", Divisor::sample, "divisor of the variance over members"};
  Param<double> q{this, "q", 0.25, "quantile: which one", {.min = 0, .max = 1}};
  Synonyms words{this, {"WCO", "UWO", "worst case", "uncertainty", "reward hacking"}};
  Doc doc{
      this,
      "M rewards [N] of the same rows -> one [N]. A row that any member could not score is absent: "
      "a minimum over fewer members would be a higher one.\n"
      "Alarm member-scales: the members' means over the batch lie further apart than their scores "
      "spread."};

  void run(Step& step) const override {
    const auto members = step[rewards];
    if (members.size() == 0) step.fail("an ensemble needs members", "connect one or more rewards");
    const Rewards& first = members[0];
    Rewards result;
    result.group = first.group;
    result.batch = first.batch;
    std::vector<at::Tensor> scores;
    std::vector<std::vector<double>> numbers;
    for (std::size_t m = 0; m < members.size(); ++m) {
      const Rewards& member = members[m];
      require_same_rows("the first member", first.total.size(0), first.batch,
                        fmt::format("member {}", m + 1), member.total.size(0), member.batch);
      numbers.push_back(finite_rows(member.total, member.absent,
                                    fmt::format("rewards of member {}", m + 1).c_str()));
      scores.push_back(member.total);
      result.absent = either_absent(result.absent, member.absent);
      result.components.emplace_back(fmt::format("member_{}", m + 1), member.total);
      if (!result.group.defined()) result.group = member.group;
    }
    const bool subtracts = op() == EnsembleOp::mean_minus_std || op() == EnsembleOp::mean_minus_var;
    if (members.size() == 1 && subtracts) {
      step.alarm("one-member",
                 "the std needs at least 2 members: of one the reward is its score alone");
    }
    warn_of_scales(step, numbers, result.absent);
    EnsembleScores reduced = reduce_ensemble(at::stack(scores), {op(), k(), divisor(), q()});
    result.total = std::move(reduced.rewards);
    if (result.absent.defined()) {
      result.total = result.total.masked_fill(result.absent, 0.0);
      reduced.std = reduced.std.masked_fill(result.absent, 0.0);
    }
    step[std] = Values{std::move(reduced.std), first.batch};
    step[out] = std::move(result);
  }

 private:
  /// A Bradley-Terry score is known up to a constant: uncentred members stand where they like.
  static void warn_of_scales(Step& step, const std::vector<std::vector<double>>& members,
                             const at::Tensor& absent) {
    std::vector<bool> counted(members.front().size(), true);
    if (absent.defined()) {
      const at::Tensor gone = absent.to(at::kCPU, at::kBool).contiguous();
      for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = !gone.data_ptr<bool>()[i];
    }
    const auto gap = scale_gap(members, counted);
    if (!gap) return;
    step.alarm("member-scales",
               fmt::format("member means differ by {:.3g} (member {}: {:.3g}, member {}: {:.3g}), "
                           "but a member's scores spread by {:.3g}: scores are not on one scale. "
                           "Train the members with centring, or put shape.running behind each",
                           gap->high_mean - gap->low_mean, gap->low + 1, gap->low_mean,
                           gap->high + 1, gap->high_mean, gap->spread));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EnsembleReduce, "Reward ensemble", "arXiv:2310.02743")
