// Muted and bypassed nodes: what of a document runs.
#include <fstream>
#include <sstream>

#include "engine/core/catalogue.h"
#include "engine/graph/active_nodes.h"
#include "engine/graph/checker.h"
#include "engine/graph/hash.h"
#include "engine/graph/plan.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestActiveNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() {
    std::ifstream file(REWARDLOOM_SOURCE_DIR "/tests/wrong/catalogue.json");
    std::stringstream text;
    text << file.rdbuf();
    catalogue_ = Catalogue::from_json(Json::parse(text.str()));
  }

  void modes_are_read_written_and_part_of_the_meaning() {
    Document plain = grpo();
    QVERIFY(!has_modes(plain));
    Document muted = grpo();
    muted.node("adv")->mode = NodeMode::mute;
    QVERIFY(has_modes(muted));
    QVERIFY(graph_hash(plain) != graph_hash(muted));
    const Document back = Document::parse(muted.canonical_text());
    QVERIFY(back.same_content(muted));
    QVERIFY(back.node("adv")->mode == NodeMode::mute);
    QVERIFY(muted.canonical_text().find("\"mode\": \"mute\"") != std::string::npos);
    const Document wrong = Document::parse(
        Json{{"rewardloom", 1}, {"nodes", {{"a", {{"type", "data.arithmetic"}, {"mode", "off"}}}}}}
            .dump());
    QCOMPARE(wrong.reading_problems().size(), 1U);
  }

  void what_needs_a_muted_node_does_not_run() {
    Document d = grpo();
    d.node("rollout")->mode = NodeMode::mute;
    const Plan plan = compile(d, catalogue_);
    for (const char* gone : {"rollout", "check", "adv", "update"}) {
      QCOMPARE(plan.node_index(gone), -1);
    }
    QVERIFY(plan.node_index("actor") >= 0);
    QVERIFY(plan.node_index("clip") >= 0);
    const CheckResult result = check(d, catalogue_, {.files = false});
    QVERIFY(result.ok());
    QCOMPARE(result.problems.size(), 4U);
    for (const Problem& problem : result.problems) QCOMPARE(problem.code, std::string("muted"));
  }

  void a_variadic_input_just_loses_the_edge() {
    Document d = grpo();
    GraphNode kl = *d.node("clip");
    kl.name = "kl";
    kl.mode = NodeMode::mute;
    d.nodes.push_back(kl);
    for (InputEdges& input : d.node("update")->inputs) {
      if (input.port == "terms") input.from.push_back({"kl", "term"});
    }
    std::vector<Problem> problems;
    const Document active = active_part(d, catalogue_, problems);
    QCOMPARE(active.node("update")->input("terms")->from.size(), 1U);
    QVERIFY(!active.node("kl"));
    QVERIFY(compile(d, catalogue_).node_index("update") >= 0);
  }

  void a_bypass_joins_its_first_input_of_the_same_type() {
    Document d = grpo();
    d.node("update")->mode = NodeMode::bypass;
    GraphNode again = *d.node("rollout");
    again.name = "again";
    again.inputs[0].from = {{"update", "policy"}};
    d.nodes.push_back(again);
    std::vector<Problem> problems;
    const Document active = active_part(d, catalogue_, problems);
    QCOMPARE(active.node("again")->input("policy")->from[0].text(), std::string("actor.policy"));
    QVERIFY(check(d, catalogue_, {.files = false}).ok());
  }

  void bypassed_nodes_in_a_row_are_passed_in_any_order() {
    for (const bool turned : {false, true}) {
      Document d = grpo();
      GraphNode first = *d.node("update"), second = *d.node("update"), again = *d.node("rollout");
      first.name = "first";
      second.name = "second";
      first.mode = second.mode = NodeMode::bypass;
      second.inputs[0].from = {{"first", "policy"}};
      again.name = "again";
      again.inputs[0].from = {{"second", "policy"}};
      if (turned) std::swap(first, second);
      for (const GraphNode& node : {first, second, again}) d.nodes.push_back(node);
      std::vector<Problem> problems;
      const Document active = active_part(d, catalogue_, problems);
      QCOMPARE(active.node("again")->input("policy")->from[0].text(), std::string("actor.policy"));
    }
  }

  void a_bypass_without_such_an_input_is_an_error() {
    Document d = grpo();
    d.node("adv")->mode = NodeMode::bypass;
    QVERIFY(!check(d, catalogue_, {.files = false}).ok());
    QVERIFY_EXCEPTION_THROWN(compile(d, catalogue_), Failure);
  }

  void a_subgraph_that_loses_an_output_takes_its_readers_along() {
    Document d = grpo();
    Subgraph judge;
    judge.name = "judge";
    judge.inputs = {{"completions", "Completions"}};
    judge.nodes = {*d.node("check")};
    judge.nodes[0].inputs[0].from = {{"inputs", "completions"}};
    judge.nodes[0].mode = NodeMode::mute;
    judge.outputs = {{"rewards", {"check", "rewards"}}};
    d.subgraphs.push_back(judge);
    GraphNode* check_node = d.node("check");
    check_node->type = "subgraph.judge";
    d.placement["check"] = {{"threads", 1}};
    std::vector<Problem> problems;
    const Document active = active_part(d, catalogue_, problems);
    QVERIFY(!active.node("adv"));
    QVERIFY(!active.node("update")->input("advantages"));
    QVERIFY(active.subgraphs.empty());
    QVERIFY(active.placement.empty());
  }

  void graph_parameters_of_muted_nodes_go_unnoticed() {
    Document d = grpo();
    d.parameters["size"] = 4;
    d.node("rollout")->params["group_size"] = "$size";
    QVERIFY(check(d, catalogue_, {.files = false}).ok());
    d.node("rollout")->mode = NodeMode::mute;
    for (const Problem& problem : check(d, catalogue_, {.files = false}).problems) {
      QCOMPARE(problem.code, std::string("muted"));
    }
  }

 private:
  static Document grpo() {
    Document document = Document::load(REWARDLOOM_SOURCE_DIR "/tests/wrong/muted.json");
    for (GraphNode& node : document.nodes) node.mode = NodeMode::normal;
    std::erase_if(document.nodes, [](const GraphNode& node) { return node.name == "again"; });
    return document;
  }
  Catalogue catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestActiveNodes;
REWARDLOOM_TEST(TestActiveNodes)
#include "test_active_nodes.moc"
