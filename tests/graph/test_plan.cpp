#include <random>
#include <set>

#include "engine/graph/checker.h"
#include "engine/graph/plan.h"
#include "tests/graph/example_graphs.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::examples;

namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

std::vector<std::string> names(const Plan& plan, const std::vector<int>& nodes) {
  std::vector<std::string> out;
  for (const int node : nodes) out.push_back(plan.nodes[at(node)].name);
  return out;
}

const PlanNode& node_named(const Plan& plan, std::string_view name) {
  return plan.nodes.at(at(plan.node_index(name)));
}
const PlanSlot& slot_named(const Plan& plan, std::string_view name) {
  return plan.slots.at(at(plan.slot_index(name)));
}

bool waits_for(const Plan& plan, std::string_view later, std::string_view earlier) {
  const auto& next = node_named(plan, earlier).successors;
  return std::find(next.begin(), next.end(), plan.node_index(later)) != next.end();
}

/// What an executor relies on, whatever the graph.
void verify_sound(const Plan& plan) {
  std::vector<int> place(plan.nodes.size(), -1);
  for (std::size_t i = 0; i < plan.order.size(); ++i)
    place[at(plan.order[i])] = static_cast<int>(i);
  QCOMPARE(plan.order.size(), plan.nodes.size());
  std::vector<int> pending(plan.nodes.size(), 0);
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    QVERIFY(place[i] >= 0);
    const auto& next = plan.nodes[i].successors;
    QCOMPARE(std::set<int>(next.begin(), next.end()).size(), next.size());
    for (const int to : next) {
      ++pending[at(to)];
      QVERIFY(place[i] < place[at(to)]);
      QVERIFY(plan.nodes[i].level < plan.nodes[at(to)].level);
    }
  }
  std::vector<int> readers(plan.slots.size(), 0);
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& node = plan.nodes[i];
    QCOMPARE(node.pending, pending[i]);
    std::set<int> read;
    for (const PlanInput& input : node.inputs) read.insert(input.slots.begin(), input.slots.end());
    QVERIFY(read == std::set<int>(node.reads.begin(), node.reads.end()));
    QCOMPARE(read.size(), node.reads.size());
    for (const int slot : node.reads) {
      ++readers[at(slot)];
      const int producer = plan.slots[at(slot)].producer;
      if (producer >= 0) QVERIFY(place[at(producer)] < place[i]);
    }
    for (const PlanBody& body : node.bodies) verify_sound(*body.plan);
  }
  for (std::size_t s = 0; s < plan.slots.size(); ++s) QCOMPARE(plan.slots[s].readers, readers[s]);
}

}  // namespace

class TestPlan : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void nodes_wait_for_their_inputs_and_readers_go_before_writers();
  void values_know_their_last_reader();
  void parameters_are_resolved();
  void subgraphs_are_put_in_place_and_bodies_are_plans_of_their_own();
  void readers_downstream_of_a_writer_see_its_state();
  void random_graphs_keep_the_order_of_readers_and_writers();
  void a_body_can_be_compiled_for_every_value_of_a_sweep();
  void a_subgraph_is_compiled_alone();
  void what_never_changes_is_invariant();
  void policies_deadlines_and_placement_come_from_around();
  void facts_and_gold_reach_the_slots();
  void the_critical_path_is_the_dearest_chain();
  void graphs_without_a_plan_are_refused();
};

void TestPlan::nodes_wait_for_their_inputs_and_readers_go_before_writers() {
  const Plan plan = compile(parse(grpo), catalogue());
  verify_sound(plan);
  QCOMPARE(plan.nodes.size(), std::size_t{7});
  QVERIFY(names(plan, plan.order) == (std::vector<std::string>{"tasks", "actor", "rollout", "check",
                                                               "adv", "clip", "update"}));
  QVERIFY(waits_for(plan, "update", "rollout"));
  QVERIFY(!waits_for(plan, "clip", "update"));
  // rollout reads what update writes, and update needs its completions anyway: no further edge.
  QVERIFY(plan.order_edges.empty());
  QCOMPARE(plan.handles.size(), std::size_t{1});
  QCOMPARE(plan.handles[0].name, std::string("actor.policy"));
  QCOMPARE(plan.handles[0].creator, plan.node_index("actor"));
  QVERIFY(names(plan, plan.handles[0].readers) == std::vector<std::string>{"rollout"});
  QVERIFY(names(plan, plan.handles[0].writers) == std::vector<std::string>{"update"});
  QCOMPARE(slot_named(plan, "update.policy").handle, slot_named(plan, "actor.policy").handle);
  QCOMPARE(plan.width(), 3);  // tasks, actor and clip wait for nothing
}

