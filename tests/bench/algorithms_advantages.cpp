// Advantages, shaping and ensembles against PyTorch operators on rows that stand in a matrix of
// groups; recurrences against the usual loop over columns.
#include <array>
#include <cmath>

#include "tests/bench/algorithms.h"

namespace rewardloom::bench {

namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor whitened(const at::Tensor& x, const at::Tensor& m) {
  const at::Tensor n = m.sum(), mean = (x * m).sum() / n;
  const at::Tensor variance = ((x - mean).square() * m).sum() / (n - 1);
  return (x - mean) * (variance + 1e-8).rsqrt() * m;
}

at::Tensor columns_from_behind(Tensors columns) {
  std::reverse(columns.begin(), columns.end());
  return at::stack(columns, 1);
}

at::Tensor gae_peer(const Batch& b, double gamma, double lambda) {
  const at::Tensor m = b.mask.to(at::kFloat);
  at::Tensor next_value = at::zeros({kRows}), last = at::zeros({kRows});
  Tensors columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    const at::Tensor here = m.select(1, t), value = b.values.select(1, t);
    const at::Tensor delta = b.token_rewards.select(1, t) + gamma * next_value - value;
    const at::Tensor advantage = delta + gamma * lambda * last;
    next_value = value * here + (1 - here) * next_value;
    last = advantage * here + (1 - here) * last;
    columns.push_back(last);
  }
  return columns_from_behind(std::move(columns)) * m;
}

/// Undiscounted.
at::Tensor returns_peer(const at::Tensor& rewards) { return rewards.flip(1).cumsum(1).flip(1); }

/// Targets of TD(lambda); every step has a next one.
at::Tensor td_peer(const Batch& b, double gamma, double lambda) {
  at::Tensor target = b.values.select(1, kTokens - 1);
  Tensors columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    target = b.token_rewards.select(1, t) +
             gamma * ((1 - lambda) * b.values.select(1, t) + lambda * target);
    columns.push_back(target);
  }
  return columns_from_behind(std::move(columns));
}

/// `values` are those of the next steps too, as for our node.
void vtrace_peer(const Batch& b, double gamma) {
  const at::Tensor weight = (b.log_probs - b.old_log_probs).exp();
  const at::Tensor rho = weight.clamp_max(1), trace = gamma * weight.clamp_max(1);
  const at::Tensor delta = rho * (b.token_rewards + (gamma - 1) * b.values);
  at::Tensor excess = at::zeros({kRows});
  Tensors columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    excess = delta.select(1, t) + trace.select(1, t) * excess;
    columns.push_back(excess);
  }
  const at::Tensor target = b.values + columns_from_behind(std::move(columns));
  const at::Tensor next = at::cat({target.slice(1, 1), b.values.slice(1, kTokens - 1)}, 1);
  (void)(rho * (b.token_rewards + gamma * next - b.values));
}

at::Tensor normalised(const at::Tensor& grouped, double epsilon) {
  return (grouped - grouped.mean(1, true)) / (grouped.std(1, true, true) + epsilon);
}

/// n/(n-1) (r - mean) of the others' first turns: [G,8] of [G,8,turns].
at::Tensor against_first_turns(const at::Tensor& turns, double scale) {
  return scale * (turns - turns.select(2, 0).mean(1, true).unsqueeze(2));
}

void jepo_peer(const at::Tensor& r) {
  const at::Tensor own = at::eye(kGroup, at::kBool).unsqueeze(0);
  const at::Tensor others = r.unsqueeze(1).masked_fill(own, -HUGE_VAL).logsumexp(2);
  (void)(r.logsumexp(1, true) - std::log(kGroup) - (others - std::log(kGroup - 1)));
  (void)r.softmax(1);
}

void running_peer(const at::Tensor& rewards, std::array<double, 3>& seen) {
  const double n = kRows, mean = rewards.mean().item<double>();
  const double squares = rewards.var(false).item<double>() * n;
  auto& [count, centre, spread] = seen;
  const double delta = mean - centre, total = count + n;
  centre += delta * n / total;
  spread += squares + delta * delta * count * n / total;
  count = total;
  (void)((rewards - centre) / std::sqrt(spread / count));
}

