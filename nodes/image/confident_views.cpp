#include "nodes/image/confident_views.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

ConfidentViews confident_views(const at::Tensor& logits, double share) {
  const at::Tensor log_p = logits.to(at::kDouble).log_softmax(-1);
  const at::Tensor entropy = log_p.exp().mul(log_p).sum(-1).neg().to(at::kCPU).contiguous();
  const std::int64_t views = logits.size(0);
  // A share such as 0.29 of 100 must not lose a view to rounding.
  const auto kept = static_cast<std::int64_t>(static_cast<double>(views) * share + 1e-9);
  std::vector<std::int64_t> order(static_cast<std::size_t>(views));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return entropy.data_ptr<double>()[a] < entropy.data_ptr<double>()[b];
  });
  order.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(kept, 1, views)));
  const at::Tensor mean = log_p.logsumexp(0) - std::log(static_cast<double>(views));
  return {as_tensor(order), -mean.exp().mul(mean).sum().item<double>()};
}

struct ImageConfidentViews final : Node {
  Input<Values> logits{this, "logits", "of each view of one image", {.dims = "V,C"}};
  Output<Values> index{this, "index", "the chosen views, by rising entropy", {.dims = "K"}};
  Output<Scalar> average_entropy{this, "average_entropy",
                                 "entropy of the mean distribution over all given views"};
  Param<double> share{this,
                      "share",
                      0.1,
                      "of the views that are kept, rounded down, at least one",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Synonyms words{this, {"test-time adaptation", "TPT", "RLCF", "augmentation", "entropy"}};
  Doc doc{this,
          "The floor(V share) views whose prediction has the lowest entropy. logits [V,C] -> index "
          "int64 [K]. Metric average_entropy: of the mean of all predictions."};

  void run(Step& step) const override {
    const ConfidentViews out =
        confident_views(finite_table(step[logits].values, 2, "logits"), share());
    step[index] = Values{out.index};
    step[average_entropy] = Scalar{out.average_entropy};
    step.metric("average_entropy", out.average_entropy);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageConfidentViews, "Confident views", "arXiv:2305.18010")
