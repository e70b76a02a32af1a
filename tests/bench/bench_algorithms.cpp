// Advantage, shaping and loss nodes against the vectorised PyTorch form of the same formula, on one
// thread, N = 4096 rows of T = 1024 tokens; losses with their gradients.
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <ctime>
#include <functional>

#include "tests/bench/figures.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::bench {

namespace {

using testing::Bench;

constexpr std::int64_t kRows = 4096, kTokens = 1024, kGroup = 8, kRounds = 7;

struct Contest {
  std::string name;
  std::function<void()> ours;
  std::function<void()> peer;
  std::int64_t rounds = kRounds;
};

/// Processor seconds of this program: what else runs on the machine does not enter.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Of one call, of `calls` calls.
double seconds_of(const std::function<void()>& work, std::int64_t calls) {
  const double start = processor_seconds();
  for (std::int64_t i = 0; i < calls; ++i) work();
  return (processor_seconds() - start) / static_cast<double>(calls);
}

/// So many calls that a round takes at least half a millisecond.
std::int64_t calls_for_a_round(const Contest& contest) {
  if (contest.rounds < kRounds) return 1;  // long ones need no rehearsal
  contest.ours();
  contest.peer();
  const double fastest = std::min(seconds_of(contest.ours, 1), seconds_of(contest.peer, 1));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(5e-4 / fastest));
}

void hold(const Contest& contest) {
  const std::int64_t calls = calls_for_a_round(contest);
  std::vector<double> ours, peer, ratios;
  for (std::int64_t i = 0; i < contest.rounds; ++i) {
    ours.push_back(seconds_of(contest.ours, calls));
    peer.push_back(seconds_of(contest.peer, calls));
    ratios.push_back(peer.back() / ours.back());
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  print_figure({{"bench", "algorithms"},
                {"case", contest.name},
                {"ours_ms", 1e3 * median(ours)},
                {"peer_ms", 1e3 * median(peer)},
                {"ratio", median(ratios)},
                {"ratio_least", *least},
                {"ratio_most", *most}});
}

/// A batch of rows whose answers have different lengths.
struct Batch {
  at::Tensor mask, rewards, token_rewards, values, log_probs, old_log_probs, ref_log_probs;
  at::Tensor advantages, group, references;
  Batch() {
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);
    const auto normal = [&](std::vector<std::int64_t> shape) {
      return at::empty(shape).normal_(0, 1, generator);
    };
    const at::Tensor lengths =
        at::empty({kRows, 1}, at::kLong).random_(kTokens / 2, kTokens, generator);
    mask = at::arange(kTokens).unsqueeze(0) < lengths;
    rewards = normal({kRows}).to(at::kDouble);
    token_rewards = normal({kRows, kTokens}) * mask;
    values = normal({kRows, kTokens}) * mask;
    log_probs = -normal({kRows, kTokens}).abs() * mask;
    old_log_probs = (log_probs + 0.1 * normal({kRows, kTokens})) * mask;
    ref_log_probs = (log_probs + 0.2 * normal({kRows, kTokens})) * mask;
    advantages = normal({kRows, kTokens}) * mask;
    group = at::arange(kRows / kGroup, at::kLong).repeat_interleave(kGroup);
    references = normal({kRows}).to(at::kDouble);
  }
  Rewards row_rewards() const {
    Rewards r;
    r.total = rewards;
    r.group = group;
    return r;
  }
  TokenRewards per_token() const { return {token_rewards, mask, group, 0}; }
};

std::function<void()> firing(const std::shared_ptr<Bench>& bench) {
  return [bench] { bench->fire(); };
}

at::Tensor whitened(const at::Tensor& x, const at::Tensor& m) {
  const at::Tensor n = m.sum(), mean = (x * m).sum() / n;
  const at::Tensor variance = ((x - mean).square() * m).sum() / (n - 1);
  return (x - mean) * (variance + 1e-8).rsqrt() * m;
}

/// The usual loop over columns of [N].
at::Tensor gae_peer(const Batch& b, double gamma, double lambda) {
  const at::Tensor m = b.mask.to(at::kFloat);
  at::Tensor next_value = at::zeros({kRows}), last = at::zeros({kRows});
  std::vector<at::Tensor> columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    const at::Tensor here = m.select(1, t), value = b.values.select(1, t);
    const at::Tensor delta = b.token_rewards.select(1, t) + gamma * next_value - value;
    const at::Tensor advantage = delta + gamma * lambda * last;
    next_value = value * here + (1 - here) * next_value;
    last = advantage * here + (1 - here) * last;
    columns.push_back(last);
  }
  std::reverse(columns.begin(), columns.end());
  return at::stack(columns, 1) * m;
}