/// PRIME: leave-one-out in both sources, summed from behind, whitened.
void multi_source_peer(const Batch& b, const at::Tensor& m) {
  const double others = kGroup - 1, scale = kGroup / others;
  const at::Tensor lengths = m.sum(1);
  const at::Tensor sums = b.by_group((b.token_rewards * m).sum(1) / lengths).sum(1, true) / others;
  const at::Tensor shift = sums.expand({-1, kGroup}).reshape({kRows, 1});
  const at::Tensor process = returns_peer((scale * b.token_rewards - shift) * m);
  const at::Tensor r = b.by_group(b.rewards);
  const at::Tensor outcome = (scale * (r - r.mean(1, true))).reshape({kRows, 1}).to(at::kFloat);
  const at::Tensor placed =
      at::zeros_like(m).scatter(1, (lengths - 1).to(at::kLong).unsqueeze(1), outcome);
  (void)whitened((process + returns_peer(placed)) * m, m);
}

void token_baseline_peer(const Batch& b, const at::Tensor& squares, const at::Tensor& m) {
  const at::Tensor g = returns_peer(b.token_rewards * m) * m;
  const at::Tensor energy = ((1 - 2 * b.log_probs.exp() + squares) * m).cumsum(1) * m;
  const auto grouped = [](const at::Tensor& x) { return x.view({-1, kGroup, kTokens}); };
  const at::Tensor baseline =
      grouped(g * energy).sum(1, true) / (grouped(energy).sum(1, true) + 1e-8);
  (void)((grouped(g) - baseline).view_as(m) * m);
}

/// Returns against the mean of those from the beginning of the same step, by scattered sums.
void step_returns_peer(const Batch& b, const at::Tensor& index, std::int64_t steps,
                       const at::Tensor& m) {
  const at::Tensor g = returns_peer(b.token_rewards * m);
  const at::Tensor place = (b.group.unsqueeze(1) * steps + index.clamp_min(0)).flatten();
  const at::Tensor before =
      at::cat({at::full({kRows, 1}, -1, at::kLong), index.slice(1, 0, -1)}, 1);
  const at::Tensor begins = (index.ne(before) * m).flatten();
  const auto sums = [&](const at::Tensor& x) {
    return at::zeros({kRows / kGroup * steps}).index_add(0, place, x);
  };
  const at::Tensor mean = sums(g.flatten() * begins) / sums(begins).clamp_min(1);
  (void)((g - mean.index_select(0, place).view_as(g)) * m);
}

void process_group_peer(const at::Tensor& rewards, const at::Tensor& ends, const at::Tensor& m) {
  const at::Tensor z = normalised(rewards.view({kRows / kGroup, -1}), 1e-6).view_as(rewards);
  (void)(returns_peer(at::zeros_like(m).scatter_add(1, ends, z)) * m);
}

Contest decoupled_contest(const Batch& b) {
  Tensors columns;
  std::vector<Value> edges;
  for (int k = 0; k < 3; ++k) {
    Rewards r = b.row_rewards();
    r.total = b.normal({kRows}).to(at::kDouble);
    columns.push_back(r.total);
    edges.push_back(Value::of(r));
  }
  return {"advantage.group_decoupled",
          firing("advantage.group_decoupled", {}, {{"rewards", edges}}), [columns, &b] {
            at::Tensor sum = at::zeros({kRows}, at::kDouble);
            for (const at::Tensor& x : columns) {
              sum = sum + normalised(b.by_group(x), 1e-4).flatten();
            }
            (void)((sum - sum.mean()) / (sum.std() + 1e-4));
          }};
}

Contest episode_step_contest(const Batch& b) {
  constexpr std::int64_t turns = 4, groups = kRows / kGroup / turns;
  Rewards steps = b.row_rewards(), episodes = b.row_rewards();
  steps.group = episodes.group = at::arange(groups, at::kLong).repeat_interleave(kGroup * turns);
  episodes.total = b.normal({kRows / turns}).repeat_interleave(turns).to(at::kDouble);
  const at::Tensor ids = at::arange(kRows / turns, at::kLong).repeat_interleave(turns);
  return {"advantage.episode_step",
          firing("advantage.episode_step", {},
                 {{"episode_rewards", {Value::of(episodes)}},
                  {"step_rewards", {Value::of(steps)}},
                  {"trajectory", {Value::of(Values{ids, 0})}}}),
          [=] {
            const auto shaped = [](const at::Tensor& x) { return x.view({groups, kGroup, turns}); };
            const double scale = kGroup / (kGroup - 1.0);
            (void)(against_first_turns(shaped(episodes.total), scale) +
                   against_first_turns(shaped(steps.total), scale))
                .flatten();
          }};
}

}  // namespace

