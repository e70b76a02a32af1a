// What the papers of shaping, ensembles and step rewards call bad input: wrong graphs of the real
// node types, and values that do not belong together.
#include <torch/types.h>

#include <cmath>
#include <set>

#include "engine/graph/checker.h"
#include "nodes/reward/combine.h"
#include "nodes/reward/step_aggregate.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

/// A graph of symbol answers scored by a table reward, with `more` nodes behind `score.rewards`.
std::vector<Problem> problems_of_nodes(const std::string& more) {
  const std::string text =
      "{\"rewardloom\": 1, \"nodes\": {"
      "\"tasks\": {\"type\": \"data.arithmetic\"},"
      "\"actor\": {\"type\": \"text.policy\", \"params\": {\"model\": \"m\"}},"
      "\"rollout\": {\"type\": \"sample.generate\", \"inputs\": {\"policy\": \"actor.policy\", "
      "\"prompts\": \"tasks.prompts\"}, \"params\": {\"group_size\": 4}},"
      "\"score\": {\"type\": \"reward.exact_match\", \"inputs\": {\"completions\": "
      "\"rollout.completions\"}}," +
      more + "}}";
  return check(Document::parse(text, "x.json"), all_nodes().catalogue(), {.files = false}).problems;
}

/// One node of the graph: name, type, input port and the edges to it (JSON), parameters (JSON).
std::string node(const std::string& name, const std::string& type, const std::string& port,
                 const std::string& edges, const std::string& params = "{}") {
  return "\"" + name + "\": {\"type\": \"" + type + "\", \"inputs\": {\"" + port + "\": " + edges +
         "}, \"params\": " + params + "}";
}

/// "code node.port" of the problems that are not about what is unused.
std::set<std::string> found_in(const std::string& more) {
  std::set<std::string> out;
  for (const Problem& problem : problems_of_nodes(more)) {
    if (problem.code == "unused-rewards" || problem.code == "dead-node") continue;
    out.insert(problem.code + " " + problem.where.node + "." + problem.where.port);
  }
  return out;
}

using Found = std::set<std::string>;

std::string refusal(const std::string& type, const Json& params,
                    const std::vector<std::pair<std::string, Value>>& inputs) {
  return problem_of([&] {
           Bench bench(type, params);
           for (const auto& [port, value] : inputs) bench.connect(port, {value});
           bench.fire();
         })
      .code;
}

}  // namespace