at::Tensor returns_peer(const at::Tensor& rewards, double gamma) {
  if (gamma == 1.0) return rewards.flip(1).cumsum(1).flip(1);
  at::Tensor running = at::zeros({kRows});
  std::vector<at::Tensor> columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    running = rewards.select(1, t) + gamma * running;
    columns.push_back(running);
  }
  std::reverse(columns.begin(), columns.end());
  return at::stack(columns, 1);
}

/// Targets of TD(lambda) in the usual loop; every step has a next one.
at::Tensor td_peer(const Batch& b, double gamma, double lambda) {
  at::Tensor target = b.values.select(1, kTokens - 1);
  std::vector<at::Tensor> columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    target = b.token_rewards.select(1, t) +
             gamma * ((1 - lambda) * b.values.select(1, t) + lambda * target);
    columns.push_back(target);
  }
  std::reverse(columns.begin(), columns.end());
  return at::stack(columns, 1);
}

/// V-trace in the usual loop; `values` are those of the next steps too, as for our node.
void vtrace_peer(const Batch& b, double gamma) {
  const at::Tensor weight = (b.log_probs - b.old_log_probs).exp();
  const at::Tensor rho = weight.clamp_max(1), trace = gamma * weight.clamp_max(1);
  const at::Tensor delta = rho * (b.token_rewards + (gamma - 1) * b.values);
  at::Tensor excess = at::zeros({kRows});
  std::vector<at::Tensor> columns;
  for (std::int64_t t = kTokens - 1; t >= 0; --t) {
    excess = delta.select(1, t) + trace.select(1, t) * excess;
    columns.push_back(excess);
  }
  std::reverse(columns.begin(), columns.end());
  const at::Tensor target = b.values + at::stack(columns, 1);
  const at::Tensor next = at::cat({target.slice(1, 1), b.values.slice(1, kTokens - 1)}, 1);
  (void)(rho * (b.token_rewards + gamma * next - b.values));
}

/// Those of one number per row, against the rows as a matrix of groups.
std::vector<Contest> row_contests(const Batch& b) {
  const auto grouped = [&b](const char* type, const Json& params) {
    auto bench = std::make_shared<Bench>(type, params);
    bench->connect("rewards", {Value::of(b.row_rewards())});
    return firing(bench);
  };
  const auto by_group = [&b] { return b.rewards.view({-1, kGroup}); };
  return {
      {"advantage.maxrl", grouped("advantage.maxrl", {}),
       [=] {
         const at::Tensor r = by_group(), mean = r.mean(1, true);
         (void)((r - mean) / (mean + 1e-6)).flatten();
       }},
      {"advantage.gpg", grouped("advantage.gpg", {}),
       [=] {
         const at::Tensor r = by_group();
         const double alpha = static_cast<double>(kRows) / r.ne(0).sum().item<double>();
         (void)(alpha * (r - r.mean(1, true))).flatten();
       }},
      {"advantage.pass_at_k", grouped("advantage.pass_at_k", {}),
       [=] {
         const at::Tensor r = by_group();
         const auto [best, place] = r.topk(2, 1);
         const at::Tensor ahead = (best.select(1, 0) - best.select(1, 1)) / (r.std(1) + 1e-6);
         (void)at::zeros_like(r).scatter(1, place.narrow(1, 0, 1), ahead.unsqueeze(1)).flatten();
       }},
      {"shape.running", grouped("shape.running", {}),
       [&b, seen = std::make_shared<std::array<double, 3>>()] {
         const double n = kRows, mean = b.rewards.mean().item<double>();
         const double squares = b.rewards.var(false).item<double>() * n;
         auto& [count, centre, spread] = *seen;
         const double delta = mean - centre, total = count + n;
         centre += delta * n / total;
         spread += squares + delta * delta * count * n / total;
         count = total;
         (void)((b.rewards - centre) / std::sqrt(spread / count));
       }},
  };
}

