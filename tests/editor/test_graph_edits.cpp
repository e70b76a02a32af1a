// Edits of a document: what hands do, exact undo, clipboard, subgraphs.
#include <random>

#include "editor/canvas/wiring.h"
#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestGraphEdits : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void a_patch_leads_there_and_back() {
    const Document before = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    Document after = before;
    renameNode(after, {}, "check", "grade");
    setPosition(after, {}, "grade", QPointF(40, 60));
    addNode(after, {}, "reward.length", QPointF(1, 2));
    after.settings["iterations"] = 7;
    const DocumentPatch patch = DocumentPatch::between(before, after);
    Document moved = before;
    patch.apply(moved);
    QVERIFY(moved.same_content(after));
    patch.revert(moved);
    QVERIFY(moved.same_content(before));
    QCOMPARE(moved.text(), before.text());
    QVERIFY(patch.touchedNodes().contains("check"));
    QVERIFY(patch.touchedNodes().contains("grade"));
  }

  void a_thousand_random_edits_undo_to_the_same_bytes() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    const std::string start = model.document().text();
    std::mt19937 random(7);
    for (int i = 0; i < 1000; ++i) model.edit("edit", [&](Document& d) { randomEdit(d, random); });
    const std::string end = model.document().text();
    QVERIFY(end != start);
    while (model.history().canUndo()) model.history().undo();
    QCOMPARE(model.document().text(), start);
    QVERIFY(!model.isModified());
    while (model.history().canRedo()) model.history().redo();
    QCOMPARE(model.document().text(), end);
  }

  void an_edit_that_throws_changes_nothing() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    const std::string start = model.document().text();
    const auto breaking = [](Document& d) {
      d.nodes.clear();
      throw Failure("test", "no");
    };
    QVERIFY_EXCEPTION_THROWN(model.edit("bad", breaking), Failure);
    QCOMPARE(model.document().text(), start);
    QVERIFY(!model.history().canUndo());
  }

  void steps_with_one_key_become_one() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    const std::string start = model.document().text();
    for (int i = 0; i < 5; ++i) {
      model.edit(
          "move", [i](Document& d) { setPosition(d, {}, "check", QPointF(i, i)); }, "nudge");
    }
    QCOMPARE(model.history().count(), 1);
    model.history().undo();
    QCOMPARE(model.document().text(), start);
  }

  void renaming_takes_every_reference_along() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    setPosition(d, {}, "actor", QPointF(10, 20));
    d.placement["actor"] = {{"threads", 1}};
    renameNode(d, {}, "actor", "student");
    QVERIFY(!findNode(d, {}, "actor"));
    for (const Wire& wire : wiresOf(d, {})) QVERIFY(wire.from.node != "actor");
    QVERIFY(!d.placement.contains("actor"));
    QCOMPARE(*position(d, {}, "student"), QPointF(10, 20));
    QVERIFY(check(d, *catalogue_).ok());
  }

  void a_single_input_is_replaced_and_a_variadic_one_grows() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const std::string other = addNode(d, {}, "reward.length", QPointF());
    connectPorts(d, {}, {{other, "rewards"}, "adv", "rewards"}, *catalogue_);
    const InputEdges* single = findNode(std::as_const(d), {}, "adv")->input("rewards");
    QCOMPARE(single->from.size(), 1U);
    QCOMPARE(single->from[0].node, other);
    const std::string kl = addNode(d, {}, "loss.kl", QPointF());
    connectPorts(d, {}, {{kl, "term"}, "update", "terms"}, *catalogue_);
    connectPorts(d, {}, {{kl, "term"}, "update", "terms"}, *catalogue_);
    QCOMPARE(findNode(std::as_const(d), {}, "update")->input("terms")->from.size(), 2U);
    disconnectPorts(d, {}, {{other, "rewards"}, "adv", "rewards"});
    QVERIFY(!findNode(std::as_const(d), {}, "adv")->input("rewards"));
  }

  void deleting_heals_the_wire_it_stood_in() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const std::string penalty = addNode(d, {}, "reward.length_penalty", QPointF());
    QVERIFY(insertIntoWire(d, {}, *catalogue_, penalty, {{"check", "rewards"}, "adv", "rewards"}));
    QCOMPARE(findNode(std::as_const(d), {}, "adv")->input("rewards")->from[0].node, penalty);
    removeNodes(d, {}, {penalty}, true, *catalogue_);
    QCOMPARE(findNode(std::as_const(d), {}, "adv")->input("rewards")->from[0].node,
             std::string("check"));
  }

  void misfits_are_explained_with_both_sides() {
    const Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const FitVerdict wrong =
        fitOf(d, {}, *catalogue_, {"rollout", "completions", true}, {"adv", "rewards", false});
    QVERIFY(!wrong.fits);
    QVERIFY2(wrong.reason.contains("Rewards") && wrong.reason.contains("Completions"),
             qPrintable(wrong.reason));
    const FitVerdict circle =
        fitOf(d, {}, *catalogue_, {"update", "policy", true}, {"rollout", "policy", false});
    QVERIFY(!circle.fits);
    QVERIFY2(circle.reason.contains("circle"), qPrintable(circle.reason));
    QVERIFY(fitOf(d, {}, *catalogue_, {"check", "rewards", true}, {"adv", "rewards", false}).fits);
  }

  void what_fits_a_port_comes_in_the_order_of_use() {
    const Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const auto list = fittingTypes(d, {}, *catalogue_, {"check", "rewards", true},
                                   [](const std::string& a, const std::string& b) {
                                     return a == "reward.exact_match" && b == "advantage.whiten" ? 0
                                            : b == "advantage.leave_one_out"                     ? 9
                                                                             : 1;
                                   });
    QVERIFY(!list.empty());
    QCOMPARE(list[0].type, std::string("advantage.leave_one_out"));
    for (const FittingType& type : list) {
      QCOMPARE(catalogue_->node(type.type)->input(type.port)->type, std::string("Rewards"));
    }
  }

  void copied_text_pastes_into_another_graph() {
    const Document from = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const QString text = copyText(from, {}, {"rollout", "check", "adv"});
    Document into;
    const PasteResult pasted = pasteText(into, {}, text, QPointF(100, 100));
    QCOMPARE(pasted.names.size(), 3U);
    QVERIFY(!pasted.remarks.empty());  // the policy and the prompts are not there
    QCOMPARE(findNode(std::as_const(into), {}, "adv")->input("rewards")->from[0].node,
             std::string("check"));
    const PasteResult again = pasteText(into, {}, text, QPointF(0, 0));
    QCOMPARE(again.names[0], std::string("rollout_2"));
    QCOMPARE(findNode(std::as_const(into), {}, "adv_2")->input("rewards")->from[0].node,
             std::string("check_2"));
    QVERIFY_EXCEPTION_THROWN(pasteText(into, {}, "not a graph", QPointF()), Failure);
  }

  void a_subgraph_made_of_nodes_means_the_same() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    QVERIFY(check(d, *catalogue_).ok());
    const std::string made = makeSubgraph(d, {}, {"check", "adv"}, "grading", *catalogue_);
    const GraphNode* node = findNode(std::as_const(d), {}, made);
    QVERIFY(node && node->subgraph() == "grading");
    const CheckResult result = check(d, *catalogue_);
    QVERIFY2(result.ok(), result.problems.empty() ? "" : format(result.problems[0]).c_str());
    QCOMPARE(d.subgraph("grading")->nodes.size(), 2U);
  }

  void a_parameter_becomes_one_of_the_graph() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const std::string name = makeGraphParameter(d, {}, "update", "learning_rate", 1e-3);
    QCOMPARE(name, std::string("learning_rate"));
    QCOMPARE(findNode(std::as_const(d), {}, "update")->params["learning_rate"].get<std::string>(),
             std::string("$learning_rate"));
    QVERIFY(check(d, *catalogue_).ok());
  }

 private:
  void randomEdit(Document& d, std::mt19937& random) const {
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const auto someNode = [&]() -> std::string {
      return d.nodes.empty() ? std::string() : d.nodes[below(d.nodes.size())].name;
    };
    const auto ids = catalogue_->node_ids();
    switch (below(13)) {
      case 8:
        if (!d.nodes.empty()) {
          d.nodes[below(d.nodes.size())].mode = static_cast<NodeMode>(below(3));
        }
        break;
      case 9:
        if (d.nodes.size() > 4 && below(4) == 0) {
          try {
            makeSubgraph(d, {}, {someNode(), someNode()}, "group", *catalogue_);
          } catch (const Failure&) {
            // Circles of random wires are refused; the step is then none.
          }
        }
        break;
      case 10: {
        if (d.subgraphs.empty()) break;
        const Scope scope = d.subgraphs[below(d.subgraphs.size())].name;
        if (below(2) == 0) {
          renameSubgraph(d, scope, freeSubgraphName(d, "s" + std::to_string(below(99))),
                         *catalogue_);
        } else if (!d.subgraph(scope)->nodes.empty()) {
          const std::string inner = d.subgraph(scope)->nodes.front().name;
          connectPorts(d, scope, {{kInputsNode, kNewPort}, inner, "rewards"}, *catalogue_);
          connectPorts(d, scope, {{inner, "rewards"}, kOutputsNode, kNewPort}, *catalogue_);
        }
        break;
      }
      case 11: {
        if (d.subgraphs.empty()) break;
        const Subgraph& subgraph = d.subgraphs[below(d.subgraphs.size())];
        const Scope scope = subgraph.name;
        if (subgraph.inputs.empty()) break;
        const std::string port = subgraph.inputs.front().first;
        if (below(2) == 0) {
          removeSubgraphPort(d, scope, false, port, *catalogue_);
        } else {
          renameSubgraphPort(d, scope, false, port, "p" + std::to_string(below(99)), *catalogue_);
        }
        break;
      }
      case 12:
        if (!d.nodes.empty()) {
          duplicateNodes(d, {}, {someNode()}, QPointF(20, 20), below(2) == 0);
        }
        break;
      case 0:
        addNode(d, {}, ids[below(ids.size())], QPointF(static_cast<double>(below(900)), 20));
        break;
      case 1:
        if (d.nodes.size() > 3) removeNodes(d, {}, {someNode()}, below(2) == 0, *catalogue_);
        break;
      case 2:
        if (!d.nodes.empty())
          setPosition(d, {}, someNode(), QPointF(static_cast<double>(below(500)), 1));
        break;
      case 3:
        if (!d.nodes.empty()) {
          const std::string node = someNode();
          renameNode(d, {}, node, freeName(d, {}, "n" + std::to_string(below(1000))));
        }
        break;
      case 4:
        if (!d.nodes.empty())
          setParameter(d, {}, someNode(), "epsilon", static_cast<double>(below(9)) / 8);
        break;
      case 5:
        if (d.nodes.size() > 1) {
          connectPorts(d, {}, {{someNode(), "rewards"}, someNode(), "rewards"}, *catalogue_);
        }
        break;
      case 6: {
        const auto wires = wiresOf(d, {});
        if (!wires.empty()) disconnectPorts(d, {}, wires[below(wires.size())]);
        break;
      }
      default:
        if (d.nodes.size() > 2) {
          auto list = frames(d, {});
          list.push_back({"frame", {someNode()}, {}});
          setFrames(d, {}, list);
        }
    }
  }

  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestGraphEdits;
REWARDLOOM_TEST(TestGraphEdits)
#include "test_graph_edits.moc"
