// Advantage, shaping and loss nodes against the vectorised PyTorch form of the same formula, on one
// thread, N = 4096 rows of T = 1024 tokens; losses with their gradients.
#include "tests/bench/algorithms.h"

#include <ATen/Parallel.h>

#include <ctime>

#include "tests/bench/figures.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::bench {

using testing::Bench;

Batch::Batch() : generator(at::make_generator<at::CPUGeneratorImpl>(7)) {
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

at::Tensor Batch::normal(at::IntArrayRef shape) const {
  return at::empty(shape).normal_(0, 1, generator);
}

Rewards Batch::row_rewards() const {
  Rewards r;
  r.total = rewards;
  r.group = group;
  return r;
}

Completions Batch::completions() const {
  Completions rows;
  rows.tokens = at::zeros({kRows, kTokens}, at::kLong);
  rows.kinds = mask.to(at::kChar) * static_cast<std::int64_t>(TokenKind::action);
  rows.group = group;
  return rows;
}

std::function<void()> firing(const char* type, const Json& params,
                             std::map<std::string, std::vector<Value>> inputs) {
  auto bench = std::make_shared<Bench>(type, params);
  for (auto& [port, values] : inputs) bench->connect(port, std::move(values));
  return [bench] { bench->fire(); };
}

Contest loss_contest(const LossSetup& setup, LossPeer peer) {
  const std::string type = setup.name.substr(0, setup.name.find(' '));
  const auto node =
      std::dynamic_pointer_cast<const LossNode>(testing::all_nodes().make(type, setup.params));
  const auto fresh = [setup] {
    std::vector<at::Tensor> out;
    for (const auto& [name, tensor] : setup.given) {
      const bool leaf = static_cast<std::int64_t>(out.size()) < setup.trained;
      out.push_back(leaf ? tensor.detach().requires_grad_(true) : tensor);
    }
    return out;
  };
  return {setup.name,
          [=] {
            const at::AutoGradMode gradients(true);
            LossBatch batch;
            batch.total_tokens = setup.tokens;
            batch.total_sequences = static_cast<double>(setup.given.front().second.size(0));
            const std::vector<at::Tensor> tensors = fresh();
            for (std::size_t i = 0; i < tensors.size(); ++i) {
              batch.set(setup.given[i].first, tensors[i]);
            }
            node->evaluate(batch).loss.backward();
          },
          [=] {
            const at::AutoGradMode gradients(true);
            peer(fresh()).backward();
          }};
}

namespace {

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
  return {"image.frechet_distance, 2048 wide, double",
          firing("image.frechet_distance", Json::object(),
                 {{"mean", {Value::of(Values{s->mean, 0})}},
                  {"covariance", {Value::of(Values{s->covariance, 0})}},
                  {"ref_mean", {Value::of(Values{s->ref_mean, 0})}},
                  {"ref_covariance", {Value::of(Values{s->ref_covariance, 0})}}}),
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
  const auto chosen = [&](const std::string& name) {
    return only.empty() || name.starts_with(only);
  };
  for (const auto family : {row_advantage_contests, token_advantage_contests, shape_contests,
                            token_loss_contests, logit_loss_contests, row_loss_contests}) {
    for (const Contest& contest : family(batch)) {
      if (chosen(contest.name)) hold(contest);
    }
  }
  if (only.empty() || std::string("image.frechet_distance").starts_with(only)) {
    hold(frechet_contest());
  }
}

}  // namespace rewardloom::bench