std::vector<Contest> advantage_contests(const Batch& b) {
  const auto grouped = [&b](const char* type, const Json& params) {
    auto bench = std::make_shared<Bench>(type, params);
    bench->connect("rewards", {Value::of(b.row_rewards())});
    return firing(bench);
  };
  const auto episodes = [&b](const char* type, const Json& params, bool values) {
    auto bench = std::make_shared<Bench>(type, params);
    bench->connect("rewards", {Value::of(b.per_token())});
    if (values) bench->connect("values", {Value::of(Values{b.values, 0})});
    return firing(bench);
  };
  const auto next_values = [&b](const char* type, const Json& params, bool off_policy) {
    auto bench = std::make_shared<Bench>(type, params);
    bench->connect("rewards", {Value::of(b.per_token())});
    bench->connect("next_values", {Value::of(Values{b.values, 0})});
    if (off_policy) {
      bench->connect("values", {Value::of(Values{b.values, 0})});
      bench->connect("log_probs", {Value::of(LogProbs{b.log_probs, b.mask})});
      bench->connect("behavior_log_probs", {Value::of(LogProbs{b.old_log_probs, b.mask})});
    }
    return firing(bench);
  };
  const auto whitening = [&b] {
    auto bench = std::make_shared<Bench>("advantage.whiten", Json::object());
    Advantages values;
    values.advantages = b.advantages;
    Completions rows;
    rows.tokens = at::zeros({kRows, kTokens}, at::kLong);
    rows.kinds = b.mask.to(at::kChar) * static_cast<std::int64_t>(TokenKind::action);
    bench->connect("values", {Value::of(values)});
    bench->connect("completions", {Value::of(rows)});
    return firing(bench);
  };
  const auto by_group = [&b] { return b.rewards.view({-1, kGroup}); };
  return {
      {"advantage.group", grouped("advantage.group", {}),
       [=] {
         const at::Tensor r = by_group();
         (void)((r - r.mean(1, true)) / (r.std(1, true, true) + 1e-6)).flatten();
       }},
      {"advantage.leave_one_out", grouped("advantage.leave_one_out", {}),
       [=] {
         const at::Tensor r = by_group();
         const at::Tensor mean = (r.sum(1, true) - r) / (kGroup - 1);
         const at::Tensor squares = (r.square().sum(1, true) - r.square()) / (kGroup - 1);
         (void)(r - mean).flatten();
         (void)((squares - mean.square()) * (kGroup - 1) / (kGroup - 2)).clamp_min(0).sqrt();
       }},
      {"advantage.gae", episodes("advantage.gae", {{"lambda", 0.95}}, true),
       [&b] {
         const at::Tensor a = gae_peer(b, 1.0, 0.95);
         (void)(a + b.values * b.mask);
       }},
      {"advantage.gae, whitened",
       episodes("advantage.gae", {{"lambda", 0.95}, {"preset", "verl"}}, true),
       [&b] {
         const at::Tensor a = gae_peer(b, 1.0, 0.95);
         (void)(a + b.values * b.mask);
         (void)whitened(a, b.mask.to(at::kFloat));
       }},
      {"advantage.td_lambda", next_values("advantage.td_lambda", {}, false),
       [&b] { (void)(td_peer(b, 0.99, 0.95) * b.mask); }},
      {"advantage.vtrace", next_values("advantage.vtrace", {}, true),
       [&b] { vtrace_peer(b, 0.99); }},
      {"advantage.whiten", whitening(),
       [&b] { (void)whitened(b.advantages, b.mask.to(at::kFloat)); }},
      {"advantage.reinforce_pp", episodes("advantage.reinforce_pp", {}, false),
       [&b] {
         const at::Tensor m = b.mask.to(at::kFloat);
         (void)whitened(returns_peer(b.token_rewards, 1.0) * m, m);
       }},
  };
}

std::vector<Contest> shape_contests(const Batch& b) {
  const auto shaped = [&b](const Json& params, bool references) {
    auto bench = std::make_shared<Bench>("shape.transform", params);
    bench->connect("rewards", {Value::of(b.row_rewards())});
    if (references) {
      Rewards r = b.row_rewards();
      r.total = b.references;
      bench->connect("references", {Value::of(r)});
    }
    return firing(bench);
  };
  const auto refs = [&b] { return b.references.view({-1, kGroup}); };
  return {
      {"shape.transform sigmoid", shaped({{"mode", "sigmoid"}}, false),
       [&b] { (void)at::sigmoid(b.rewards); }},
      {"shape.transform tanh", shaped({{"mode", "tanh"}}, false),
       [&b] { (void)at::tanh(b.rewards); }},
      {"shape.transform centered", shaped({{"mode", "centered"}}, true),
       [&b, refs] {
         (void)(b.rewards.view({-1, kGroup}) - refs().mean(1, true)).flatten();
       }},
      {"shape.transform lsc", shaped({{"mode", "lsc"}}, true),
       [&b, refs] {
         const at::Tensor r = b.rewards.view({-1, kGroup}), all = refs();
         const at::Tensor level = all.mean(1, true) + 1.0364334 * (all.std(1, true, true) + 1e-5);
         (void)at::log_sigmoid(r - level).flatten();
       }},
      {"shape.transform par", shaped({{"mode", "par"}}, true),
       [&b, refs] {
         const at::Tensor r = b.rewards.view({-1, kGroup, 1});
         (void)at::sigmoid(r - refs().unsqueeze(1)).mean(2).flatten();
       }},
  };
}

