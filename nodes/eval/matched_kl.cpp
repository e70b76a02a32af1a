#include "nodes/eval/matched_kl.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// The tilted policy of every group, and the mean divergence.
double tilt(const Groups& groups, const std::vector<double>& prior,
            const std::vector<double>& utility, double gamma, std::vector<double>& policy) {
  double total = 0;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    double largest = -HUGE_VAL;
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      policy[i] = std::log(prior[i]) + utility[i] / gamma;
      largest = std::max(largest, policy[i]);
    }
    double sum = 0;
    for (const std::int64_t row : rows) {
      double& p = policy[static_cast<std::size_t>(row)];
      p = std::exp(p - largest);
      sum += p;
    }
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      policy[i] /= sum;
      if (policy[i] > 0) total += policy[i] * std::log(policy[i] / prior[i]);
    }
  }
  return total / static_cast<double>(groups.count());
}

}  // namespace

MatchedPolicy policy_at_kl(const at::Tensor& prior, const at::Tensor& utility,
                           const at::Tensor& group, double kl) {
  if (!(kl > 0)) {
    throw Failure("param-range",
                  fmt::format("a policy that diverges by {:g} nats is the prior itself", kl),
                  "ask for more than 0");
  }
  const std::vector<double> p = numbers_of(prior);
  const std::vector<double> u = finite_rows(utility, {}, "utility");
  const Groups groups(group, {}, prior.size(0));
  std::vector<double> policy(p.size());
  double low = std::log(1e-4);
  double high = std::log(1e4);
  for (int i = 0; i < 80; ++i) {
    const double middle = (low + high) / 2;
    // A smaller price lets the policy go further.
    (tilt(groups, p, u, std::exp(middle), policy) > kl ? low : high) = middle;
  }
  MatchedPolicy result;
  result.gamma = std::exp(high);
  result.kl = tilt(groups, p, u, result.gamma, policy);
  result.policy = at::tensor(at::ArrayRef<double>(policy), at::dtype(at::kDouble));
  return result;
}

struct MatchedKl final : Node {
  Input<Values> prior{this, "prior", "probability of each candidate of a group", {.dims = "N"}};
  Input<Rewards> utility{this, "utility", "what the policy maximises, with group ids"};
  Input<Rewards> truth{this, "truth", "what candidates are worth, one component per property"};
  Output<Metrics> metrics{this, "metrics", "all_good, mean_min, below_prior, truth, kl, gamma"};
  Output<Values> policy{this, "policy", "the policy", {.dims = "N"}};
  Param<double> kl{this,
                   "kl",
                   1.0,
                   "divergence at which policies are compared, mean over groups",
                   {.min = 0, .exclusive_min = true, .unit = "nats"}};
  Param<double> threshold{this, "threshold", 0.5, "a property is good from this true value on"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"tilted policy", "equal KL", "Pareto", "overoptimisation"}};
  Doc doc{
      this,
      "The policy proportional to prior exp(utility / gamma), gamma such that its mean KL from the "
      "prior is `kl`: utilities of any scale become comparable. all_good: probability that every "
      "property reaches the threshold; mean_min: expected lesser property; below_prior: share of "
      "groups in which some property is worth less than under the prior; truth: expected sum of "
      "the properties."};

  void run(Step& step) const override {
    const Rewards& u = step[utility];
    const Rewards& t = step[truth];
    require_same_rows("utility", u.total.size(0), u.batch, "truth", t.total.size(0), t.batch);
    require_same_rows("prior", step[prior].values.size(0), 0, "utility", u.total.size(0), 0);
    if (!u.group.defined()) {
      step.fail("no-groups", "the utility does not say which candidates belong together",
                "connect rewards with group ids");
    }
    if (t.components.empty()) {
      step.fail("no-components", "the truth has no component per property", "name them");
    }
    const at::Tensor p = step[prior].values.to(at::kDouble);
    const MatchedPolicy result = policy_at_kl(p, u.total.to(at::kDouble), u.group, kl());
    const at::Tensor pi = result.policy;
    const double groups = p.sum().item<double>();
    at::Tensor good = at::ones_like(pi);
    at::Tensor least = at::full_like(pi, HUGE_VAL);
    at::Tensor sum = at::zeros_like(pi);
    at::Tensor worse;
    const at::Tensor ids = std::get<1>(at::_unique2(u.group, true, true));
    for (const auto& [name, tensor] : t.components) {
      const at::Tensor value = tensor.to(at::kDouble);
      good = good * value.ge(threshold()).to(at::kDouble);
      least = at::minimum(least, value);
      sum = sum + value;
      const at::Tensor gain = at::zeros({ids.max().item<std::int64_t>() + 1}, at::kDouble)
                                  .index_add(0, ids, (pi - p) * value);
      worse = worse.defined() ? worse.logical_or(gain < 0) : gain < 0;
    }
    const auto expected = [&](const at::Tensor& value) {
      return (pi * value).sum().item<double>() / groups;
    };
    Metrics out;
    out.add("all_good", expected(good));
    out.add("mean_min", expected(least));
    out.add("below_prior", worse.to(at::kDouble).mean().item<double>());
    out.add("truth", expected(sum));
    out.add("kl", result.kl);
    out.add("gamma", result.gamma);
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
    step[policy] = Values{pi, 0};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MatchedKl, "Ideal policy at a given KL", "arXiv:2402.00742")
