// A parameter that becomes a swept one: what moves into the branches, that the graph still checks,
// runs headlessly, and comes back with one undo.
#include <QDir>
#include <QProcess>
#include <QTemporaryDir>
#include <set>

#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "editor/document/sweep_edits.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_reader.h"
#include "tests/editor/editor_fixture.h"
#include "tests/editor/hands.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestSweep : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void texts_become_values() {
    const auto parsed = [&](const char* node, const char* parameter, const char* text) {
      const ParameterDeclaration* declared = catalogue_->node(node)->param(parameter);
      const SweepValues values = parseSweepValues(*declared, QString::fromUtf8(text));
      if (!values.fault.isEmpty() && values.values.empty()) return "fault: " + values.fault;
      return QString::fromStdString(values.values.dump());
    };
    const char* adv = "advantage.group";
    QCOMPARE(parsed(adv, "epsilon", "0.1, 0.2,0.5"), QString("[0.1,0.2,0.5]"));
    QCOMPARE(parsed(adv, "epsilon", "0.1:0.3:3"), QString("[0.1,0.2,0.3]"));
    QCOMPARE(parsed(adv, "epsilon", "1e-4 : 1e-2 : 3 log"), QString("[0.0001,0.001,0.01]"));
    QCOMPARE(parsed("data.arithmetic", "digits", "1:3:3"), QString("[1,2,3]"));
    QCOMPARE(parsed(adv, "scale", "none, group_std"), QString("[\"none\",\"group_std\"]"));
    for (const char* wrong :
         {"", "0.1", "0.1, 0.1", "-1, 2", "a, b", "0.1:0.2", "0.1:x:3", "0.1:0.2:1", "0:1:3 log"}) {
      QVERIFY2(parsed(adv, "epsilon", wrong).startsWith("fault"), wrong);
    }
    QVERIFY(parsed("data.arithmetic", "digits", "1:2:5").startsWith("fault"));  // twice the same
    QVERIFY(parsed("data.arithmetic", "digits", "1.5, 2").startsWith("fault"));
    QVERIFY(parsed(adv, "scale", "none, no_such").startsWith("fault"));
  }

  void a_branch_has_all_that_depends_on_the_parameter() {
    Document d = grpo();
    const std::string sweep =
        sweepParameter(d, {}, "adv", "epsilon", 1e-6, Json::array({0.1, 0.5}), *catalogue_);
    QCOMPARE(names(d.nodes), (std::set<std::string>{"tasks", "clip", sweep}));
    const GraphNode& node = *d.node(sweep);
    QCOMPARE(node.type, std::string("flow.sweep"));
    QCOMPARE(node.params["vary"], Json("epsilon"));
    QCOMPARE(node.params["values"], Json::array({0.1, 0.5}));
    QCOMPARE(node.params["with"]["group_size"], Json("$group_size"));
    QVERIFY(!d.parameters.contains("epsilon"));
    const Subgraph& body = *d.subgraph(node.params["body"].get<std::string>());
    // The policy too: each branch trains its own. The sums, and a loss with no state, are shared.
    QVERIFY(names(body.nodes).contains("actor"));
    QVERIFY(!names(body.nodes).contains("tasks"));
    QCOMPARE(body.parameters["epsilon"], Json(1e-6));
    std::set<std::string> outputs;
    for (const auto& [name, from] : body.outputs) outputs.insert(name);
    QVERIFY(outputs.contains("held_out"));
    QVERIFY(outputs.contains("reward"));
    verifyClean(d, "epsilon");
  }

  void a_graph_parameter_takes_all_its_readers_along() {
    Document d = grpo();
    const std::string sweep = sweepParameter(d, {}, "rollout", "group_size", "$group_size",
                                             Json::array({4, 8}), *catalogue_);
    QCOMPARE(d.node(sweep)->params["vary"], Json("group_size"));
    QVERIFY(!d.parameters.contains("group_size"));
    verifyClean(d, "group_size");
    Document same = grpo();
    sweepGraphParameter(same, "group_size", Json::array({4, 8}), *catalogue_);
    QVERIFY(same.same_content(d));
    QVERIFY_EXCEPTION_THROWN(sweepGraphParameter(same, "no_such", Json::array({1, 2}), *catalogue_),
                             Failure);
  }

  void a_parameter_inside_of_bodies_is_led_out() {
    Document d = grpo();
    const std::string sweep =
        sweepParameter(d, "exam", "answers", "max_tokens", 5, Json::array({3, 5}), *catalogue_);
    QCOMPARE(d.subgraph("exam")->parameters["max_tokens"], Json(5));
    const std::string body = d.node(sweep)->params["body"];
    const GraphNode* exam = findNode(std::as_const(d), body, "held_out");
    QVERIFY(exam);
    QCOMPARE(exam->params["with"]["max_tokens"], Json("$max_tokens"));
    verifyClean(d, "max_tokens in exam");
    // Through a schedule and a sweep, to the graph's own parameter.
    Document par = Document::load(graphFile("36-par.json").toStdString());
    const std::string kl = sweepParameter(par, "loop", "kl", "coefficient", "$kl",
                                          Json::array({0.0, 0.02}), *catalogue_);
    QCOMPARE(par.node(kl)->params["vary"], Json("kl"));
    verifyClean(par, "kl of 36");
    Document swept = Document::load(graphFile("36-par.json").toStdString());
    QVERIFY_EXCEPTION_THROWN(sweepParameter(swept, "loop", "shaped", "mode", "$mode",
                                            Json::array({"raw", "par"}), *catalogue_),
                             Failure);
  }

  void every_parameter_of_the_shipped_graphs_can_be_swept() {
    int tried = 0;
    for (const QString& file : QDir(REWARDLOOM_SOURCE_DIR "/graphs").entryList({"*.json"})) {
      const Document original = Document::load(graphFile(file.toUtf8().constData()).toStdString());
      const auto before = faults(original);
      std::vector<Scope> scopes{{}};
      for (const Subgraph& subgraph : original.subgraphs) scopes.push_back(subgraph.name);
      for (const Scope& scope : scopes) {
        for (const GraphNode& node : nodesOf(original, scope)) {
          const NodeDeclaration* type = catalogue_->node(node.type);
          for (const auto& [name, value] : node.params.items()) {
            const ParameterDeclaration* declared = type ? type->param(name) : nullptr;
            if (!declared || declared->kind != ParameterKind::number) continue;
            Document d = original;
            try {
              sweepParameter(d, scope, node.name, name, value, twoValues(original, scope, value),
                             *catalogue_);
            } catch (const Failure& failure) {
              QCOMPARE(failure.problem().code, std::string("swept-already"));
              continue;
            }
            ++tried;
            const std::string fresh = newFault(d, before);
            QVERIFY2(fresh.empty(), qPrintable(QString("%1 %2/%3.%4: %5")
                                                   .arg(file)
                                                   .arg(QString::fromStdString(scope))
                                                   .arg(QString::fromStdString(node.name))
                                                   .arg(QString::fromStdString(name))
                                                   .arg(QString::fromStdString(fresh))));
          }
        }
      }
    }
    QVERIFY2(tried > 50, qPrintable(QString::number(tried)));
  }

  void placement_and_places_go_along() {
    Document d = grpo();
    d.placement["actor"] = Json::object();
    d.placement["actor"]["device"] = "cpu";
    double x = 0;
    for (const GraphNode& node : grpo().nodes) setPosition(d, {}, node.name, {x += 240, 40});
    const Wire wire{{"rollout", "completions"}, "update", "completions"};
    setWireDots(d, {}, {{wire, {{500, 300}}}});
    const std::string sweep =
        sweepParameter(d, {}, "adv", "epsilon", 1e-6, Json::array({0.1, 0.5}), *catalogue_);
    QCOMPARE(d.placement[sweep + "/actor"]["device"], Json("cpu"));
    QVERIFY(!d.placement.contains("actor"));
    QVERIFY(position(d, {}, sweep));
    const std::string body = d.node(sweep)->params["body"];
    QVERIFY(position(d, body, "adv"));
    QVERIFY(wireDots(d, {}).empty());
    QCOMPARE(wireDots(d, body).size(), 1U);
    verifyClean(d, "with placement");
  }

  void the_states_of_all_branches_show_on_the_node_inside() {
    GraphModel model(catalogue_);
    Document d = grpo();
    sweepParameter(d, {}, "adv", "epsilon", 1e-6, Json::array({0.1, 0.5}), *catalogue_);
    const std::string body = d.node("sweep")->params["body"];
    model.adopt(d, {});
    GraphScene scene(model, Theme::darkTheme());
    const auto activity = [](NodeState state, qint64 count, const char* error = "") {
      NodeActivity made;
      made.state = state;
      made.count = count;
      made.seconds = 0.5;
      made.error = QString::fromLatin1(error);
      return made;
    };
    scene.setActivities({{"sweep", activity(NodeState::running, 1)},
                         {"sweep[epsilon=0.1]/adv", activity(NodeState::done, 2)},
                         {"sweep[epsilon=0.5]/adv", activity(NodeState::running, 1)},
                         {"sweep[epsilon=0.5]/check", activity(NodeState::failed, 1, "no")},
                         {"sweep[epsilon=0.1]/check", activity(NodeState::done, 1)},
                         {"elsewhere[epsilon=0.1]/update", activity(NodeState::done, 1)}});
    QVERIFY(scene.nodeItem("sweep")->view().activity.state == NodeState::running);
    scene.setScope(body);
    const NodeActivity& both = scene.nodeItem("adv")->view().activity;
    QVERIFY(both.state == NodeState::running);
    QCOMPARE(both.count, 3);
    QCOMPARE(both.seconds, 1.0);
    QVERIFY(scene.nodeItem("check")->view().activity.state == NodeState::failed);
    QVERIFY(scene.nodeItem("check")->toolTip().contains("no"));
    QVERIFY(scene.nodeItem("update")->view().activity.state == NodeState::idle);
  }

  void by_hand_in_the_panel_and_run_headlessly() {
    QTemporaryDir folder;
    QVERIFY(QDir(folder.path()).mkdir("graphs"));
    QVERIFY(QFile::link(REWARDLOOM_SOURCE_DIR "/resources", folder.path() + "/resources"));
    Document small = grpo();
    small.settings["iterations"] = 2;
    small.settings["threads"] = 1;
    setParameter(small, {}, "tasks", "batch", 4);
    setParameter(small, {}, "update", "mini_batch", 16);
    setParameter(small, "exam", "tasks", "batch", 8);
    const QString file = folder.path() + "/graphs/g.json";
    small.save(file.toStdString());
    MainWindow window(catalogue_, {QStringLiteral(REWARDLOOM_PROGRAM), folder.path() + "/graphs",
                                   folder.path() + "/runs", folder.path() + "/journals"});
    window.setUnattended(true);
    Hands hands(window);
    QVERIFY(window.openPath(file));
    GraphTab& tab = *window.currentTab();
    const std::string before = tab.model().document().text();
    tab.scene().selectNodes({"adv"});
    QTRY_VERIFY(named(window, "More about epsilon"));
    // The dialog opens from within the menu's click: it is answered by a watch of its own.
    hands.later([&] {
      QWidget* dialog = QApplication::activeModalWidget();
      QWidget* field = dialog ? named(*dialog, "Values") : nullptr;
      if (!field) return false;
      hands.fill(field, "0.1:0.5:2");
      return true;
    });
    hands.answerMenu("Sweep");
    hands.click(named(window, "More about epsilon"));
    QTRY_COMPARE_WITH_TIMEOUT(tab.model().history().undoText(), QString("Sweep epsilon"), 10000);
    QCOMPARE(tab.model().history().count(), 1);
    QCOMPARE(tab.scene().selectedNodes(), std::vector<std::string>{"sweep"});
    tab.model().checkNow();
    QVERIFY(tab.model().problems().ok());
    QVERIFY(window.save(tab, false));
    QProcess process;
    process.start(QStringLiteral(REWARDLOOM_PROGRAM),
                  {"run", file, "--quiet", "--out", folder.path() + "/out"});
    QVERIFY(process.waitForFinished(120000));
    QVERIFY2(process.exitCode() == 0, process.readAllStandardError().constData());
    const QDir out(folder.path() + "/out");
    RunReader reader(
        out.filePath(out.entryList(QDir::Dirs | QDir::NoDotAndDotDot).at(0)).toStdString());
    const auto metrics = reader.metric_names();
    for (const char* name :
         {"sweep[epsilon=0.1]/reward/accuracy", "sweep[epsilon=0.5]/reward/accuracy"}) {
      QVERIFY2(std::find(metrics.begin(), metrics.end(), name) != metrics.end(), name);
    }
    tab.model().history().undo();
    QCOMPARE(tab.model().document().text(), before);
  }

 private:
  static Document grpo() { return Document::load(graphFile("grpo-arithmetic.json").toStdString()); }
  static std::set<std::string> names(const std::vector<GraphNode>& nodes) {
    std::set<std::string> all;
    for (const GraphNode& node : nodes) all.insert(node.name);
    return all;
  }
  /// The value that stands for "$name" and one more beside it.
  static Json twoValues(const Document& document, const Scope& scope, const Json& value) {
    Json known = value;
    if (value.is_string()) {
      const Json& all = scope.empty() ? document.parameters : document.subgraph(scope)->parameters;
      known = all.value(value.get<std::string>().substr(1), Json(0.5));
    }
    const double number = known.is_number() ? known.get<double>() : 0.5;
    return Json::array({number, number * 0.99 + 1e-9});
  }
  std::set<std::string> faults(const Document& document) const {
    std::set<std::string> codes;
    for (const Problem& problem : check(document, *catalogue_).problems) {
      if (problem.severity != Severity::note) codes.insert(problem.code);
    }
    return codes;
  }
  std::string newFault(const Document& document, const std::set<std::string>& known) const {
    const Document read = Document::parse(document.canonical_text(), document.file);
    for (const Problem& problem : check(read, *catalogue_).problems) {
      if (problem.severity == Severity::note || known.contains(problem.code)) continue;
      return format(problem);
    }
    return {};
  }
  void verifyClean(const Document& document, const char* what) const {
    const std::string fault = newFault(document, {});
    QVERIFY2(fault.empty(), (std::string(what) + ": " + fault).c_str());
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestSweep;
REWARDLOOM_TEST(TestSweep)
#include "test_sweep.moc"
