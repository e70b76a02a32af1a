// Runs held by breakpoints and steps, queued, gone on with, watched from outside. The runs are real
// processes.
#include <sys/stat.h>

#include <QAction>
#include <QDir>
#include <QProcess>
#include <QSignalSpy>
#include <QStatusBar>
#include <QTemporaryDir>

#include "editor/panels/problems_panel.h"
#include "editor/run/run_queue.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_reader.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestRunControl : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() {
    folder_ = std::make_unique<QTemporaryDir>();
    QVERIFY(QDir(folder_->path()).mkdir("graphs"));
    QVERIFY(QFile::link(REWARDLOOM_SOURCE_DIR "/resources", folder_->path() + "/resources"));
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    d.settings["iterations"] = kIterations;
    d.settings["checkpoint_every"] = 1;
    d.settings["threads"] = 1;
    setParameter(d, {}, "tasks", "batch", 4);
    setParameter(d, {}, "update", "mini_batch", 16);
    setParameter(d, "exam", "tasks", "batch", 8);
    file_ = folder_->path() + "/graphs/g.json";
    d.save(file_.toStdString());
    window_ = std::make_unique<MainWindow>(catalogue_, paths());
    window_->setUnattended(true);
    QVERIFY(window_->openPath(file_));
  }
  void cleanup() {
    window_.reset();
    folder_.reset();
  }

  void a_condition_on_the_iteration_holds_the_process() {
    tab().setBreakpoint({}, "iteration >= 2");
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::paused, 20000);
    QCOMPARE(run().iteration(), 2);
    QTest::qWait(400);
    QCOMPARE(run().iteration(), 2);
    QVERIFY(run().isActive());
    window_->startRun();  // goes on, and is held by the same condition again
    QTRY_COMPARE_WITH_TIMEOUT(run().iteration(), 3, 20000);
    QTRY_COMPARE(run().state(), RunState::paused);
    tab().removeBreakpoint({});
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::done, 20000);
    QTRY_VERIFY(!run().isActive());
    QCOMPARE(run().iteration(), kIterations);
  }

  void a_condition_on_a_metric_holds_the_process() {
    tab().setBreakpoint({}, "reward/accuracy >= 0");
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::paused, 20000);
    QCOMPARE(run().iteration(), 1);
    window_->stopRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::interrupted, 20000);
    QTRY_VERIFY(!run().isActive());
  }

  void a_node_is_held_stepped_and_passed() {
    tab().setBreakpoint("adv", "iteration >= 1");
    QVERIFY(tab().scene().nodeItem("adv")->view().conditional);
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().heldAt(), std::string("adv"), 20000);
    QCOMPARE(run().state(), RunState::paused);
    QCOMPARE(run().iteration(), 1);
    QVERIFY(tab().scene().nodeItem("adv")->view().activity.held);
    window_->stepRun("step_node");
    QTRY_VERIFY(!run().heldAt().empty() && run().heldAt() != "adv");
    QVERIFY(!tab().scene().nodeItem("adv")->view().activity.held);
    QCOMPARE(run().iteration(), 1);
    tab().removeBreakpoint("adv");
    window_->stepRun("step");  // the rest of this iteration
    QTRY_VERIFY_WITH_TIMEOUT(run().heldAt().empty() && run().iteration() == 2, 20000);
    QTRY_COMPARE(run().state(), RunState::paused);
    window_->stepRun("step");
    QTRY_COMPARE_WITH_TIMEOUT(run().iteration(), 3, 20000);
    QTRY_COMPARE(run().state(), RunState::paused);
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::done, 20000);
    QTRY_VERIFY(!run().isActive());
    QCOMPARE(metrics(run().folder()), metrics(headless("plain")));
  }

  void a_run_starts_with_a_step_or_goes_to_a_node() {
    window_->stepRun("step_node");
    QTRY_VERIFY_WITH_TIMEOUT(!run().heldAt().empty(), 20000);
    QCOMPARE(run().iteration(), 0);
    const std::string first = run().heldAt();
    window_->stepRun("step_node");
    QTRY_VERIFY(!run().heldAt().empty() && run().heldAt() != first);
    tab().scene().selectNodes({"update"});
    window_->runToSelected();
    QTRY_COMPARE_WITH_TIMEOUT(run().heldAt(), std::string("update"), 20000);
    QCOMPARE(run().iteration(), 0);
    window_->stopRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::interrupted, 20000);
    QTRY_VERIFY(!run().isActive());
    window_->runToSelected();
    QTRY_COMPARE_WITH_TIMEOUT(run().heldAt(), std::string("update"), 20000);
    window_->startRun();  // the place to run to was meant once
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::done, 20000);
    QTRY_VERIFY(!run().isActive());
    window_->stepRun("step");
    QTRY_VERIFY_WITH_TIMEOUT(run().state() == RunState::paused && run().iteration() == 1, 20000);
  }

  void a_node_inside_a_body_can_be_held() {
    tab().scene().setScope("exam");
    tab().toggleBreakpoint("grade");
    QVERIFY(tab().scene().nodeItem("grade")->view().breakpoint);
    QCOMPARE(tab().breakpointPlaces(), QStringList{"held_out/grade"});
    tab().scene().setScope({});
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().heldAt(), std::string("held_out/grade"), 20000);
    QCOMPARE(tab().scene().scope(), Scope("exam"));
    QVERIFY(tab().scene().nodeItem("grade")->view().activity.held);
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::done, 20000);
    QTRY_VERIFY(!run().isActive());
  }

  void conditions_are_checked_before_they_are_sent() {
    QVERIFY(faultOfCondition("reward/accuracy > 0.9").isEmpty());
    QVERIFY(faultOfCondition("iteration>=20").isEmpty());
    for (const char* wrong : {"", "reward", "> 1", "a > b", "a > 1 > 2"}) {
      QVERIFY2(!faultOfCondition(wrong).isEmpty(), wrong);
    }
  }

  void queued_runs_go_one_after_the_other() {
    GraphTab& tab = this->tab();
    QSignalSpy ended(&tab.run(), &RunProcess::finished);
    window_->queue().setHeld(true);
    for (const int iterations : {1, 2, 3}) {
      tab.model().edit("set", [&](Document& d) { d.settings["iterations"] = iterations; });
      window_->queueRun();
    }
    QCOMPARE(window_->queue().waiting().size(), 3U);
    const auto id = [&](std::size_t i) { return window_->queue().waiting().at(i).id; };
    window_->queue().move(id(2), -2);
    window_->queue().move(id(0), -1);  // is first already
    window_->queue().remove(id(1));    // the one of one iteration
    QCOMPARE(window_->queue().waiting().size(), 2U);
    QStringList seen;
    connect(&tab.run(), &RunProcess::started, &tab,
            [&] { seen << QString::number(tab.run().iterations()); });
    window_->queue().setHeld(false);
    QTRY_COMPARE_WITH_TIMEOUT(ended.count(), 2, 120000);
    QCOMPARE(seen, (QStringList{"3", "2"}));
    QTRY_COMPARE(QDir(folder_->path() + "/graphs").entryList(QDir::Files | QDir::Hidden),
                 QStringList{"g.json"});
    QVERIFY(window_->queue().waiting().empty());
  }

  void a_stopped_run_goes_on_to_the_same_end() {
    tab().setBreakpoint({}, "iteration >= 2");
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::paused, 20000);
    window_->stopRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::interrupted, 20000);
    QTRY_VERIFY(!run().isActive());
    tab().removeBreakpoint({});
    const QString folder = run().folder();
    window_->resumeRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::done, 20000);
    QTRY_VERIFY(!run().isActive());
    QCOMPARE(run().folder(), folder);
    QCOMPARE(metrics(folder), metrics(headless("whole")));
    window_->resumeRun();  // a finished one: twice as far
    QTRY_VERIFY_WITH_TIMEOUT(
        run().state() == RunState::done && run().iteration() == 2 * kIterations, 20000);
  }

  void a_run_that_another_process_does_is_watched() {
    QProcess other;
    other.start(QStringLiteral(REWARDLOOM_PROGRAM),
                {"run", "--json", "--break", "if iteration >= 2", file_, "--out",
                 folder_->path() + "/other"});
    const QDir others(folder_->path() + "/other");
    QTRY_COMPARE_WITH_TIMEOUT(others.entryList(QDir::Dirs | QDir::NoDotAndDotDot).size(), 1, 20000);
    const QString folder =
        others.filePath(others.entryList(QDir::Dirs | QDir::NoDotAndDotDot).at(0));
    QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(folder + "/run.db"), 20000);
    QTRY_VERIFY_WITH_TIMEOUT(window_->openPath(folder), 20000);
    GraphTab& tab = *window_->currentTab();
    QVERIFY(tab.runWatch().isLive());
    QTRY_VERIFY_WITH_TIMEOUT(tab.data().metrics().contains("reward/accuracy"), 20000);
    QTRY_VERIFY_WITH_TIMEOUT(tab.scene().nodeItem("rollout")->view().activity.count > 0, 20000);
    window_->resumeRun();  // is somebody else's
    QVERIFY(!tab.run().isActive());
    other.write("unbreak\nresume\n");
    QTRY_COMPARE_WITH_TIMEOUT(other.state(), QProcess::NotRunning, 20000);
    QTRY_VERIFY(!tab.runWatch().isLive());
    QCOMPARE(tab.runWatch().state(), QString("done"));
    QCOMPARE(tab.runWatch().completed(), kIterations);
    QCOMPARE(tab.scene().nodeItem("rollout")->view().activity.count, kIterations);
    QVERIFY(!tab.isStale());
  }

  void a_run_that_another_process_does_is_paused_stepped_and_stopped() {
    QProcess other;
    const QString folder = startElsewhere(other);
    QVERIFY(!folder.isEmpty());
    GraphTab& tab = *window_->currentTab();
    QVERIFY(tab.isRunning());
    const ActionTable& actions = window_->actions();
    QVERIFY(actions.action("run.stop")->isEnabled());
    actions.run("run.pause");
    QTRY_VERIFY_WITH_TIMEOUT(tab.isHeld(), 20000);
    QCOMPARE(tab.runWatch().state(), QString("paused"));
    const qint64 held = tab.runWatch().completed();
    QTest::qWait(600);
    QCOMPARE(tab.runWatch().completed(), held);
    window_->stepRun("step");
    QTRY_COMPARE_WITH_TIMEOUT(tab.runWatch().completed(), held + 1, 20000);
    QTRY_VERIFY(tab.isHeld());
    window_->startRun();  // goes on
    QTRY_VERIFY_WITH_TIMEOUT(!tab.isHeld() && tab.runWatch().completed() > held + 1, 20000);
    QVERIFY(!tab.run().isActive());
    window_->stopRun();
    QCOMPARE(tab.runWatch().state(), QString("stopping"));
    QTRY_COMPARE_WITH_TIMEOUT(other.state(), QProcess::NotRunning, 20000);
    QCOMPARE(other.exitCode(), 130);
    QTRY_COMPARE(tab.runWatch().state(), QString("interrupted"));
    QVERIFY(!tab.isRunning());
    QVERIFY(!actions.action("run.stop")->isEnabled());
    QVERIFY(!QFile::exists(folder + "/control"));
    QVERIFY(!QDir(folder + "/checkpoints").entryList(QDir::Dirs | QDir::NoDotAndDotDot).isEmpty());
    tab.ask(GraphTab::Ask::stop);  // it is over: said so, and nothing else
    QVERIFY(window_->statusBar()->currentMessage().contains("nothing runs"));
  }

  void a_run_that_hears_nothing_is_said_to() {
    QProcess other;
    const QString folder = startElsewhere(other);
    QVERIFY(!folder.isEmpty());
    const auto said = [&] {
      window_->stopRun();
      return window_->statusBar()->currentMessage();
    };
    // Whatever stands there instead of the pipe is never written into.
    QVERIFY(QFile::rename(folder + "/control", folder + "/kept"));
    QVERIFY2(said().contains("Ctrl-C"), qPrintable(said()));
    QFile plain(folder + "/control");
    QVERIFY(plain.open(QIODevice::WriteOnly));
    QVERIFY2(said().contains("no pipe"), qPrintable(said()));
    QCOMPARE(plain.size(), 0);
    QVERIFY(plain.remove());
    QVERIFY(QFile::link(folder + "/kept", folder + "/control"));
    QVERIFY2(said().contains("control"), qPrintable(said()));
    QVERIFY(QFile::remove(folder + "/control"));
    QVERIFY(::mkfifo((folder + "/control").toLocal8Bit().constData(), 0600) == 0);
    QVERIFY2(said().contains("nobody hears"), qPrintable(said()));
    QVERIFY(QFile::remove(folder + "/control"));
    QCOMPARE(other.state(), QProcess::Running);
    QVERIFY(QFile::rename(folder + "/kept", folder + "/control"));
    window_->stopRun();
    QTRY_COMPARE_WITH_TIMEOUT(other.state(), QProcess::NotRunning, 20000);
  }

  void the_error_of_a_failed_run_is_on_its_node() {
    QVERIFY(QDir(folder_->path()).mkdir("empty"));
    tab().model().edit("set",
                       [](Document& d) { setParameter(d, {}, "actor", "model", "../empty"); });
    window_->startRun();
    QTRY_COMPARE_WITH_TIMEOUT(run().state(), RunState::failed, 20000);
    const NodeActivity& activity = tab().scene().nodeItem("actor")->view().activity;
    QVERIFY(activity.state == NodeState::failed);
    QVERIFY(!activity.error.isEmpty());
    QVERIFY(tab().scene().nodeItem("actor")->toolTip().contains(activity.error.left(20)));
    QVERIFY(window_->problemsPanel().count() > 0);
  }

 private:
  static constexpr qint64 kIterations = 5;
  GraphTab& tab() const { return *window_->currentTab(); }
  RunProcess& run() const { return tab().run(); }
  /// A run by the command line, long enough to be controlled, opened here; its folder.
  QString startElsewhere(QProcess& other) {
    const QString out = folder_->path() + "/other";
    other.start(QStringLiteral(REWARDLOOM_PROGRAM),
                {"run", file_, "--quiet", "--iterations", "100000", "--out", out});
    const auto run = [&] {
      const QStringList runs = QDir(out).entryList(QDir::Dirs | QDir::NoDotAndDotDot);
      return runs.isEmpty() ? QString() : out + "/" + runs.at(0);
    };
    const auto begun = [&] { return !run().isEmpty() && QFile::exists(run() + "/control"); };
    if (!QTest::qWaitFor(begun, 20000) || !window_->openPath(run())) return {};
    GraphTab& tab = *window_->currentTab();
    if (!QTest::qWaitFor([&] { return tab.runWatch().completed() > 0; }, 20000)) return {};
    return run();
  }
  QString headless(const QString& name) {
    const QString out = folder_->path() + "/" + name;
    QProcess process;
    process.start(QStringLiteral(REWARDLOOM_PROGRAM), {"run", file_, "--quiet", "--out", out});
    if (!process.waitForFinished(120000) || process.exitCode() != 0) return {};
    const QDir runs(out);
    return runs.filePath(runs.entryList(QDir::Dirs | QDir::NoDotAndDotDot).at(0));
  }
  static std::map<std::string, double> metrics(const QString& folder) {
    std::map<std::string, double> values;
    if (folder.isEmpty()) return values;
    RunReader reader(folder.toStdString());
    for (const MetricRow& row : reader.metrics({0, kIterations - 1})) {
      values[std::to_string(row.iteration) + " " + row.name] = row.value;
    }
    return values;
  }
  EditorPaths paths() const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder_->path() + "/runs", folder_->path() + "/journals"};
  }

  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<QTemporaryDir> folder_;
  QString file_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace rewardloom

using rewardloom::TestRunControl;
REWARDLOOM_TEST(TestRunControl)
#include "test_run_control.moc"
