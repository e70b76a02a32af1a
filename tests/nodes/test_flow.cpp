// Containers: which body runs when, and what becomes of its outputs.
#include <fmt/format.h>
#include <torch/types.h>

#include <map>
#include <set>

#include "engine/core/step.h"
#include "nodes/all_nodes.h"
#include "nodes/flow/bodies.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

Value metrics_of(const std::string& name, double value) {
  Metrics out;
  out.add(name, value);
  return Value::of<Metrics>(std::move(out));
}

/// A run that notes the calls of bodies and answers them with what the test says.
class ScriptedRun final : public StepContext {
 public:
  std::function<NamedValues(const BodyCall&)> answer = [](const BodyCall&) {
    return NamedValues{};
  };
  std::vector<BodyCall> calls;
  std::map<std::string, double> metrics;
  std::map<std::string, StateHolder> states;

  void metric(std::string_view name, double value) override { metrics[std::string(name)] = value; }
  void alarm(std::string_view, std::string_view) override {}
  bool cancelled() const override { return false; }
  StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) override {
    StateHolder& holder = states[std::string(name)];
    if (!holder.object) {
      holder = make();
      if (saved_.contains(std::string(name))) holder.load(saved_.at(std::string(name)));
    }
    return holder;
  }
  void parallel(std::size_t count, const std::function<void(std::size_t)>& function) override {
    for (std::size_t i = count; i-- > 0;) function(i);
  }
  NamedValues run_body(std::size_t, const BodyCall& call) override {
    calls.push_back(call);
    return answer(call);
  }
  void fail_row(std::int64_t, std::string_view) override {}

  /// Forgets all states and makes them again from what a checkpoint would hold.
  void restart() {
    for (auto& [name, holder] : states) {
      Package package;
      holder.save(package);
      saved_[name] = package;
    }
    states.clear();
  }

 private:
  std::map<std::string, Package> saved_;
};

/// One container node of a run.
class Container {
 public:
  Container(const Registry& registry, const char* type, const Json& params,
            std::vector<std::string> derived)
      : node_(registry.make(type, params)) {
    for (const PortDeclaration& port : node_->declaration().outputs) {
      settings_.output_names.push_back(port.name);
    }
    settings_.output_names.insert(settings_.output_names.end(), derived.begin(), derived.end());
  }

  std::map<std::string, Value> fire(ScriptedRun& run, std::int64_t iteration) {
    std::vector<Value> outputs(settings_.output_names.size());
    Step step(settings_, run, {}, outputs, {0, 1, static_cast<std::uint64_t>(iteration)},
              iteration);
    node_->run(step);
    std::map<std::string, Value> out;
    for (std::size_t i = 0; i < outputs.size(); ++i) out[settings_.output_names[i]] = outputs[i];
    return out;
  }

 private:
  std::shared_ptr<Node> node_;
  StepSettings settings_;
};

double number(const Value& value) { return value.get<Metrics>().values.at(0); }

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

}  // namespace

