// Shaping, ensembles and group filters: known numbers, what must not matter, what is refused.
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/ensemble/reduce.h"
#include "nodes/shape/running.h"
#include "nodes/shape/sigma_filter.h"
#include "nodes/shape/transform.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

/// Numbers in -4..4 that depend on `seed` alone.
at::Tensor noise(std::vector<std::int64_t> shape, std::uint64_t seed) {
  at::Tensor out = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const std::uint64_t bits = mix(seed, static_cast<std::uint64_t>(i)) >> 11;
    out.data_ptr<double>()[i] = 8 * static_cast<double>(bits) / 9007199254740992.0 - 4;
  }
  return out;
}

const std::vector<const char*>& transform_modes() {
  static const std::vector<const char*> modes{"raw",      "sigmoid",  "par",     "tanh",
                                              "par_tanh", "centered", "ceil",    "lsc",
                                              "sgfc",     "poly",     "par_poly"};
  return modes;
}

Completions actions(const at::Tensor& mask) {
  Completions c;
  c.tokens = at::zeros_like(mask, at::kLong);
  c.kinds = mask.to(at::kChar) * static_cast<std::int64_t>(TokenKind::action);
  return c;
}

}  // namespace

class TestShapeNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  /// r = 1.7 against references .3, -.5, 1.1: values of PAR's own RewardShaper.
  void known_numbers_of_reward_shaping() {
    const at::Tensor r = doubles({1.7});
    const at::Tensor reference = doubles({0.3, -0.5, 1.1}).reshape({1, 3});
    const auto value = [&](TransformOptions options) {
      return transformed(r, reference, {}, options).item<double>();
    };
    QVERIFY(near(value({.mode = TransformMode::par}), 0.78269657, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::par, .k = 2}), 0.89969072, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::par, .k = 3}), 0.94733879, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::par_tanh}), 0.79938145, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::centered}), 1.4, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::sgfc}), 0.18705994, 1e-7));
    QVERIFY(near(value({.mode = TransformMode::lsc}), -0.44791710, 1e-7));
    QVERIFY(
        near(value({.mode = TransformMode::lsc, .std = Divisor::population}), -0.39561476, 1e-7));
    QVERIFY(
        near(value({.mode = TransformMode::par, .max_refs = 1}), 1 / (1 + std::exp(-1.4)), 1e-7));
  }

  void what_is_no_number_is_not_held_below_the_ceiling() {
    const at::Tensor shaped =
        transformed(doubles({5, NAN, -1}), {}, {}, {.mode = TransformMode::ceil});
    QVERIFY(std::isnan(shaped[1].item<double>()));
    QCOMPARE(shaped.isnan().sum().item<std::int64_t>(), 1);
  }

  /// numpy.polyfit(x, sigmoid(x), 5) on linspace(-5, 5, 100).
  void the_polynomial_is_the_least_squares_fit() {
    const at::Tensor x = doubles({-4.9, -2, 0, 0.5, 3, 4.99, -5, 5, -80, 80});
    const std::vector<double> got = list(transformed(x, {}, {}, {.mode = TransformMode::poly}));
    const std::vector<double> want{-0.00166227730894275,
                                   0.11698485946078441,
                                   0.5,
                                   0.6131342252936257,
                                   0.9620795180787185,
                                   1.0099066917151163,
                                   0,
                                   1,
                                   0,
                                   1};
    for (std::size_t i = 0; i < want.size(); ++i) {
      QVERIFY2(near(got[i], want[i], 1e-10), fmt::format("{}: {}", i, got[i]).c_str());
    }
  }

  void far_below_the_reference_the_log_sigmoid_stays_finite() {
    const at::Tensor r = transformed(doubles({-2000}), doubles({0, 1}).reshape({1, 2}), {},
                                     {.mode = TransformMode::lsc});
    QVERIFY(r.item<double>() < -1999 && std::isfinite(r.item<double>()));
  }

  void rows_and_references_may_stand_in_any_order() {
    const at::Tensor r = noise({7}, 1);
    const at::Tensor reference = noise({7, 5}, 2);
    const at::Tensor rows = ids({3, 0, 6, 5, 1, 2, 4});
    const at::Tensor columns = ids({4, 2, 0, 1, 3});
    for (const auto& choice : choices(TransformMode{})) {
      const TransformOptions options{.mode = choice.value};
      const at::Tensor want = transformed(r, reference, {}, options).index_select(0, rows);
      const at::Tensor got =
          transformed(r.index_select(0, rows),
                      reference.index_select(0, rows).index_select(1, columns), {}, options);
      QVERIFY2(at::allclose(got, want, 1e-12, 1e-12), choice.name);
    }
  }

  void references_of_the_same_group_are_those_of_the_row() {
    const at::Tensor reference = noise({3, 4}, 3);
    for (const char* mode : transform_modes()) {
      Bench matrix("shape.transform", {{"mode", mode}});
      matrix.connect("rewards", {Value::of(rewards_of({0.5, -1, 2}))});
      matrix.connect("reference", {Value::of(Values{reference})});
      matrix.fire();
      Bench grouped("shape.transform", {{"mode", mode}});
      grouped.connect("rewards", {Value::of(rewards_of({2, 0.5, -1}, {-7, 40, 3}))});
      Rewards all;
      all.total = reference.reshape({-1});
      all.group = ids({40, 40, 40, 40, 3, 3, 3, 3, -7, -7, -7, -7});
      grouped.connect("references", {Value::of(all)});
      grouped.fire();
      const at::Tensor want = matrix.out<Rewards>("rewards").total;
      QVERIFY2(
          at::allclose(grouped.out<Rewards>("rewards").total, want.index_select(0, ids({2, 0, 1}))),
          mode);
    }
  }

  void one_reference_is_no_percentile() {
    const auto alarms = [](const std::vector<double>& references) {
      Bench bench("shape.transform", {{"mode", "lsc"}});
      bench.connect("rewards", {Value::of(rewards_of({0.5}))});
      bench.connect("reference", {Value::of(Values{doubles(references).reshape({1, -1})})});
      bench.fire();
      return bench.context.alarms;
    };
    QCOMPARE(alarms({3}), std::vector<std::string>{"one-reference"});
    QVERIFY(alarms({3, 4}).empty());
  }

  /// A ragged group equals the same references without padding, in every relative mode.
  void fewer_references_are_no_zeros() {
    for (const char* mode : {"par", "par_tanh", "centered", "lsc", "sgfc", "par_poly"}) {
      Bench ragged("shape.transform", {{"mode", mode}});
      ragged.connect("rewards", {Value::of(rewards_of({0.5, 0.5}, {1, 2}))});
      ragged.connect("references",
                     {Value::of(rewards_of({1, 3, -1, 9, 2}, {1, 2, 1, 2, 1}, {0, 0, 0, 1, 0}))});
      ragged.fire();
      const std::vector<double> got = list(ragged.out<Rewards>("rewards").total);
      Bench plain("shape.transform", {{"mode", mode}});
      plain.connect("rewards", {Value::of(rewards_of({0.5}))});
      plain.connect("reference", {Value::of(Values{doubles({3}).reshape({1, 1})})});
      plain.fire();
      QVERIFY2(near(got[1], plain.out<Rewards>("rewards").total.item<double>(), 1e-12), mode);
    }
  }

  void a_row_without_references_is_absent() {
    Bench bench("shape.transform", Json::object());
    bench.context.skip_rows = true;
    bench.connect("rewards", {Value::of(rewards_of({1, 2, 3}, {1, 2, 3}, {0, 0, 1}))});
    bench.connect("references", {Value::of(rewards_of({0, 0}, {1, 3}))});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QVERIFY(r.absent.equal(flags({0, 1, 1})));
    QCOMPARE(r.total[1].item<double>(), 0.0);
    QCOMPARE(bench.context.failed_rows.size(), std::size_t{1});
    QVERIFY(bench.context.failed_rows.contains(1));
  }

  void references_that_are_no_numbers_are_named() {
    const auto shaped = [](const Rewards& references) {
      return problem_of([&] {
        Bench bench("shape.transform", Json::object());
        bench.connect("rewards", {Value::of(rewards_of({1, 2}, {1, 1}))});
        bench.connect("references", {Value::of(references)});
        bench.fire();
      });
    };
    const Problem problem = shaped(rewards_of({0, NAN}, {1, 1}));
    QCOMPARE(problem.code, std::string("not-finite"));
    QVERIFY(problem.text.find("references of row 1") != std::string::npos);
    // One that is absent is no fault.
    QCOMPARE(shaped(rewards_of({0, NAN}, {1, 1}, {0, 1})).code, std::string());
  }

  void shaping_keeps_its_parts_and_refuses_what_does_not_fit() {
    Bench bench("shape.transform", {{"mode", "tanh"}});
    bench.connect("rewards", {Value::of(rewards_of({1, -1}, {5, 6}))});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QVERIFY(r.group.equal(ids({5, 6})));
    QCOMPARE(r.components.back().first, std::string("shape.transform"));
    QVERIFY(at::allclose(r.components.back().second, r.total - doubles({1, -1})));

    const auto code = [](const Json& params, std::vector<double> rewards,
                         const at::Tensor& reference) {
      return problem_of([&] {
               Bench b("shape.transform", params);
               b.connect("rewards", {Value::of(rewards_of(rewards))});
               if (reference.defined()) b.connect("reference", {Value::of(Values{reference})});
               b.fire();
             })
          .code;
    };
    QCOMPARE(code(Json::object(), {1, 2}, {}), std::string("no-reference-rewards"));
    QCOMPARE(code(Json::object(), {1, 2}, noise({3, 2}, 1)), std::string("bad-shape"));
    QCOMPARE(code({{"mode", "raw"}}, {1, NAN}, {}), std::string("not-finite"));
    QVERIFY(!code({{"k", 0}}, {1}, {}).empty());
    QVERIFY(!code({{"k", -1.0}}, {1}, {}).empty());
    QVERIFY(!code({{"percentile", 1.0}}, {1}, {}).empty());
    QVERIFY(!code({{"mode", "relu"}}, {1}, {}).empty());
  }

  /// Killed between any two updates and resumed, the statistics are the same to the bit.
  void running_statistics_resume_exactly() {
    for (const char* preset : {"par", "oni"}) {
      for (const char* mode : {"meanstd", "clip", "minmax"}) {
        const Json params = {{"mode", mode}, {"preset", preset}};
        Bench whole("shape.running", params);
        std::vector<at::Tensor> want;
        for (std::int64_t u = 0; u < 6; ++u) want.push_back(update(whole, u));
        for (std::int64_t cut = 0; cut <= 6; ++cut) {
          Bench before("shape.running", params);
          for (std::int64_t u = 0; u < cut; ++u) QVERIFY(update(before, u).equal(want[index(u)]));
          Bench after("shape.running", params);
          if (cut > 0) {
            Package saved;
            before.context.states.at("moments").save(saved);
            StateHolder fresh = detail::hold<RunningMoments>(std::make_shared<RunningMoments>());
            fresh.load(saved);
            after.context.states["moments"] = fresh;
          }
          for (std::int64_t u = cut; u < 6; ++u) QVERIFY(update(after, u).equal(want[index(u)]));
        }
      }
    }
  }

  void running_moments_are_those_of_everything_seen() {
    RunningMoments moments;
    std::vector<at::Tensor> seen;
    for (std::uint64_t u = 0; u < 20; ++u) {
      seen.push_back(noise({static_cast<std::int64_t>(1 + u % 7)}, u) + 1e6);
      moments.add(list(seen.back()), RunningPreset::par);
      const at::Tensor all = at::cat(seen);
      QVERIFY(near(moments.mean(), all.mean().item<double>(), 1e-12));
      if (all.numel() > 1) QVERIFY(near(moments.std(), all.std(false).item<double>(), 1e-8));
      QCOMPARE(moments.low(), all.min().item<double>());
      QCOMPARE(moments.high(), all.max().item<double>());
    }
  }

  void equal_rewards_are_shaped_to_nothing() {
    for (const char* mode : {"meanstd", "minmax"}) {
      Bench bench("shape.running", {{"mode", mode}});
      bench.connect("rewards", {Value::of(rewards_of({0.1, 0.1, 0.1}))});
      bench.fire();
      const double middle = std::string(mode) == "minmax" ? 0.5 : 0;
      QCOMPARE(list(bench.out<Rewards>("rewards").total), std::vector<double>(3, middle));
    }
    Bench single("shape.running", Json::object());
    single.connect("rewards", {Value::of(rewards_of({3}))});
    single.fire();
    QCOMPARE(single.out<Scalar>("std").value, 0.0);
    QCOMPARE(single.out<Rewards>("rewards").total.item<double>(), 0.0);
  }

  void absent_rows_enter_no_statistics() {
    Bench with("shape.running", Json::object());
    with.connect("rewards", {Value::of(rewards_of({1, NAN, 4}, {1, 1, 2}, {0, 1, 0}))});
    with.fire();
    Bench without("shape.running", Json::object());
    without.connect("rewards", {Value::of(rewards_of({1, 4}))});
    without.fire();
    QCOMPARE(with.out<Scalar>("mean").value, without.out<Scalar>("mean").value);
    QCOMPARE(with.out<Scalar>("std").value, without.out<Scalar>("std").value);
    QCOMPARE(with.out<Rewards>("rewards").total[1].item<double>(), 0.0);
    QVERIFY(with.out<Rewards>("rewards").absent.equal(flags({0, 1, 0})));
    Bench none("shape.running", Json::object());
    none.connect("rewards", {Value::of(rewards_of({1, 4}, {}, {1, 1}))});
    none.fire();
    QCOMPARE(none.out<Scalar>("mean").value, 0.0);
  }

  /// A reward that is no number must not spoil the statistics of the run.
  void a_nan_is_refused_before_it_is_counted() {
    Bench bench("shape.running", Json::object());
    update(bench, 0);
    const double mean = bench.out<Scalar>("mean").value;
    bench.connect("rewards", {Value::of(rewards_of({1, NAN}))});
    QCOMPARE(problem_of([&] { bench.fire(1); }).code, std::string("not-finite"));
    bench.connect("rewards", {Value::of(rewards_of({7}, {}, {1}))});
    bench.fire(1);
    QCOMPARE(bench.out<Scalar>("mean").value, mean);
  }

  void several_updates_can_be_evaluated_at_once() {
    Package in;
    in.tensors["rewards"] = noise({3, 4}, 9);
    const EvaluateResult r = evaluate(testing::all_nodes(), "shape.running", Json::object(), in);
    QCOMPARE(r.outputs.tensors.at("rewards").sizes().vec(), (std::vector<std::int64_t>{3, 4}));
    QCOMPARE(r.outputs.tensors.at("mean").numel(), std::int64_t{3});
    Bench bench("shape.running", Json::object());
    for (std::int64_t u = 0; u < 3; ++u) {
      Rewards now;
      now.total = in.tensors["rewards"][u];
      bench.connect("rewards", {Value::of(now)});
      bench.fire(u);
      QVERIFY(r.outputs.tensors.at("rewards")[u].equal(bench.out<Rewards>("rewards").total));
    }
    in.tensors["rewards"] = noise({1, 4}, 9);
    QCOMPARE(evaluate(testing::all_nodes(), "shape.running", Json::object(), in)
                 .outputs.tensors.at("rewards")
                 .sizes()
                 .vec(),
             (std::vector<std::int64_t>{1, 4}));
  }

  void outliers_lie_outside_the_band() {
    at::Tensor x = noise({8, 16}, 4);
    x[3][5] = 90;
    x[0][0] = -70;
    const at::Tensor mask = noise({8, 16}, 5).gt(-3).logical_or(x.abs().gt(50));
    for (const bool single : {false, true}) {
      const at::Tensor values = single ? x.to(at::kFloat) : x;
      const SigmaFiltered got = sigma_filter(values, mask, {});
      QCOMPARE(got.values.scalar_type(), values.scalar_type());
      const at::Tensor valid = x.masked_select(mask);
      const at::Tensor y = (x - valid.mean()) * valid.var(false).clamp_min(1e-8).rsqrt() + 1e-8;
      const at::Tensor out = y.abs().gt(3).logical_and(mask);
      QVERIFY(got.outlier.equal(out));
      QCOMPARE(got.outliers, std::int64_t{2});
      QCOMPARE(got.tokens, mask.sum().item<std::int64_t>());
      const at::Tensor want = y.masked_fill(out.logical_or(mask.logical_not()), 0.0);
      QVERIFY(at::allclose(got.values.to(at::kDouble), want, 1e-5, 1e-5));
    }
  }

  void the_centre_of_the_raw_mean_is_what_the_code_does() {
    const at::Tensor x = noise({40, 1}, 6) + 2;
    const at::Tensor mask = at::ones_like(x, at::kBool);
    const at::Tensor y = (x - x.mean()) * x.var(false).rsqrt() + 1e-8;
    const at::Tensor wanted = (y - x.mean()).abs().gt(3);
    QVERIFY(wanted.any().item<bool>());
    QVERIFY(sigma_filter(x, mask, {.center = FilterCenter::raw_mean}).outlier.equal(wanted));
    QVERIFY(!sigma_filter(x, mask, {}).outlier.any().item<bool>());
  }

  void what_is_outside_the_mask_has_no_influence() {
    const at::Tensor mask = noise({5, 9}, 7).gt(0);
    const at::Tensor x = noise({5, 9}, 8);
    const SigmaFiltered want = sigma_filter(x, mask, {});
    for (const double other : {1e30, -5.0, static_cast<double>(NAN)}) {
      const SigmaFiltered got = sigma_filter(x.masked_fill(mask.logical_not(), other), mask, {});
      QVERIFY(got.values.equal(want.values));
    }
    QVERIFY(want.values.masked_select(mask.logical_not()).eq(0).all().item<bool>());
  }

  void equal_advantages_become_zero_and_nans_are_named() {
    const at::Tensor mask = flags({1, 1, 1, 0}).reshape({2, 2});
    const SigmaFiltered same = sigma_filter(at::full({2, 2}, 0.3, at::kFloat), mask, {});
    QVERIFY(same.values.eq(0).all().item<bool>());
    const Problem problem = problem_of([&] {
      sigma_filter(doubles({1, 2, NAN, NAN}).reshape({2, 2}), mask, {});
    });
    QCOMPARE(problem.code, std::string("not-finite"));
    QVERIFY2(problem.text.find("row 1 at token 0") != std::string::npos, problem.text.c_str());
    QCOMPARE(problem_of([&] {
               sigma_filter(doubles({1, 2}), mask, {});
             }).code,
             std::string("bad-shape"));
    const SigmaFiltered nothing = sigma_filter(doubles({1, 2}), flags({0, 0}), {});
    QVERIFY(nothing.values.eq(0).all().item<bool>());
  }

  void dropped_tokens_count_in_no_mean() {
    at::Tensor x = noise({4, 8}, 10);
    x[2][2] = 500;
    const at::Tensor mask = at::ones({4, 8}, at::kBool);
    for (const bool drop : {false, true}) {
      Bench bench("shape.sigma_filter", {{"action", drop ? "drop" : "zero"}});
      Advantages a;
      a.advantages = x;
      bench.connect("values", {Value::of(a)});
      bench.connect("completions", {Value::of(actions(mask))});
      bench.fire();
      const at::Tensor kept = bench.out<Completions>("completions").mask();
      QCOMPARE(kept.sum().item<std::int64_t>(), std::int64_t{drop ? 31 : 32});
      QCOMPARE(kept[2][2].item<bool>(), !drop);
      QCOMPARE(bench.out<Advantages>("values").advantages[2][2].item<double>(), 0.0);
      QVERIFY(near(bench.context.metrics.at("outliers"), 1.0 / 32));
    }
  }

  void ensembles_do_not_care_who_stands_where() {
    const at::Tensor scores = noise({5, 9}, 11);
    for (const auto& choice : choices(EnsembleOp{})) {
      for (const std::int64_t members : {1, 2, 4, 5}) {
        const at::Tensor x = scores.narrow(0, 0, members);
        const at::Tensor order = at::arange(members, at::kLong).flip(0);
        const EnsembleScores a = reduce_ensemble(x, {.op = choice.value});
        const EnsembleScores b = reduce_ensemble(x.index_select(0, order), {.op = choice.value});
        QVERIFY2(at::allclose(a.rewards, b.rewards, 1e-12, 1e-12), choice.name);
        if (members > 1) continue;
        QVERIFY2(a.rewards.equal(x[0]), choice.name);
        QVERIFY(a.std.eq(0).all().item<bool>());
      }
    }
    const EnsembleScores even =
        reduce_ensemble(doubles({1, 9, 2, 4}).reshape({4, 1}), {.op = EnsembleOp::median});
    QCOMPARE(even.rewards.item<double>(), 3.0);
    QCOMPARE(
        reduce_ensemble(scores, {.op = EnsembleOp::quantile, .q = 0}).rewards.equal(scores.amin(0)),
        true);
  }

  void a_row_that_a_member_could_not_score_is_absent() {
    Bench bench("ensemble.reduce", {{"op", "min"}});
    bench.connect("rewards", {Value::of(rewards_of({1, 2, 3}, {4, 4, 5}, {0, 1, 0})),
                              Value::of(rewards_of({0, 5, 6}))});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QCOMPARE(list(r.total), (std::vector<double>{0, 0, 3}));
    QVERIFY(r.absent.equal(flags({0, 1, 0})));
    QVERIFY(r.group.equal(ids({4, 4, 5})));
    QCOMPARE(r.components.size(), std::size_t{2});
    QCOMPARE(bench.out<Values>("std").values[1].item<double>(), 0.0);
  }

  void members_on_other_scales_raise_an_alarm() {
    const auto alarms = [](std::vector<Rewards> members) {
      Bench bench("ensemble.reduce", Json::object());
      std::vector<Value> values;
      for (Rewards& member : members) values.push_back(Value::of(std::move(member)));
      bench.connect("rewards", std::move(values));
      bench.fire();
      return bench.context.alarms;
    };
    const std::vector<std::string> told{"member-scales"};
    QVERIFY(alarms({rewards_of({0, 1, 2}), rewards_of({0.5, 1.5, 2.5})}).empty());
    QCOMPARE(alarms({rewards_of({0, 1, 2}), rewards_of({3, 4, 5})}), told);
    QVERIFY(alarms({rewards_of({0, 1, 2})}).empty());
    QVERIFY(alarms({rewards_of({0}), rewards_of({9})}).empty());
    // A row that one member could not score counts for none.
    QVERIFY(alarms({rewards_of({0, 1, 90}, {}, {0, 0, 1}), rewards_of({0, 1, 2})}).empty());
    const auto gap = scale_gap({{0, 1, 2}, {3, 4, 5}, {-6, -4, -2}}, {true, true, true});
    QVERIFY(gap.has_value());
    QCOMPARE(gap->low, std::ptrdiff_t{2});
    QCOMPARE(gap->high, std::ptrdiff_t{1});
    QCOMPARE(gap->low_mean, -4.0);
    QCOMPARE(gap->high_mean, 4.0);
    QVERIFY(std::abs(gap->spread - 4.0 / 3) < 1e-12);
  }

  void ensembles_refuse_what_does_not_fit() {
    const auto code = [](const Json& params, std::vector<Value> members) {
      return problem_of([&] {
               Bench b("ensemble.reduce", params);
               b.connect("rewards", std::move(members));
               b.fire();
             })
          .code;
    };
    const Value two = Value::of(rewards_of({1, 2}));
    QCOMPARE(code(Json::object(), {two, Value::of(rewards_of({1, 2, 3}))}),
             std::string("bad-shape"));
    QCOMPARE(code(Json::object(), {two, Value::of(rewards_of({1, NAN}))}),
             std::string("not-finite"));
    QVERIFY(!code({{"k", -0.5}}, {two}).empty());
    QVERIFY(!code({{"q", 1.5}}, {two}).empty());
    QVERIFY(!code(Json::object(), {}).empty());
  }

  void groups_without_variance_are_dropped() {
    Rewards r = rewards_of({1, 0, 1, 1, 0.5, 1, 9}, {3, 8, 3, 8, 5, 3, 7}, {0, 0, 0, 0, 0, 0, 1});
    r.components = {{"check", r.total * 2}};
    r.batch = 12;
    Completions c;
    c.tokens = at::arange(14, at::kLong).reshape({7, 2});
    c.kinds = at::full({7, 2}, 2, at::kChar);
    c.group = r.group;
    c.text = {"a", "b", "c", "d", "e", "f", "g"};
    c.batch = 12;
    Bench bench("filter.zero_variance_groups", Json::object());
    bench.connect("rewards", {Value::of(r)});
    bench.connect("completions", {Value::of(c)});
    bench.fire();
    const Rewards& kept = bench.out<Rewards>("rewards");
    const Completions& rows = bench.out<Completions>("completions");
    QCOMPARE(list(kept.total), (std::vector<double>{0, 1}));
    QVERIFY(kept.components[0].second.equal(doubles({0, 2})));
    QVERIFY(rows.tokens.equal(ids({2, 3, 6, 7}).reshape({2, 2})));
    QCOMPARE(rows.text, (std::vector<std::string>{"b", "d"}));
    QVERIFY(rows.group.equal(ids({8, 8})));
    QVERIFY(kept.batch == rows.batch && kept.batch != 12);
    QVERIFY(near(bench.context.metrics.at("kept_groups"), 1.0 / 3));
  }

  void where_no_group_stays_all_do() {
    Bench bench("filter.zero_variance_groups", Json::object());
    bench.connect("rewards", {Value::of(rewards_of({1, 1, 0}, {1, 1, 2}))});
    bench.fire();
    QCOMPARE(bench.out<Rewards>("rewards").total.size(0), std::int64_t{3});
    QCOMPARE(bench.context.alarms, std::vector<std::string>{"nothing-kept"});
  }

  void groups_stay_whose_mean_lies_in_the_band() {
    Bench bench("filter.difficulty", {{"low", 0.25}, {"high", 0.75}});
    bench.connect("rewards",
                  {Value::of(rewards_of({1, 0, 0, 0, 1, 1, 1, 0}, {1, 1, 2, 2, 3, 3, 4, 4},
                                        {0, 0, 0, 0, 0, 0, 0, 1}))});
    bench.fire();
    QVERIFY(bench.out<Rewards>("rewards").group.equal(ids({1, 1})));
    Bench no_groups("filter.difficulty", Json::object());
    no_groups.connect("rewards", {Value::of(rewards_of({1, 0}))});
    QCOMPARE(problem_of([&] { no_groups.fire(); }).code, std::string("no-groups"));
  }

 private:
  static std::size_t index(std::int64_t u) { return static_cast<std::size_t>(u); }
  static at::Tensor update(Bench& bench, std::int64_t u) {
    Rewards now;
    now.total = noise({5 + u % 3}, static_cast<std::uint64_t>(u));
    bench.connect("rewards", {Value::of(now)});
    bench.fire(u);
    return bench.out<Rewards>("rewards").total;
  }
};

}  // namespace rewardloom

using rewardloom::TestShapeNodes;
REWARDLOOM_TEST(TestShapeNodes)
#include "test_shape_nodes.moc"