class TestBadInput : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- arXiv:2502.18770, shaping ----

  void shaping_by_references_without_references_is_found_while_wiring() {
    for (const char* mode : {"par", "par_tanh", "centered", "lsc", "sgfc", "par_poly"}) {
      const std::string params = std::string("{\"mode\": \"") + mode + "\"}";
      QCOMPARE(found_in(node("s", "shape.transform", "rewards", "\"score.rewards\"", params)),
               Found{"options s.references"});
    }
    QVERIFY(found_in(node("s", "shape.transform", "rewards", "\"score.rewards\"",
                          "{\"mode\": \"sigmoid\"}"))
                .empty());
  }

  void references_of_other_rows_are_refused_by_their_origin() {
    Rewards rewards = rewards_of({1, 2});
    rewards.batch = 7;
    const auto code = [&](std::int64_t batch) {
      return refusal("shape.transform", {{"mode", "par"}},
                     {{"rewards", Value::of(rewards)},
                      {"reference", Value::of(Values{at::zeros({2, 3}, at::kDouble), batch})}});
    };
    QCOMPARE(code(8), std::string("other-rows"));
    QCOMPARE(code(7), std::string());
    QCOMPARE(code(0), std::string());
    // Of other prompts: no row has a reference, though the sizes agree.
    QCOMPARE(refusal("shape.transform", {{"mode", "par"}},
                     {{"rewards", Value::of(rewards_of({1, 2}, {0, 0}))},
                      {"references", Value::of(rewards_of({1, 2}, {1, 1}))}}),
             std::string("row-failed"));
  }

  void a_range_before_two_different_rewards_divides_by_nothing() {
    Bench bench("shape.running", {{"mode", "minmax"}});
    bench.connect("rewards", {Value::of(rewards_of({0.3}))});
    bench.fire(0);
    QCOMPARE(totals(bench), std::vector<double>{0.5});
    bench.connect("rewards", {Value::of(rewards_of({0.3, 1.3}))});
    bench.fire(1);
    QCOMPARE(totals(bench), (std::vector<double>{0, 1}));
  }

  void shaping_behind_an_advantage_does_not_fit() {
    const Found found = found_in(node("adv", "advantage.group", "rewards", "\"score.rewards\"") +
                                 "," + node("s", "shape.running", "rewards", "\"adv.advantages\""));
    QCOMPARE(found, Found{"type-mismatch s.rewards"});
  }

  void normalising_what_is_normalised_is_a_warning() {
    const auto behind_running = [](const char* mode, const std::string& node_behind) {
      return found_in(node("r", "shape.running", "rewards", "\"score.rewards\"",
                           std::string("{\"mode\": \"") + mode + "\"}") +
                      "," + node_behind);
    };
    const auto adv = [](const std::string& type, const std::string& params) {
      return node("adv", type, "rewards", "\"r.rewards\"", params);
    };
    const Found twice{"double-normalisation adv.rewards"};
    for (const char* mode : {"meanstd", "minmax"}) {
      QCOMPARE(behind_running(mode, adv("advantage.group", "{}")), twice);
      QCOMPARE(behind_running(mode, adv("advantage.group", "{\"preset\": \"adv_grpo\"}")), twice);
      QCOMPARE(behind_running(mode, adv("advantage.pass_at_k", "{}")), twice);
      QCOMPARE(behind_running(mode, adv("advantage.group_decoupled", "{}")), twice);
      QCOMPARE(behind_running(mode,
                              adv("advantage.leave_one_out", "{\"scale\": \"leave_one_out_std\"}")),
               twice);
      QVERIFY(behind_running(mode, adv("advantage.leave_one_out", "{}")).empty());
      QVERIFY(behind_running(mode, adv("advantage.group", "{\"scale\": \"none\"}")).empty());
    }
    QVERIFY(behind_running("clip", adv("advantage.group", "{}")).empty());
    for (const Problem& problem :
         problems_of_nodes(node("r", "shape.running", "rewards", "\"score.rewards\"") + "," +
                           node("adv", "advantage.group", "rewards", "\"r.rewards\""))) {
      if (problem.code == "double-normalisation") QVERIFY(problem.severity == Severity::warning);
    }
  }

  // ---- arXiv:2402.00742, sums of utilities ----

  void a_raw_reward_among_log_sigmoid_utilities_is_a_warning() {
    const std::string utility =
        "\"u\": {\"type\": \"shape.transform\", \"inputs\": {\"rewards\": "
        "\"score.rewards\", \"references\": \"score.rewards\"}, \"params\": "
        "{\"mode\": \"lsc\"}},";
    const auto sum = [&](const std::string& edges, const std::string& op) {
      return found_in(utility +
                      node("sum", "reward.combine", "rewards", edges, "{\"op\": \"" + op + "\"}"));
    };
    const Found mixed{"mixed-scales sum.rewards"};
    for (const char* op : {"sum", "mean", "min"}) {
      QCOMPARE(sum("[\"u.rewards\", \"score.rewards\"]", op), mixed);
      QVERIFY(sum("[\"u.rewards\", \"u.rewards\"]", op).empty());
      QVERIFY(sum("[\"score.rewards\", \"score.rewards\"]", op).empty());
    }
    for (const Problem& problem :
         problems_of_nodes(utility + node("sum", "reward.combine", "rewards",
                                          "[\"u.rewards\", \"score.rewards\"]"))) {
      if (problem.code != "mixed-scales") continue;
      QVERIFY(problem.severity == Severity::warning);
      QVERIFY(problem.help.find("shape.transform") != std::string::npos);
    }
  }

  void weights_are_as_many_as_rewards_and_utilities_have_none_below_0() {
    const at::Tensor x = doubles({1, 2, 3, 4}).reshape({2, 2});
    const Problem few = problem_of([&] { combine_rewards(x, {}, {1}, {}, CombineOp::sum); });
    QCOMPARE(few.code, std::string("bad-shape"));
    QVERIFY(few.text.find("1 weights for 2 rewards") != std::string::npos);
    const at::Tensor reference = doubles({0, 0});
    const Problem below = problem_of([&] {
      combine_rewards(x, {}, {1, -0.5}, reference, CombineOp::log_sigmoid_sum);
    });
    QCOMPARE(below.code, std::string("bad-weights"));
    QVERIFY(below.text.find("weight 2") != std::string::npos);
    QVERIFY(below.text.find("-0.5") != std::string::npos);
    // A penalty in a plain sum is no fault.
    QCOMPARE(list(combine_rewards(x, {}, {1, -0.5}, {}, CombineOp::sum)),
             (std::vector<double>{0, 1}));
  }

  void a_price_of_divergence_is_above_0() {
    for (const double gamma : {0.0, -1.0}) {
      QCOMPARE(problem_of([&] {
                 all_nodes().make("eval.tilted_policy", {{"gamma", gamma}});
               }).code,
               std::string("param-range"));
    }
  }

  // ---- arXiv:2310.02743 and 2312.09244, ensembles ----

  void a_spread_of_one_member_is_told() {
    const auto alarms = [](const char* op, std::size_t members) {
      Bench bench("ensemble.reduce", {{"op", op}});
      bench.connect("rewards", std::vector<Value>(members, Value::of(rewards_of({1, 2}))));
      bench.fire();
      for (const double x : totals(bench)) {
        if (!std::isfinite(x)) bench.context.alarms.emplace_back("no-number");
      }
      return bench.context.alarms;
    };
    for (const char* op : {"mean_minus_std", "mean_minus_var"}) {
      QCOMPARE(alarms(op, 1), std::vector<std::string>{"one-member"});
      QVERIFY(alarms(op, 2).empty());
    }
    QVERIFY(alarms("mean", 1).empty());
  }

  void weights_and_quantiles_of_ensembles_have_their_ranges() {
    const std::vector<Json> wrong = {{{"k", -0.1}}, {{"q", -0.1}}, {{"q", 1.1}}};
    for (const char* type : {"ensemble.reduce", "ensemble.score"}) {
      for (const Json& params : wrong) {
        QCOMPARE(problem_of([&] { all_nodes().make(type, params); }).code,
                 std::string("param-range"));
      }
    }
  }

  void a_choice_among_more_samples_than_there_are_names_both_numbers() {
    const Problem problem = problem_of([&] {
      Bench bench("eval.best_of_n", {{"n", 5}});
      const Value table = Value::of(Values{at::zeros({2, 3}, at::kDouble)});
      bench.connect("proxy", {table});
      bench.connect("gold", {table});
      bench.fire();
    });
    QCOMPARE(problem.code, std::string("too-few"));
    QVERIFY(problem.text.find("3 samples") != std::string::npos);
    QVERIFY(problem.text.find("n is 5") != std::string::npos);
  }

  // ---- arXiv:2410.15115, step rewards ----

  void one_reward_per_answer_is_no_step_reward() {
    QCOMPARE(found_in(node("c", "reward.clip_delta", "step_rewards", "\"score.rewards\"")),
             Found{"type-mismatch c.step_rewards"});
  }

  // ---- arXiv:2410.01729, aggregates of step scores ----

  void the_step_without_a_logit_is_named() {
    const auto reason = [](const char* func, const std::vector<double>& scores) {
      Bench bench("reward.step_aggregate", {{"func", func}});
      bench.context.skip_rows = true;
      StepRewards given;
      given.rewards = doubles(scores).reshape({1, -1});
      bench.connect("step_rewards", {Value::of(given)});
      bench.fire();
      return bench.context.failed_rows.empty() ? std::string() : bench.context.failed_rows.at(0);
    };
    const auto names = [&](const char* func, const std::vector<double>& scores, const char* step) {
      return reason(func, scores).find(step) != std::string::npos;
    };
    QVERIFY(names("mean_odd", {0.5, 1.0, 0.2}, "step 2 has the score 1"));
    QVERIFY(names("mean_logit", {0.5, 0.2, 0.0, 1.0}, "step 3 has the score 0"));
    QVERIFY(names("mean_logit", {0.5, -0.2}, "step 2 has the score -0.2"));
    QVERIFY(reason("mean_logit", {0.5, 0.2}).empty());
    QVERIFY(names("mean_logit", {0.5, 1.0}, "step 2 has the score 1"));
    QVERIFY(names("mean_logit", {0.5, 0.0}, "step 2 has the score 0"));
  }
};

}  // namespace rewardloom

using rewardloom::TestBadInput;
REWARDLOOM_TEST(TestBadInput)
#include "test_bad_input.moc"
