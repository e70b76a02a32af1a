// Advantage, shaping and loss nodes against the vectorised PyTorch form of the same formula, on one
// thread, N = 4096 rows of T = 1024 tokens; losses with their gradients.
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <functional>

#include "tests/bench/figures.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::bench {

namespace {

using testing::Bench;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRows = 4096, kTokens = 1024, kGroup = 8, kRounds = 7;

struct Contest {
  std::string name;
  std::function<void()> ours;
  std::function<void()> peer;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return seconds_since(start);
}

void hold(const Contest& contest) {
  contest.ours();
  contest.peer();
  std::vector<double> ours, peer, ratios;
  for (std::int64_t i = 0; i < kRounds; ++i) {
    ours.push_back(seconds_of(contest.ours));
    peer.push_back(seconds_of(contest.peer));
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

}  // namespace

void bench_algorithms(const std::string& only) {
  at::set_num_threads(1);
  const at::NoGradGuard no_gradients;
  const Batch batch;
  for (const auto& contests :
       {advantage_contests(batch), shape_contests(batch), loss_contests(batch)}) {
    for (const Contest& contest : contests) {
      if (only.empty() || contest.name.starts_with(only)) hold(contest);
    }
  }
}

}  // namespace rewardloom::bench
