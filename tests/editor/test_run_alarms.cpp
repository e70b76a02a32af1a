// Alarms of runs that the editor did not start itself: they stand among the problems.
#include <QDir>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QTreeWidget>

#include "editor/panels/problems_panel.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_store.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

AlarmRow alarm(std::int64_t iteration, const std::string& node, const std::string& code,
               const std::string& text) {
  AlarmRow row;
  row.iteration = iteration;
  row.node = node;
  row.code = code;
  row.text = text;
  row.help = "do something";
  return row;
}

Problem heard(const AlarmRow& row) {
  return {row.severity, row.code, {"", row.node, ""}, row.text, row.help, row.iteration};
}

QStringList texts(const ProblemsPanel& panel, int column) {
  QStringList out;
  const auto* list = panel.findChild<QTreeWidget*>();
  for (int i = 0; i < list->topLevelItemCount(); ++i) out << list->topLevelItem(i)->text(column);
  return out;
}

}  // namespace

class TestRunAlarms : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void what_comes_again_is_counted() {
    ProblemsPanel panel;
    const AlarmRow first = alarm(3, "check", "absent-rewards", "2 rows");
    const AlarmRow again = alarm(9, "check", "absent-rewards", "5 rows");
    const AlarmRow other = alarm(4, "race[mode=raw]/measure", "overoptimisation", "gold falls");
    panel.addRunProblem(heard(first));
    panel.setAlarms({first, other, again});
    QCOMPARE(panel.count(), 2);
    QCOMPARE(texts(panel, 0), (QStringList{"check  (2 times, iterations 3 to 9)",
                                           "race[mode=raw]/measure  (iteration 4)"}));
    QCOMPARE(texts(panel, 1).first(), QStringLiteral("5 rows"));
    panel.setAlarms({first, other, again});
    QCOMPARE(texts(panel, 0).first(), QStringLiteral("check  (2 times, iterations 3 to 9)"));
    panel.clearRunProblems();
    QCOMPARE(panel.count(), 0);
    panel.setAlarms({first});
    QCOMPARE(panel.count(), 1);
  }

  void long_texts_are_shown_whole() {
    ProblemsPanel panel;
    panel.resize(900, 300);
    panel.setAlarms(
        {alarm(3, "check", "absent-rewards", "short"),
         alarm(3, "race", "overoptimisation",
               std::string(60, 'a') + " " + std::string(60, 'b') + " " + std::string(60, 'c'))});
    panel.show();
    QVERIFY(QTest::qWaitForWindowExposed(&panel));
    const auto* list = panel.findChild<QTreeWidget*>();
    const auto height = [&](int row) {
      return list->visualItemRect(list->topLevelItem(row)).height();
    };
    QVERIFY(height(1) >= height(0) + 2 * list->fontMetrics().height());
  }

  void problems_without_an_iteration_are_kept_apart() {
    ProblemsPanel panel;
    const Problem a{Severity::error, "unreadable", {"a.json", "", ""}, "no such file", "", {}};
    Problem b = a;
    b.where.file = "b.json";
    for (const Problem& problem : {a, b, a}) panel.addRunProblem(problem);
    QCOMPARE(panel.count(), 2);
  }

  void alarms_of_an_opened_run_are_among_the_problems() {
    QTemporaryDir folder;
    const QString run = folder.path() + "/run";
    QVERIFY(QDir().mkdir(run));
    Document graph = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    graph.save((run + "/graph.json").toStdString());
    QFile info(run + "/run.json");
    QVERIFY(info.open(QIODevice::WriteOnly));
    info.write("{\"state\": \"done\", \"iterations\": 3, \"completed\": 3, \"graph_hash\": \"x\"}");
    info.close();
    {
      RunStore store(std::filesystem::path(run.toStdString()) / "run.db");
      store.add(MetricRow{2, "check/accuracy", 0.5});
      store.add(alarm(2, "check", "overoptimisation", "proxy rises while gold falls"));
    }
    const auto catalogue = testCatalogue();
    MainWindow window(catalogue,
                      EditorPaths{QStringLiteral(REWARDLOOM_PROGRAM), folder.path() + "/graphs",
                                  folder.path() + "/runs", folder.path() + "/journals"});
    window.setUnattended(true);
    QVERIFY(window.openPath(run));
    GraphTab* const tab = window.currentTab();
    const ProblemsPanel* const panel = &window.problemsPanel();
    QTRY_VERIFY(texts(*panel, 1).contains("proxy rises while gold falls"));
    // Another tab has none of them; back on the first they are there again.
    window.newGraph();
    QVERIFY(!texts(*panel, 1).contains("proxy rises while gold falls"));
    for (auto* tabs : window.findChildren<QTabWidget*>()) {
      if (tabs->indexOf(tab) >= 0) tabs->setCurrentWidget(tab);
    }
    QCOMPARE(window.currentTab(), tab);
    QTRY_VERIFY(texts(*panel, 1).contains("proxy rises while gold falls"));
  }
};

}  // namespace rewardloom

using rewardloom::TestRunAlarms;
REWARDLOOM_TEST(TestRunAlarms)
#include "test_run_alarms.moc"
