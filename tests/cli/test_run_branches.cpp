// What the terminal says of runs with branches: beside each other, and under names that are told
// apart.
#include <algorithm>
#include <filesystem>

#include "engine/io/run_store.h"
#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr int kIterations = 40;

using Curve = double (*)(double);  // of the share of the way, 0 to 1

double rises(double t) { return 0.25 + t / 2; }
/// 0.25 at first, 0.75 after a quarter of the way, -0.75 at the end.
double rises_and_falls(double t) { return t < 0.25 ? 0.25 + 2 * t : 0.75 - 2 * (t - 0.25); }

void add_curve(RunStore& store, const std::string& name, Curve curve) {
  for (int i = 0; i < kIterations; ++i)
    store.add(MetricRow{i, name, curve(static_cast<double>(i) / (kIterations - 1))});
}

void add_distribution(RunStore& store, const std::string& node, const std::string& component) {
  for (int i = 0; i < kIterations; ++i) {
    HistogramRow row{i, node, "rewards", component, {}};
    row.distribution.count = 4;
    row.distribution.mean = 0.125 * i;
    row.distribution.std = 1;
    row.distribution.lo = 0;
    row.distribution.hi = 8;
    row.distribution.bins = {2, 2};
    store.add(row);
  }
}

std::vector<QString> lines_of(const QByteArray& text) {
  std::vector<QString> lines;
  for (const QString& line : QString::fromUtf8(text).split('\n')) lines.push_back(line);
  return lines;
}

std::vector<QString> lines_with(const QByteArray& text, const QString& what) {
  std::vector<QString> found = lines_of(text);
  std::erase_if(found, [&](const QString& line) { return !line.contains(what); });
  return found;
}

/// The place of the first line that is this text and blanks.
std::ptrdiff_t line_at(const QByteArray& text, const QString& whole) {
  const std::vector<QString> lines = lines_of(text);
  const auto at = std::find(lines.begin(), lines.end(), whole);
  return at == lines.end() ? -1 : at - lines.begin();
}

}  // namespace