at::Tensor masked_mean(const at::Tensor& x, const at::Tensor& m) { return (x * m).sum() / m.sum(); }

Contest loss_contest(const Batch& b, const char* type, const Json& params,
                     std::vector<std::pair<std::string, at::Tensor>> given, double total_tokens,
                     std::function<at::Tensor(const at::Tensor&, const at::Tensor&)> peer) {
  const auto node =
      std::dynamic_pointer_cast<const LossNode>(testing::all_nodes().make(type, params));
  const at::Tensor leaf = given.front().second;
  const std::string leaf_name = given.front().first;
  const auto fresh = [leaf] { return leaf.detach().requires_grad_(true); };
  return {type,
          [=] {
            const at::AutoGradMode gradients(true);
            LossBatch batch;
            batch.total_tokens = total_tokens;
            batch.total_sequences = kRows;
            for (const auto& [name, tensor] : given) batch.set(name, tensor);
            batch.set(leaf_name, fresh());
            node->evaluate(batch).loss.backward();
          },
          [=] {
            const at::AutoGradMode gradients(true);
            peer(fresh(), b.mask.to(at::kFloat)).backward();
          }};
}

/// What a peer's loss gives beside its value: the metrics that frameworks log with it.
void log_metric(const at::Tensor& x, const at::Tensor& m) { (void)masked_mean(x.detach(), m); }

/// verl's forms: the log-ratio held within +-20, clip fractions and approximate KL logged.
at::Tensor clip_peer(const at::Tensor& x, const at::Tensor& old, const at::Tensor& advantages,
                     const at::Tensor& m) {
  const at::Tensor log_ratio = (x - old).clamp(-20, 20);
  const at::Tensor ratio = log_ratio.exp();
  log_metric(-log_ratio, m);
  const at::Tensor free = -advantages * ratio, held = -advantages * ratio.clamp(0.8, 1.2);
  const at::Tensor larger = at::max(free, held);
  log_metric(held.gt(free).to(at::kFloat), m);
  return masked_mean(larger, m);
}

at::Tensor gspo_peer(const at::Tensor& x, const at::Tensor& old, const at::Tensor& advantages,
                     const at::Tensor& m) {
  const at::Tensor log_ratio = x - old, length = m.sum(1, true).clamp_min(1);
  const at::Tensor mean = (log_ratio * m).sum(1, true) / length;
  const at::Tensor ratio = (x - x.detach() + mean.detach()).clamp_max(10).exp();
  const at::Tensor free = -advantages * ratio, held = -advantages * ratio.clamp(1 - 3e-4, 1 + 4e-4);
  log_metric(held.gt(free).to(at::kFloat), m);
  log_metric(-log_ratio, m);
  return ((at::max(free, held) * m).sum(1, true) / length).mean();
}

at::Tensor cispo_peer(const at::Tensor& x, const at::Tensor& old, const at::Tensor& advantages,
                      const at::Tensor& m) {
  const at::Tensor log_ratio = (x - old).clamp(-20, 20);
  const at::Tensor ratio = log_ratio.exp(), held = ratio.clamp(0.8, 1.2).detach();
  log_metric(held.ne(ratio).to(at::kFloat), m);
  log_metric(-log_ratio, m);
  return masked_mean(-held * advantages * x, m);
}

at::Tensor kl_peer(const at::Tensor& x, const at::Tensor& ref, const at::Tensor& m) {
  const at::Tensor d = (ref - x).clamp(-20, 20);
  const at::Tensor kl = (d.exp() - d - 1).clamp(-10, 10);
  log_metric(kl, m);
  return masked_mean(kl, m);
}

