// Runs as child processes and what they recorded.
#include <QSignalSpy>
#include <QTemporaryDir>
#include <cmath>
#include <random>

#include "editor/rewards/rewards_dock.h"
#include "editor/run/run_process.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestRuns : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void a_pyramid_gives_the_extremes_of_every_column() {
    std::mt19937 random(3);
    std::normal_distribution<double> noise;
    MetricSeries series;
    std::vector<double> values;
    for (int i = 0; i < 5000; ++i) {
      values.push_back(i % 777 == 0 ? NAN : noise(random));
      series.append(i, values.back());
    }
    for (const auto& [from, to, columns] :
         {std::tuple{0.0, 5000.0, 300}, {17.0, 4001.0, 7}, {100.0, 130.0, 30}}) {
      const auto got = series.columns(from, to, columns);
      const double width = (to - from) / columns;
      for (int c = 0; c < columns; ++c) {
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (int i = 0; i < 5000; ++i) {
          if (i < from + width * c || i >= from + width * (c + 1) ||
              !std::isfinite(values[static_cast<std::size_t>(i)]))
            continue;
          low = std::min(low, values[static_cast<std::size_t>(i)]);
          high = std::max(high, values[static_cast<std::size_t>(i)]);
        }
        const SeriesColumn& column = got[static_cast<std::size_t>(c)];
        QCOMPARE(column.any, low <= high);
        if (!column.any) continue;
        QCOMPARE(column.low, low);
        QCOMPARE(column.high, high);
      }
    }
  }

  void histograms_of_several_ranges_share_one_axis() {
    HistogramRow a;
    a.iteration = 0;
    a.distribution = {4, 0, 0, 0.5, 0.1, 0.0, 1.0, {}, 0.0, 1.0, {2, 2}};
    HistogramRow b = a;
    b.iteration = 1;
    b.distribution.max = b.distribution.hi = 3.0;
    b.distribution.bins = {1, 3};
    HeatGrid grid;
    grid.set({a, b});
    QCOMPARE(grid.low(), 0.0);
    QCOMPARE(grid.high(), 3.0);
    for (std::size_t column = 0; column < 2; ++column) {
      float sum = 0;
      for (int bin = 0; bin < HeatGrid::kBins; ++bin) sum += grid.share(column, bin);
      QVERIFY(qAbs(sum - 1.0F) < 1e-4F);
    }
    QVERIFY(grid.share(0, HeatGrid::kBins - 1) == 0.0F);
    QVERIFY(grid.share(1, HeatGrid::kBins - 1) > 0.0F);
  }

  void a_stream_becomes_states_metrics_and_problems() {
    RunProcess run;
    QSignalSpy metrics(&run, &RunProcess::metricsArrived);
    QSignalSpy problems(&run, &RunProcess::problemArrived);
    const auto line = [&](const Json& json) {
      run.readLine(QByteArray::fromStdString(json.dump()));
    };
    line({{"event", "start"},
          {"folder", "runs/x"},
          {"graph_hash", "abc"},
          {"first", 0},
          {"iterations", 9}});
    QCOMPARE(run.state(), RunState::running);
    line({{"event", "nodes"}, {"iteration", 0}, {"running", {"rollout"}}});
    QVERIFY(run.activities().at("rollout").state == NodeState::running);
    line({{"event", "metrics"}, {"iteration", 0}, {"values", {{"reward", 0.5}}}});
    QCOMPARE(metrics.count(), 1);
    QCOMPARE(run.iteration(), 1);
    line({{"event", "problem"},
          {"severity", "error"},
          {"code", "not-finite"},
          {"node", "adv"},
          {"message", "NaN"}});
    QVERIFY(run.activities().at("adv").state == NodeState::failed);
    QCOMPARE(problems.count(), 1);
    run.readLine("this is no JSON");
    line({{"event", "of a later version"}});
    line({{"event", "end"}, {"state", "failed"}, {"folder", "runs/x"}});
    QCOMPARE(run.state(), RunState::failed);
  }

  void a_missing_program_is_said_so() {
    RunProcess run;
    QSignalSpy problems(&run, &RunProcess::problemArrived);
    run.start({QStringLiteral("/nowhere/rewardloom"),
               graphFile("grpo-arithmetic.json"),
               {},
               {},
               {},
               {},
               0});
    QTRY_COMPARE(problems.count(), 1);
    QCOMPARE(run.state(), RunState::failed);
  }

  void a_graph_runs_is_watched_and_stopped() {
    QTemporaryDir folder;
    MainWindow window(catalogue_, paths(folder));
    window.setUnattended(true);
    QVERIFY(window.openPath(graphFile("grpo-arithmetic.json")));
    GraphTab& tab = *window.currentTab();
    window.startRun();
    QTRY_VERIFY_WITH_TIMEOUT(tab.run().iteration() >= 3, 120000);
    QVERIFY(tab.scene().nodeItem("rollout")->view().activity.count > 0);
    window.stopRun();
    QTRY_VERIFY_WITH_TIMEOUT(!tab.run().isActive(), 60000);
    QCOMPARE(tab.run().state(), RunState::interrupted);
    QTRY_VERIFY(tab.data().metrics().contains("reward/accuracy"));
    // The views show what was recorded, and a changed graph makes it stale.
    window.rewards().showPort("check", "rewards");
    QVERIFY(!window.rewards().heatMap().grid().empty());
    window.rewards().samples().readAll();
    QVERIFY(window.rewards().samples().rollouts().rowCount() > 0);
    window.rewards().samples().setRegion(HeatRegion{0, 1000, 0.5, 1.5});
    const auto& rollouts = window.rewards().samples().rollouts();
    const auto& names = rollouts.names();
    const auto total =
        static_cast<std::size_t>(std::find(names.begin(), names.end(), "total") - names.begin());
    QVERIFY(total < names.size());
    for (int i = 0; i < rollouts.rowCount(); ++i)
      QVERIFY(rollouts.rollout(i).numbers.at(total) > 0.5);
    QVERIFY(!tab.isStale());
    tab.model().edit("set", [](Document& d) { setParameter(d, {}, "adv", "epsilon", 0.1); });
    QVERIFY(tab.isStale());
    QVERIFY(tab.scene().nodeItem("rollout")->view().activity.state == NodeState::stale);
    // The finished run opens again.
    const QString runFolder = tab.run().folder();
    QVERIFY(window.openPath(runFolder));
    QVERIFY(window.currentTab()->data().metrics().contains("reward/accuracy"));
  }

  void a_run_that_dies_takes_nothing_along() {
    QTemporaryDir folder;
    RunProcess run;
    QSignalSpy problems(&run, &RunProcess::problemArrived);
    QFile script(folder.path() + "/dies");
    QVERIFY(script.open(QIODevice::WriteOnly));
    script.write(
        "#!/bin/sh\necho '{\"event\": \"start\", \"folder\": \"x\", \"iterations\": 5}'\nkill -SEGV $$\n");
    script.close();
    script.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    run.start({script.fileName(), "graph.json", {}, {}, {}, {}, 0});
    QTRY_COMPARE(run.state(), RunState::failed);
    QCOMPARE(problems.count(), 1);
  }

 private:
  EditorPaths paths(const QTemporaryDir& folder) const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder.path() + "/runs", folder.path() + "/journals"};
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestRuns;
REWARDLOOM_TEST(TestRuns)
#include "test_runs.moc"
