#include "nodes/advantage/leave_one_out.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/host_rows.h"

namespace rewardloom {
namespace {

/// Of some rewards; of equal ones exactly that mean and 0.
struct Spread {
  double mean = 0;
  double squares = 0;  ///< sum of squared distances from the mean
};

using Members = std::span<const std::int64_t>;

/// Of all members but `left_out`, in two passes.
Spread spread_without(const double* reward, Members members, std::size_t left_out) {
  const double centre = reward[members[left_out == 0 ? 1 : 0]];
  const auto sum = [&](auto term) {
    double out = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i != left_out) out += term(reward[members[i]]);
    }
    return out;
  };
  const double count = static_cast<double>(members.size() - 1);
  const double mean = centre + sum([centre](double r) { return r - centre; }) / count;
  return {mean, sum([mean](double r) { return (r - mean) * (r - mean); })};
}

/// The spread of all other members, for each member of a group.
class Others {
 public:
  Others(const double* reward, Members members) : reward_(reward), members_(members) {
    double sum = 0;
    bool constant = true;
    for (const std::int64_t row : members) {
      sum += reward[row];
      constant = constant && reward[row] == reward[members[0]];
    }
    const auto count = static_cast<double>(members.size());
    mean_ = constant ? reward[members[0]] : sum / count;
    for (const std::int64_t row : members) squares_ += square(reward[row] - mean_);
    share_ = 1 / (count - 1);
    most_ = std::min(2.0, 0.5 * (count - 1));
  }

  /// From the moments of the whole group. Where the member dominates its group (at most one does in
  /// a group of three or more) that would cancel: there its others are passed over twice.
  Spread of(std::size_t i) const {
    const double distance = reward_[members_[i]] - mean_;
    const double own = distance * distance, rest = squares_ - own;
    if (!(own <= most_ * rest)) return spread_without(reward_, members_, i);
    return {mean_ - distance * share_, rest - own * share_};
  }

 private:
  static double square(double x) { return x * x; }
  const double* reward_;
  Members members_;
  double mean_ = 0, squares_ = 0, share_ = 0, most_ = 0;
};

/// Where the divisor is 0 so is the advantage. A row alone in its group is not divided.
void divide(const Groups& groups, const LeaveOneOutAdvantages& rows, double epsilon) {
  double* const advantage = rows.advantages.data_ptr<double>();
  const double* const spread = rows.spread.data_ptr<double>();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    if (groups.rows(g).size() == 1) continue;
    for (const std::int64_t row : groups.rows(g)) {
      const double divisor = spread[row] + epsilon;
      advantage[row] = divisor == 0 ? 0 : advantage[row] / divisor;
    }
  }
}

}  // namespace

LeaveOneOutAdvantages leave_one_out_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                               const at::Tensor& absent,
                                               const LeaveOneOutOptions& options) {
  const at::Tensor numbers = host_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const double* const reward = numbers.data_ptr<double>();
  const auto fresh = [&] {
    return absent.defined() ? at::zeros_like(numbers) : at::empty_like(numbers);
  };
  LeaveOneOutAdvantages out{fresh(), fresh(), fresh()};
  double* const advantage = out.advantages.data_ptr<double>();
  double* const baseline = out.baseline.data_ptr<double>();
  double* const variance = out.spread.data_ptr<double>();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const Members members = groups.rows(g);
    if (members.size() == 1) {
      const std::int64_t row = members[0];
      advantage[row] = options.singleton == Singleton::raw ? reward[row] : 0;
      baseline[row] = reward[row] - advantage[row];
      variance[row] = 0;
      continue;
    }
    const Others others(reward, members);
    const double scale = members.size() > 2 ? 1 / static_cast<double>(members.size() - 2) : 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      const std::int64_t row = members[i];
      const Spread spread = others.of(i);
      baseline[row] = spread.mean;
      variance[row] = spread.squares * scale;
      advantage[row] = reward[row] - spread.mean;
    }
  }
  out.spread.sqrt_();
  if (options.scale == LeaveOneOutScale::leave_one_out_std) {
    divide(groups, out, options.epsilon);
  }
  const auto type = at::isFloatingType(rewards.scalar_type()) ? rewards.scalar_type() : at::kFloat;
  for (at::Tensor* const rows : {&out.advantages, &out.baseline, &out.spread}) {
    *rows = rows->to(rewards.device(), type);
  }
  return out;
}

struct LeaveOneOut final : Node {
  Input<Rewards> rewards{
      this,
      "rewards",
      "one reward per completion, with group ids",
      {.needs = {{"group_size", {{"min", 2}}},
                 {"scale", {{"not", "normalised"}, {"when", {{"scale", "leave_one_out_std"}}}}}}}};
  Output<Advantages> advantages{
      this,
      "advantages",
      "one advantage per completion",
      {.facts = {{"scale", {{"normalised", {{"scale", "leave_one_out_std"}}}}}}}};
  Output<Values> baseline{this, "baseline", "mean reward of the others of the group"};
  Output<Values> spread{this, "std", "sample spread of the others"};
  Param<LeaveOneOutScale> scale{this, "scale", LeaveOneOutScale::none,
                                "what divides the difference"};
  Param<double> epsilon{
      this, "epsilon", 1e-6, "added to the spread, where there is a scale", {.min = 0}};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one scored member"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RLOO", "leave one out", "baseline"}};
  Doc doc{this,
          "A_i = r_i - mean of r_j over the other rows j of i's group; [N] -> [N].\n"
          "Absent rows are among nobody's others and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const LeaveOneOutAdvantages result =
        leave_one_out_advantages(r.total, r.group, r.absent, {scale(), epsilon(), singleton()});
    step[advantages] = Advantages{result.advantages, r};
    step[baseline] = Values{result.baseline, r.batch};
    step[spread] = Values{result.spread, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LeaveOneOut, "Leave-one-out advantage (RLOO)", "arXiv:2402.14740")
