#include "nodes/eval/reward_distance.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace rewardloom {

at::Tensor uniform_value(const at::Tensor& reward, const at::Tensor& transitions, double gamma) {
  const at::Tensor step = transitions.mean(1);
  const at::Tensor gain = (transitions * reward).sum(-1).mean(-1);
  const at::Tensor system = at::eye(reward.size(0), reward.options()) - gamma * step;
  return at::linalg_solve(system, gain);
}

namespace {

/// R + gamma p(s') - p(s).
at::Tensor shaped(const at::Tensor& reward, const at::Tensor& potential, double gamma) {
  return reward + gamma * potential.view({1, 1, -1}) - potential.view({-1, 1, 1});
}

/// Mean over actions a of sum over x ~ T(s,a), y ~ T(t,a) of R(x,a,y): [S,S] for (s,t).
at::Tensor dard_offset(const at::Tensor& reward, const at::Tensor& transitions) {
  at::Tensor sum = at::zeros({reward.size(0), reward.size(0)}, reward.options());
  for (std::int64_t a = 0; a < reward.size(1); ++a) {
    const at::Tensor t = transitions.select(1, a);
    sum += t.matmul(reward.select(1, a)).matmul(t.t());
  }
  return sum / reward.size(1);
}

}  // namespace

at::Tensor canonical_reward(const at::Tensor& reward, const at::Tensor& transitions, double gamma,
                            Canonical form) {
  switch (form) {
    case Canonical::none: return reward;
    case Canonical::epic: {
      const at::Tensor potential = reward.mean({1, 2});
      return shaped(reward, potential, gamma) - gamma * potential.mean();
    }
    case Canonical::dard: {
      const at::Tensor potential = (transitions * reward).sum(-1).mean(-1);
      return shaped(reward, potential, gamma) -
             gamma * dard_offset(reward, transitions).unsqueeze(1);
    }
    case Canonical::val_potential:
      return shaped(reward, uniform_value(reward, transitions, gamma), gamma);
    case Canonical::val: {
      const at::Tensor table = shaped(reward, uniform_value(reward, transitions, gamma), gamma);
      return (transitions * table).sum(-1, true).expand_as(reward).contiguous();
    }
  }
  throw Failure("internal", "unknown canonicalisation");
}

double table_norm(const at::Tensor& table, const at::Tensor& transitions, TableNorm norm) {
  const at::Tensor size = table.abs();
  at::Tensor value;
  switch (norm) {
    case TableNorm::none: return 1;
    case TableNorm::l1: value = size.sum(); break;
    case TableNorm::l2: value = size.square().sum().sqrt(); break;
    case TableNorm::linf: value = size.max(); break;
    case TableNorm::weighted_l1: value = (transitions * size).sum(); break;
    case TableNorm::weighted_l2: value = (transitions * size.square()).sum().sqrt(); break;
    case TableNorm::weighted_linf: value = (transitions * size).max(); break;
  }
  return value.item<double>();
}

at::Tensor normalised(const at::Tensor& table, double norm) {
  return norm > 0 ? table / norm : table;
}

double table_distance(const at::Tensor& a, const at::Tensor& b, TableMetric metric) {
  const at::Tensor difference = (a - b).abs();
  if (metric == TableMetric::l1) return difference.sum().item<double>();
  if (metric == TableMetric::linf) return difference.max().item<double>();
  return difference.square().sum().sqrt().item<double>();
}

namespace {

double pearson_distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a - a.mean(), y = b - b.mean();
  const double first = x.square().sum().item<double>(), second = y.square().sum().item<double>();
  if (first == 0 && second == 0) return 0;
  if (first == 0 || second == 0) {
    throw Failure("constant-reward",
                  "one canonical reward is constant, so nothing correlates with it",
                  "use the lp form, or compare rewards that tell policies apart");
  }
  const double correlation = (x * y).sum().item<double>() / std::sqrt(first * second);
  return std::sqrt(std::max(0.5 * (1 - correlation), 0.0));
}

/// (mean |x|^p)^(1/p)
double mean_norm(const at::Tensor& x, std::int64_t p) {
  return std::pow(x.abs().pow(p).mean().item<double>(), 1 / static_cast<double>(p));
}

}  // namespace

double epic_distance(const at::Tensor& reward, const at::Tensor& other, double gamma, EpicForm form,
                     std::int64_t p) {
  const at::Tensor a = canonical_reward(reward, {}, gamma, Canonical::epic);
  const at::Tensor b = canonical_reward(other, {}, gamma, Canonical::epic);
  if (form == EpicForm::pearson) return pearson_distance(a, b);
  return 0.5 * mean_norm(normalised(a, mean_norm(a, p)) - normalised(b, mean_norm(b, p)), p);
}

void require_reward_table(const at::Tensor& table, const char* what) {
  if (table.size(0) == table.size(2)) return;
  throw Failure("bad-shape", c10::str(what, " is ", table.sizes(), ", but must be [S,A,S]"),
                "first and last size are the number of states");
}

void require_transitions(const at::Tensor& transitions) {
  const at::Tensor low = transitions.amin(-1), sum = transitions.sum(-1);
  for (std::int64_t s = 0; s < transitions.size(0); ++s) {
    for (std::int64_t a = 0; a < transitions.size(1); ++a) {
      const double least = low[s][a].item<double>(), total = sum[s][a].item<double>();
      if (least >= 0 && std::abs(total - 1) <= 1e-4) continue;
      throw Failure("bad-transitions",
                    least < 0 ? fmt::format("T({},{},.) has {}", s, a, least)
                              : fmt::format("T({},{},.) sums to {}", s, a, total),
                    "each row must be a probability distribution over next states");
    }
  }
}

}  // namespace rewardloom
