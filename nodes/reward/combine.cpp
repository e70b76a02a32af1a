#include "nodes/reward/combine.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

at::Tensor weighted(const at::Tensor& terms, const std::vector<double>& weights) {
  if (weights.empty()) return terms;
  if (static_cast<std::int64_t>(weights.size()) != terms.size(1)) {
    throw Failure("bad-shape",
                  fmt::format("there are {} weights for {} rewards", weights.size(), terms.size(1)),
                  "give one weight per reward, in the order of the edges");
  }
  return terms * at::tensor(at::ArrayRef<double>(weights), terms.options());
}

at::Tensor log_sigmoids(const at::Tensor& components, const at::Tensor& reference) {
  if (!reference.defined()) {
    throw Failure("no-reference-rewards", "log_sigmoid_sum needs a reference value per reward",
                  "connect reference, or set references");
  }
  if (reference.dim() != 1 || reference.size(0) != components.size(1)) {
    throw Failure("bad-shape",
                  c10::str("reference is ", reference.sizes(), ", but there are ",
                           components.size(1), " rewards"),
                  "give one reference per reward, in the order of the edges");
  }
  finite_rows(reference, {}, "the reference");
  return at::log_sigmoid(components - reference.to(components.options()));
}

/// A reward that counts against the sum would have to be bad where all shall be good.
void require_no_negative(const std::vector<double>& weights) {
  for (std::size_t k = 0; k < weights.size(); ++k) {
    if (weights[k] >= 0) continue;
    throw Failure("bad-weights",
                  fmt::format("weight {} of log_sigmoid_sum is {}", k + 1, weights[k]),
                  "give weights of 0 or more; what is to be avoided enters by its negative reward");
  }
}

at::Tensor filled(const at::Tensor& terms, const at::Tensor& present, double value) {
  if (!present.defined()) return terms;
  return terms.masked_fill(present.logical_not(), value);
}

void require_finite(const at::Tensor& components, const at::Tensor& present, const char* port) {
  const at::Tensor x = filled(components, present, 0.0);
  if (std::isfinite(x.sum().item<double>())) return;
  const at::Tensor bad = x.isfinite().logical_not().nonzero();
  if (bad.size(0) == 0) return;  // finite, and too large to be added up here
  const std::int64_t row = bad[0][0].item<std::int64_t>();
  const std::int64_t reward = bad[0][1].item<std::int64_t>();
  throw Failure(
      {Severity::error,
       "not-finite",
       {"", "", port},
       fmt::format("row {} of reward {} is {}", row, reward + 1, x[row][reward].item<double>()),
       "mark rows that could not be scored as absent",
       {}});
}

}  // namespace

at::Tensor combine_rewards(const at::Tensor& components, const at::Tensor& present,
                           const std::vector<double>& weights, const at::Tensor& reference,
                           CombineOp op) {
  if (op == CombineOp::log_sigmoid_sum) require_no_negative(weights);
  const at::Tensor x = components.to(at::kDouble);
  const at::Tensor terms =
      weighted(op == CombineOp::log_sigmoid_sum ? log_sigmoids(x, reference) : x, weights);
  at::Tensor out;
  switch (op) {
    case CombineOp::min:
      out = std::get<0>(filled(terms, present, std::numeric_limits<double>::infinity()).min(1));
      break;
    case CombineOp::product: out = filled(terms, present, 1.0).prod(1); break;
    case CombineOp::mean: {
      const at::Tensor sum = filled(terms, present, 0.0).sum(1);
      out = present.defined() ? sum / present.sum(1).clamp_min(1)
                              : sum / static_cast<double>(terms.size(1));
      break;
    }
    case CombineOp::sum:
    case CombineOp::log_sigmoid_sum: out = filled(terms, present, 0.0).sum(1); break;
  }
  if (present.defined()) out = out.masked_fill(present.any(1).logical_not(), 0.0);
  return out.to(components.scalar_type());
}

namespace {

enum class AbsentRows { any, all };
constexpr auto choices(AbsentRows) {
  return std::to_array<Choice<AbsentRows>>({
      {AbsentRows::any, "any", "a row that lacks any reward is absent"},
      {AbsentRows::all, "all",
       "a row is absent if it lacks all; else the others are combined (TRL)"},
  });
}

/// A list that is set has an entry for each edge of `rewards`.
RuleDeclaration one_per_edge(const char* list, const std::string& entry) {
  RuleDeclaration rule;
  rule.when = {{list, {{"set", true}}}, {"components", {{"connected", false}}}};
  rule.require[list] = {{"size", {{"edges", "rewards"}}}};
  rule.text = fmt::format("there is not one {} per reward", entry);
  rule.help = fmt::format("give one {} per reward, in the order of the edges", entry);
  return rule;
}

}  // namespace