void TestPlan::values_know_their_last_reader() {
  const Plan plan = compile(parse(grpo), catalogue());
  QCOMPARE(slot_named(plan, "rollout.completions").readers, 2);
  QCOMPARE(slot_named(plan, "check.rewards").readers, 1);
  QCOMPARE(slot_named(plan, "update.metrics").readers, 0);
  QVERIFY(slot_named(plan, "check.rewards").probe);
  QVERIFY(!slot_named(plan, "rollout.completions").probe);
  QCOMPARE(slot_named(plan, "rollout.completions").dims, std::string("N,T"));
  // A node that reads a value through two ports or twice through one is one reader.
  Document twice = parse(grpo);
  twice.nodes.push_back(
      GraphNode{.name = "mean",
                .type = "reward.combine",
                .inputs = {{"rewards", {{"check", "rewards"}, {"check", "rewards"}}, true}}});
  const Plan doubled = compile(twice, catalogue());
  QCOMPARE(slot_named(doubled, "check.rewards").readers, 2);
  QCOMPARE(node_named(doubled, "mean").inputs[0].slots.size(), std::size_t{2});
  verify_sound(doubled);
}

void TestPlan::parameters_are_resolved() {
  Document document = parse(grpo);
  document.node("adv")->params = {{"preset", "trl"}};
  document.node("actor")->params = {{"model", "$$group_size"}};
  const Plan plan = compile(document, catalogue());
  QVERIFY(node_named(plan, "rollout").params["group_size"] == 8);
  QVERIFY(node_named(plan, "rollout").params["temperature"] == 1.0);
  QVERIFY((node_named(plan, "rollout").given == Json{{"group_size", 8}, {"max_tokens", 8}}));
  QVERIFY(node_named(plan, "adv").params["epsilon"] == 1e-4);
  QVERIFY((node_named(plan, "adv").given == Json{{"preset", "trl"}}));
  QVERIFY(node_named(plan, "actor").params["model"] == "$group_size");
  QVERIFY(plan.settings["iterations"] == 150);
  QVERIFY(plan.settings["checkpoint_keep"] == 3);
}

