#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>

#include "engine/core/registry.h"
#include "nodes/eval/best_of_n.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct BestOfNCurve final : Node {
  Input<Rewards> proxy{
      this, "proxy", "scores of the proxy, a prompt's samples in one group", {.dims = "R"}};
  Input<Rewards> gold{this, "gold", "gold rewards of the same rows", {.dims = "R"}};
  Output<Metrics> metrics{this, "metrics",
                          "gold/n and proxy/n; gold and proxy at the largest n, peak, gap"};
  Param<std::vector<std::int64_t>> ns{this, "ns", std::vector<std::int64_t>{1, 4, 16, 64},
                                      "how many samples are chosen from, rising"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"BoN", "over-optimisation", "Goodhart", "reward hacking", "RewardMATH"}};
  Doc doc{this,
          "Best of n along n, each as in eval.best_of_n (over all subsets, no draw): gold/n and "
          "proxy/n. peak is the largest gold, gap = peak - gold at the largest n: above 0 where "
          "choosing harder by the proxy makes the choice worse."};

  void run(Step& step) const override {
    check(step);
    const at::Tensor a = reward_table(step[proxy], "proxy scores");
    const at::Tensor b = reward_table(step[gold], "gold rewards");
    if (a.sizes() != b.sizes()) {
      throw Failure("bad-shape", c10::str("proxy is ", a.sizes(), ", but gold is ", b.sizes()),
                    "both must score the same samples");
    }
    if (a.size(1) < ns().back()) {
      throw Failure("too-few",
                    fmt::format("there are {} samples per prompt, but the largest n is {}",
                                a.size(1), ns().back()),
                    "lower ns, or sample more");
    }
    Metrics out;
    double peak = 0, last_gold = 0, last_proxy = 0;
    for (const std::int64_t n : ns()) {
      const BestOfN mean = mean_over_prompts(a, b, n);
      out.add(fmt::format("gold/{}", n), mean.gold);
      out.add(fmt::format("proxy/{}", n), mean.proxy);
      peak = n == ns().front() ? mean.gold : std::max(peak, mean.gold);
      last_gold = mean.gold;
      last_proxy = mean.proxy;
    }
    out.add("gold", last_gold);
    out.add("proxy", last_proxy);
    out.add("peak", peak);
    out.add("gap", peak - last_gold);
    put_metrics(step, metrics, std::move(out));
  }

 private:
  void check(const Step& step) const {
    const bool rises =
        std::adjacent_find(ns().begin(), ns().end(), std::greater_equal<>()) == ns().end();
    if (ns().empty() || ns().front() < 1 || !rises) {
      step.fail("param-range", "ns is no rising list of numbers from 1", "e.g. [1, 4, 16, 64]");
    }
  }

  static BestOfN mean_over_prompts(const at::Tensor& a, const at::Tensor& b, std::int64_t n) {
    const auto prompts = static_cast<std::size_t>(a.size(0));
    const auto wide = static_cast<std::size_t>(a.size(1));
    BestOfN mean;
    for (std::size_t p = 0; p < prompts; ++p) {
      const BestOfN one =
          best_of_n(numbers(a).subspan(p * wide, wide), numbers(b).subspan(p * wide, wide), n);
      mean.gold += one.gold / static_cast<double>(prompts);
      mean.proxy += one.proxy / static_cast<double>(prompts);
    }
    return mean;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(BestOfNCurve, "Best of n along n", "arXiv:2210.10760")
