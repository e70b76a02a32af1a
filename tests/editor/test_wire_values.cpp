// Which recorded value a wire shows: also where it comes from a subgraph's own input, or from a
// node that has an inside.
#include <QTemporaryDir>

#include "editor/rewards/wire_values.h"
#include "engine/io/run_store.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestWireValues : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void what_feeds_a_body_is_on_the_wires_of_its_inputs() {
    const Document par = Document::load(graphFile("36-par.json").toStdString());
    const auto shown =
        shownIn(par, "loop", {"stage/race/levels", "stage/race/shape[mode=raw]/gold"});
    QCOMPARE(keyOf(shown, "inputs", "levels"), std::string("stage/race/levels"));
    QCOMPARE(keyOf(shown, "gold", "rewards"), std::string("stage/race/shape[mode=raw]/gold"));
    QCOMPARE(keyOf(shown, "inputs", "answers"), std::string());  // nothing of it is recorded
  }

  void of_several_that_run_a_body_the_one_looked_at_counts() {
    Document d = Document::load(graphFile("36-par.json").toStdString());
    // The second sweep gets its levels from elsewhere.
    GraphNode other = *findNode(std::as_const(d), "race", "levels");
    other.name = "other";
    d.subgraph("race")->nodes.push_back(other);
    for (InputEdges& input : findNode(d, "race", "one_reference")->inputs) {
      if (input.port == "levels") input.from = {{"other", "rewards"}};
    }
    const std::vector<std::string> nodes{"stage/race/levels", "stage/race/other"};
    QCOMPARE(keyOf(shownIn(d, "loop", nodes), "inputs", "levels"), nodes[0]);
    QCOMPARE(keyOf(shownIn(d, "loop", nodes, "stage/race/other"), "inputs", "levels"), nodes[1]);
  }

  void through_subgraphs_in_subgraphs_both_ways() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const std::string outer = makeSubgraph(d, {}, {"check", "adv"}, "outer", *catalogue_);
    const std::string inner = makeSubgraph(d, "outer", {"adv"}, "inner", *catalogue_);
    const std::vector<std::string> nodes{outer + "/check", outer + "/" + inner + "/adv"};
    QCOMPARE(keyOf(shownIn(d, {}, nodes), outer, "advantages"), nodes[1]);
    QCOMPARE(keyOf(shownIn(d, {}, nodes), outer, "rewards"), nodes[0]);
    QCOMPARE(keyOf(shownIn(d, "outer", nodes), inner, "advantages"), nodes[1]);
    QCOMPARE(keyOf(shownIn(d, "inner", nodes), "inputs", "rewards"), nodes[0]);
  }

  void a_subgraph_that_runs_itself_is_no_trap() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    makeSubgraph(d, {}, {"check"}, "outer", *catalogue_);
    GraphNode again;
    again.name = "again";
    again.type = "subgraph.outer";
    again.inputs.push_back({"completions", {{"inputs", "completions"}}, false});
    d.subgraph("outer")->nodes.push_back(again);
    d.subgraph("outer")->outputs.emplace_back("more", Reference{"again", "more"});
    QCOMPARE(keyOf(shownIn(d, "outer", {"check"}), "inputs", "completions"), std::string());
  }

 private:
  using Shown = std::map<std::pair<std::string, std::string>, ProbeKey>;

  static std::string keyOf(const Shown& shown, const std::string& node, const std::string& port) {
    const auto it = shown.find({node, port});
    return it == shown.end() ? std::string() : it->second.node;
  }

  /// What a run that recorded these nodes would show.
  static Shown shownIn(const Document& document, const Scope& scope,
                       const std::vector<std::string>& nodes, const std::string& preferred = {}) {
    const QTemporaryDir folder;
    {
      RunStoreOptions options;
      options.fsync = Fsync::off;
      RunStore store(std::filesystem::path(folder.path().toStdString()) / "run.db", options);
      for (const std::string& node : nodes) {
        const std::string port = node.ends_with("adv") ? "advantages" : "rewards";
        HistogramRow row{0, node, port, "total", {}};
        row.distribution = {4, 0, 0, 0.5, 0.1, 0.0, 1.0, {}, 0.0, 1.0, {2, 2}};
        store.add(row);
      }
      store.add(MetricRow{0, "reward", 0.5});
      store.commit();
    }
    RunData data;
    data.open(folder.path());
    return recordedPorts(data, document, scope, preferred);
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestWireValues;
REWARDLOOM_TEST(TestWireValues)
#include "test_wire_values.moc"