void TestPlan::subgraphs_are_put_in_place_and_bodies_are_plans_of_their_own() {
  const Plan plan = compile(parse(co_training), catalogue());
  verify_sound(plan);
  QCOMPARE(plan.nodes.size(), std::size_t{5});
  const PlanNode& turns = node_named(plan, "turns");
  std::vector<std::string> ports;
  for (const PlanInput& input : turns.inputs) ports.push_back(input.name);
  QVERIFY((ports == std::vector<std::string>{"left", "prompts", "right"}));
  QVERIFY(turns.inputs[0].access == Access::write);
  QVERIFY(turns.inputs[1].access == Access::value);
  QCOMPARE(turns.outputs[0].name, std::string("phase"));
  QCOMPARE(turns.outputs[1].name, std::string("left"));
  // The container writes both policies; save reads what it leaves.
  QVERIFY(names(plan, plan.handles[at(slot_named(plan, "left.policy").handle)].writers) ==
          std::vector<std::string>{"turns"});
  QCOMPARE(slot_named(plan, "turns.left").handle, slot_named(plan, "left.policy").handle);
  QVERIFY(waits_for(plan, "save", "turns"));

  QCOMPARE(turns.bodies.size(), std::size_t{2});
  const PlanBody& body = turns.bodies[0];
  QCOMPARE(body.parameter, std::string("phases"));
  QVERIFY(body.entry["iterations"] == 2);
  QVERIFY((body.input_ports == std::vector<int>{0, 1}));
  QVERIFY((body.output_ports == std::vector<int>{1}));
  const Plan& inner = *body.plan;
  QCOMPARE(inner.nodes.size(), std::size_t{10});
  QVERIFY(inner.node_index("turns/train_left/one/rollout") >= 0);
  QVERIFY(node_named(inner, "turns/train_left/one/update").params["learning_rate"] == 0.5);
  QVERIFY(node_named(inner, "turns/train_left/two/update").params["learning_rate"] == 0.25);
  QVERIFY((inner.output_names == std::vector<std::string>{"left"}));
  QCOMPARE(inner.slots[at(inner.outputs[0])].name,
           std::string("turns/train_left/two/update.policy"));
  QVERIFY(inner.slots[at(inner.outputs[0])].output);
  QCOMPARE(inner.slots[at(inner.inputs[0])].name, std::string("inputs.left"));
  QCOMPARE(inner.slots[at(inner.inputs[0])].producer, -1);
  QCOMPARE(inner.slots[at(inner.inputs[1])].readers, 2);
  const PlanHandle& handle = inner.handles[at(inner.slots[at(inner.inputs[0])].handle)];
  QCOMPARE(handle.name, std::string("left.policy"));
  QCOMPARE(handle.creator, -1);
  QVERIFY((names(inner, handle.writers) ==
           std::vector<std::string>{"turns/train_left/one/update", "turns/train_left/two/update"}));

  const Plan& second = *turns.bodies[1].plan;
  QVERIFY(node_named(second, "turns/train_right/step/update").params["learning_rate"] == 0.001);
  QVERIFY(turns.bodies[1].parameters["rate"] == 0.001);
}

void TestPlan::readers_downstream_of_a_writer_see_its_state() {
  Document document = parse(grpo);
  const auto add = [&](const char* name, const char* from) {
    document.nodes.push_back(GraphNode{.name = name,
                                       .type = "model.save",
                                       .inputs = {{"policy", {Reference::parse(from)}, false}}});
  };
  add("before", "actor.policy");
  add("after", "update.policy");
  const Plan plan = compile(document, catalogue());
  verify_sound(plan);
  QVERIFY(waits_for(plan, "update", "before"));
  QVERIFY(waits_for(plan, "after", "update"));
  QCOMPARE(plan.order_edges.size(), std::size_t{1});
  QVERIFY((plan.order_edges[0] == std::pair(plan.node_index("before"), plan.node_index("update"))));
  QVERIFY((names(plan, plan.handles[0].readers) ==
           std::vector<std::string>{"rollout", "before", "after"}));
}