std::vector<Contest> row_advantage_contests(const Batch& b) {
  const auto grouped = [&b](const char* type) {
    return firing(type, {}, {{"rewards", {Value::of(b.row_rewards())}}});
  };
  const auto rows = [&b] { return b.by_group(b.rewards); };
  return {
      {"advantage.maxrl", grouped("advantage.maxrl"),
       [=] {
         const at::Tensor r = rows(), mean = r.mean(1, true);
         (void)((r - mean) / (mean + 1e-6)).flatten();
       }},
      {"advantage.gpg", grouped("advantage.gpg"),
       [=] {
         const at::Tensor r = rows();
         const double alpha = static_cast<double>(kRows) / r.ne(0).sum().item<double>();
         (void)(alpha * (r - r.mean(1, true))).flatten();
       }},
      {"advantage.pass_at_k", grouped("advantage.pass_at_k"),
       [=] {
         const at::Tensor r = rows();
         const auto [best, place] = r.topk(2, 1);
         const at::Tensor ahead = (best.select(1, 0) - best.select(1, 1)) / (r.std(1) + 1e-6);
         (void)at::zeros_like(r).scatter(1, place.narrow(1, 0, 1), ahead.unsqueeze(1)).flatten();
       }},
      {"advantage.group", grouped("advantage.group"),
       [=] { (void)normalised(rows(), 1e-6).flatten(); }},
      {"advantage.leave_one_out", grouped("advantage.leave_one_out"),
       [=] {
         const at::Tensor r = rows();
         const at::Tensor mean = (r.sum(1, true) - r) / (kGroup - 1);
         const at::Tensor squares = (r.square().sum(1, true) - r.square()) / (kGroup - 1);
         (void)(r - mean).flatten();
         (void)((squares - mean.square()) * (kGroup - 1) / (kGroup - 2)).clamp_min(0).sqrt();
       }},
      {"advantage.jepo", grouped("advantage.jepo"), [=] { jepo_peer(rows()); }},
      {"advantage.opo",
       firing("advantage.opo", {},
              {{"rewards", {Value::of(b.row_rewards())}},
               {"completions", {Value::of(b.completions())}}}),
       [=, &b] {
         const at::Tensor r = rows(), lengths = b.by_group(b.mask.sum(1));
         (void)(r - (lengths * r).sum(1, true) / lengths.sum(1, true)).flatten();
       }},
      decoupled_contest(b),
      episode_step_contest(b),
  };
}

