// Differences between two graphs, by node, and the panel that shows them.
#include <QElapsedTimer>
#include <QSignalSpy>
#include <QTreeWidget>

#include "editor/document/graph_diff.h"
#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "editor/panels/diff_panel.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestGraphDiff : public QObject {
  Q_OBJECT

  using Kind = Difference::Kind;

 private Q_SLOTS:
  void initTestCase() {
    catalogue_ = testCatalogue();
    grpo_ = Document::load(graphFile("grpo-arithmetic.json").toStdString());
  }

  void equal_graphs_have_none() {
    QVERIFY(differences(grpo_, grpo_).empty());
    QCOMPARE(differenceSummary({}), QString("no differences"));
  }

  void every_kind_of_change_is_told() {
    Document d = grpo_;
    setParameter(d, {}, "adv", "epsilon", 0.5);
    setParameter(d, {}, "update", "learning_rate", 0.1);
    resetParameter(d, {}, "clip", "low");
    const std::string length = addNode(d, {}, "reward.length", {});
    connectPorts(d, {}, {{length, "rewards"}, "adv", "rewards"}, *catalogue_);
    removeNodes(d, {}, {"held_out"}, false, *catalogue_);
    d.settings["iterations"] = 7;
    d.parameters["group_size"] = 4;
    setParameter(d, "exam", "answers", "temperature", 1);
    d.node("clip")->mode = NodeMode::mute;
    const auto list = differences(grpo_, d);
    QVERIFY(has(list, Kind::added, {}, "adv", "parameter epsilon", "", "0.5"));
    QVERIFY(has(list, Kind::changed, {}, "update", "parameter learning_rate", "0.0003", "0.1"));
    QVERIFY(has(list, Kind::removed, {}, "clip", "parameter low", "0.2", ""));
    QVERIFY(has(list, Kind::added, {}, "length", "", "", "reward.length"));
    QVERIFY(has(list, Kind::changed, {}, "adv", "wire rewards", "check.rewards", "length.rewards"));
    QVERIFY(has(list, Kind::removed, {}, "held_out", "", "flow.every", ""));
    QVERIFY(has(list, Kind::changed, {}, "", "setting iterations", "201", "7"));
    QVERIFY(has(list, Kind::changed, {}, "", "graph parameter group_size", "8", "4"));
    QVERIFY(has(list, Kind::changed, "exam", "answers", "parameter temperature", "0", "1"));
    QVERIFY(has(list, Kind::changed, {}, "clip", "mode", "normal", "mute"));
    QCOMPARE(differenceSummary(list),
             QString("nodes: 1 added, 1 removed, 4 changed, the graph itself differs"));
  }

  void a_renamed_node_is_one_difference() {
    Document d = grpo_;
    renameNode(d, {}, "check", "grade");
    const auto list = differences(grpo_, d);
    QCOMPARE(list.size(), 2U);  // the frame's layout names it too
    QVERIFY(has(list, Kind::renamed, {}, "grade", "", "check", "grade"));
  }

  void subgraphs_and_their_ports_are_compared() {
    Document d = grpo_;
    renameSubgraphPort(d, "exam", false, "policy", "actor", *catalogue_);
    const auto list = differences(grpo_, d);
    QVERIFY(has(list, Kind::added, "exam", "", "input actor", "", "Policy"));
    QVERIFY(has(list, Kind::removed, "exam", "", "input policy", "Policy", ""));
    QVERIFY(has(list, Kind::added, {}, "held_out", "wire actor", "", "actor.policy"));
    QCOMPARE(differences(d, d).size(), 0U);
  }

  void the_panel_follows_edits_and_leads_there() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    DiffPanel panel;
    panel.setModel(&model);
    panel.compareWithSaved();
    QVERIFY(panel.shown().empty());
    model.edit("set", [](Document& d) { setParameter(d, "exam", "answers", "temperature", 1); });
    QCOMPARE(panel.shown().size(), 1U);
    QSignalSpy went(&panel, &DiffPanel::goTo);
    auto* tree = panel.findChild<QTreeWidget*>();
    QCOMPARE(tree->topLevelItemCount(), 1);
    QVERIFY(tree->topLevelItem(0)->text(1).contains("changed"));
    Q_EMIT tree->itemClicked(tree->topLevelItem(0)->child(0), 0);
    QCOMPARE(went.count(), 1);
    QCOMPARE(went[0][0].toString(), QString("held_out/answers"));
    QCOMPARE(went[0][1].toString(), QString("temperature"));
    model.history().undo();
    QVERIFY(panel.shown().empty());
    panel.compareWith("/nowhere/x.json");
    QVERIFY(panel.shown().empty());
  }

  void a_thousand_nodes_take_less_than_300_ms() {
    Document big;
    for (int i = 0; i < 1000; ++i) {
      const std::string name = addNode(big, {}, "advantage.group", {});
      setParameter(big, {}, name, "epsilon", i * 1e-6);
    }
    Document other = big;
    for (int i = 0; i < 1000; i += 3) {
      setParameter(other, {}, other.nodes[static_cast<std::size_t>(i)].name, "epsilon", 1);
    }
    QElapsedTimer clock;
    clock.start();
    const auto list = differences(big, other);
    QVERIFY2(clock.elapsed() < 300, qPrintable(QString::number(clock.elapsed())));
    QCOMPARE(list.size(), 334U);
  }

 private:
  static bool has(const std::vector<Difference>& list, Kind kind, const Scope& scope,
                  const std::string& node, const QString& what, const QString& before,
                  const QString& after) {
    return std::any_of(list.begin(), list.end(), [&](const Difference& d) {
      return d.kind == kind && d.scope == scope && d.node == node && d.what == what &&
             d.before == before && d.after == after;
    });
  }
  std::shared_ptr<const Catalogue> catalogue_;
  Document grpo_;
};

}  // namespace rewardloom

using rewardloom::TestGraphDiff;
REWARDLOOM_TEST(TestGraphDiff)
#include "test_graph_diff.moc"
