// `rewardloom inspect`: what the terminal shows of a run is what the run recorded.
#include <cmath>

#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

class TestInspectCommand : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;
  QString run;

  Finished inspect(const QStringList& arguments) const {
    return run_program(QStringList{"inspect"} + arguments, temporary.path());
  }

 private Q_SLOTS:
  void initTestCase() {
    write_all(temporary.filePath("small.json"), kSmallGraph);
    QCOMPARE(run_program({"run", "small.json", "--quiet", "--out", "runs", "--iterations", "6"},
                         temporary.path())
                 .status,
             0);
    run = "runs/" +
          QDir(temporary.filePath("runs")).entryList(QDir::Dirs | QDir::NoDotAndDotDot).value(0);
  }

  void theOverviewHasEverything() {
    const Finished finished = inspect({run});
    QVERIFY2(finished.status == 0, finished.err.constData());
    for (const char* said :
         {"done: 6 of 6 iterations", "measure/accuracy", "check.rewards total", "adv.advantages",
          "groups: share", "without signal", "alarms", "time ", "--port "}) {
      QVERIFY2(finished.out.contains(said), finished.out.constData());
    }
  }

  void theNumbersAgreeWithEachOther() {
    const Json overview = inspect({run, "--json"}).lines().at(0);
    const Json port = inspect({run, "--port", "check.rewards", "--json"}).lines().at(0);
    QCOMPARE(port.at("components").at("total").size(), std::size_t{6});
    QCOMPARE(port.at("at").get<int>(), 5);
    for (const Json& probe : overview.at("probes")) {
      if (probe.at("node") != "check" || probe.at("component") != "total") continue;
      QCOMPARE(probe.at("last").at("mean"), port.at("distributions").at("total").at("mean"));
      QCOMPARE(probe.at("last").at("count").get<int>(), 16);
    }
    const Json& groups = overview.at("groups").at(0);
    QCOMPARE(groups.at("node"), Json("check"));
    const double share = groups.at("share_without_signal");
    QVERIFY(share >= 0 && share <= 1);
    int counted = 0;
    for (const Json& bin : port.at("distributions").at("total").at("bins"))
      counted += bin.get<int>();
    QCOMPARE(counted, 16);
    QVERIFY(!port.at("samples").empty());
    QVERIFY(port.at("samples").at(0).contains("completion"));
  }

  void aPortIsDrawn() {
    const Finished finished = inspect({run, "--port", "check.rewards", "--at", "3"});
    QVERIFY2(finished.status == 0, finished.err.constData());
    for (const char* said : {"│", "share of rows", "iteration 3", "16 counted, 0 absent",
                             "quantiles", "50 %", "highest total", "prompt", "completion"}) {
      QVERIFY2(finished.out.contains(said), finished.out.constData());
    }
    // A node with one recorded port, and a component, are names too.
    QVERIFY(inspect({run, "--port", "adv"}).out.contains("adv.advantages"));
    QVERIFY(inspect({run, "--port", "check.rewards.total"}).out.startsWith("check.rewards total"));
  }

  void whatIsNotThereIsRefusedWithWhatIs() {
    const Finished port = inspect({run, "--port", "check.reward"});
    QCOMPARE(port.status, 2);
    QVERIFY2(port.err.contains("check.rewards"), port.err.constData());
    const Finished at = inspect({run, "--port", "check.rewards", "--at", "77"});
    QCOMPARE(at.status, 2);
    QVERIFY2(at.err.contains("from 0 to 5"), at.err.constData());
    QCOMPARE(inspect({run, "--at", "3"}).status, 2);
  }

  void halfWrittenRunsAreShown() {
    const QString half = temporary.filePath("half");
    QVERIFY(QDir().mkpath(half));
    QVERIFY(QFile::copy(temporary.filePath(run + "/run.db"), half + "/run.db"));
    const Finished finished = inspect({"half"});
    QCOMPARE(finished.status, 0);
    QVERIFY2(finished.out.contains("recorded up to iteration"), finished.out.constData());
    QVERIFY(finished.err.contains("run.json"));
    write_all(half + "/run.json", "{\"rewardloom\":");
    QCOMPARE(inspect({"half/run.db"}).status, 0);
    write_all(half + "/run.db",
              "this is no database, but long enough to look like something that was written");
    QCOMPARE(inspect({"half"}).status, 1);
  }
};

REWARDLOOM_TEST(TestInspectCommand)
#include "test_inspect_command.moc"
