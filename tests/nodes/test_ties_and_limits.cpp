// Numbers at the edge of what a node can take: equal rewards in a ranking, KLs that are none,
// scores and probabilities that are certain, settings without effect.
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "engine/graph/checker.h"
#include "nodes/control/adaptive_kl.h"
#include "nodes/reward/step_aggregate.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

using Row = std::vector<double>;

double loss_of(const EvaluateResult& result) {
  return result.outputs.tensors.at("loss").item<double>();
}

Row slopes_of(const EvaluateResult& result) {
  return list(result.outputs.tensors.at("scores.grad"));
}

EvaluateResult ranked(const Row& scores, const Row& rewards, const Json& params = Json::object()) {
  const auto rows = static_cast<std::int64_t>(scores.size());
  return fire("loss.group_ranking", params,
              {{"scores", doubles(scores)},
               {"rewards", doubles(rewards)},
               {"group", at::zeros({rows}, at::kLong)}});
}

/// The same by the formula, a sum over every tail written out.
double ranked_by_formula(const Row& scores, const Row& rewards, double tau) {
  const std::size_t k = scores.size();
  Row descending = rewards;
  std::sort(descending.begin(), descending.end(), std::greater<>());
  double loss = 0;
  for (std::size_t i = 0; i + 1 < k; ++i) {
    const double head = descending[i];
    const auto equal = [&](const Row& r) {
      return static_cast<double>(std::count(r.begin(), r.end(), head));
    };
    const Row behind(descending.begin() + static_cast<std::ptrdiff_t>(i), descending.end());
    const double kept = equal(behind) / equal(rewards);
    double sum = 0, weight = 0, target = 0;
    for (std::size_t j = 0; j < k; ++j) {
      if (rewards[j] > head) continue;
      const double share = rewards[j] == head ? kept : 1;
      const double q = share * std::exp((rewards[j] - head) / tau);
      sum += share * std::exp(scores[j]);
      weight += q;
      target += q * scores[j];
    }
    loss += std::log(sum) - target / weight;
  }
  return loss;
}

template <class F>
void each_order(std::size_t rows, const F& use) {
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  do {
    use(order);
  } while (std::next_permutation(order.begin(), order.end()));
}

Row taken(const Row& values, const std::vector<std::size_t>& order) {
  Row out;
  for (const std::size_t i : order) out.push_back(values[i]);
  return out;
}

bool within(double a, double b, double tolerance = 1e-12) { return std::abs(a - b) <= tolerance; }

/// Codes and places of what the checker says of nodes, written as JSON.
std::set<std::string> problems_of(const std::string& nodes) {
  const Document document =
      Document::parse("{\"rewardloom\": 1, \"nodes\": {" + nodes + "}}", "x.json");
  std::set<std::string> out;
  for (const Problem& p : check(document, all_nodes().catalogue(), {.files = false}).problems) {
    if (p.code == "unused-rewards" || p.code == "dead-node") continue;
    out.insert(p.code + " " + p.where.node + "." + p.where.port);
  }
  return out;
}

std::set<std::string> problems_of_node(const std::string& type, const Json& params) {
  return problems_of("\"x\": " + Json{{"type", type}, {"params", params}}.dump());
}

constexpr const char* kTwoSamplings =
    "\"tasks\": {\"type\": \"data.arithmetic\"},"
    "\"exam\": {\"type\": \"data.arithmetic\", \"params\": {\"split\": \"held_out\"}},"
    "\"actor\": {\"type\": \"text.policy\", \"params\": {\"model\": \"m\"}},"
    "\"rollout\": {\"type\": \"sample.generate\", \"inputs\": {\"policy\": \"actor.policy\","
    " \"prompts\": \"tasks.prompts\"}},"
    "\"score\": {\"type\": \"reward.exact_match\", \"inputs\": {\"completions\": "
    "\"rollout.completions\"}},";

/// PAR against answers to `prompts`.
std::set<std::string> problems_against(const std::string& prompts) {
  return problems_of(
      std::string(kTwoSamplings) +
      "\"before\": {\"type\": \"sample.generate\", \"inputs\": {\"policy\": \"actor.policy\","
      " \"prompts\": \"" +
      prompts +
      "\"}},"
      "\"level\": {\"type\": \"reward.exact_match\", \"inputs\": {\"completions\": "
      "\"before.completions\"}},"
      "\"steady\": {\"type\": \"shape.running\", \"inputs\": {\"rewards\": \"level.rewards\"}},"
      "\"shaped\": {\"type\": \"shape.transform\", \"inputs\": {\"rewards\": \"score.rewards\","
      " \"references\": \"steady.rewards\"}}");
}