std::vector<Contest> token_advantage_contests(const Batch& b) {
  const Value tokens = Value::of(b.per_token()), values = Value::of(Values{b.values, 0});
  const Value rows = Value::of(b.row_rewards()), completions = Value::of(b.completions());
  const Value log_probs = Value::of(LogProbs{b.log_probs, b.mask});
  const auto m = [&b] { return b.mask.to(at::kFloat); };
  constexpr std::int64_t steps = 8;
  const at::Tensor index =
      at::where(b.mask, at::arange(kTokens, at::kLong).floor_divide(kTokens / steps).unsqueeze(0),
                at::full({}, -1, at::kLong));
  const at::Tensor ends = (b.mask.sum(1, true) * at::arange(1, steps + 1)).floor_divide(steps) - 1;
  const StepRewards step_rewards{b.normal({kRows, steps}), ends, b.group, 0};
  const at::Tensor squares = at::rand({kRows, kTokens}, b.generator) * b.mask;
  Advantages raw;
  raw.advantages = b.advantages;
  return {
      {"advantage.gae",
       firing("advantage.gae", {{"lambda", 0.95}}, {{"rewards", {tokens}}, {"values", {values}}}),
       [&b] {
         const at::Tensor a = gae_peer(b, 1.0, 0.95);
         (void)(a + b.values * b.mask);
       }},
      {"advantage.gae, whitened",
       firing("advantage.gae", {{"lambda", 0.95}, {"preset", "verl"}},
              {{"rewards", {tokens}}, {"values", {values}}}),
       [=, &b] {
         const at::Tensor a = gae_peer(b, 1.0, 0.95);
         (void)(a + b.values * b.mask);
         (void)whitened(a, m());
       }},
      {"advantage.td_lambda",
       firing("advantage.td_lambda", {}, {{"rewards", {tokens}}, {"next_values", {values}}}),
       [&b] { (void)(td_peer(b, 0.99, 0.95) * b.mask); }},
      {"advantage.vtrace",
       firing("advantage.vtrace", {},
              {{"rewards", {tokens}},
               {"next_values", {values}},
               {"values", {values}},
               {"log_probs", {log_probs}},
               {"behavior_log_probs", {Value::of(LogProbs{b.old_log_probs, b.mask})}}}),
       [&b] { vtrace_peer(b, 0.99); }},
      {"advantage.whiten",
       firing("advantage.whiten", Json::object(),
              {{"values", {Value::of(raw)}}, {"completions", {completions}}}),
       [=, &b] { (void)whitened(b.advantages, m()); }},
      {"advantage.reinforce_pp", firing("advantage.reinforce_pp", {}, {{"rewards", {tokens}}}),
       [=, &b] {
         const at::Tensor where = m();
         (void)whitened(returns_peer(b.token_rewards) * where, where);
       }},
      {"advantage.reinforce_pp_baseline",
       firing("advantage.reinforce_pp_baseline", {},
              {{"rewards", {rows}}, {"completions", {completions}}}),
       [=, &b] {
         const at::Tensor where = m(), r = b.by_group(b.rewards).to(at::kFloat);
         (void)whitened((r - r.mean(1, true)).reshape({kRows, 1}) * where, where);
       }},
      {"advantage.remax",
       firing("advantage.remax", {}, {{"rewards", {tokens}}, {"baseline", {rows}}}),
       [=, &b] {
         const at::Tensor where = m(), g = returns_peer(b.token_rewards * where);
         (void)(g * where);
         (void)((g - b.rewards.to(at::kFloat).unsqueeze(1)) * where);
       }},
      {"advantage.multi_source",
       firing("advantage.multi_source", {},
              {{"process_rewards", {tokens}}, {"outcome_rewards", {rows}}}),
       [=, &b] { multi_source_peer(b, m()); }},
      {"advantage.optimal_token_baseline",
       firing("advantage.optimal_token_baseline", {},
              {{"rewards", {tokens}},
               {"log_probs", {log_probs}},
               {"sum_pi_squared", {Value::of(Values{squares, 0})}}}),
       [=, &b] { token_baseline_peer(b, squares, m()); }},
      {"advantage.process_group",
       firing("advantage.process_group", {},
              {{"step_rewards", {Value::of(step_rewards)}}, {"completions", {completions}}}),
       [=] { process_group_peer(step_rewards.rewards, step_rewards.boundaries, m()); }},
      {"advantage.group_returns",
       firing("advantage.group_returns", {},
              {{"token_rewards", {tokens}},
               {"completions", {completions}},
               {"step_index", {Value::of(Values{index, 0})}}}),
       [=, &b] { step_returns_peer(b, index, steps, m()); }},
      {"advantage.group_returns, whole",
       firing("advantage.group_returns", {{"baseline", "whole"}},
              {{"token_rewards", {tokens}}, {"completions", {completions}}}),
       [=, &b] {
         const at::Tensor where = m(), g = returns_peer(b.token_rewards * where);
         const at::Tensor mean = b.by_group(g.select(1, 0)).mean(1, true).expand({-1, kGroup});
         (void)((g - mean.reshape({kRows, 1})) * where);
       }},
      {"shape.sigma_filter",
       firing("shape.sigma_filter", {},
              {{"values", {Value::of(raw)}}, {"completions", {completions}}}),
       [=, &b] {
         const at::Tensor where = m(), mean = mean_in(b.advantages, where);
         const at::Tensor variance = mean_in((b.advantages - mean).square(), where);
         const at::Tensor y = (b.advantages - mean) * variance.clamp_min(1e-8).rsqrt() + 1e-8;
         const at::Tensor outside = (y.abs() > 3).logical_and(b.mask);
         (void)(y * where).masked_fill(outside, 0);
         log_mean(truths(outside));
       }},
  };
}

