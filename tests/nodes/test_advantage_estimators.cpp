// The estimators over tokens and groups: numbers by hand, presets, scans against loops, and what
// each must refuse.
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/advantage/gae.h"
#include "nodes/advantage/multi_source.h"
#include "nodes/advantage/optimal_token_baseline.h"
#include "nodes/advantage/reinforce_pp.h"
#include "nodes/advantage/remax.h"
#include "nodes/advantage/td_lambda.h"
#include "nodes/advantage/vtrace.h"
#include "nodes/advantage/whiten.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using testing::all_nodes;

at::Tensor matrix(const std::vector<std::vector<double>>& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(at::ArrayRef<double>(flat), at::dtype(at::kDouble))
      .reshape({static_cast<std::int64_t>(rows.size()), -1});
}
at::Tensor row(const std::vector<double>& values) { return matrix({values}); }
at::Tensor vec(const std::vector<double>& values) { return row(values).flatten(); }
at::Tensor ids(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}
at::Tensor flags(const std::vector<std::vector<double>>& rows) {
  return matrix(rows).to(at::kBool);
}

at::Tensor normal(std::uint64_t stream, at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::kDouble);
  Random random(RandomKey{11, stream, 0});
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<double>()[i] = random.normal();
  return out;
}

bool near(const at::Tensor& a, const at::Tensor& b, double tolerance = 1e-9) {
  return a.sizes() == b.sizes() &&
         at::allclose(a.to(at::kDouble), b.to(at::kDouble), tolerance, tolerance);
}

std::map<std::string, at::Tensor> evaluated(const char* type, const Json& params,
                                            const std::map<std::string, at::Tensor>& inputs) {
  Package in;
  for (const auto& [name, tensor] : inputs) in.tensors[name] = tensor;
  const EvaluateResult result = evaluate(all_nodes(), type, params, in);
  std::map<std::string, at::Tensor> out(result.outputs.tensors.begin(),
                                        result.outputs.tensors.end());
  for (const Problem& alarm : result.alarms) out["alarm " + alarm.code] = at::ones({});
  return out;
}
at::Tensor advantages(const char* type, const Json& params,
                      const std::map<std::string, at::Tensor>& inputs) {
  return evaluated(type, params, inputs).at("advantages");
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

/// Calls in threads, last first.
const ParallelCalls kThreads = [](std::size_t count, const auto& call) {
  std::vector<std::thread> running;
  for (std::size_t i = count; i-- > 0;) running.emplace_back([&call, i] { call(i); });
  for (std::thread& thread : running) thread.join();
};

/// A random batch with gaps in the mask, rows without tokens and ends of both kinds.
struct Batch {
  Episodes episodes;
  at::Tensor values, next_values, log_probs, behavior, outcome, group, squares;

  Batch(std::int64_t rows, std::int64_t tokens, at::ScalarType type = at::kDouble) {
    const auto make = [&](std::uint64_t n) { return normal(n, {rows, tokens}).to(type); };
    episodes.rewards = make(1);
    episodes.mask = make(2) > -0.7;
    if (rows > 1) episodes.mask.select(0, 1).fill_(false);
    episodes.done = make(3) > 1;
    episodes.terminated = episodes.done.logical_and(make(4) > 0);
    values = make(5);
    next_values = make(6);
    log_probs = -make(7).abs();
    behavior = -make(8).abs();
    squares = make(9).abs().clamp_max(1);
    outcome = normal(10, {rows}).to(type);
    group = at::arange(rows, at::kLong).remainder(std::max<std::int64_t>(1, rows / 4)).mul(91) - 7;
    // What stands outside the mask must not matter.
    for (at::Tensor* x : {&episodes.rewards, &values, &next_values, &log_probs, &behavior}) {
      *x = x->masked_fill(episodes.mask.logical_not(), std::nan(""));
    }
  }
};

}  // namespace

