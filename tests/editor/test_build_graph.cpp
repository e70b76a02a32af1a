// graphs/grpo-arithmetic.json, built from an empty canvas by mouse and keyboard alone, run, stopped
// and opened again.
#include <QDir>
#include <QProcess>
#include <QPushButton>
#include <QTemporaryDir>

#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/graph/hash.h"
#include "engine/io/run_reader.h"
#include "tests/editor/editor_fixture.h"
#include "tests/editor/hands.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestBuildGraph : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void grpo_on_arithmetic_is_built_run_stopped_and_reopened() {
    QTemporaryDir folder;
    QVERIFY(QDir(folder.path()).mkdir("graphs"));
    // The graph names its model relative to its file.
    QVERIFY(QFile::link(REWARDLOOM_SOURCE_DIR "/resources", folder.path() + "/resources"));
    MainWindow window(catalogue_, paths(folder));
    window.resize(1600, 1000);
    window_ = &window;
    Hands hands(window);
    hands_ = &hands;
    const QString file = folder.path() + "/graphs/grpo.json";

    for (auto* button : window.findChildren<QPushButton*>()) {
      if (button->text() == "New graph") hands.click(button);
    }
    shot("welcome");
    QVERIFY(window.currentTab());
    hands.answerFileDialog(file);
    hands.key(Qt::Key_S, Qt::ControlModifier);
    QVERIFY(QFile::exists(file));

    const Document wanted = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    hands.fill(field("Graph name"), QString::fromStdString(wanted.name), Qt::Key_Tab);
    hands.fill(field("About"), QString::fromStdString(wanted.about), Qt::Key_Tab);
    hands.fill(field("iterations"), "201");
    hands.fill(field("seed"), "0");
    hands.fill(field("checkpoint_every"), "25");
    hands.key(Qt::Key_Escape);

    add("data.arithmetic", "tasks");
    set("digits", "2");
    set("batch", "64");
    add("text.policy", "actor");
    set("model", "../resources/models/arithmetic");
    add("generate", "rollout");
    set("group_size", "8");
    hands.answerMenu("Make it a graph parameter");
    hands.click(named(window, "More about group_size"));
    QTRY_COMPARE(QString::fromStdString(node("rollout").params["group_size"].dump()),
                 QString("\"$group_size\""));
    set("max_tokens", "5");
    wire({"actor", "policy", true}, {"rollout", "policy", false});
    wire({"tasks", "prompts", true}, {"rollout", "prompts", false});

    // Out of a port into empty space: a search of what takes it, wired at once.
    select({"rollout"});
    pullInto("exact match", {"rollout", "completions", true});
    rename("check");
    QCOMPARE(node("check").type, std::string("reward.exact_match"));
    QCOMPARE(node("check").input("completions")->from[0].text(),
             std::string("rollout.completions"));
    pullInto("group", {"check", "rewards", true});
    rename("adv");
    QCOMPARE(node("adv").type, std::string("advantage.group"));
    add("policy_clip", "clip");
    set("low", "0.2");
    set("high", "0.2");
    add("optimize.policy", "update");
    wire({"actor", "policy", true}, {"update", "policy", false});
    wire({"rollout", "completions", true}, {"update", "completions", false});
    wire({"adv", "advantages", true}, {"update", "advantages", false});
    wire({"clip", "term", true}, {"update", "terms", false});
    select({"update"});
    set("learning_rate", "0.0003");
    set("mini_batch", "256");
    add("eval.accuracy", "reward");
    wire({"check", "rewards", true}, {"reward", "rewards", false});

    add("flow.every", "held_out");
    set("body", "exam");
    set("period", "10");
    hands.key(Qt::Key_Escape);
    fit();
    shot("before-body");
    const QPoint title = point(tab().scene().nodeItem("held_out")->pos() + QPointF(60, 18));
    hands.doubleClick(title);
    shot("after-body");
    QCOMPARE(tab().scene().scope(), Scope("exam"));
    hands.fill(field("About"), QString::fromStdString(wanted.subgraph("exam")->about), Qt::Key_Tab);
    hands.key(Qt::Key_Escape);
    add("data.arithmetic", "tasks");
    set("digits", "2");
    set("batch", "512");
    choose("split", "held_out");
    add("generate", "answers");
    set("max_tokens", "5");
    set("temperature", "0");
    wire({"inputs", "+", true}, {"answers", "policy", false});
    wire({"tasks", "prompts", true}, {"answers", "prompts", false});
    add("eval.accuracy", "grade");
    wire({"answers", "completions", true}, {"grade", "completions", false});
    wire({"grade", "metrics", true}, {"outputs", "+", false});
    hands.key(Qt::Key_U);
    QCOMPARE(tab().scene().scope(), Scope());
    wire({"actor", "policy", true}, {"held_out", "policy", false});

    frame({"tasks", "actor", "rollout"}, "Rollout");
    frame({"check", "adv", "reward"}, "Reward");
    frame({"clip", "update"}, "Training");
    hands.key(Qt::Key_L, Qt::ControlModifier | Qt::ShiftModifier);
    QTRY_VERIFY(position(document(), {}, "held_out") &&
                tab().model().history().undoText() == "Lay out");
    shot("built");
    hands.key(Qt::Key_S, Qt::ControlModifier);
    QVERIFY(!tab().model().isModified());

    // The file says what the shipped one says, in the layout in which any program writes it.
    const std::string bytes = read_file(file.toStdString());
    Document saved = Document::load(file.toStdString());
    QCOMPARE(saved.canonical_text(), bytes);
    QCOMPARE(graph_hash(saved), graph_hash(wanted));
    QCOMPARE(frames(saved, {}), frames(wanted, {}));
    Document shipped = wanted;
    shipped.layout = saved.layout;
    QCOMPARE(QString::fromStdString(shipped.canonical_text()), QString::fromStdString(bytes));
    QProcess check;
    check.start(QStringLiteral(REWARDLOOM_PROGRAM), {"check", file});
    QVERIFY(check.waitForFinished(60000));
    QCOMPARE(check.exitCode(), 0);
    QCOMPARE(read_file(file.toStdString()), bytes);

    hands.key(Qt::Key_Return, Qt::ControlModifier);
    QTRY_VERIFY_WITH_TIMEOUT(tab().run().iteration() >= 3, 120000);
    hands.key(Qt::Key_Return, Qt::ControlModifier | Qt::AltModifier);
    QTRY_VERIFY_WITH_TIMEOUT(!tab().run().isActive(), 60000);
    QCOMPARE(tab().run().state(), RunState::interrupted);
    const QString ran = tab().run().folder();

    QProcess headless;
    headless.start(QStringLiteral(REWARDLOOM_PROGRAM), {"run", file, "--iterations", "3", "--quiet",
                                                        "--out", folder.path() + "/other"});
    QVERIFY(headless.waitForFinished(120000));
    QCOMPARE(headless.exitCode(), 0);
    const QDir others(folder.path() + "/other");
    const QString other =
        others.filePath(others.entryList(QDir::Dirs | QDir::NoDotAndDotDot).at(0));
    const auto mine = metrics(ran), theirs = metrics(other);
    QVERIFY(mine.size() > 10);
    QCOMPARE(mine, theirs);

    hands.key(Qt::Key_W, Qt::ControlModifier);
    QVERIFY(!window.currentTab());
    hands.answerFileDialog(file);
    hands.key(Qt::Key_O, Qt::ControlModifier);
    QTRY_VERIFY(window.currentTab());
    QCOMPARE(tab().model().document().text(), bytes);
    QVERIFY(window.openPath(ran));
    QVERIFY(tab().data().metrics().contains("reward/accuracy"));
  }

 private:
  /// A picture for whoever looks for a fault by hand.
  void shot(const QString& name) const {
    if (!qEnvironmentVariableIsSet("REWARDLOOM_SHOTS")) return;
    QTest::qWait(200);
    window_->grab().save(qEnvironmentVariable("REWARDLOOM_SHOTS") + "/" + name + ".png");
  }
  /// Nothing that follows would make sense.
  [[noreturn]] void stop(const QString& why) const {
    shot("failure");
    qFatal("%s", qPrintable(why));
  }
  GraphTab& tab() const { return *window_->currentTab(); }
  const Document& document() const { return tab().model().document(); }
  const GraphNode& node(const char* name) const {
    const GraphNode* found = findNode(document(), tab().scene().scope(), name);
    if (!found) stop(QString("there is no node ") + name);
    return *found;
  }
  QWidget* field(const QString& name) const {
    QWidget* found = named(*window_, name);
    if (!found) stop("there is no field " + name);
    return found;
  }
  QPoint point(QPointF scene) const {
    const CanvasView& canvas = tab().canvas();
    return canvas.viewport()->mapToGlobal(canvas.mapFromScene(scene));
  }
  QPoint port(const PortEnd& end) const {
    const NodeItem* item = tab().scene().nodeItem(end.node);
    if (!item) stop("not shown: " + QString::fromStdString(end.node));
    return point(item->portScenePoint(end));
  }
  void rename(const QString& name) {
    hands_->key(Qt::Key_F2);
    hands_->type(name);
    hands_->key(Qt::Key_Return);
    hands_->key(Qt::Key_Escape);
  }
  void add(const QString& words, const QString& name) {
    hands_->key(Qt::Key_Escape);
    hands_->key(Qt::Key_Tab);
    hands_->type(words);
    hands_->key(Qt::Key_Return);
    rename(name);
  }
  void set(const QString& parameter, const QString& value) {
    hands_->fill(field(parameter), value);
    hands_->key(Qt::Key_Escape);
  }
  void choose(const QString& parameter, const QString& value) {
    hands_->click(field(parameter));
    hands_->type(value.left(3));
    hands_->key(Qt::Key_Return);
    hands_->key(Qt::Key_Escape);
  }
  void fit() { hands_->key(Qt::Key_Home); }
  void wire(const PortEnd& from, const PortEnd& to) {
    const std::size_t before = wiresOf(document(), tab().scene().scope()).size();
    fit();
    hands_->drag(port(from), port(to));
    if (wiresOf(document(), tab().scene().scope()).size() != before + 1) {
      stop(QString::fromStdString("no wire from " + from.node + "." + from.port + " to " + to.node +
                                  "." + to.port));
    }
  }
  void pullInto(const QString& words, const PortEnd& from) {
    fit();
    const QPointF place = tab().canvas().freePlace() + QPointF(0, NodeView::kTitle);
    hands_->drag(port(from), point(place));
    hands_->type(words);
    hands_->key(Qt::Key_Return);
  }
  void select(const std::vector<std::string>& names) {
    fit();
    Qt::KeyboardModifiers modifiers = Qt::NoModifier;
    for (const std::string& name : names) {
      hands_->click(point(tab().scene().nodeItem(name)->pos() + QPointF(60, 18)), modifiers);
      modifiers = Qt::ShiftModifier;
    }
    if (tab().scene().selectedNodes().size() != names.size()) {
      stop("not selected: " + QString::fromStdString(names[0]));
    }
  }
  void frame(const std::vector<std::string>& names, const QString& title) {
    select(names);
    hands_->key(Qt::Key_C);
    hands_->key(Qt::Key_A, Qt::ControlModifier);
    hands_->type(title);
    hands_->key(Qt::Key_Return);
  }
  static std::map<std::string, double> metrics(const QString& run) {
    std::map<std::string, double> values;
    RunReader reader(run.toStdString());
    for (const MetricRow& row : reader.metrics({0, 2})) {
      values[std::to_string(row.iteration) + " " + row.name] = row.value;
    }
    return values;
  }
  EditorPaths paths(const QTemporaryDir& folder) const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder.path() + "/runs", folder.path() + "/journals"};
  }

  std::shared_ptr<const Catalogue> catalogue_;
  MainWindow* window_ = nullptr;
  Hands* hands_ = nullptr;
};

}  // namespace rewardloom

using rewardloom::TestBuildGraph;
REWARDLOOM_TEST(TestBuildGraph)
#include "test_build_graph.moc"
