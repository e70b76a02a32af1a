// "Who trains when" on the schedule's node, against what a run of paper 17's graph recorded.
#include <QDir>
#include <QProcess>
#include <QTemporaryDir>
#include <cmath>
#include <fstream>

#include "editor/canvas/node_item.h"
#include "editor/rewards/run_data.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_reader.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

constexpr int kIterations = 11;

/// graphs/17-cooper.json, small: policy, policy, verifier, both against each other, and again.
void writeCooper(const QString& file) {
  Json json = Json::parse(read_file(graphFile("17-cooper.json").toStdString()));
  json["settings"] = {{"iterations", kIterations}, {"seed", 0}, {"checkpoint_every", 100}};
  Json& params = json["nodes"]["stage"]["params"];
  params["after"] = "cycle";
  const int lengths[] = {2, 1, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    params["phases"][i]["iterations"] = lengths[i];
    params["phases"][i].erase("repeat");
  }
  for (const char* body : {"imitate", "annotate", "race"}) {
    json["subgraphs"][body]["nodes"]["tasks"]["params"]["batch"] = 4;
  }
  json["subgraphs"]["exam"]["nodes"]["tasks"]["params"]["batch"] = 4;
  for (const char* branch : {"fixed", "digits_only", "one_update"}) {
    json["subgraphs"]["race"]["nodes"].erase(branch);
  }
  QString text = QString::fromStdString(json.dump(2));
  text.replace(QStringLiteral("\"../"), QStringLiteral("\"" REWARDLOOM_SOURCE_DIR "/"));
  std::ofstream(file.toStdString()) << text.toStdString();
}

}  // namespace

class TestPhaseStrip : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void segments_are_the_phases_that_the_run_recorded() {
    QTemporaryDir folder;
    const QString graph = folder.path() + "/cooper.json";
    const QString runs = folder.path() + "/recorded";
    writeCooper(graph);
    QProcess program;
    program.setProcessChannelMode(QProcess::MergedChannels);
    program.start(QStringLiteral(REWARDLOOM_PROGRAM), {"run", graph, "--out", runs, "--quiet"});
    QVERIFY(program.waitForFinished(240000));
    QVERIFY2(program.exitCode() == 0, program.readAll().constData());
    const QStringList made = QDir(runs).entryList(QDir::Dirs | QDir::NoDotAndDotDot);
    QCOMPARE(made.size(), 1);
    const QString run = runs + '/' + made.front();

    const auto catalogue = testCatalogue();
    MainWindow window(catalogue, {QStringLiteral(REWARDLOOM_PROGRAM),
                                  QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
                                  folder.path() + "/runs", folder.path() + "/journals"});
    window.setUnattended(true);
    window.show();
    QVERIFY(window.openPath(run));
    GraphTab& tab = *window.currentTab();
    const NodeItem* schedule = tab.scene().nodeItem("stage");
    QVERIFY(schedule != nullptr);
    QTRY_VERIFY(!schedule->view().timeline.empty());
    const std::vector<PhaseSpan>& strip = schedule->view().timeline;
    // 0 0 1 2 0 0 1 2 0 0 1
    QCOMPARE(strip.size(), std::size_t{8});
    QCOMPARE(strip.front().from, 0.0);
    QCOMPARE(strip.back().to, 1.0);

    RunReader reader(run.toStdString());
    const std::vector<MetricPoint> recorded = reader.metric("stage/phase");
    QCOMPARE(recorded.size(), std::size_t{kIterations});
    const char* bodies[] = {"imitate", "annotate", "race"};
    const std::vector<MetricRow> metrics = reader.metrics();
    for (const MetricPoint& point : recorded) {
      const double middle = (static_cast<double>(point.iteration) + 0.5) / kIterations;
      const PhaseSpan* under = nullptr;
      for (const PhaseSpan& span : strip) {
        if (span.from <= middle && middle < span.to) under = &span;
      }
      QVERIFY(under != nullptr);
      QCOMPARE(static_cast<double>(under->phase), point.value);
      // The body whose nodes recorded something then is the one of that phase, and no other.
      for (int body = 0; body < 3; ++body) {
        const std::string inside = std::string("stage/") + bodies[body] + "/";
        const bool ran = std::any_of(metrics.begin(), metrics.end(), [&](const MetricRow& row) {
          return row.iteration == point.iteration && row.name.starts_with(inside);
        });
        QCOMPARE(ran, body == under->phase);
      }
    }
    // Neighbours differ: a segment is one stretch in which the same body ran.
    for (std::size_t i = 1; i < strip.size(); ++i) {
      QVERIFY(strip[i].phase != strip[i - 1].phase);
      QVERIFY(std::abs(strip[i].from - strip[i - 1].to) < 1e-12);
    }
  }
};

}  // namespace rewardloom

using rewardloom::TestPhaseStrip;
REWARDLOOM_TEST(TestPhaseStrip)
#include "test_phase_strip.moc"