struct Combine final : Node {
  Inputs<Rewards> rewards{this,
                          "rewards",
                          "rewards of the same rows",
                          0,
                          {.needs = {{"scale",
                                      {{"alike", "log-sigmoid utility"},
                                       {"when", {{"op", {"sum", "mean", "min"}}}}}}}}};
  Optional<Features> components{
      this, "components", "instead: one column per reward", {.dims = "N,K"}};
  Optional<Values> reference{
      this, "reference", "one value per reward, for log_sigmoid_sum", {.dims = "K"}};
  Output<Rewards> out{
      this,
      "rewards",
      "the combined reward, with its parts as components",
      {.facts = {{"scale", {{"log-sigmoid utility", {{"op", "log_sigmoid_sum"}}}}}}}};
  Param<CombineOp> op{this, "op", CombineOp::sum, "how the rewards become one"};
  Param<std::optional<std::vector<double>>> weights{
      this, "weights", std::nullopt, "one per reward, in the order of the edges; null: all 1"};
  Param<std::optional<std::vector<double>>> references{
      this, "references", std::nullopt, "as the input reference, where that is not connected"};
  Param<std::vector<std::string>> names{
      this, "names", std::vector<std::string>{},
      "what the components are called; else as the nodes that gave them"};
  Param<AbsentRows> absent{this, "absent", AbsentRows::any, "when a row is absent"};
  Rule something{this,
                 {{{"components", {{"connected", false}}}},
                  {{"rewards", {{"connected", true}}}},
                  "there is nothing to combine",
                  "connect one or more rewards"}};
  Rule has_reference{this,
                     {{{"op", "log_sigmoid_sum"}, {"reference", {{"connected", false}}}},
                      {{"references", {{"set", true}}}},
                      "log_sigmoid_sum needs a reference value per reward",
                      "connect reference, or set references"}};
  Rule weight_each{this, one_per_edge("weights", "weight")};
  Rule reference_each{this, one_per_edge("references", "reference")};
  Rule name_each{this, one_per_edge("names", "name")};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"sum", "multi-objective", "weighted", "ensemble", "mixture"}};
  Doc doc{this,
          "K rewards [N] of the same rows -> one [N]; each term is multiplied by its weight.\n"
          "log_sigmoid_sum: sum_k w_k log sigmoid(r_k - reference_k), for which no single reward "
          "can make up for another. The parts stay visible as components."};

  void run(Step& step) const override {
    const Features* matrix = step[components];
    if (matrix != nullptr) {
      Rewards result;
      if (matrix->features.dim() == 2) require_finite(matrix->features, {}, "components");
      result.total = combined(step, matrix->features, {});
      result.batch = matrix->batch;
      step[out] = std::move(result);
      return;
    }
    step[out] = of_edges(step);
  }

 private:
  at::Tensor combined(const Step& step, const at::Tensor& columns,
                      const at::Tensor& present) const {
    at::Tensor centre;
    if (const Values* given = step[reference]) {
      centre = given->values;
    } else if (references()) {
      centre = at::tensor(at::ArrayRef<double>(*references()), at::dtype(at::kDouble));
    }
    return combine_rewards(columns, present, weights().value_or(std::vector<double>{}), centre,
                           op());
  }

  Rewards of_edges(Step& step) const {
    const auto parts = step[rewards];
    if (parts.size() == 0) step.fail("there is nothing to combine", "connect one or more rewards");
    if (!names().empty() && names().size() != parts.size()) {
      step.fail(fmt::format("there are {} names for {} rewards", names().size(), parts.size()),
                "give one name per reward, in the order of the edges");
    }
    const Rewards& first = parts[0];
    Rewards result;
    result.group = first.group;
    result.batch = first.batch;
    std::vector<at::Tensor> columns;
    std::vector<at::Tensor> present;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const Rewards& part = parts[k];
      require_same_rows("the first reward", first.total.size(0), first.batch,
                        fmt::format("reward {}", k + 1), part.total.size(0), part.batch);
      columns.push_back(part.total);
      present.push_back(part.absent.defined() ? part.absent.logical_not()
                                              : at::ones_like(part.total, at::kBool));
      result.components.emplace_back(name_of(part, k, result.components), part.total);
      if (!result.group.defined()) result.group = part.group;
    }
    const at::Tensor there = at::stack(present, 1);
    const at::Tensor matrix = at::stack(columns, 1);
    require_finite(matrix, there, "rewards");
    result.total = combined(step, matrix, there);
    const at::Tensor kept = absent() == AbsentRows::any ? there.all(1) : there.any(1);
    if (!kept.all().item<bool>()) {
      result.absent = kept.logical_not();
      result.total = result.total.masked_fill(result.absent, 0.0);
    }
    return result;
  }

  /// The given name, or that of the node that scored first, made different from those before.
  std::string name_of(const Rewards& part, std::size_t index, const NamedTensors& taken) const {
    std::string name = index < names().size()     ? names()[index]
                       : !part.components.empty() ? part.components.front().first
                                                  : fmt::format("reward_{}", index + 1);
    const auto used = [&] {
      return std::any_of(taken.begin(), taken.end(),
                         [&](const auto& entry) { return entry.first == name; });
    };
    const std::string base = name;
    for (int n = 2; used(); ++n) name = fmt::format("{}_{}", base, n);
    return name;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Combine, "Combine rewards", "arXiv:2402.00742")
