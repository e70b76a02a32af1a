#include <fmt/format.h>
#include <torch/types.h>

#include <array>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"
#include "nodes/image/spectrum.h"

namespace rewardloom {
namespace {

enum class FeatureOrder { one, q };
constexpr auto choices(FeatureOrder) {
  return std::to_array<Choice<FeatureOrder>>({
      {FeatureOrder::one, "one", "order 1 whatever q says, as score_X of the package Vendi-Score"},
      {FeatureOrder::q, "q", "order q, as its score_K and score_dual and as the paper has it"},
  });
}

}  // namespace

struct ImageVendi final : Node {
  Optional<Features> features{this, "features", "one vector per sample"};
  Optional<Values> kernel{
      this, "kernel", "instead: similarities, 1 on the diagonal", {.dims = "N,N"}};
  Output<Scalar> score{this, "score", "effective number of different samples, 1 to N"};
  Output<Metrics> metrics{this, "metrics", "score, share (score / N)"};
  Param<double> q{
      this, "q", 1.0, "order of the entropy; above 1 the common samples count more", {.min = 0}};
  Param<FeatureOrder> feature_order{this, "feature_order", FeatureOrder::one,
                                    "order of the entropy where features are given"};
  Rule something{this,
                 {{{"features", {{"connected", false}}}},
                  {{"kernel", {{"connected", true}}}},
                  "there is nothing to measure",
                  "connect features, or kernel"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"diversity", "mode collapse", "effective number"}};
  Doc doc{
      this,
      "exp of the entropy (order q) of the eigenvalues of the similarity matrix over N: 1 if all "
      "samples are alike, N if none resembles another. features [N,D] (cosine similarity; rows "
      "are normalised here), or kernel [N,N], symmetric and positive semidefinite. The package "
      "Vendi-Score drops q where it is given features; feature_order = q does not, and where it "
      "matters the alarm order-ignored says so."};

  void run(Step& step) const override {
    double value = 0, rows = 0;
    if (const Values* const given = step[kernel]) {
      const at::Tensor table = finite_table(given->values, 2, "kernel");
      require_kernel(table);
      value = vendi_score(table, q());
      rows = static_cast<double>(table.size(0));
    } else if (const Features* const f = step[features]) {
      const at::Tensor table = finite_table(f->features, 2, "features");
      require_directions(table);
      value = vendi_score_of_rows(table, order_of_features(step));
      rows = static_cast<double>(table.size(0));
    } else {
      step.fail("nothing-to-measure", "there are no features", "connect features, or kernel");
    }
    step[score] = Scalar{value};
    Metrics out;
    out.add("score", value);
    out.add("share", value / rows);
    put_metrics(step, metrics, std::move(out));
  }

 private:
  double order_of_features(Step& step) const {
    if (feature_order() == FeatureOrder::q || q() == 1) return q();
    step.alarm(
        "order-ignored",
        fmt::format("q is {}, but features are scored with order 1: set feature_order to q", q()));
    return 1;
  }
  static void require_kernel(const at::Tensor& table) {
    const bool square = table.size(0) == table.size(1);
    if (square && at::allclose(table.diagonal(), at::ones({}, at::kDouble), 0, 1e-5) &&
        at::allclose(table, table.t(), 1e-5, 1e-7)) {
      return;
    }
    throw Failure("bad-kernel",
                  c10::str("kernel ", table.sizes(), " is not symmetric with 1 on the diagonal"),
                  "give similarities, each sample to itself 1");
  }
  static void require_directions(const at::Tensor& table) {
    const at::Tensor zero = table.eq(0).all(-1);
    if (!zero.any().item<bool>()) return;
    throw Failure("bad-features",
                  fmt::format("row {} is all 0: it has no direction",
                              zero.to(at::kByte).argmax().item<std::int64_t>()),
                  "leave out samples that the encoder gives nothing for");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageVendi, "Vendi score", "arXiv:2210.02410")