class TestRunBranches : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;
  int made = 0;

  static Finished started(const QStringList& arguments, const QString& folder, int columns) {
    QProcess process;
    prepare(process, arguments, folder);
    QProcessEnvironment environment = process.processEnvironment();
    environment.insert(QStringLiteral("COLUMNS"), QString::number(columns));
    process.setProcessEnvironment(environment);
    process.start();
    process.closeWriteChannel();
    Finished finished;
    if (!process.waitForFinished(kPatience)) return finished;
    finished.status = process.exitCode();
    finished.out = process.readAllStandardOutput();
    finished.err = process.readAllStandardError();
    return finished;
  }
  Finished inspect(const QString& run, int columns = 80) const {
    return started({"inspect", run}, temporary.path(), columns);
  }
  /// The summary of a run that is complete already.
  Finished summary(const QString& run, int columns = 120) const {
    return started({"run", "--resume", run}, temporary.path(), columns);
  }

  /// A finished run of the small graph, whose store then gets `more`.
  template <class More>
  QString runWith(const QString& about, More more) {
    const QString run = temporary.filePath(QStringLiteral("run-%1").arg(made++));
    std::filesystem::copy(temporary.filePath("finished").toStdString(), run.toStdString(),
                          std::filesystem::copy_options::recursive);
    QByteArray graph = read_all(run + "/graph.json");
    graph.replace("ABOUT", about.toUtf8());
    write_all(run + "/graph.json", graph);
    RunStore store((run + "/run.db").toStdString());
    more(store);
    store.commit();
    return run;
  }

  /// Two branches: one hacks its reward, one does not.
  QString hackedRun() {
    return runWith("", [](RunStore& store) {
      for (const std::string mode : {"raw", "par"}) {
        const std::string branch = "stage/race/shape[mode=" + mode + "]/";
        add_curve(store, branch + "measure/proxy", rises);
        add_curve(store, branch + "measure/gold", mode == "raw" ? rises_and_falls : rises);
        add_curve(store, branch + "rollout/response_length/clip_ratio", rises);
        add_curve(store,
                  branch + "update/a_term_with_quite_a_long_name/under_another_one/of_its_own/last",
                  rises);
        store.add(NodeRow{branch + "update", "optimize.policy", 0, 1, 1, 0, 0, 0});
        store.add(NodeRow{branch + "measure", "eval.proxy_gap", 0, 1, 1, 0, 0, 0});
        for (const char* component : {"total", "format", kWithinGroupStd})
          add_distribution(store, branch + "gold", component);
      }
    });
  }

 private Q_SLOTS:
  void initTestCase() {
    Json graph = Json::parse(kSmallGraph);
    graph["about"] = "ABOUT";
    write_all(temporary.filePath("small.json"), QByteArray::fromStdString(graph.dump()));
    QCOMPARE(run_program({"run", "small.json", "--quiet", "--out", "runs", "--iterations",
                          QString::number(kIterations)},
                         temporary.path())
                 .status,
             0);
    const QDir runs(temporary.filePath("runs"));
    const QString run = runs.entryList(QDir::Dirs | QDir::NoDotAndDotDot).value(0);
    QVERIFY(QFile::rename(runs.filePath(run), temporary.filePath("finished")));
    QVERIFY(read_all(temporary.filePath("finished/graph.json")).contains("ABOUT"));
  }

  void theEndsOfNamesAreNeverLost() {
    const QString run = hackedRun();
    QVERIFY(!run.isEmpty());
    for (const int columns : {80, 100, 160}) {
      const QByteArray out = inspect(run, columns).out;
      const QByteArray table = out.mid(out.indexOf("\nmetric"));
      // An ellipsis stands before the end of a name, never for it.
      for (const QString& line : lines_with(out, "…")) {
        const qsizetype at = line.indexOf("…");
        QVERIFY2(at + 1 < line.size() && !line[at + 1].isSpace(), qPrintable(line));
      }
      for (const char* mode : {"raw", "par"}) {
        const QString branch = QString("stage/race/shape[mode=%1]/").arg(mode);
        const std::ptrdiff_t measure = line_at(table, branch + "measure");
        QVERIFY2(measure >= 0, table.constData());
        const std::vector<QString> lines = lines_of(table);
        QVERIFY(lines[static_cast<std::size_t>(measure) + 1].startsWith("  gold "));
        QVERIFY(lines[static_cast<std::size_t>(measure) + 2].startsWith("  proxy "));
        QVERIFY(line_at(table, branch + "update") >= 0);
        // Ports under their node, groups under their branch.
        const std::ptrdiff_t port = line_at(table, branch + "gold");
        QVERIFY(port >= 0);
        QVERIFY(lines[static_cast<std::size_t>(port) + 1].startsWith("  rewards format "));
        QVERIFY(lines[static_cast<std::size_t>(port) + 2].startsWith("  rewards total "));
        if (columns > 80) continue;
        const std::ptrdiff_t group = line_at(table, branch.chopped(1));
        QVERIFY(group >= 0);
        QVERIFY(lines[static_cast<std::size_t>(group) + 1].startsWith("  gold.rewards "));
      }
      // Those of two branches and that of the small graph, which is always the same.
      QCOMPARE(lines_with(table, "clip_ratio ").size(), std::size_t{3});
      QCOMPARE(lines_with(table, "/of_its_own/last ").size(), std::size_t{2});
      QVERIFY(lines_with(table, "…").empty() || columns < 160);
    }
  }

  void rowsFitIntoTheTerminal() {
    const QByteArray out = inspect(hackedRun(), 80).out;
    const qsizetype metrics = out.indexOf("\nmetric");
    const qsizetype alarms = out.indexOf("\nalarms");
    QVERIFY(metrics > 0 && alarms > metrics);
    for (const QString& line : lines_of(out.mid(metrics, alarms - metrics)))
      QVERIFY2(line.size() <= 80, qPrintable(line));
  }

  void shortNamesStandWithoutHeadings() {
    const QString run = runWith("", [](RunStore&) {});
    const QByteArray out = inspect(run, 120).out;
    QVERIFY2(!lines_with(out, "check.rewards total ").empty(), out.constData());
    QCOMPARE(line_at(out, "update"), std::ptrdiff_t{-1});
    QCOMPARE(line_at(out, "check"), std::ptrdiff_t{-1});
    QVERIFY(!lines_with(out, "rollout/response_length/clip_ratio ").empty());
  }

  void branchesStandSideBySideWithTheirSuspects() {
    const QString run = hackedRun();
    for (const QByteArray& out : {summary(run).out, inspect(run, 120).out}) {
      QVERIFY2(out.contains("proxy and gold in stage/race/*/measure: first → last\n"),
               out.constData());
      const QString raw = lines_with(out, "  shape[mode=raw] ").at(0);
      const QString par = lines_with(out, "  shape[mode=par] ").at(0);
      QVERIFY2(raw.contains("proxy 0.25 → 0.75"), qPrintable(raw));
      QVERIFY2(raw.contains("gold 0.25 → -0.75"), qPrintable(raw));
      QVERIFY2(raw.contains("suspect since iteration 10"), qPrintable(raw));
      QVERIFY2(par.contains("gold 0.25 →  0.75"), qPrintable(par));
      QVERIFY2(!par.contains("suspect"), qPrintable(par));
    }
    // In a narrow terminal the suspicion has a line of its own.
    const QByteArray narrow = summary(run, 60).out;
    QVERIFY2(narrow.contains("-0.75\n      suspect since iteration 10, when gold was"),
             narrow.constData());
  }

  void suspectsStayWhereThereIsNoRoomForAll() {
    const QString run = runWith("", [](RunStore& store) {
      for (int i = 0; i < 20; ++i) {
        const std::string place = "race/branch[seed=" + std::to_string(i) + "]/gap/";
        add_curve(store, place + "proxy", rises);
        add_curve(store, place + "gold", i == 19 ? rises_and_falls : rises);
      }
    });
    const QByteArray out = summary(run).out;
    QCOMPARE(lines_with(out, "  branch[seed=").size(), std::size_t{12});
    QVERIFY2(lines_with(out, "branch[seed=19]").at(0).contains("suspect"), out.constData());
    QVERIFY2(out.contains("and 8 more: `inspect` shows them"), out.constData());
    const QByteArray all = inspect(run, 120).out;
    const QByteArray top = all.left(all.indexOf("\nmetric"));
    QCOMPARE(lines_with(top, "  branch[seed=").size(), std::size_t{20});
    // By value, not by letters.
    QVERIFY(top.indexOf("branch[seed=9]") < top.indexOf("branch[seed=10]"));
  }

  void oneMetricIsComparedWhereThereIsNoPair() {
    const auto add = [](RunStore& store) {
      for (const std::string p : {"0", "0.2"}) {
        add_curve(store, "race/noise[p=" + p + "]/held_out/grade/accuracy",
                  p == "0" ? rises : rises_and_falls);
        add_curve(store, "race/noise[p=" + p + "]/train/accuracy", rises);
        add_curve(store, "race/noise[p=" + p + "]/watch/reward", rises);
        add_curve(store, "race/noise[p=" + p + "]/shape/lines", rises);
      }
      add_curve(store, "race/plain/held_out/grade/accuracy", rises);
    };
    const QByteArray out = summary(runWith("", add)).out;
    QVERIFY2(out.contains("race/*/held_out/grade/accuracy: first → last\n"), out.constData());
    QVERIFY2(!lines_with(out, "  noise[p=0.2]  0.25 → -0.75  ").empty(), out.constData());
    // What is trained on rose meanwhile.
    QVERIFY2(lines_with(out, "suspect since iteration 10").at(0).contains("noise[p=0.2]"),
             out.constData());
    QCOMPARE(lines_with(out, "suspect").size(), std::size_t{1});
    QVERIFY2(!lines_with(out, "  plain         0.25 →  0.75  ").empty(), out.constData());
    QVERIFY(out.indexOf("noise[p=0] ") < out.indexOf("noise[p=0.2]"));
    QVERIFY(!out.contains("train/accuracy"));
    // What the graph says is to be watched comes first.
    const QByteArray asked =
        summary(runWith("Watch race/noise[p=...]/shape/lines, of answers.", add)).out;
    QVERIFY2(asked.contains("race/*/shape/lines: first → last\n"), asked.constData());
    QVERIFY(!lines_with(asked, "  noise[p=0.2]  0.25 → 0.75  ").empty());
  }

  void whatNodesHaveInCommonIsSaidOnce() {
    const QString run = runWith("", [](RunStore& store) {
      for (const std::string p : {"0", "1"}) {
        add_curve(store, "race/a[p=" + p + "]/update/lr", [](double) { return 0.5; });
        add_curve(store, "race/a[p=" + p + "]/update/loss", rises);
      }
    });
    const QByteArray out = inspect(run, 100).out;
    const QByteArray said = "\n  race/a[p=0]/update, race/a[p=1]/update: lr 0.5\n";
    QVERIFY2(out.mid(out.indexOf("\nalways the same\n")).contains(said), out.constData());
  }

  void theLineOfARunTellsOfItsBranches() {
    Json graph = Json::parse(kSmallGraph);
    Json body = {{"parameters", {{"lr", 0.001}}}, {"nodes", graph["nodes"]}};
    body["nodes"]["update"]["params"]["learning_rate"] = "$lr";
    body["outputs"] = {{"metrics", "measure.metrics"}};
    graph["subgraphs"]["b"] = body;
    Json params = {{"body", "b"}, {"vary", "lr"}, {"values", Json::array({0.01, 0.05})}};
    graph["nodes"] = {{"s", {{"type", "flow.sweep"}, {"params", params}}}};
    const auto swept = [&](const char* about) {
      graph["about"] = about;
      write_all(temporary.filePath("sweep.json"), QByteArray::fromStdString(graph.dump()));
      return started({"run", "sweep.json", "--iterations", "4", "--out", "swept"}, temporary.path(),
                     120);
    };
    const Finished finished = swept("");
    QVERIFY2(finished.status == 0, finished.err.constData());
    QVERIFY2(lines_with(finished.err, "4/4  measure/accuracy 0").size() == 1,
             finished.err.constData());
    QVERIFY2(finished.out.contains("*/measure/accuracy: first → last\n"), finished.out.constData());
    QCOMPARE(lines_with(finished.out, "  s[lr=0.01]  ").size(), std::size_t{1});
    QCOMPARE(lines_with(finished.out, "  s[lr=0.05]  ").size(), std::size_t{1});
    // Two branches leave room for what else is told of a run.
    QVERIFY(finished.out.contains("s[lr=0.01]/check.rewards"));
    const Finished asked = swept("Watch s[lr=...]/update/actor/lr.");
    QVERIFY2(lines_with(asked.err, "4/4  update/actor/lr 0.01 (s[lr=0.01]) to 0.05 (s[lr=0.05])")
                     .size() == 1,
             asked.err.constData());
    QVERIFY2(asked.out.contains("*/update/actor/lr: first → last\n"), asked.out.constData());
  }
};

REWARDLOOM_TEST(TestRunBranches)
#include "test_run_branches.moc"
