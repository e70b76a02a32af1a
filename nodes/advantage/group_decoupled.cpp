#include "nodes/advantage/group_decoupled.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// (x - mean) / (spread + epsilon) of some rows, times weight, added to `sum`.
void add_normalised(const std::vector<double>& x, std::span<const std::int64_t> rows, double weight,
                    const DecoupledOptions& options, std::vector<double>& sum) {
  const Moments moments(x, rows);
  if (moments.constant) return;
  const double divisor = moments.spread(options.divisor == Divisor::sample) + options.epsilon;
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    sum[i] += weight * (x[i] - moments.mean) / divisor;
  }
}

void require_components(const at::Tensor& components, const std::vector<double>& weights,
                        const at::Tensor& absent) {
  if (components.dim() != 2) {
    throw Failure("bad-shape",
                  fmt::format("components must be [N,K], but have {} dimensions", components.dim()),
                  "give one column per reward");
  }
  if (!weights.empty() && static_cast<std::int64_t>(weights.size()) != components.size(1)) {
    throw Failure(
        "bad-shape",
        fmt::format("there are {} weights for {} rewards", weights.size(), components.size(1)),
        "give one weight per reward, in the order of the columns");
  }
  if (absent.defined() && absent.sizes() != components.sizes()) {
    throw Failure(
        "bad-shape",
        c10::str("absent is ", absent.sizes(), ", but components are ", components.sizes()),
        "mark each component of each row");
  }
}

}  // namespace

at::Tensor decoupled_advantages(const at::Tensor& components, const std::vector<double>& weights,
                                const at::Tensor& group, const at::Tensor& absent,
                                const DecoupledOptions& options) {
  require_components(components, weights, absent);
  const std::int64_t rows = components.size(0);
  std::vector<double> sum(static_cast<std::size_t>(rows), 0.0);
  for (std::int64_t k = 0; k < components.size(1); ++k) {
    const at::Tensor gone = absent.defined() ? absent.select(1, k) : at::Tensor();
    const std::vector<double> x = finite_rows(components.select(1, k), gone, "a component");
    const Groups groups(group, gone, rows);
    const double weight = weights.empty() ? 1 : weights[static_cast<std::size_t>(k)];
    for (std::size_t g = 0; g < groups.count(); ++g) {
      add_normalised(x, groups.rows(g), weight, options, sum);
    }
  }
  const at::Tensor nothing = absent.defined() ? absent.to(at::kBool).all(1) : at::Tensor();
  const Groups scored(group, nothing, rows);
  std::vector<double> advantage(sum.size(), 0.0);
  add_normalised(sum, scored.rows(), 1, options, advantage);
  return like_rewards(advantage, components);
}

struct GroupDecoupled final : Node {
  Inputs<Rewards> rewards{
      this,
      "rewards",
      "one edge per reward, or one edge whose components are taken",
      0,
      {.needs = {{"group_size", {{"min", 2}}}, {"scale", {{"not", "normalised"}}}}}};
  Optional<Features> components{
      this, "components", "instead: one column per reward", {.dims = "N,K"}};
  Optional<Values> weights{this, "weights", "one per reward; else as the parameter", {.dims = "K"}};
  Optional<Values> group{this, "group", "group ids, where components are given", {.dims = "N"}};
  Optional<Values> absent{
      this, "absent", "not 0 where a component does not apply to a row", {.dims = "N,K"}};
  Output<Advantages> advantages{this,
                                "advantages",
                                "one advantage per completion",
                                {.facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Param<double> epsilon{
      this, "epsilon", 1e-4, "added to each group's and to the batch spread", {.min = 0}};
  Param<Divisor> divisor{this, "std", Divisor::sample, "divisor of the variance"};
  Param<std::optional<std::vector<double>>> component_weights{
      this, "component_weights", std::nullopt, "one per reward, in their order; null: all 1"};
  Rule something{this,
                 {{{"components", {{"connected", false}}}},
                  {{"rewards", {{"connected", true}}}},
                  "there are no rewards",
                  "connect the rewards, or components"}};
  Rule grouped{this,
               {{{"components", {{"connected", true}}}},
                {{"group", {{"connected", true}}}},
                "components carry no group ids",
                "connect group, or give the rewards instead"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"GDPO", "multi-reward", "normalize_then_sum", "multi-objective"}};
  Doc doc{
      this,
      "z_k = (r_k - mean of the group) / (spread + epsilon) for each reward k, s = sum w_k z_k, "
      "A = (s - mean of the batch) / (its spread + epsilon); [N,K] -> [N].\n"
      "A reward that varies little is not drowned by one that varies much. What is absent "
      "enters nothing; equal values give exactly 0."};

  void run(Step& step) const override {
    Rewards from;
    const at::Tensor result =
        step[components] != nullptr ? of_matrix(step, from) : of_edges(step, from);
    step[advantages] = Advantages{result, from};
  }

 private:
  std::vector<double> weights_of(const Step& step) const {
    const Values* const given = step[weights];
    if (given == nullptr) return component_weights().value_or(std::vector<double>{});
    return finite_rows(given->values, {}, "the weight");
  }

  at::Tensor of_matrix(const Step& step, Rewards& from) const {
    const Features& x = *step[components];
    const Values* const ids = step[group];
    const Values* const gone = step[absent];
    if (ids == nullptr) step.fail("no-groups", "components carry no group ids", "connect group");
    from.group = ids->values;
    from.batch = x.batch;
    return decoupled_advantages(x.features, weights_of(step), from.group,
                                gone != nullptr ? gone->values : at::Tensor(),
                                {epsilon(), divisor()});
  }

  at::Tensor of_edges(const Step& step, Rewards& from) const {
    const auto edges = step[rewards];
    if (edges.size() == 0) step.fail("there are no rewards", "connect the rewards, or components");
    from.group = edges[0].group;
    from.batch = edges[0].batch;
    std::vector<at::Tensor> columns, gone;
    const auto add = [&](const at::Tensor& column, const Rewards& of) {
      columns.push_back(column);
      gone.push_back(of.absent.defined() ? of.absent.to(at::kBool)
                                         : at::zeros_like(column, at::kBool));
    };
    for (std::size_t k = 0; k < edges.size(); ++k) {
      require_same_rows("the first reward", edges[0].total.size(0), edges[0].batch,
                        fmt::format("reward {}", k + 1), edges[k].total.size(0), edges[k].batch);
      if (edges.size() > 1 || edges[k].components.empty()) add(edges[k].total, edges[k]);
    }
    if (columns.empty()) {
      for (const auto& [name, column] : edges[0].components) add(column, edges[0]);
    }
    return decoupled_advantages(at::stack(columns, 1), weights_of(step), from.group,
                                at::stack(gone, 1), {epsilon(), divisor()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GroupDecoupled, "Decoupled group advantage (GDPO)", "arXiv:2601.05242")