/// Random chains of writers of two policies with readers anywhere: held against a slow, plain rule.
void TestPlan::random_graphs_keep_the_order_of_readers_and_writers() {
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
    Document document = parse(
        R"({"rewardloom": 1, "nodes": {"p": {"type": "text.policy"}, "q": {"type": "text.policy"}}})");
    std::vector<std::string> last = {"p", "q"};  // latest writer of each
    std::vector<std::vector<std::string>> versions = {{"p"}, {"q"}};
    for (std::size_t i = 0; i < 12; ++i) {
      const std::size_t which = pick(2);
      const std::string name = "n" + std::to_string(i);
      if (pick(3) == 0) {
        const auto& others = versions[1 - which];
        document.nodes.push_back(
            GraphNode{.name = name,
                      .type = "model.soup",
                      .inputs = {{"policy", {{last[which], "policy"}}, false},
                                 {"other", {{others[pick(others.size())], "policy"}}, false}}});
        last[which] = name;
        versions[which].push_back(name);
      } else {
        const std::string& from = versions[which][pick(versions[which].size())];
        document.nodes.push_back(GraphNode{
            .name = name, .type = "model.save", .inputs = {{"policy", {{from, "policy"}}, false}}});
      }
    }
    std::shuffle(document.nodes.begin(), document.nodes.end(), random);
    const CheckResult result = check(document, catalogue());
    for (const Problem& problem : result.problems)
      QCOMPARE(problem.code, std::string("handle-order"));
    if (!result.ok()) continue;  // the two policies ask for opposite orders: nothing to compile
    const Plan plan = compile(document, catalogue());
    verify_sound(plan);
    std::vector<std::size_t> place(plan.nodes.size());
    for (std::size_t i = 0; i < plan.order.size(); ++i) place[at(plan.order[i])] = i;
    // A reader of version k of a policy runs after writer k and before writer k + 1.
    for (const PlanNode& node : plan.nodes) {
      for (const PlanInput& input : node.inputs) {
        if (input.slots.empty()) continue;
        const std::string source = plan.slots[at(input.slots[0])].name;
        const std::string writer = source.substr(0, source.find('.'));
        for (const auto& chain : versions) {
          const auto k = std::find(chain.begin(), chain.end(), writer);
          if (k == chain.end() || std::next(k) == chain.end() || *std::next(k) == node.name)
            continue;
          const int next = plan.node_index(*std::next(k));
          const bool downstream = [&] {
            // Downstream by values of the next writer: it sees a later state on purpose.
            std::set<int> seen;
            std::vector<int> stack = {plan.node_index(node.name)};
            while (!stack.empty()) {
              const int n = stack.back();
              stack.pop_back();
              if (n == next) return true;
              for (const int slot : plan.nodes[at(n)].reads) {
                const int producer = plan.slots[at(slot)].producer;
                if (producer >= 0 && seen.insert(producer).second) stack.push_back(producer);
              }
            }
            return false;
          }();
          if (!downstream) QVERIFY(place[at(plan.node_index(node.name))] < place[at(next)]);
        }
      }
    }
  }
}

void TestPlan::a_body_can_be_compiled_for_every_value_of_a_sweep() {
  Document document = parse(co_training);
  document.nodes.pop_back();
  GraphNode& turns = document.nodes.back();
  turns.type = "flow.sweep";
  turns.inputs.erase(turns.inputs.begin());
  turns.params = {{"body", "train_right"}, {"parameter", "rate"}, {"values", {0.5, "$rate", 2.0}}};
  document.subgraphs.erase(document.subgraphs.begin() + 1);
  const Plan plan = compile(document, catalogue());
  verify_sound(plan);
  const PlanNode& sweep = plan.nodes.back();
  QCOMPARE(sweep.bodies.size(), std::size_t{3});
  const double rates[] = {0.5, 0.001, 2.0};
  for (std::size_t i = 0; i < 3; ++i) {
    QCOMPARE(sweep.bodies[i].part, static_cast<int>(i));
    QVERIFY(node_named(*sweep.bodies[i].plan, "turns/step/update").params["learning_rate"] ==
            rates[i]);
  }
}

void TestPlan::a_subgraph_is_compiled_alone() {
  const Document document = parse(co_training);
  const Plan plan = compile_subgraph(document, catalogue(), "step", {{"rate", 0.75}}, "branch");
  verify_sound(plan);
  QVERIFY(node_named(plan, "branch/update").params["learning_rate"] == 0.75);
  QCOMPARE(plan.inputs.size(), std::size_t{2});
  QVERIFY((plan.output_names == std::vector<std::string>{"policy", "rewards"}));
  QCOMPARE(plan.slots[at(plan.inputs[0])].type, std::string("Policy"));
  QVERIFY_THROWS_EXCEPTION(Failure, compile_subgraph(document, catalogue(), "stop", {}, ""));
  QVERIFY_THROWS_EXCEPTION(Failure,
                           compile_subgraph(document, catalogue(), "step", {{"rat", 1}}, ""));
}

void TestPlan::what_never_changes_is_invariant() {
  Document document = parse(grpo);
  document.nodes.push_back(GraphNode{.name = "fixed", .type = "data.arithmetic"});
  const Plan plan = compile(document, catalogue());
  QVERIFY(node_named(plan, "tasks").invariant);
  QVERIFY(!node_named(plan, "rollout").invariant);
  QVERIFY(!node_named(plan, "check").invariant);  // pure, but its completions are new each time
  QVERIFY(!node_named(plan, "actor").invariant);
}

