#include "nodes/eval/best_of_n.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

/// C(i-1,n-1) / C(count,n) for i = 1..count, from the top down so that nothing overflows.
std::vector<double> chances(std::size_t count, std::int64_t n) {
  std::vector<double> weight(count, 0.0);
  double w = static_cast<double>(n) / static_cast<double>(count);
  for (std::size_t i = count; i >= static_cast<std::size_t>(n); --i) {
    weight[i - 1] = w;
    if (i > 1)
      w *= static_cast<double>(i - static_cast<std::size_t>(n)) / static_cast<double>(i - 1);
  }
  return weight;
}

}  // namespace

BestOfN best_of_n(std::span<const double> proxy, std::span<const double> gold, std::int64_t n) {
  std::vector<std::size_t> order(proxy.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return proxy[a] < proxy[b]; });
  const std::vector<double> weight = chances(proxy.size(), n);
  BestOfN out;
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first;
    double share = 0, sum = 0;
    while (end < order.size() && proxy[order[end]] == proxy[order[first]]) {
      share += weight[end];
      sum += gold[order[end++]];
    }
    out.gold += share * sum / static_cast<double>(end - first);
    out.proxy += share * proxy[order[first]];
    first = end;
  }
  return out;
}

double best_of_n_kl(std::int64_t n) {
  const double samples = static_cast<double>(n);
  return std::log(samples) - (samples - 1) / samples;
}

struct EvalBestOfN final : Node {
  Optional<Values> proxy{this, "proxy", "scores of the proxy", {.dims = "P,N"}};
  Optional<Values> gold{this, "gold", "gold rewards of the same samples", {.dims = "P,N"}};
  Optional<Rewards> proxy_rewards{this,
                                  "proxy_rewards",
                                  "instead: the proxy's rewards, a prompt's samples in one group",
                                  {.dims = "R"}};
  Optional<Rewards> gold_rewards{
      this, "gold_rewards", "and the gold rewards of the same rows", {.dims = "R"}};
  Output<Scalar> gold_mean{this, "gold", "expected gold reward of the best of n, over prompts"};
  Output<Scalar> proxy_mean{this, "proxy", "expected proxy reward of the best of n"};
  Output<Metrics> metrics{this, "metrics", "gold, proxy, kl"};
  Param<std::int64_t> n{this, "n", required, "samples to choose from", {.min = 1}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"BoN", "rejection sampling", "over-optimisation", "reranking"}};
  Doc doc{
      this,
      "Expected gold reward of the sample with the highest proxy among n, over all subsets of "
      "the N >= n samples of each prompt (unbiased; no draw), mean over prompts. Samples of "
      "equal proxy share their chance, so row order is irrelevant. Metric kl = log n - (n-1)/n, "
      "the distance from the sampler. proxy, gold [P,N], or rewards with groups of one size."};

  void run(Step& step) const override {
    const at::Tensor a = table_of(step[proxy], step[proxy_rewards], "proxy scores");
    const at::Tensor b = table_of(step[gold], step[gold_rewards], "gold rewards");
    if (a.sizes() != b.sizes()) {
      throw Failure("bad-shape", c10::str("proxy is ", a.sizes(), ", but gold is ", b.sizes()),
                    "both must score the same samples");
    }
    if (a.size(1) < n()) {
      throw Failure("too-few",
                    fmt::format("there are {} samples per prompt, but n is {}", a.size(1), n()),
                    "lower n, or sample more");
    }
    const auto wide = static_cast<std::size_t>(a.size(1));
    BestOfN sum;
    for (std::size_t p = 0; p < static_cast<std::size_t>(a.size(0)); ++p) {
      const BestOfN one =
          best_of_n(numbers(a).subspan(p * wide, wide), numbers(b).subspan(p * wide, wide), n());
      sum.gold += one.gold / static_cast<double>(a.size(0));
      sum.proxy += one.proxy / static_cast<double>(a.size(0));
    }
    step[gold_mean] = Scalar{sum.gold};
    step[proxy_mean] = Scalar{sum.proxy};
    Metrics out;
    out.add("gold", sum.gold);
    out.add("proxy", sum.proxy);
    out.add("kl", best_of_n_kl(n()));
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalBestOfN, "Best of n", "arXiv:2310.02743")