class TestAdvantageEstimators : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- presets ----

  void presets_set_what_their_frameworks_set_data() {
    QTest::addColumn<QString>("type");
    QTest::addColumn<QString>("preset");
    QTest::addColumn<double>("first");
    QTest::addColumn<double>("last");
    const double half = std::sqrt(0.5);
    // skip: A = (0.25, 0.5); zero: A = (-0.125, 0.5).
    QTest::newRow("gae none") << "advantage.gae"
                              << "none" << 0.25 << 0.5;
    QTest::newRow("gae torchrl") << "advantage.gae"
                                 << "torchrl" << 0.25 << 0.5;
    QTest::newRow("gae verl") << "advantage.gae"
                              << "verl" << -half << half;
    QTest::newRow("gae openrlhf") << "advantage.gae"
                                  << "openrlhf" << -1.0 << 1.0;
    // returns (1.5, 1)
    QTest::newRow("reinforce_pp none") << "advantage.reinforce_pp"
                                       << "none" << half << -half;
    QTest::newRow("reinforce_pp verl") << "advantage.reinforce_pp"
                                       << "verl" << half << -half;
    QTest::newRow("reinforce_pp openrlhf") << "advantage.reinforce_pp"
                                           << "openrlhf" << 1.0 << -1.0;
    QTest::newRow("whiten verl") << "advantage.whiten"
                                 << "verl" << 0.0 << 0.0;
    QTest::newRow("whiten trl") << "advantage.whiten"
                                << "trl" << 0.0 << 0.0;
    QTest::newRow("whiten openrlhf") << "advantage.whiten"
                                     << "openrlhf" << 0.0 << 0.0;
  }
  void presets_set_what_their_frameworks_set() {
    QFETCH(QString, type);
    QFETCH(QString, preset);
    QFETCH(double, first);
    QFETCH(double, last);
    const std::string node = type.toStdString();
    const Json params{{"preset", preset.toStdString()}};
    const at::Tensor mask = flags({{1, 0, 1}});
    if (node == "advantage.whiten") {
      // Values 0 and 1e-4: variance 5e-9 (sample) under an epsilon of 1e-8 added, 2.5e-9
      // (population) below a floor of 1e-8.
      const at::Tensor out =
          evaluated(node.c_str(), params, {{"values", row({0, 9, 1e-4})}, {"mask", mask}})
              .at("whitened");
      const double spread = preset == "openrlhf" ? std::sqrt(1e-8) : std::sqrt(1.5e-8);
      QVERIFY(near(out, row({-0.5e-4 / spread, 0, 0.5e-4 / spread})));
      return;
    }
    const at::Tensor rewards = node == "advantage.gae" ? row({0, 9, 1}) : row({0.5, 9, 1});
    Json all = params;
    std::map<std::string, at::Tensor> in{{"rewards", rewards}, {"mask", mask}};
    if (node == "advantage.gae") {
      in["values"] = row({0.5, 7, 0.5});
      all["lambda"] = 0.5;
    }
    QVERIFY(near(advantages(node.c_str(), all, in), row({first, 0, last}), 1e-6));
  }
  void explicit_parameters_win_over_presets() {
    const at::Tensor out =
        advantages("advantage.gae", {{"preset", "openrlhf"}, {"whiten", "none"}, {"lambda", 0.5}},
                   {{"rewards", row({0, 9, 1})},
                    {"values", row({0.5, 7, 0.5})},
                    {"mask", flags({{1, 0, 1}})}});
    QVERIFY(near(out, row({-0.125, 0, 0.5})));
  }

  // ---- episodes ----

  void the_end_of_an_episode_cuts_what_follows() {
    const Episodes e{row({1, 2, 4}), {}, flags({{0, 1, 0}}), flags({{0, 1, 0}})};
    const AdvantagesAndReturns out = gae(e, row({0, 0, 0}), row({10, 20, 30}), {0.5, 1.0});
    // Step 1 terminates: no value behind it. Step 2 is the row's last: value 30 behind it.
    QVERIFY(near(out.advantages, row({1 + 5 + 0.5 * 2, 2, 4 + 15})));
    const at::Tensor td = td_lambda(e, row({10, 20, 30}), {0.5, 0.0});
    QVERIFY(near(td, row({6, 2, 19})));
    const Episodes cut{e.rewards, {}, e.done, flags({{0, 0, 0}})};
    QVERIFY(near(td_lambda(cut, row({10, 20, 30}), {0.5, 1.0}), row({1 + 0.5 * 12, 12, 19})));
  }

  void a_truncated_step_needs_the_value_of_its_next_state() {
    const Episodes cut{row({1, 2, 4}), {}, flags({{0, 1, 0}}), flags({{0, 0, 0}})};
    const at::Tensor v = row({1, 1, 1});
    QCOMPARE(code_of([&] { gae(cut, v, {}, {}); }), std::string("no-next-values"));
    QCOMPARE(code_of([&] { gae_by_scan(cut, v, {}, {}); }), std::string("no-next-values"));
    Episodes hidden = cut;
    hidden.mask = flags({{1, 0, 1}});
    QCOMPARE(code_of([&] { gae(hidden, v, {}, {}); }), std::string());
    Episodes ended = cut;
    ended.terminated = at::Tensor();
    QCOMPARE(code_of([&] { gae(ended, v, {}, {}); }), std::string());
  }

  void vtrace_on_policy_is_td_one_and_clips_off_policy() {
    const Batch b(6, 9);
    VtraceInputs same{b.behavior, b.behavior, b.values, b.next_values};
    Episodes e = b.episodes;
    // With V(next) consistent along the row, all ratios 1: targets are the lambda = 1 returns.
    e.mask = at::Tensor();
    e.done = e.terminated = at::Tensor();
    e.rewards = normal(20, {6, 9});
    same.log_probs = same.behavior_log_probs = normal(21, {6, 9});
    const at::Tensor state = normal(22, {6, 10});
    same.values = state.narrow(1, 0, 9).contiguous();
    same.next_values = state.narrow(1, 1, 9).contiguous();
    QVERIFY(near(vtrace(e, same, {0.9}).targets, td_lambda(e, same.next_values, {0.9, 1.0})));
    // One step, ratio e^2: the advantage is that of ratio rho_clip.
    const Episodes one{row({3}), {}, {}, {}};
    const VtraceResult far = vtrace(one, {row({2}), row({0}), row({1}), row({5})}, {0.5, 1.5, 1.0});
    QVERIFY(near(far.advantages, row({1.5 * (3 + 2.5 - 1)})));
    QVERIFY(near(far.targets, row({1 + 1.5 * 4.5})));
  }

  void trajectories_stand_for_rewards_and_ends() {
    const std::map<std::string, at::Tensor> steps{
        {"trajectories.observations", at::zeros({1, 3, 2})},
        {"trajectories.rewards", row({1, 2, 4})},
        {"trajectories.terminated", flags({{0, 1, 0}})},
        {"trajectories.truncated", flags({{1, 0, 0}})},
        {"next_values", row({10, 20, 30})}};
    QVERIFY(near(
        evaluated("advantage.td_lambda", {{"gamma", 0.5}, {"lambda", 1.0}}, steps).at("returns"),
        row({6, 2, 19})));
    QCOMPARE(code_of([&] {
               evaluated("advantage.td_lambda", Json::object(), {{"next_values", row({1})}});
             }),
             std::string("missing-input"));
  }

  // ---- what runs on an accelerator against what runs here ----

  void scans_of_episodes_agree_with_loops_data() { add_sizes(); }
  void scans_of_episodes_agree_with_loops() {
    const Batch b = sized();
    for (const MaskMode mode : {MaskMode::skip, MaskMode::zero}) {
      const GaeOptions options{0.9, 0.8, mode};
      const Episodes tokens_only{b.episodes.rewards, b.episodes.mask, {}, {}};
      QVERIFY(same(gae(tokens_only, b.values, {}, options),
                   gae_by_scan(tokens_only, b.values, {}, options)));
      QVERIFY(same(gae(b.episodes, b.values, b.next_values, options),
                   gae_by_scan(b.episodes, b.values, b.next_values, options)));
    }
    QVERIFY(near(td_lambda(b.episodes, b.next_values, {0.9, 0.7}),
                 td_lambda_by_scan(b.episodes, b.next_values, {0.9, 0.7})));
    const VtraceInputs v{b.log_probs, b.behavior, b.values, b.next_values};
    const VtraceResult loop = vtrace(b.episodes, v, {0.9, 1.3, 0.8});
    const VtraceResult scan = vtrace_by_scan(b.episodes, v, {0.9, 1.3, 0.8});
    QVERIFY(near(loop.advantages, scan.advantages) && near(loop.targets, scan.targets));
  }

  void operators_on_whole_tensors_agree_with_loops_data() { add_sizes(); }
  void operators_on_whole_tensors_agree_with_loops() {
    const Batch b = sized();
    const at::Tensor& r = b.episodes.rewards;
    const at::Tensor& m = b.episodes.mask;
    for (const double gamma : {1.0, 0.95, 0.0}) {
      QVERIFY(near(discounted_returns(r, m, gamma), discounted_returns_by_scan(r, m, gamma)));
    }
    QVERIFY(same(remax(r, m, b.outcome), remax_by_scan(r, m, b.outcome)));
    for (const EpsilonMode mode : {EpsilonMode::add, EpsilonMode::floor}) {
      const WhitenOptions options{Divisor::population, 1e-3, mode, false};
      QVERIFY(near(whiten(r, m, options), whiten_by_operators(r, m, options)));
    }
    const MultiSourceInputs sources{r, b.outcome, b.group, {}, m};
    for (const bool whiten : {false, true}) {
      const MultiSourceOptions options{0.9, 0.95, ProcessNormalise::batch_max, whiten, 0.7, 2};
      QVERIFY(same(multi_source(sources, options), multi_source_by_scan(sources, options)));
    }
    for (const bool turns : {false, true}) {
      const TokenBaselineOptions options{turns, !turns, 1e-8, Singleton::raw};
      const TokenBaselineInputs in{r, m, b.group, b.log_probs, b.squares, b.squares + 0.5};
      QVERIFY(
          same(token_baseline_advantages(in, options), token_baseline_by_operators(in, options)));
    }
  }

  void threads_change_no_bit() {
    const Batch b(700, 300, at::kFloat);
    const auto equal = [](const AdvantagesAndReturns& x, const AdvantagesAndReturns& y) {
      return x.advantages.equal(y.advantages) && x.returns.equal(y.returns);
    };
    const at::Tensor& r = b.episodes.rewards;
    const at::Tensor& m = b.episodes.mask;
    QVERIFY(equal(gae(b.episodes, b.values, b.next_values, {}),
                  gae(b.episodes, b.values, b.next_values, {}, kThreads)));
    QVERIFY(equal(reinforce_pp(r, m, 0.99, ReturnWhiten::sample),
                  reinforce_pp(r, m, 0.99, ReturnWhiten::sample, kThreads)));
    const MultiSourceInputs sources{r, b.outcome, b.group, {}, m};
    QVERIFY(equal(multi_source(sources, {}), multi_source(sources, {}, kThreads)));
    const TokenBaselineInputs in{r, m, b.group, b.log_probs, b.squares, {}};
    QVERIFY(equal(token_baseline_advantages(in, {}), token_baseline_advantages(in, {}, kThreads)));
  }

  void half_precision_comes_back_as_half_precision() {
    const Batch b(3, 8);
    const AdvantagesAndReturns out =
        gae({b.episodes.rewards.to(at::kBFloat16), b.episodes.mask, {}, {}}, b.values, {}, {});
    QCOMPARE(out.advantages.scalar_type(), at::kBFloat16);
    QVERIFY(near(out.advantages,
                 gae({b.episodes.rewards, b.episodes.mask, {}, {}}, b.values, {}, {}).advantages,
                 0.05));
  }

  // ---- whitening ----

  void whitening_keeps_a_lost_number_visible() {
    const at::Tensor mask = flags({{1, 1, 1}});
    for (const double lost : {std::nan(""), HUGE_VAL}) {
      for (const at::Tensor& x : {row({1, lost, 2}), row({lost, 1, 1}), row({1, 1, lost})}) {
        QVERIFY(!at::isfinite(whiten(x, mask, {})).all().item<bool>());
      }
    }
  }

  void mean_only_takes_the_mean_away() {
    const at::Tensor out = advantages("advantage.reinforce_pp", {{"whiten", "mean_only"}},
                                      {{"rewards", row({1, 5, 2})}, {"mask", flags({{1, 0, 1}})}});
    QVERIFY(near(out, row({0.5, 0, -0.5})));
  }

  void long_rows_weigh_more_in_the_reinforce_baseline() {
    const std::map<std::string, at::Tensor> in{
        {"rewards", vec({1, 0})}, {"group", ids({4, 4})}, {"mask", flags({{1, 1, 1}, {0, 1, 0}})}};
    // Tokens 0.5, 0.5, 0.5, -0.5: mean 0.25, population variance 0.1875, sample 0.25.
    const double p = std::sqrt(0.1875 + 0.0);
    QVERIFY(near(advantages("advantage.reinforce_pp_baseline", {{"whiten", "population"}}, in),
                 matrix({{0.25 / p, 0.25 / p, 0.25 / p}, {0, -0.75 / p, 0}}), 1e-6));
    QVERIFY(near(advantages("advantage.reinforce_pp_baseline", Json::object(), in),
                 matrix({{0.5, 0.5, 0.5}, {0, -1.5, 0}}), 1e-6));
  }

  // ---- groups ----

  void a_group_of_one_keeps_its_reward_where_asked() {
    const std::map<std::string, at::Tensor> in{{"rewards", vec({0.7, 1, 0})},
                                               {"group", ids({3, 1, 1})}};
    for (const char* type : {"advantage.maxrl", "advantage.leave_one_out", "advantage.group"}) {
      QCOMPARE(advantages(type, {{"singleton", "raw"}}, in)[0].item<double>() > 0.69, true);
      QCOMPARE(advantages(type, Json::object(), in)[0].item<double>(), 0.0);
    }
    std::map<std::string, at::Tensor> masked = in;
    masked["mask"] = at::ones({3, 2}, at::kBool);
    QCOMPARE(advantages("advantage.opo", {{"singleton", "raw"}}, masked)[0].item<double>(), 0.7);
    // Raw 0.7 beside 0.5 and -0.5, two tokens each.
    const at::Tensor raw =
        advantages("advantage.reinforce_pp_baseline", {{"singleton", "raw"}}, masked).select(1, 0);
    QVERIFY(raw[0].item<double>() > raw[1].item<double>());
  }

  void maxrl_warns_of_negative_means() {
    const auto out = evaluated("advantage.maxrl", Json::object(),
                               {{"rewards", vec({-1, -3, 1, 0})}, {"group", ids({0, 0, 1, 1})}});
    QVERIFY(out.contains("alarm negative-mean"));
    const auto zero = evaluated("advantage.maxrl", {{"epsilon", 0.0}},
                                {{"rewards", vec({-1, 1, 1, 0})}, {"group", ids({0, 0, 1, 1})}});
    QVERIFY(near(zero.at("advantages"), vec({0, 0, 1, -1})));
    QVERIFY(!zero.contains("alarm negative-mean"));
  }

  void jepo_survives_any_likelihood() {
    const auto out = evaluated("advantage.jepo", Json::object(),
                               {{"rewards", vec({-800, -801, -5000, -1, 5, 5, 5})},
                                {"group", ids({0, 0, 1, 1, 2, 2, 2})}});
    const double log_mean = std::log((1 + std::exp(-1.0)) / 2);
    QVERIFY(near(out.at("advantages"),
                 vec({log_mean + 1, log_mean, -std::log(2.0), 4999 - std::log(2.0), 0, 0, 0})));
    QVERIFY(near(out.at("answer_weights").narrow(0, 4, 3), vec({1.0 / 3, 1.0 / 3, 1.0 / 3})));
    QVERIFY(near(out.at("answer_weights").narrow(0, 2, 2), vec({0, 1})));
  }

  void decoupled_rewards_come_from_edges_components_or_a_matrix() {
    const at::Tensor a = vec({0, 1, 1, 0, 3, 5});
    const at::Tensor b = vec({10, 0, 20, 5, 5, 7});
    const at::Tensor g = ids({1, 1, 1, 2, 2, 2});
    const at::Tensor want = advantages("advantage.group_decoupled", Json::object(),
                                       {{"components", at::stack({a, b}, 1)}, {"group", g}});
    Json weights{{"component_weights", {1.0, 1.0}}};
    QVERIFY(near(want, advantages("advantage.group_decoupled", weights,
                                  {{"rewards.0", a}, {"rewards.1", b}, {"rewards.0.group", g}})));
    QVERIFY(near(want, advantages("advantage.group_decoupled", weights,
                                  {{"rewards.0", a + b},
                                   {"rewards.0.components.x", a},
                                   {"rewards.0.components.y", b},
                                   {"rewards.0.group", g}})));
    weights["component_weights"] = {1.0};
    QCOMPARE(code_of([&] {
               advantages("advantage.group_decoupled", weights,
                          {{"components", at::stack({a, b}, 1)}, {"group", g}});
             }),
             std::string("bad-shape"));
  }

  void a_greedy_baseline_may_be_one_per_group() {
    const std::map<std::string, at::Tensor> in{{"rewards", matrix({{0, 1}, {0, 2}, {0, 3}})},
                                               {"rewards.group", ids({5, 9, 5})},
                                               {"baseline", vec({0.5, 0.25})},
                                               {"baseline.group", ids({9, 5})},
                                               {"rewards.mask", at::ones({3, 2}, at::kBool)}};
    QVERIFY(near(advantages("advantage.remax", Json::object(), in),
                 matrix({{0.75, 0.75}, {1.5, 1.5}, {2.75, 2.75}})));
    const auto with = [&](const char* key, const at::Tensor& value) {
      std::map<std::string, at::Tensor> other = in;
      other[key] = value;
      return code_of([&] { advantages("advantage.remax", Json::object(), other); });
    };
    QCOMPARE(with("baseline.group", ids({9, 6})), std::string("no-baseline"));
    QCOMPARE(with("baseline.group", ids({5, 5})), std::string("twice"));
    QVERIFY(near(advantages("advantage.remax", Json::object(),
                            [&] {
                              std::map<std::string, at::Tensor> gone = in;
                              gone["baseline.absent"] = flags({{0, 1}}).flatten();
                              return gone;
                            }()),
                 matrix({{0, 0}, {1.5, 1.5}, {0, 0}})));
  }

  // ---- trajectories and steps ----

  void episode_and_step_advantages_follow_their_choices() {
    std::map<std::string, at::Tensor> in{{"episode_rewards", vec({1, 1, 0, 0})},
                                         {"step_rewards", vec({0.5, 1.5, 0.25, 0.75})},
                                         {"group", ids({8, 8, 8, 8})},
                                         {"trajectory", ids({1, 1, 2, 2})}};
    const auto out = [&](const Json& params) {
      return advantages("advantage.episode_step", params, in);
    };
    // Episodes +-1; steps against the mean of the first rows, 0.375, times 2.
    QVERIFY(near(out(Json::object()), vec({1.25, 3.25, -1.25, -0.25})));
    // ... against the mean of all four, 0.75, times 4/3.
    QVERIFY(near(out({{"step_baseline", "all_rows"}}), vec({1 - 1.0 / 3, 2, -1 - 2.0 / 3, -1})));
    QVERIFY(
        near(out({{"baseline", "mean"}, {"step_weight", 2.0}}), vec({0.75, 2.75, -0.75, 0.25})));
    // Summed rewards 1.5, 2.5, 0.25, 0.75: first rows have mean 0.875.
    QVERIFY(near(out({{"combine", "reward_sum"}}), vec({1.25, 3.25, -1.25, -0.25})));
    QVERIFY(
        near(out({{"combine", "reward_sum"}, {"baseline", "mean"}, {"step_baseline", "all_rows"}}),
             vec({0.25, 1.25, -1, -0.5})));
    const double spread = std::sqrt(0.5), steps = 0.25 / std::sqrt(2.0);
    QVERIFY(near(out({{"baseline", "mean_std"}, {"epsilon", 0.0}}),
                 vec({0.5 / spread + 0.125 / steps, 0.5 / spread + 1.125 / steps,
                      -0.5 / spread - 0.125 / steps, -0.5 / spread + 0.375 / steps})));
    in["trajectory"] = ids({1, 1, 1, 1});
    const auto lonely = evaluated("advantage.episode_step", Json::object(), in);
    QVERIFY(lonely.at("advantages").eq(0).all().item<bool>());
    QVERIFY(lonely.contains("alarm one-trajectory"));
  }

  void steps_that_do_not_rise_or_lie_outside_are_refused() {
    const auto with = [](const std::vector<double>& ends, const at::Tensor& reward) {
      return code_of([&] {
        advantages("advantage.process_group", Json::object(),
                   {{"step_rewards", reward},
                    {"step_rewards.boundaries", row(ends).to(at::kLong)},
                    {"group", ids({0})},
                    {"mask", at::ones({1, 4}, at::kBool)}});
      });
    };
    QCOMPARE(with({1, 3}, row({1, 2})), std::string());
    QCOMPARE(with({1, -1}, row({1, std::nan("")})), std::string());
    QCOMPARE(with({1, 4}, row({1, 2})), std::string("bad-step"));
    QCOMPARE(with({2, 2}, row({1, 2})), std::string("bad-step"));
    QCOMPARE(with({1, 3}, row({1, std::nan("")})), std::string("not-finite"));
    QCOMPARE(code_of([] {
               advantages(
                   "advantage.process_group", Json::object(),
                   {{"step_rewards", row({1})}, {"group", ids({0})}, {"mask", flags({{1, 1}})}});
             }),
             std::string("no-boundaries"));
  }

  // ---- optimal token baseline ----

  void the_token_baseline_weighs_returns_by_energy() {
    // Probabilities 1/2 and 1/4 with squares 1/2 and 3/8: energies 1/2 and 7/8 at the first token.
    const TokenBaselineInputs in{matrix({{0, 1}, {0, 3}}),
                                 flags({{1, 1}, {1, 1}}),
                                 ids({2, 2}),
                                 matrix({{-std::log(2.0), 0}, {-std::log(4.0), 0}}),
                                 matrix({{0.5, 1}, {0.375, 1}}),
                                 {}};
    const double base = (1 * 0.5 + 3 * 0.875) / 1.375;
    const AdvantagesAndReturns out = token_baseline_advantages(in, {});
    QVERIFY(near(out.advantages, matrix({{1 - base, 1 - base}, {3 - base, 3 - base}}), 1e-7));
    TokenBaselineInputs weighted = in;
    weighted.weights = matrix({{2, 2}, {1, 1}});
    const double heavy = (1 * 2 + 3 * 0.875) / 2.875;
    QVERIFY(near(token_baseline_advantages(weighted, {}).advantages.select(0, 0),
                 vec({1 - heavy, 1 - heavy}), 1e-7));
  }

  void the_tail_of_the_longest_row_has_no_baseline_where_asked() {
    TokenBaselineInputs in{matrix({{9, 0, 0, 1, 0}, {9, 0, 0, 0, 3}}),
                           flags({{0, 1, 0, 1, 0}, {0, 1, 1, 1, 1}}),
                           ids({2, 2}),
                           at::full({2, 5}, -1.0, at::kDouble),
                           at::full({2, 5}, 0.5, at::kDouble),
                           {}};
    const auto last = [&](const TokenBaselineOptions& options) {
      return token_baseline_advantages(in, options).advantages.select(0, 1);
    };
    QCOMPARE(last({})[4].item<double>(), 0.0);
    QCOMPARE(last({false, true})[4].item<double>(), 3.0);
    QVERIFY(last({false, true})[3].item<double>() < 2.5);
    // By the n-th token the other row ends after two.
    QVERIFY(near(last({true, true}).narrow(0, 3, 2), vec({3, 3})));
    QVERIFY(last({true, true})[2].item<double>() < 2.5);
    in.group = ids({2, 1});
    QVERIFY(last({}).eq(0).all().item<bool>());
    QVERIFY(near(last({.singleton = Singleton::raw}), vec({0, 3, 3, 3, 3})));
  }

 private:
  static void add_sizes() {
    QTest::addColumn<int>("rows");
    QTest::addColumn<int>("tokens");
    for (const int rows : {1, 2, 13}) {
      for (const int tokens : {0, 1, 2, 3, 7, 64, 131}) {
        QTest::addRow("%d x %d", rows, tokens) << rows << tokens;
      }
    }
  }
  static Batch sized() {
    QFETCH(int, rows);
    QFETCH(int, tokens);
    return Batch(rows, tokens);
  }
  static bool same(const AdvantagesAndReturns& x, const AdvantagesAndReturns& y) {
    return near(x.advantages, y.advantages) && near(x.returns, y.returns);
  }
};

}  // namespace rewardloom

using rewardloom::TestAdvantageEstimators;
REWARDLOOM_TEST(TestAdvantageEstimators)
#include "test_advantage_estimators.moc"