void TestPlan::policies_deadlines_and_placement_come_from_around() {
  Document document = parse(co_training);
  GraphNode& two = document.subgraph("train_left")->nodes[1];
  two.on_error = ErrorPolicy{FailureAction::retry, 4};
  two.deadline = 2.5;
  two.role = "gold";
  document.subgraph("step")->nodes[1].on_error = ErrorPolicy{FailureAction::skip_row, 1};
  document.placement = {{"turns", {{"device", "cuda:0"}, {"threads", 1}}},
                        {"turns/train_left/two/update", {{"device", "cpu"}}}};
  const Plan whole = compile(parse(co_training), catalogue());
  QVERIFY(node_named(*node_named(whole, "turns").bodies[0].plan, "turns/train_left/two/update")
              .role.empty());
  document.subgraph("train_left")->nodes[1].role.clear();
  const Plan plan = compile(document, catalogue());
  const Plan& inner = *node_named(plan, "turns").bodies[0].plan;
  const PlanNode& update = node_named(inner, "turns/train_left/two/update");
  QVERIFY((update.on_error == ErrorPolicy{FailureAction::retry, 4}));
  QCOMPARE(update.deadline, 2.5);
  QVERIFY((update.placement == Json{{"device", "cpu"}, {"threads", 1}}));
  QVERIFY(node_named(inner, "turns/train_left/two/check").on_error.action ==
          FailureAction::skip_row);
  QCOMPARE(node_named(inner, "turns/train_left/one/update").deadline, 0.0);
  QVERIFY((node_named(inner, "turns/train_left/one/update").placement["device"] == "cuda:0"));
}

void TestPlan::facts_and_gold_reach_the_slots() {
  Document document = parse(grpo);
  document.nodes.push_back(
      GraphNode{.name = "truth",
                .type = "reward.gold",
                .inputs = {{"completions", {{"rollout", "completions"}}, false}}});
  const Plan plan = compile(document, catalogue());
  QVERIFY((slot_named(plan, "rollout.completions").facts == Json{{"group_size", 8}}));
  QVERIFY((slot_named(plan, "adv.advantages").facts == Json{{"group_size", 8}}));
  QVERIFY(slot_named(plan, "tasks.prompts").facts.empty());
  QVERIFY(slot_named(plan, "truth.gold").gold);
  QVERIFY(!slot_named(plan, "check.rewards").gold);
}

void TestPlan::the_critical_path_is_the_dearest_chain() {
  const Plan plan = compile(parse(grpo), catalogue());
  const CriticalPath longest = critical_path(plan);
  QCOMPARE(longest.cost, 5.0);
  QVERIFY((names(plan, longest.nodes) ==
           std::vector<std::string>{"tasks", "rollout", "check", "adv", "update"}));
  std::vector<double> cost(plan.nodes.size(), 0.0);
  cost[at(plan.node_index("clip"))] = 7.0;
  cost[at(plan.node_index("rollout"))] = 3.0;
  cost[at(plan.node_index("update"))] = 0.5;
  const CriticalPath dearest = critical_path(plan, cost);
  QCOMPARE(dearest.cost, 7.5);
  QVERIFY((names(plan, dearest.nodes) == std::vector<std::string>{"clip", "update"}));
  QCOMPARE(critical_path(Plan{}).cost, 0.0);
}

void TestPlan::graphs_without_a_plan_are_refused() {
  const auto code = [](const std::string& name) -> std::string {
    try {
      compile(Document::load(REWARDLOOM_SOURCE_DIR "/tests/wrong/" + name + ".json"), catalogue());
    } catch (const Failure& failure) {
      return failure.problem().code;
    }
    return "compiled";
  };
  for (const char* name : {"cycle", "two-writers", "handle-order", "missing-input", "unknown-node",
                           "type-mismatch_converter", "unreachable-output", "subgraph-recursion"}) {
    QCOMPARE(code(name), QString::fromUtf8(name).section(QLatin1Char('_'), 0, 0).toStdString());
  }
  QCOMPARE(code("no_problem"), std::string("compiled"));
}

REWARDLOOM_TEST(TestPlan)
#include "test_plan.moc"
