// Flow steps, Frechet distance, Vendi score, confident views.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "nodes/image/confident_views.h"
#include "nodes/image/flow_step.h"
#include "nodes/image/spectrum.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

const std::vector<std::int64_t> kShape{2, 3, 4, 4};

Tensors flow_inputs() {
  return {{"sample", normals(1, kShape)},
          {"velocity", normals(2, kShape)},
          {"sigma", doubles({0.7, 0.5})},
          {"sigma_next", doubles({0.6, 0.4})},
          {"sigma_max", at::full({}, 0.9, at::kDouble)}};
}

at::Tensor read(const Json& json) {
  return doubles(json.at("data").get<std::vector<double>>(),
                 json.at("shape").get<std::vector<std::int64_t>>());
}

FlowStepOptions options_of(const Json& params) {
  FlowStepOptions out;
  const std::string kind = params.value("kind", "sde");
  out.kind = kind == "sde" ? FlowKind::sde : kind == "cps" ? FlowKind::cps : FlowKind::ode;
  out.noise_level = params.value("noise_level", 0.7);
  out.log_prob = params.value("log_prob", "gaussian") == "gaussian" ? FlowLogProb::gaussian
                                                                    : FlowLogProb::no_constants;
  return out;
}

}  // namespace

class TestImageNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  /// x = .5, v = -.3, computed by hand in the specification of Adv-GRPO.
  void steps_of_one_number_are_known() {
    const auto one = [](double value) { return doubles({value}); };
    const auto step = [&](double sigma, double next, const FlowStepOptions& options) {
      return flow_step(one(0.5), one(-0.3), one(sigma), one(next), 0.9, options);
    };
    const FlowStep sde = step(0.9, 0.8, {FlowKind::sde, 0.7});
    QVERIFY(close(sde.mean.item<double>(), 0.41485, 1e-6));
    QVERIFY(close(sde.scale.item<double>(), 0.6640783, 1e-6));
    const FlowStep first = step(1, 0.9, {FlowKind::sde, 0.7});
    QVERIFY(close(first.mean.item<double>(), 0.4075, 1e-6));
    QVERIFY(close(first.scale.item<double>(), 0.7, 1e-6));
    const FlowStep cps = step(0.9, 0.8, {FlowKind::cps, 0.8});
    QVERIFY(close(cps.mean.item<double>(), 0.2701904, 1e-6));
    QVERIFY(close(cps.std.item<double>(), 0.7608453, 1e-6));
  }

  void without_noise_every_kind_is_the_euler_step() {
    const Tensors in = flow_inputs();
    const at::Tensor euler = in.at("sample") - 0.1 * in.at("velocity");
    for (const char* kind : {"sde", "cps", "ode"}) {
      const EvaluateResult out = fire("image.flow_step", {{"kind", kind}, {"noise_level", 0}}, in);
      QVERIFY(at::allclose(tensor(out, "next_sample"), euler, 1e-10, 1e-12));
      QVERIFY(!out.outputs.tensors.contains("log_prob"));
    }
  }

  void what_was_drawn_scores_as_drawn_and_less_likely_scores_lower() {
    Tensors in = flow_inputs();
    const EvaluateResult drawn = fire("image.flow_step", {}, in);
    in["next_sample"] = tensor(drawn, "next_sample");
    QVERIFY(at::allclose(tensor(fire("image.flow_step", {}, in), "log_prob"),
                         tensor(drawn, "log_prob"), 1e-12, 1e-12));
    in["next_sample"] = tensor(drawn, "mean");
    const at::Tensor best = tensor(fire("image.flow_step", {}, in), "log_prob");
    QVERIFY((best > tensor(drawn, "log_prob")).all().item<bool>());
  }

  void own_noise_is_normal_and_comes_from_the_seed() {
    const std::vector<std::int64_t> wide{2, 20000};
    Package in;
    in.tensors = {{"sample", normals(1, wide)},
                  {"velocity", normals(2, wide)},
                  {"sigma", doubles({0.7, 0.5})},
                  {"sigma_next", doubles({0.6, 0.4})}};
    const auto noise = [&](std::uint64_t seed) {
      const Package out = evaluate(all_nodes(), "image.flow_step", {}, in, {.seed = seed}).outputs;
      const at::Tensor scale = out.tensors.at("std") * std::sqrt(0.1);
      return (out.tensors.at("next_sample") - out.tensors.at("mean")) / scale.unsqueeze(-1);
    };
    const at::Tensor e = noise(1);
    QVERIFY(e.mean().abs().item<double>() < 0.02);
    QVERIFY(std::abs(e.std().item<double>() - 1) < 0.02);
    QVERIFY(!e[0].equal(e[1]));
    QVERIFY(e.equal(noise(1)));
    QVERIFY(!e.equal(noise(2)));
  }

  void rows_are_independent() {
    Tensors in = flow_inputs();
    in["noise"] = normals(3, kShape);
    const EvaluateResult straight = fire("image.flow_step", {{"kind", "cps"}}, in);
    for (auto& [name, value] : in) {
      if (value.dim() > 0) value = value.flip(0);
    }
    const EvaluateResult turned = fire("image.flow_step", {{"kind", "cps"}}, in);
    QVERIFY(tensor(turned, "next_sample").flip(0).equal(tensor(straight, "next_sample")));
    QVERIFY(tensor(turned, "log_prob").flip(0).equal(tensor(straight, "log_prob")));
  }

  void gradients_of_the_log_probability_are_those_of_reference_code() {
    std::ifstream file(REWARDLOOM_SOURCE_DIR "/../shared/golden/image.flow_step.json");
    if (!file.good()) QSKIP("the golden cases are not there");
    const Json cases = Json::parse(file).at("cases");
    int checked = 0;
    for (const Json& c : cases) {
      if (!c.contains("gradients") || !c["gradients"].contains("velocity")) continue;
      const Json& in = c.at("inputs");
      const at::AutoGradMode gradients(true);
      at::Tensor velocity = read(in.at("velocity")).requires_grad_(true);
      const FlowStepOptions options = options_of(c.at("params"));
      const FlowStep step =
          flow_step(read(in.at("sample")), velocity, read(in.at("sigma")),
                    read(in.at("sigma_next")), read(in.at("sigma_max")).item<double>(), options);
      flow_log_prob(step, read(in.at("next_sample")), options.log_prob).sum().backward();
      QVERIFY(at::allclose(velocity.grad(), read(c["gradients"]["velocity"]), 1e-6, 1e-9));
      ++checked;
    }
    QVERIFY(checked >= 4);
  }

  void impossible_steps_are_refused() {
    const auto code = [](const Json& params, const std::string& name, const at::Tensor& value) {
      Tensors in = flow_inputs();
      in[name] = value;
      return failure("image.flow_step", params, in);
    };
    const at::Tensor one = at::full({}, 1.0, at::kDouble);
    QCOMPARE(code({}, "sigma_next", doubles({0.8, 0.4})), "bad-sigma");
    QCOMPARE(code({}, "sigma", doubles({1.2, 0.5})), "bad-sigma");
    QCOMPARE(code({}, "sigma", doubles({std::nan(""), 0.5})), "bad-sigma");
    QCOMPARE(code({}, "sigma_next", doubles({0.6, -0.1})), "bad-sigma");
    QCOMPARE(code({}, "sigma", doubles({0.7})), "bad-shape");
    QCOMPARE(code({}, "velocity", normals(2, {2, 3, 4, 5})), "bad-shape");
    QCOMPARE(code({}, "noise", normals(2, {2, 3, 4})), "bad-shape");
    QCOMPARE(code({}, "next_sample", normals(2, {2, 3, 4})), "bad-shape");
    QCOMPARE(code({{"kind", "cps"}, {"noise_level", 1.2}}, "sigma_max", one), "bad-noise-level");
    Tensors first = flow_inputs();
    first["sigma"] = doubles({1, 0.5});
    QVERIFY(failure("image.flow_step", {}, first).empty());
    first.erase("sigma_max");
    QCOMPARE(failure("image.flow_step", {}, first), "bad-sigma");
    QVERIFY(failure("image.flow_step", {{"kind", "cps"}}, first).empty());
  }

  void frechet_distance_of_gaussians_that_commute_is_known() {
    // Diagonal: sum (m - n)^2 + (sqrt a - sqrt b)^2.
    const auto distance = [](const at::Tensor& m, const at::Tensor& a, const at::Tensor& n,
                             const at::Tensor& b) {
      return frechet_distance(m, a.diag(), n, b.diag());
    };
    const at::Tensor m = doubles({0, 1, 2}), a = doubles({4, 1, 0}), b = doubles({1, 9, 0.25});
    QVERIFY(close(distance(m, a, m + 1, b), 3 + 1 + 4 + 0.25, 1e-10));
    QVERIFY(distance(m, a, m, a) < 1e-12);
  }

  void frechet_distance_is_symmetric_and_turns_with_the_axes() {
    const at::Tensor x = normals(10, {60, 5}), y = 0.5 * normals(11, {50, 5}) + 0.3;
    const auto of = [](const at::Tensor& a, const at::Tensor& b,
                       const Json& params = Json::object()) {
      return number(fire("image.frechet_distance", params, {{"features", a}, {"ref_features", b}}),
                    "distance");
    };
    const double d = of(x, y);
    QVERIFY(d > 0.5 && close(of(y, x), d, 1e-9));
    const at::Tensor turn = std::get<0>(at::linalg_qr(normals(12, {5, 5})));
    QVERIFY(close(of(x.matmul(turn), y.matmul(turn)), d, 1e-9));
    QVERIFY(close(of(x.index_select(0, permutation(13, 60)), y), d, 1e-9));
    QVERIFY(of(x, x) < 1e-9);
    QVERIFY(std::abs(of(x, y, {{"covariance", "population"}}) - d) > 1e-4);
    const at::Tensor c = covariance_of(x, true), e = covariance_of(y, true);
    const EvaluateResult kept = fire(
        "image.frechet_distance", {},
        {{"mean", x.mean(0)}, {"covariance", c}, {"ref_mean", y.mean(0)}, {"ref_covariance", e}});
    QVERIFY(close(number(kept, "distance"), d, 1e-9));
  }

  void frechet_distance_refuses_what_has_no_covariance() {
    const at::Tensor x = normals(14, {6, 3});
    const auto code = [&](const Tensors& in) { return failure("image.frechet_distance", {}, in); };
    QCOMPARE(code({{"features", x}}), "nothing-to-measure");
    QCOMPARE(code({{"features", x.slice(0, 0, 1)}, {"ref_features", x}}), "too-few");
    QCOMPARE(code({{"features", x.slice(0, 0, 0)}, {"ref_features", x}}), "nothing-to-measure");
    QCOMPARE(code({{"features", x}, {"ref_features", normals(1, {6, 4})}}), "bad-shape");
    QCOMPARE(code({{"features", x * std::nan("")}, {"ref_features", x}}), "not-finite");
    const Tensors skew{{"mean", x[0]},
                       {"covariance", doubles({1, 2, 3, 0, 1, 0, 0, 0, 1}, {3, 3})},
                       {"ref_features", x}};
    QCOMPARE(code(skew), "not-symmetric");
    const EvaluateResult few =
        fire("image.frechet_distance", {},
             {{"features", normals(1, {4, 4})}, {"ref_features", normals(2, {9, 4})}});
    QVERIFY(alarmed(few, "few-rows"));
  }

  void vendi_counts_different_samples() {
    const auto of = [](const at::Tensor& features, double q = 1) {
      return number(
          fire("image.vendi", {{"q", q}, {"feature_order", "q"}}, {{"features", features}}),
          "score");
    };
    const at::Tensor basis = at::eye(5, at::kDouble);
    for (const double q : {0.0, 0.5, 1.0, 2.0, 7.0}) {
      QVERIFY(close(of(basis, q), 5, 1e-6));
      // Every sample twice: as many different ones.
      QVERIFY(close(of(at::cat({basis, 3 * basis}), q), 5, 1e-6));
      QVERIFY(close(of(at::ones({6, 4}, at::kDouble), q), 1, 1e-6));
    }
    const at::Tensor x = normals(20, {12, 30});
    QVERIFY(close(of(x.index_select(0, permutation(21, 12))), of(x), 1e-9));
    QVERIFY(close(of(x * normals(22, {12, 1}).abs()), of(x), 1e-9));
    // Common samples count more as the order grows.
    const at::Tensor uneven = at::cat({basis, basis.slice(0, 0, 1).expand({20, 5})});
    QVERIFY(of(uneven, 0.5) > of(uneven, 1) && of(uneven, 1) > of(uneven, 2));
  }

  /// The golden case features_5_5_q2 asks for order 2, but holds 3.92833921584901: its source,
  /// score_X of the package Vendi-Score, drops q and gives order 1. The definition gives
  /// 3.46884164907704; order 2 is 1 / |K / N|^2 (Frobenius), which needs no eigenvalue.
  void the_golden_number_of_order_2_is_of_order_1() {
    const at::Tensor x =
        doubles({0.1728515625, -0.1650390625, 1.1220703125, -0.1591796875, -0.0146484375,
                 0.2177734375, -1.4892578125, -1.3125,      -0.0615234375, 2.21875,
                 0.662109375,  0.8046875,     0.6826171875, 0.0556640625,  1.1806640625,
                 0.3095703125, -0.130859375,  0.0166015625, 1.4453125,     -0.7470703125,
                 1.078125,     1.0986328125,  0.4482421875, -0.1591796875, -0.677734375},
                {5, 5});
    const at::Tensor unit = x / x.square().sum(-1, true).sqrt();
    const double by_norm = 1 / (unit.matmul(unit.t()) / 5).square().sum().item<double>();
    QVERIFY(close(by_norm, 3.46884164907704, 1e-13));
    const auto score = [&](const Json& params) {
      return number(fire("image.vendi", params, {{"features", x}}), "score");
    };
    QVERIFY(close(score({{"q", 2}, {"feature_order", "q"}}), by_norm, 1e-12));
    QVERIFY(close(score({{"q", 2}}), 3.92833921584901, 1e-12));
    QVERIFY(close(score({{"q", 1}}), 3.92833921584901, 1e-12));
    qInfo("image.vendi/features_5_5_q2: golden 3.92833921584901 is order 1; order 2 is %.15g",
          by_norm);
  }

  void vendi_of_rows_is_that_of_their_kernel_on_both_sides() {
    for (const std::int64_t wide : {3, 40}) {
      const at::Tensor x = normals(23, {9, wide});
      const at::Tensor unit = x / x.square().sum(-1, true).sqrt();
      for (const double q : {1.0, 2.0, 3.5}) {
        QVERIFY(close(vendi_score_of_rows(x, q), vendi_score(unit.matmul(unit.t()), q), 1e-9));
      }
    }
    const Tensors in{{"features", normals(24, {6, 4})}};
    QVERIFY(alarmed(fire("image.vendi", {{"q", 2}}, in), "order-ignored"));
    QVERIFY(!alarmed(fire("image.vendi", {{"q", 2}, {"feature_order", "q"}}, in), "order-ignored"));
    QVERIFY(!alarmed(fire("image.vendi", {}, in), "order-ignored"));
  }

  void vendi_refuses_what_is_no_similarity() {
    const auto code = [](const char* port, const at::Tensor& value) {
      return failure("image.vendi", {}, {{port, value}});
    };
    QCOMPARE(code("kernel", doubles({1, 0, 0, 2}, {2, 2})), "bad-kernel");
    QCOMPARE(code("kernel", doubles({1, 0.5, 0, 1}, {2, 2})), "bad-kernel");
    QCOMPARE(code("kernel", normals(1, {2, 3})), "bad-kernel");
    QCOMPARE(code("features", doubles({1, 0, 0, 0}, {2, 2})), "bad-features");
    QCOMPARE(code("features", doubles({1, std::nan("")}, {1, 2})), "not-finite");
    QCOMPARE(code("features", normals(1, {0, 2})), "nothing-to-measure");
    QCOMPARE(failure("image.vendi", {}, {}), "nothing-to-measure");
  }

  void confident_views_are_those_of_lowest_entropy() {
    const at::Tensor logits = normals(30, {100, 7}) * normals(31, {100, 1}).abs();
    const at::Tensor log_p = logits.log_softmax(-1);
    const at::Tensor entropy = -(log_p.exp() * log_p).sum(-1);
    // 0.29 * 100 is 28.999... in binary.
    const ConfidentViews views = confident_views(logits, 0.29);
    QVERIFY(views.index.equal(entropy.argsort().slice(0, 0, 29)));
    const at::Tensor mean = log_p.exp().mean(0);
    QVERIFY(close(views.average_entropy, -(mean * mean.log()).sum().item<double>(), 1e-10));
    // Adding a number to a view's logits says nothing.
    const ConfidentViews moved = confident_views(logits + 50 * normals(32, {100, 1}), 0.29);
    QVERIFY(moved.index.equal(views.index));
    QCOMPARE(confident_views(logits, 0.001).index.numel(), 1);
    QCOMPARE(confident_views(logits, 1).index.numel(), 100);
    // One view that is certain: its entropy is 0, not NaN.
    const ConfidentViews sure = confident_views(doubles({0, 0, 1e4, 0}, {2, 2}), 0.5);
    QVERIFY(sure.index.equal(ids({1})) && std::isfinite(sure.average_entropy));
    const auto code = [](const Json& params, const at::Tensor& l) {
      return failure("image.confident_views", params, {{"logits", l}});
    };
    QCOMPARE(code({}, doubles({1, std::nan("")}, {1, 2})), "not-finite");
    QCOMPARE(code({}, normals(1, {0, 2})), "nothing-to-measure");
    QVERIFY(!code({{"share", 0}}, logits).empty());
  }
};

}  // namespace rewardloom

using rewardloom::TestImageNodes;
REWARDLOOM_TEST(TestImageNodes)
#include "test_image_nodes.moc"