namespace {

std::vector<Contest> ensemble_contests(const Batch& b) {
  Tensors members;
  std::vector<Value> edges;
  for (int k = 0; k < 5; ++k) {
    Rewards r = b.row_rewards();
    r.total = b.normal({kRows}).to(at::kDouble);
    members.push_back(r.total);
    edges.push_back(Value::of(r));
  }
  const auto reducing = [&](const char* op) {
    return firing("ensemble.reduce", {{"op", op}}, {{"rewards", edges}});
  };
  /// Every form gives the spread of the members beside their reward.
  const auto peer = [&](auto form) {
    return [=] {
      const at::Tensor x = at::stack(members);
      (void)form(x, x.std(0));
    };
  };
  return {
      {"ensemble.reduce mean", reducing("mean"),
       peer([](const at::Tensor& x, const at::Tensor&) { return x.mean(0); })},
      {"ensemble.reduce median", reducing("median"),
       peer([](const at::Tensor& x, const at::Tensor&) { return std::get<0>(x.median(0)); })},
      {"ensemble.reduce min", reducing("min"),
       peer([](const at::Tensor& x, const at::Tensor&) { return x.amin(0); })},
      {"ensemble.reduce mean_minus_std", reducing("mean_minus_std"),
       peer([](const at::Tensor& x, const at::Tensor& std) { return x.mean(0) - std; })},
      {"ensemble.reduce mean_minus_var", reducing("mean_minus_var"),
       peer([](const at::Tensor& x, const at::Tensor& std) { return x.mean(0) - std.square(); })},
      {"ensemble.reduce quantile", reducing("quantile"),
       peer([](const at::Tensor& x, const at::Tensor&) { return x.quantile(0.25, 0); })},
  };
}

/// The quintic of the sigmoid, by Horner's rule.
at::Tensor quintic(const at::Tensor& x) {
  const at::Tensor square = x.square();
  const at::Tensor inside = x * ((square * 1e-4 - 8e-3) * square + 0.23) + 0.5;
  return at::where(x <= -5, at::zeros_like(x), at::where(x >= 5, at::ones_like(x), inside));
}

}  // namespace

std::vector<Contest> shape_contests(const Batch& b) {
  const auto shaped = [&b](const char* mode, bool references) {
    std::map<std::string, std::vector<Value>> inputs = {{"rewards", {Value::of(b.row_rewards())}}};
    Rewards r = b.row_rewards();
    r.total = b.references;
    if (references) inputs["references"] = {Value::of(r)};
    return firing("shape.transform", {{"mode", mode}}, std::move(inputs));
  };
  const auto refs = [&b] { return b.by_group(b.references); };
  /// As the node, each form gives what shaping changed as well.
  const auto with_change = [&b](auto shape) { return [=, &b] { (void)(shape() - b.rewards); }; };
  /// Mean over the references of f(r - reference).
  const auto over_references = [&b, refs, with_change](auto f) {
    return with_change([=, &b] {
      return f(b.rewards.view({-1, kGroup, 1}) - refs().unsqueeze(1)).mean(2).flatten();
    });
  };
  std::vector<Contest> all = {
      {"shape.running", firing("shape.running", {}, {{"rewards", {Value::of(b.row_rewards())}}}),
       [&b, seen = std::make_shared<std::array<double, 3>>()] { running_peer(b.rewards, *seen); }},
      {"shape.transform sigmoid", shaped("sigmoid", false),
       with_change([&b] { return at::sigmoid(b.rewards); })},
      {"shape.transform tanh", shaped("tanh", false),
       with_change([&b] { return at::tanh(b.rewards); })},
      {"shape.transform ceil", shaped("ceil", false),
       with_change([&b] { return b.rewards.clamp_max(4); })},
      {"shape.transform poly", shaped("poly", false),
       with_change([&b] { return quintic(b.rewards); })},
      {"shape.transform centered", shaped("centered", true), with_change([&b, refs] {
         return (b.by_group(b.rewards) - refs().mean(1, true)).flatten();
       })},
      {"shape.transform lsc", shaped("lsc", true), with_change([&b, refs] {
         const at::Tensor r = b.by_group(b.rewards), all = refs();
         const at::Tensor level = all.mean(1, true) + 1.0364334 * (all.std(1, true, true) + 1e-5);
         return at::log_sigmoid(r - level).flatten();
       })},
      {"shape.transform par", shaped("par", true),
       over_references([](const at::Tensor& d) { return d.sigmoid(); })},
      {"shape.transform sgfc", shaped("sgfc", true),
       over_references([](const at::Tensor& d) { return (d - 3).sigmoid(); })},
      {"shape.transform par_tanh", shaped("par_tanh", true),
       over_references([](const at::Tensor& d) { return d.tanh(); })},
      {"shape.transform par_poly", shaped("par_poly", true), over_references(quintic)},
  };
  for (Contest& contest : ensemble_contests(b)) all.push_back(std::move(contest));
  return all;
}

}  // namespace rewardloom::bench