Bench controller(const Json& params, const Row& kls) {
  Bench bench("control.adaptive_kl", params);
  bench.connect("kl", {Value::of(Values{doubles(kls, {static_cast<std::int64_t>(kls.size())})})});
  bench.fire();
  return bench;
}

Row coefficients(const Bench& bench) { return list(bench.out<Values>("coefficient").values); }

/// step_aggregate on one row of step scores.
struct Aggregate {
  double reward;
  std::string failure;
  bool alarm;

  Aggregate(const Json& params, const at::Tensor& scores) {
    Bench bench("reward.step_aggregate", params);
    bench.context.skip_rows = true;
    StepRewards given;
    given.rewards = scores.reshape({1, -1});
    bench.connect("step_rewards", {Value::of(given)});
    bench.fire();
    reward = bench.out<Rewards>("rewards").total.item().toDouble();
    const auto& failed = bench.context.failed_rows;
    failure = failed.empty() ? "" : failed.begin()->second;
    const auto& alarms = bench.context.alarms;
    alarm = std::find(alarms.begin(), alarms.end(), "not-probabilities") != alarms.end();
  }
  Aggregate(const char* func, const Row& scores) : Aggregate({{"func", func}}, doubles(scores)) {}
};

}  // namespace

class TestTiesAndLimits : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- equal rewards in a ranking ----

  void equal_rewards_rank_the_same_in_every_order() {
    const Row scores{1, 2, 3, -0.5, 0.25}, rewards{1, 1, 0, 0, 0};
    for (const char* form : {"full", "top1"}) {
      for (const double tau : {0.0, 0.05, 2.0}) {
        const Json params{{"form", form}, {"tau", tau}};
        const EvaluateResult want = ranked(scores, rewards, params);
        const Row slopes = slopes_of(want);
        each_order(scores.size(), [&](const std::vector<std::size_t>& order) {
          const EvaluateResult here = ranked(taken(scores, order), taken(rewards, order), params);
          QVERIFY(within(loss_of(here), loss_of(want)));
          const Row own = slopes_of(here), moved = taken(slopes, order);
          for (std::size_t i = 0; i < own.size(); ++i) QVERIFY(within(own[i], moved[i]));
          QCOMPARE(here.outputs.tensors.at("accuracy").item<double>(), 0.0);
        });
      }
    }
  }

  void tied_tails_are_those_of_the_formula() {
    for (const Row& rewards : {Row{1, 1, 0, 0, 0}, Row{0.5, 0.5, 0.5, 0.5, 0.5}, Row{3, 1, 2, 2, 1},
                               Row{5, 4, 3, 2, 1}}) {
      const Row scores{0.3, -1.2, 2.5, 0.7, 0.1};
      for (const double tau : {0.3, 2.0}) {
        const EvaluateResult result = ranked(scores, rewards, {{"tau", tau}});
        QVERIFY(within(loss_of(result), ranked_by_formula(scores, rewards, tau)));
        const Row slopes = slopes_of(result);
        for (std::size_t j = 0; j < scores.size(); ++j) {
          Row up = scores, down = scores;
          up[j] += 1e-5;
          down[j] -= 1e-5;
          const double slope =
              (ranked_by_formula(up, rewards, tau) - ranked_by_formula(down, rewards, tau)) / 2e-5;
          QVERIFY(within(slopes[j], slope, 1e-8));
        }
      }
    }
  }

  /// What a tie stands for: the mean over the orders of its rows, but for the logarithm of a mean.
  void a_tie_lies_just_above_the_mean_over_its_orders() {
    const Row scores{0.3, 0.1, 0.5, -0.2};
    double mean = 0;
    each_order(4, [&](const std::vector<std::size_t>& order) {
      Row rewards(4);
      for (std::size_t i = 0; i < 4; ++i) rewards[order[i]] = 1 - 1e-9 * static_cast<double>(i);
      mean += loss_of(ranked(scores, rewards, {{"tau", 1.0}})) / 24;
    });
    const double tied = loss_of(ranked(scores, {1, 1, 1, 1}, {{"tau", 1.0}}));
    QVERIFY(tied >= mean - 1e-7);
    QVERIFY(tied - mean < 0.05);
    // With equal scores nothing is left between the two.
    QVERIFY(within(loss_of(ranked({0, 0, 0, 0}, {1, 1, 1, 1})), std::log(4.0 * 3 * 2)));
  }

  void one_of_several_best_rewards_is_enough_to_be_right() {
    const auto accuracy = [](const Row& scores, const Row& rewards) {
      return ranked(scores, rewards).outputs.tensors.at("accuracy").item<double>();
    };
    QCOMPARE(accuracy({0, 3, 1}, {1, 1, 0}), 1.0);
    QCOMPARE(accuracy({3, 0, 1}, {1, 1, 0}), 1.0);
    QCOMPARE(accuracy({0, 1, 3}, {1, 1, 0}), 0.0);
  }

  void an_impossible_answer_among_equals_leaves_a_finite_slope_elsewhere() {
    const EvaluateResult result = ranked({1, 0.5, -HUGE_VAL}, {1, 1, 0}, {{"tau", 0.0}});
    for (const double slope : slopes_of(result)) QVERIFY(std::isfinite(slope));
    QVERIFY(std::isfinite(loss_of(result)));
  }

  // ---- the KL controller ----

  void a_coefficient_stays_where_no_kl_was_measured() {
    Bench none = controller({{"initial", 0.3}}, {});
    QCOMPARE(none.context.alarms, std::vector<std::string>{"no-kl"});
    const double inf = std::numeric_limits<double>::infinity();
    Bench odd = controller({{"initial", 0.3}}, {12, NAN, inf, 1});
    QCOMPARE(odd.context.alarms, std::vector<std::string>{"no-kl"});
    const double up = adapted_coefficient(0.3, 12, {}), down = adapted_coefficient(up, 1, {});
    QCOMPARE(coefficients(odd), (Row{up, up, up, down}));
    odd.connect("kl", {Value::of(Values{doubles({6})})});
    odd.fire(1);
    QCOMPARE(odd.out<Scalar>("current").value, down);
    QVERIFY(controller({{"initial", 0.3}}, {6}).context.alarms.empty());
  }

  void no_rows_leave_the_coefficient_alone() {
    Bench bench("control.adaptive_kl", {{"initial", 0.3}});
    LogProbs empty;
    empty.log_probs = at::zeros({0, 2}, at::kDouble);
    bench.connect("log_probs", {Value::of(empty)});
    bench.connect("ref_log_probs", {Value::of(empty)});
    bench.fire();
    QCOMPARE(coefficients(bench), Row{0.3});
    QCOMPARE(bench.context.alarms, std::vector<std::string>{"no-kl"});
  }

  void a_controller_that_can_turn_its_coefficient_negative_is_refused() {
    const auto found = [](const Json& params) {
      const auto all = problems_of_node("control.adaptive_kl", params);
      return all.contains("options x.steps");
    };
    QVERIFY(found({{"horizon", 1}}));
    QVERIFY(found({{"horizon", 1000}, {"steps", 6000}}));
    QVERIFY(!found(Json::object()));
    QVERIFY(!found({{"horizon", 256}}));
  }

  // ---- step scores ----

  void certain_steps_have_no_logit() {
    const auto named = [](const Row& scores, const char* step) {
      const std::string failure = Aggregate("mean_logit", scores).failure;
      return failure.find(step) != std::string::npos && failure.find("eps") != std::string::npos;
    };
    QVERIFY(named({1.0, 0.01}, "step 1 has the score 1"));
    QVERIFY(named({0, 0.99}, "step 1 has the score 0"));
    // 17 is where a sigmoid in single precision is 1.
    const at::Tensor saturated = at::sigmoid(at::tensor({17.0f, -4.6f}));
    QVERIFY(!Aggregate({{"func", "mean_logit"}}, saturated).failure.empty());
    const Aggregate kept({{"func", "mean_logit"}, {"eps", 1e-7}}, doubles({1.0, 0.01}));
    const double logit = (std::log(1 / 1e-7 - 1) + std::log(0.01 / 0.99)) / 2;
    QVERIFY(within(kept.reward, 1 / (1 + std::exp(-logit)), 1e-9));
    QVERIFY(within(Aggregate({{"func", "mean_odd"}, {"eps", 0.1}}, doubles({1.0})).reward, 9));
    QVERIFY(!Aggregate({{"func", "mean_logit"}, {"eps", 0.1}}, doubles({1.5})).failure.empty());
  }

  void odds_are_of_probabilities() {
    QVERIFY(!aggregated(Row{2.0, 0.5}, StepFunc::mean_odd));
    QVERIFY(!aggregated(Row{-0.5, 0.5}, StepFunc::mean_odd));
    QCOMPARE(*aggregated(Row{0.0, 0.5}, StepFunc::mean_odd), 0.5);
  }

  void a_product_of_what_are_no_probabilities_is_told() {
    const Aggregate twelve("prod", {3, 4});
    QCOMPARE(twelve.reward, 12.0);
    QVERIFY(twelve.alarm);
    QVERIFY(Aggregate("geometric_mean", {3, 4}).alarm);
    QVERIFY(!Aggregate("prod", {1, 0.5}).alarm);
    QVERIFY(!Aggregate("max", {3, 4}).alarm);
  }

  void whole_step_scores_give_a_fraction() {
    const Aggregate mean({{"func", "mean"}}, ids({1, 0, 1}));
    QVERIFY(within(mean.reward, 2.0 / 3, 1e-7));
  }

  // ---- a range that is not there yet ----

  void minmax_of_one_value_lies_in_the_middle() {
    Bench bench("shape.running", {{"mode", "minmax"}});
    bench.connect("rewards", {Value::of(rewards_of({7, 7}))});
    bench.fire();
    QCOMPARE(list(bench.out<Rewards>("rewards").total), (Row{0.5, 0.5}));
    bench.connect("rewards", {Value::of(rewards_of({7, 8}))});
    bench.fire(1);
    QCOMPARE(list(bench.out<Rewards>("rewards").total), (Row{0, 1}));
  }

  // ---- references of other prompts ----

  void references_of_other_prompts_are_refused() {
    const std::set<std::string> refused{"other-prompts shaped.references"};
    QCOMPARE(problems_against("exam.prompts"), refused);
    QVERIFY(problems_against("tasks.prompts").empty());
  }

  // ---- preference losses ----

  void a_divergence_without_effect_is_refused() {
    for (const char* variant : {"apo_zero", "aot", "aot_unpaired"}) {
      const Json raw{{"variant", variant}},
          other{{"variant", variant}, {"divergence", "js_divergence"}};
      QVERIFY(!problems_of_node("loss.dpo", raw).contains("options x.divergence"));
      QVERIFY(problems_of_node("loss.dpo", other).contains("options x.divergence"));
    }
    QVERIFY(!problems_of_node("loss.dpo", {{"divergence", "js_divergence"}})
                 .contains("options x.divergence"));
  }

  void a_probability_above_one_has_no_odds() {
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      for (const char* side : {"chosen_log_probs", "rejected_log_probs"}) {
        Tensors batch{{"chosen_log_probs", doubles({-1, -2}).to(type)},
                      {"rejected_log_probs", doubles({-3, -0.1}).to(type)}};
        const auto run = [&] { return fire("loss.orpo", Json::object(), batch); };
        batch.at(side)[1] = 0.5;
        const Problem problem = problem_of(run);
        QCOMPARE(problem.code, std::string("no-log-prob"));
        QVERIFY(problem.text.find(std::string("row 1 of ") + side) != std::string::npos);
        batch.at(side)[1] = 0.0;  // rounded to 1
        const EvaluateResult certain = run();
        QVERIFY(std::isfinite(loss_of(certain)));
        QVERIFY(at::isfinite(certain.outputs.tensors.at(std::string(side) + ".grad"))
                    .all()
                    .item<bool>());
      }
    }
  }

  // ---- what declarations say ----

  void a_port_of_a_loss_has_the_sizes_of_its_argument() {
    std::size_t ports = 0;
    for (const auto& [id, node] : all_nodes().catalogue().nodes()) {
      for (const LossArgumentDeclaration& argument : node.loss_arguments) {
        const PortDeclaration* const port = node.input(argument.name);
        if (port == nullptr) continue;
        ++ports;
        QVERIFY2(port->dims == argument.dims, (id + " " + argument.name).c_str());
      }
    }
    QVERIFY(ports > 10);
  }

  void every_number_of_the_mismatch_monitor_is_explained() {
    const NodeDeclaration& node = *all_nodes().catalogue().node("monitor.off_policy");
    LogProbs here, there;
    here.log_probs = doubles({-1, -2}, {1, 2});
    there.log_probs = doubles({-1.5, -2}, {1, 2});
    here.mask = there.mask = at::ones({1, 2}, at::kBool);
    Bench bench("monitor.off_policy", Json::object());
    bench.connect("log_probs", {Value::of(here)});
    bench.connect("behavior_log_probs", {Value::of(there)});
    bench.fire();
    QVERIFY(bench.context.metrics.size() == 13);
    for (const auto& [name, value] : bench.context.metrics) {
      QVERIFY2(node.doc.find(name) != std::string::npos, name.c_str());
    }
  }
};

}  // namespace rewardloom

using rewardloom::TestTiesAndLimits;
REWARDLOOM_TEST(TestTiesAndLimits)
#include "test_ties_and_limits.moc"
