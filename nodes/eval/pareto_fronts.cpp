#include "nodes/eval/pareto_fronts.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

std::vector<std::int64_t> pareto_fronts(const std::vector<double>& a,
                                        const std::vector<double>& b) {
  std::vector<std::size_t> order(a.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t i, std::size_t j) { return a[i] != a[j] ? a[i] > a[j] : b[i] > b[j]; });
  // Whatever dominates a point stands before it. Of each front the highest b so far: falls with the
  // front, because each of its points is dominated from the front before.
  std::vector<double> highest;
  std::vector<std::int64_t> front(a.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const std::size_t i = order[k];
    if (k > 0 && a[i] == a[order[k - 1]] && b[i] == b[order[k - 1]]) {
      front[i] = front[order[k - 1]];
      continue;
    }
    const auto at = std::upper_bound(highest.begin(), highest.end(), b[i],
                                     [](double x, double y) { return x > y; });
    front[i] = at - highest.begin();
    if (at == highest.end()) {
      highest.push_back(b[i]);
    } else {
      *at = b[i];
    }
  }
  return front;
}

struct EvalParetoFronts final : Node {
  Input<Rewards> a{this, "a", "one objective, higher is better"};
  Input<Rewards> b{this, "b", "another one of the same rows"};
  Output<Values> front{this, "front", "0: not dominated", {.dims = "N"}};
  Output<Metrics> metrics{this, "metrics", "number of fronts, share of rows in the first"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"NSGA-II", "non-dominated sorting", "multi-objective", "trade-off"}};
  Doc doc{
      this,
      "A row is dominated by one that is at least as good in both and better in one. Front 0 is "
      "dominated by none, front 1 only by front 0, and so on; equal rows share a front. a, b [N] "
      "-> int64 [N]."};

  void run(Step& step) const override {
    const std::vector<double> x = finite_rows(step[a].total, {}, "a");
    const std::vector<double> y = finite_rows(step[b].total, {}, "b");
    if (x.size() != y.size()) {
      throw Failure("bad-shape", fmt::format("a has {} rows, but b has {}", x.size(), y.size()),
                    "rows must agree in number and order");
    }
    if (x.empty()) step.fail("nothing-to-measure", "there are no rows", "connect rewards");
    const std::vector<std::int64_t> fronts = pareto_fronts(x, y);
    const auto first = std::count(fronts.begin(), fronts.end(), 0);
    Metrics out;
    out.add("fronts", static_cast<double>(*std::max_element(fronts.begin(), fronts.end()) + 1));
    out.add("first_share", static_cast<double>(first) / static_cast<double>(fronts.size()));
    step[front] = Values{as_tensor(fronts), step[a].batch};
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalParetoFronts, "Pareto fronts", "Deb et al. 2002, doi:10.1109/4235.996017")