class TestFlow : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void repeat_runs_its_body_as_often_as_told_and_gives_the_last_outputs() {
    ScriptedRun run;
    run.answer = [](const BodyCall& call) {
      return NamedValues{{"m", metrics_of("x", static_cast<double>(call.index))}};
    };
    Container repeat(registry_, "flow.repeat", {{"body", "b"}, {"times", 4}}, {"m"});
    QCOMPARE(number(repeat.fire(run, 7)["m"]), 3.0);
    QCOMPARE(run.calls.size(), std::size_t{4});
    for (std::int64_t k = 0; k < 4; ++k) {
      QCOMPARE(run.calls[static_cast<std::size_t>(k)].index, k);
      QCOMPARE(run.calls[static_cast<std::size_t>(k)].of, std::int64_t{4});
    }
    QCOMPARE(run.metrics["times"], 4.0);
  }

  void repeat_ends_when_its_metric_is_good_enough() {
    ScriptedRun run;
    run.answer = [](const BodyCall& call) {
      return NamedValues{{"m", metrics_of("loss", 10.0 - static_cast<double>(call.index))}};
    };
    Container repeat(
        registry_, "flow.repeat",
        {{"body", "b"}, {"times", 50}, {"until", {{"metric", "loss"}, {"below", 6.5}}}}, {"m"});
    QCOMPARE(number(repeat.fire(run, 0)["m"]), 6.0);
    QCOMPARE(run.calls.size(), std::size_t{5});
  }

  void a_condition_on_nothing_is_an_error_that_names_what_there_is() {
    ScriptedRun run;
    run.answer = [](const BodyCall&) { return NamedValues{{"m", metrics_of("loss", 1)}}; };
    const auto fire = [&](const Json& until) {
      Container repeat(registry_, "flow.repeat", {{"body", "b"}, {"until", until}}, {"m"});
      repeat.fire(run, 0);
    };
    try {
      fire({{"metric", "reward"}, {"above", 1}});
      QFAIL("a metric that is not there was taken");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("no-metric"));
      QVERIFY(failure.problem().help.find("m.loss") != std::string::npos);
    }
    for (const Json& bad :
         {Json{{"metric", "x"}}, Json{{"above", 1}}, Json{{"metric", "x"}, {"over", 1}},
          Json{{"metric", 3}, {"above", 1}}, Json{{"metric", "x"}, {"above", "1"}}}) {
      QCOMPARE(code_of([&] { fire(bad); }), std::string("bad-condition"));
    }
    run.answer = [](const BodyCall&) { return NamedValues{{"m", Value()}}; };
    fire({{"metric", "reward"}, {"above", 1}});
  }

  void every_fires_at_its_period_and_keeps_its_outputs_in_between() {
    ScriptedRun run;
    run.answer = [&](const BodyCall&) {
      return NamedValues{{"m", metrics_of("x", static_cast<double>(run.calls.size()))}};
    };
    Container every(registry_, "flow.every", {{"body", "b"}, {"period", 3}, {"offset", 2}}, {"m"});
    std::vector<double> seen;
    for (std::int64_t i = 0; i < 9; ++i) {
      if (i == 4) run.restart();
      const Value value = every.fire(run, i)["m"];
      seen.push_back(value ? number(value) : 0);
    }
    QCOMPARE(seen, (std::vector<double>{0, 0, 1, 1, 1, 2, 2, 2, 3}));
  }

  void kept_values_survive_a_checkpoint() {
    Rewards rewards;
    rewards.total = at::tensor({1.0, 2.0}, at::kDouble);
    rewards.components = {{"a", rewards.total * 2}};
    rewards.batch = 42;
    KeptValues kept;
    kept.set({{"r", Value::of<Rewards>(rewards)}, {"m", metrics_of("x", 3)}, {"none", Value()}});
    Package package;
    kept.save(package);
    KeptValues again;
    again.load(package);
    QCOMPARE(again.values().size(), std::size_t{2});
    const Rewards& back = again.values()[0].second.get<Rewards>();
    QVERIFY(back.total.equal(rewards.total));
    QVERIFY(back.components.at(0).second.equal(rewards.total * 2));
    QCOMPARE(back.batch, std::int64_t{42});
    QCOMPARE(number(again.values()[1].second), 3.0);
    QCOMPARE(code_of([&] { kept.set({{"p", Value::of<Policy>({})}}); }), std::string("no-codec"));
  }

  void phases_run_one_body_each_iteration_in_turn() {
    ScriptedRun run;
    run.answer = [](const BodyCall& call) {
      return NamedValues{{call.part == 0 ? "a" : "b", metrics_of("x", 1)}};
    };
    const Json phases = {{{"name", "warm"}, {"body", "g"}, {"iterations", 2}},
                         {{"name", "main"}, {"body", "d"}, {"iterations", 1}, {"repeat", 3}}};
    Container node(registry_, "flow.phases", {{"phases", phases}}, {"a", "b"});
    std::vector<double> order;
    for (std::int64_t i = 0; i < 7; ++i) {
      if (i == 2 || i == 4) run.restart();
      auto out = node.fire(run, i);
      order.push_back(run.metrics["phase"]);
      QCOMPARE(static_cast<bool>(out["a"]), run.metrics["phase"] == 0);
      QCOMPARE(static_cast<bool>(out["b"]), run.metrics["phase"] == 1);
    }
    QCOMPARE(order, (std::vector<double>{0, 0, 1, 0, 0, 1, 0}));
    QCOMPARE(run.calls.size(), std::size_t{5 + 2 * 3});
  }

  void a_phase_ends_when_its_condition_holds() {
    ScriptedRun run;
    run.answer = [&](const BodyCall&) {
      return NamedValues{{"m", metrics_of("accuracy", static_cast<double>(run.calls.size()) / 10)}};
    };
    const Json phases = {{{"body", "g"}, {"until", {{"metric", "m.accuracy"}, {"above", 0.35}}}},
                         {{"body", "d"}}};
    Container node(registry_, "flow.phases", {{"phases", phases}, {"after", "stay"}}, {"m"});
    std::vector<double> order;
    for (std::int64_t i = 0; i < 7; ++i) {
      node.fire(run, i);
      order.push_back(run.metrics["phase"]);
    }
    QCOMPARE(order, (std::vector<double>{0, 0, 0, 0, 1, 1, 1}));
  }

  void a_phase_of_no_iterations_is_left_out() {
    ScriptedRun run;
    const Json phases = {{{"body", "prepare"}, {"iterations", 0}},
                         {{"body", "first"}, {"iterations", 2}},
                         {{"body", "none"}, {"iterations", 0}},
                         {{"body", "last"}, {"iterations", 1}}};
    Container node(registry_, "flow.phases", {{"phases", phases}}, {});
    std::vector<double> order;
    for (std::int64_t i = 0; i < 5; ++i) {
      node.fire(run, i);
      QCOMPARE(static_cast<double>(run.calls.back().part), run.metrics["phase"]);
      order.push_back(run.metrics["phase"]);
    }
    QCOMPARE(order, (std::vector<double>{1, 1, 3, 1, 1}));
  }

  void phases_that_make_no_sense_are_refused() {
    ScriptedRun run;
    for (const Json& phases :
         {Json::array(), Json{{{"body", "a"}}, {{"body", "b"}, {"iterations", 1}}},
          Json{{{"body", "a"}, {"iterations", 0}}}, Json{{{"body", "a"}, {"iterations", -1}}},
          Json{{{"body", "a"}, {"iterations", 1}, {"x", 1}}}}) {
      Container node(registry_, "flow.phases", {{"phases", phases}}, {});
      QCOMPARE(code_of([&] { node.fire(run, 0); }), std::string("bad-phase"));
    }
  }

  void a_sweep_runs_one_branch_per_value_and_seed_and_gathers_their_numbers() {
    ScriptedRun run;
    run.answer = [](const BodyCall& call) {
      return NamedValues{{"score", metrics_of("accuracy", static_cast<double>(call.part * 10 +
                                                                              call.seed_offset))}};
    };
    Container sweep(registry_, "flow.sweep",
                    {{"body", "b"}, {"vary", "shape"}, {"values", {"par", 0.5}}, {"seeds", 2}},
                    {"score"});
    auto out = sweep.fire(run, 3);
    const Metrics& all = out["all_metrics"].get<Metrics>();
    const std::vector<std::string> names{"shape=par,seed=0/accuracy", "shape=par,seed=1/accuracy",
                                         "shape=0.5,seed=0/accuracy", "shape=0.5,seed=1/accuracy"};
    QCOMPARE(all.names, names);
    QCOMPARE(all.values, (std::vector<double>{0, 1, 10, 11}));
    QCOMPARE(out["score"].get<Metrics>().names, names);
    const Table& table = out["table"].get<Table>();
    QCOMPARE(table.columns, (std::vector<std::string>{"branch", "score.accuracy"}));
    QCOMPARE(table.cells.size(), std::size_t{4});
    QCOMPARE(table.cells[3].dump(), std::string("[\"shape=0.5,seed=1\",11.0]"));
    std::set<std::string> branches;
    for (const BodyCall& call : run.calls) branches.insert(call.branch);
    QCOMPARE(branches.size(), std::size_t{4});
  }

 private:
  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestFlow;
REWARDLOOM_TEST(TestFlow)
#include "test_flow.moc"