at::Tensor value_peer(const at::Tensor& x, const at::Tensor& values, const at::Tensor& returns,
                      const at::Tensor& m) {
  const at::Tensor held = at::max(at::min(x, values + 0.2), values - 0.2);
  const at::Tensor free_loss = (x - returns).square(), held_loss = (held - returns).square();
  log_metric(held_loss.gt(free_loss).to(at::kFloat), m);
  return 0.5 * masked_mean(at::max(free_loss, held_loss), m);
}

std::vector<Contest> loss_contests(const Batch& b) {
  const double tokens = b.mask.sum().item<double>();
  const at::Tensor old = b.old_log_probs, advantages = b.advantages, ref = b.ref_log_probs;
  const std::vector<std::pair<std::string, at::Tensor>> policy = {{"log_probs", b.log_probs},
                                                                  {"old_log_probs", old},
                                                                  {"advantages", advantages},
                                                                  {"mask", b.mask}};
  const at::Tensor returns = b.token_rewards, values = b.values;
  const auto of = [&](auto peer) {
    return [=](const at::Tensor& x, const at::Tensor& m) { return peer(x, old, advantages, m); };
  };
  return {
      loss_contest(b, "loss.policy_clip", {{"low", 0.2}, {"high", 0.2}}, policy, tokens,
                   of(clip_peer)),
      loss_contest(b, "loss.gspo", {}, policy, tokens, of(gspo_peer)),
      loss_contest(b, "loss.cispo", {}, policy, tokens, of(cispo_peer)),
      loss_contest(b, "loss.kl", {{"estimator", "k3"}},
                   {{"log_probs", b.log_probs}, {"ref_log_probs", ref}, {"mask", b.mask}}, tokens,
                   [=](const at::Tensor& x, const at::Tensor& m) { return kl_peer(x, ref, m); }),
      loss_contest(b, "loss.value_clip", {{"clip", 0.2}},
                   {{"values", b.values + 0.1},
                    {"old_values", values},
                    {"returns", returns},
                    {"mask", b.mask}},
                   tokens,
                   [=](const at::Tensor& x, const at::Tensor& m) {
                     return value_peer(x, values, returns, m);
                   }),
  };
}

/// Means and covariances of features as wide as those of the usual encoder, in double.
struct FeatureStatistics {
  at::Tensor mean, covariance, ref_mean, ref_covariance;
  static FeatureStatistics of(std::int64_t rows, std::int64_t width) {
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(11);
    const auto features = [&](double spread) {
      return at::empty({rows, width}, at::kDouble).normal_(0.1 * spread, spread, generator);
    };
    const auto covariance = [&](const at::Tensor& x) {
      const at::Tensor centred = x - x.mean(0, true);
      return centred.t().matmul(centred) / static_cast<double>(rows - 1);
    };
    const at::Tensor x = features(1), y = features(1.1);
    return {x.mean(0), covariance(x), y.mean(0), covariance(y)};
  }
};

/// The peer takes the root of the product of both covariances by its eigenvalues, as torchmetrics
/// does; scipy's sqrtm takes longer.
Contest frechet_contest() {
  constexpr std::int64_t width = 2048;
  const auto s = std::make_shared<FeatureStatistics>(FeatureStatistics::of(2 * width, width));
  auto bench = std::make_shared<Bench>("image.frechet_distance", Json::object());
  bench->connect("mean", {Value::of(Values{s->mean, 0})});
  bench->connect("covariance", {Value::of(Values{s->covariance, 0})});
  bench->connect("ref_mean", {Value::of(Values{s->ref_mean, 0})});
  bench->connect("ref_covariance", {Value::of(Values{s->ref_covariance, 0})});
  return {"image.frechet_distance, 2048 wide, double", firing(bench),
          [s] {
            const at::Tensor roots =
                at::real(at::linalg_eigvals(s->covariance.matmul(s->ref_covariance)).sqrt()).sum();
            (void)((s->mean - s->ref_mean).square().sum() + s->covariance.trace() +
                   s->ref_covariance.trace() - 2 * roots);
          },
          3};
}

}  // namespace

void bench_algorithms(const std::string& only) {
  at::set_num_threads(1);
  const at::NoGradGuard no_gradients;
  const Batch batch;
  for (const auto& contests : {row_contests(batch), advantage_contests(batch),
                               shape_contests(batch), loss_contests(batch)}) {
    for (const Contest& contest : contests) {
      if (only.empty() || contest.name.starts_with(only)) hold(contest);
    }
  }
  if (only.empty() || std::string("image.frechet_distance").starts_with(only)) {
    hold(frechet_contest());
  }
}

}  // namespace rewardloom::bench
