// `rewardloom run`: reports, commands, signals, resuming.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <QStandardPaths>
#include <functional>
#include <map>

#include "engine/io/run_reader.h"
#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

/// A run with --json that is talked to while it goes on.
class LiveRun {
 public:
  LiveRun(const QStringList& arguments, const QString& folder) {
    prepare(process_, QStringList{"run", "--json"} + arguments, folder);
    process_.start();
  }
  ~LiveRun() {
    if (process_.state() == QProcess::NotRunning) return;
    process_.kill();
    process_.waitForFinished();
  }

  void say(const QByteArray& line) {
    process_.write(line + "\n");
    process_.waitForBytesWritten(1000);
  }
  void interrupt() { ::kill(static_cast<pid_t>(process_.processId()), SIGINT); }
  void kill() {
    process_.kill();
    process_.waitForFinished(kPatience);
  }

  /// The next event of that kind; an empty object if the stream ends before.
  Json next(const std::string& event) {
    for (;;) {
      while (!process_.canReadLine()) {
        if (process_.state() == QProcess::NotRunning && !process_.canReadLine())
          return Json::object();
        if (!process_.waitForReadyRead(1000) && --patience_ < 0) return Json::object();
      }
      Json json = Json::parse(process_.readLine().toStdString());
      if (json.at("event") == event) return json;
    }
  }

  int status() {
    if (!process_.waitForFinished(kPatience)) return -1;
    return process_.exitStatus() == QProcess::NormalExit ? process_.exitCode() : -1;
  }

 private:
  QProcess process_;
  int patience_ = 200;
};

std::map<std::string, std::vector<double>> metrics_of(const std::vector<Json>& events) {
  std::map<std::string, std::vector<double>> series;
  for (const Json& event : events) {
    if (event.at("event") != "metrics") continue;
    for (const auto& [name, value] : event.at("values").items()) {
      if (value.is_number()) series[name].push_back(value.get<double>());
    }
  }
  return series;
}

const Json* find(const std::vector<Json>& events, const std::string& name) {
  for (const Json& event : events) {
    if (event.at("event") == name) return &event;
  }
  return nullptr;
}

QString folder_in(const std::vector<Json>& events) {
  return QString::fromStdString(find(events, "start")->at("folder").get<std::string>());
}

}  // namespace

class TestRunCommand : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString folder() const { return temporary.path(); }
  QString file(const char* name) const { return temporary.filePath(QString::fromUtf8(name)); }
  Finished run(const QStringList& arguments) const {
    return run_program(QStringList{"run"} + arguments, folder());
  }
  /// A long run without --json that takes commands; its folder.
  QString startForPipe(QProcess& process, const QStringList& more = {}) const {
    const QString out = QStringLiteral("piped-%1").arg(QDir(folder()).count());
    prepare(
        process,
        QStringList{"run", "small.json", "--quiet", "--iterations", "1000000", "--out", out} + more,
        folder());
    process.start();
    QString run_folder;
    const bool begun = QTest::qWaitFor(
        [&] {
          const QDir runs(temporary.filePath(out));
          const QStringList names = runs.entryList(QDir::Dirs | QDir::NoDotAndDotDot);
          if (!names.isEmpty()) run_folder = runs.filePath(names.at(0));
          return !names.isEmpty() && QFile::exists(run_folder + "/control");
        },
        20000);
    return begun ? run_folder : QString();
  }
  /// Whether anybody hears it.
  static bool say(const QString& run_folder, const QByteArray& lines) {
    const QByteArray path = (run_folder + "/control").toLocal8Bit();
    const int pipe = ::open(path.constData(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (pipe < 0) return false;
    const bool said =
        ::write(pipe, lines.constData(), static_cast<std::size_t>(lines.size())) == lines.size();
    ::close(pipe);
    return said;
  }
  static mode_t modeOf(const QString& path) {
    struct stat status {};
    return ::stat(path.toLocal8Bit().constData(), &status) == 0 ? status.st_mode : 0;
  }

 private Q_SLOTS:
  void initTestCase() {
    write_all(file("small.json"), kSmallGraph);
    Json failing = Json::parse(kSmallGraph);
    failing["nodes"]["actor"]["params"]["config"]["head_dim"] = 3;
    write_all(file("failing.json"), QByteArray::fromStdString(failing.dump()));
    Json broken = Json::parse(kSmallGraph);
    broken["nodes"]["adv"]["inputs"]["rewards"] = "tasks.prompts";
    write_all(file("broken.json"), QByteArray::fromStdString(broken.dump()));
  }

  void aRunEndsWithASummary() {
    const Finished finished = run({"small.json", "--out", "here"});
    QVERIFY2(finished.status == 0, finished.err.constData());
    for (const char* said :
         {"done: 4 iterations in", "measure/accuracy", "check.rewards",
          "alarms:", "time:", "run folder:  here/small-", "rewardloom inspect here/small-"}) {
      QVERIFY2(finished.out.contains(said), finished.out.constData());
    }
    // No terminal: one line per tenth of the way, here per iteration.
    QCOMPARE(finished.err.count("/4  "), 4);
    QVERIFY(!finished.err.contains('\r'));
    QCOMPARE(QDir(file("here")).entryList(QDir::Dirs | QDir::NoDotAndDotDot).size(), 1);
  }

  void aTerminalSeesOneLineThatIsRedrawn() {
    if (QStandardPaths::findExecutable("script").isEmpty()) QSKIP("script(1) is not installed");
    QProcess script;
    script.setWorkingDirectory(folder());
    script.start("script",
                 {"-qec", QStringLiteral(REWARDLOOM_PROGRAM " run small.json --iterations 400"),
                  "/dev/null"});
    QVERIFY(script.waitForFinished(kPatience));
    const QByteArray seen = script.readAllStandardOutput();
    QCOMPARE(script.exitCode(), 0);
    QVERIFY2(seen.contains("\r\033[K"), seen.constData());
    QVERIFY(seen.contains("/400 ▕"));
    QVERIFY(seen.contains("done: 400 iterations"));
  }

  void quietSaysNothing() {
    const Finished finished = run({"small.json", "--quiet"});
    QCOMPARE(finished.status, 0);
    QVERIFY2(finished.out.isEmpty(), finished.out.constData());
    QVERIFY2(finished.err.isEmpty(), finished.err.constData());
  }

  void theStreamTellsOfEverything() {
    const Finished finished = run({"small.json", "--json"});
    QCOMPARE(finished.status, 0);
    const std::vector<Json> events = finished.lines();
    QCOMPARE(events.front().at("event"), Json("start"));
    QCOMPARE(events.front().at("iterations").get<int>(), 4);
    QCOMPARE(events.front().at("nodes").size(), std::size_t{8});
    QCOMPARE(metrics_of(events).at("measure/accuracy").size(), std::size_t{4});
    const Json* const nodes = find(events, "nodes");
    QVERIFY(nodes != nullptr && nodes->contains("running"));
    QCOMPARE(find(events, "checkpoint")->at("iteration").get<int>(), 2);
    QCOMPARE(events.back().at("event"), Json("end"));
    QCOMPARE(events.back().at("state"), Json("done"));
    QCOMPARE(events.back().at("exit").get<int>(), 0);
    const auto last_nodes = std::find_if(events.rbegin(), events.rend(), [](const Json& event) {
      return event.at("event") == "nodes" && event.contains("nodes");
    });
    for (const Json& node : last_nodes->at("nodes")) {
      if (node.at("node") == "rollout") QCOMPARE(node.at("firings").get<int>(), 4);
    }
  }

  void aBrokenGraphHasStatusThree() {
    const Finished finished = run({"broken.json"});
    QCOMPARE(finished.status, 3);
    QVERIFY2(finished.err.contains("error[type-mismatch]: broken.json: adv.rewards"),
             finished.err.constData());
    QVERIFY(finished.out.isEmpty());
    QVERIFY(!QDir(folder()).exists("runs/broken"));
    // No file, a folder, no JSON: one status, whichever command reads it.
    write_all(file("nojson.json"), "{");
    for (const QString& graph : {QString("none.json"), folder(), QString("nojson.json")}) {
      QCOMPARE(run({graph}).status, 3);
      QCOMPARE(run_program({"graph", graph, "--dot", "-"}, folder()).status, 3);
      QCOMPARE(run_program({"check", graph}, folder()).status, 3);
    }
    const Finished stream = run({"broken.json", "--json"});
    QCOMPARE(stream.status, 3);
    QCOMPARE(find(stream.lines(), "problem")->at("code"), Json("type-mismatch"));
    QCOMPARE(stream.lines().back().at("state"), Json("refused"));
  }

  void aFailingRunHasStatusOneAndSaysHowToGoOn() {
    const Finished finished = run({"failing.json"});
    QCOMPARE(finished.status, 1);
    QVERIFY2(finished.err.contains("actor, iteration 0"), finished.err.constData());
    QVERIFY(finished.err.contains("cannot be rotated in pairs"));
    QVERIFY2(finished.out.contains("rewardloom run --resume runs/failing-"),
             finished.out.constData());
    const Finished quiet = run({"failing.json", "--quiet"});
    QVERIFY(quiet.err.contains("--resume"));
    const auto events = run({"failing.json", "--json"}).lines();
    QCOMPARE(events.back().at("state"), Json("failed"));
    QVERIFY(events.back().contains("problem"));
  }

  void parametersAreSet() {
    const auto events = run({"small.json", "--json", "--set", "rollout.group_size=2", "--set",
                             "tasks.batch=3", "--iterations", "1", "--seed", "7", "--threads", "1"})
                            .lines();
    QCOMPARE(events.front().at("seed").get<int>(), 7);
    QCOMPARE(events.front().at("threads").get<int>(), 1);
    QCOMPARE(metrics_of(events).at("measure/rows"), std::vector<double>{6});
    const Json saved = Json::parse(read_all(folder_in(events) + "/graph.json").toStdString());
    QCOMPARE(saved.at("nodes").at("tasks").at("params").at("batch").get<int>(), 3);
  }

  void resumedHalvesEqualTheWhole() {
    const auto whole = run({"small.json", "--json", "--iterations", "4"}).lines();
    const auto first = run({"small.json", "--json", "--iterations", "2"}).lines();
    const auto second = run({"--json", "--resume", folder_in(first), "--iterations", "4"}).lines();
    QCOMPARE(second.front().at("first").get<int>(), 2);
    auto joined = metrics_of(first);
    for (const auto& [name, values] : metrics_of(second)) {
      joined[name].insert(joined[name].end(), values.begin(), values.end());
    }
    const auto expected = metrics_of(whole);
    QVERIFY(expected.contains("update/grad_norm") || expected.size() > 3);
    for (const auto& [name, values] : expected) {
      if (name.find("seconds") != std::string::npos || name.find("per_second") != std::string::npos)
        continue;
      QVERIFY2(joined[name] == values, name.c_str());
    }
  }

  void aRunResumesFromACheckpointOfItsOwn() {
    const auto events = run({"small.json", "--json"}).lines();
    const QString run_folder = folder_in(events);
    const auto again = run({"--json", "--resume", run_folder + "/checkpoints/000002/"}).lines();
    QCOMPARE(again.front().at("first").get<int>(), 2);
    QCOMPARE(again.back().at("completed").get<int>(), 4);
    QCOMPARE(run({"--resume", run_folder + "/checkpoints/000099"}).status, 2);
    // The same graph may be named, another one may not.
    QCOMPARE(run({"small.json", "--quiet", "--resume", run_folder}).status, 0);
    const Finished other = run({"failing.json", "--resume", run_folder});
    QCOMPARE(other.status, 2);
    QVERIFY(other.err.contains("graph-changed"));
    // Asking for less undoes nothing; a graph that was edited in the folder is not taken.
    const Finished less = run({"--resume", run_folder, "--iterations", "2"});
    QCOMPARE(less.status, 0);
    QVERIFY2(!less.out.contains("of 2"), less.out.constData());
    QByteArray graph = read_all(run_folder + "/graph.json");
    graph.replace("\"group_size\": 4", "\"group_size\": 2");
    write_all(run_folder + "/graph.json", graph);
    const Finished edited = run({"--resume", run_folder});
    QCOMPARE(edited.status, 2);
    QVERIFY2(edited.err.contains("rollout.group_size is 2, in the run it is 4"),
             edited.err.constData());
  }

  void aKilledRunRepeatsWhatWasSet() {
    const QStringList arguments = {"small.json", "--iterations", "1000000", "--set",
                                   "settings.checkpoint_every=1000"};
    LiveRun live(arguments, folder());
    const QString run_folder =
        QString::fromStdString(live.next("start").at("folder").get<std::string>());
    live.say("pause");
    const auto at = live.next("paused").at("iteration").get<std::int64_t>();
    live.say("set update.learning_rate=0.5");
    QVERIFY(live.next("command").contains("command"));
    live.say("resume");
    for (int i = 0; i < 3; ++i) QVERIFY(live.next("metrics").contains("values"));
    live.kill();
    QCOMPARE(
        run({"--quiet", "--resume", run_folder, "--iterations", QString::number(at + 4)}).status,
        0);
    const auto rate = RunReader(run_folder.toStdString()).metric("update/actor/lr");
    QCOMPARE(rate.size(), static_cast<std::size_t>(at + 4));
    for (const MetricPoint& point : rate) {
      QCOMPARE(point.value, point.iteration < at ? 1e-3 : 0.5);
    }
    const auto sets = RunReader(run_folder.toStdString()).events("set");
    QCOMPARE(sets.size(), std::size_t{1});
    QCOMPARE(sets[0].iteration, at);
  }

  void recordedSamplesOfBranchesDoNotDependOnThreads() {
    Json graph = Json::parse(kSmallGraph);
    Json body = {{"parameters", {{"lr", 0.001}}}, {"nodes", graph["nodes"]}};
    body["nodes"]["update"]["params"]["learning_rate"] = "$lr";
    body["outputs"] = {{"metrics", "measure.metrics"}};
    graph["subgraphs"]["b"] = body;
    graph["nodes"] = {
        {"s",
         {{"type", "flow.sweep"},
          {"params", {{"body", "b"}, {"vary", "lr"}, {"values", Json::array({0.0, 0.05})}}}}}};
    write_all(file("sweep.json"), QByteArray::fromStdString(graph.dump()));
    std::vector<std::vector<std::string>> seen;
    for (const char* threads : {"1", "2"}) {
      const auto events =
          run({"sweep.json", "--json", "--iterations", "12", "--threads", threads}).lines();
      RunReader reader(folder_in(events).toStdString());
      auto& rows = seen.emplace_back();
      std::map<std::pair<std::int64_t, std::int64_t>, std::string> text;
      for (const SampleRow& row : reader.samples({.limit = 100000}).rows) {
        rows.push_back(row.node + row.port + std::to_string(row.row) + row.data);
        // One answer, whichever port shows it.
        const Json data = Json::parse(row.data);
        const std::string completion = data.at("completion");
        const auto [it, is_new] =
            text.emplace(std::pair(data.at("batch").get<std::int64_t>(), row.row), completion);
        QCOMPARE(it->second, completion);
      }
      for (const std::string& name : reader.metric_names()) {
        QVERIFY2(name.find('[') == name.rfind('['), name.c_str());
      }
      QVERIFY(!reader.histograms("s[lr=0.05]/check", "rewards", "check").empty());
    }
    QVERIFY(seen[0].size() > 100);
    QVERIFY(seen[0] == seen[1]);
  }

  void aResumedRunTakesNewParameters() {
    const auto first = run({"small.json", "--json", "--iterations", "1"}).lines();
    const auto second =
        run({"--json", "--resume", folder_in(first), "--iterations", "2", "--set", "tasks.batch=2"})
            .lines();
    QCOMPARE(metrics_of(second).at("measure/rows"), std::vector<double>{8});
  }

  void commandsAreObeyed() {
    LiveRun live({"small.json", "--iterations", "1000000"}, folder());
    QVERIFY(live.next("start").contains("folder"));
    live.say("pause");
    const Json paused = live.next("paused");
    QVERIFY(paused.contains("iteration"));
    live.say(R"({"command": "set", "assignment": "rollout.group_size=2"})");
    QVERIFY(live.next("command").contains("command"));
    live.say("step");
    QCOMPARE(live.next("metrics").at("values").at("measure/rows").get<double>(), 8.0);
    QVERIFY(live.next("paused").contains("iteration"));
    live.say("checkpoint");
    live.say("resume");
    QVERIFY(live.next("checkpoint").contains("folder"));
    live.say("stop");
    const Json end = live.next("end");
    QCOMPARE(end.at("state"), Json("interrupted"));
    const std::string resume = end.at("resume").get<std::string>();
    QVERIFY(resume.starts_with("rewardloom run --resume "));
    QVERIFY2(resume.find('(') == std::string::npos, resume.c_str());
    QCOMPARE(end.at("resume_after"), end.at("completed"));
    QCOMPARE(live.status(), 130);
  }

  void unknownCommandsAreErrorsNotEnds() {
    LiveRun live({"small.json", "--iterations", "1000000"}, folder());
    live.next("start");
    live.say("paus");
    const Json error = live.next("error");
    QCOMPARE(error.at("problem").at("code"), Json("unknown-command"));
    QVERIFY(error.at("problem").at("help").get<std::string>().find("pause") != std::string::npos);
    for (const char* wrong : {"{\"command\": 3}", "{broken", "set", "pause now",
                              "set tasks.digit=1", "set tasks.digits=0"}) {
      live.say(wrong);
      QCOMPARE(live.next("error").at("command"), Json(wrong));
    }
    QVERIFY(live.next("metrics").contains("iteration"));
    live.say("stop");
    QCOMPARE(live.status(), 130);
  }

  void anInterruptedRunLeavesACheckpoint() {
    LiveRun live({"small.json", "--iterations", "1000000", "--set", "settings.checkpoint_every=0"},
                 folder());
    const QString run_folder =
        QString::fromStdString(live.next("start").at("folder").get<std::string>());
    live.next("metrics");
    live.interrupt();
    const Json end = live.next("end");
    QCOMPARE(end.at("state"), Json("interrupted"));
    QCOMPARE(end.at("exit").get<int>(), 130);
    QCOMPARE(live.status(), 130);
    const QString name =
        QStringLiteral("%1").arg(end.at("completed").get<int>(), 6, 10, QLatin1Char('0'));
    QVERIFY2(QDir(run_folder + "/checkpoints/" + name).exists(), qPrintable(name));
    QCOMPARE(run({"--quiet", "--resume", run_folder, "--iterations",
                  QString::number(end.at("completed").get<int>() + 1)})
                 .status,
             0);
  }

  void aSecondInterruptEndsAtOnce() {
    // Long iterations: the first signal waits for the end of one.
    LiveRun live({"small.json", "--iterations", "1000000", "--set", "tasks.batch=4000", "--set",
                  "rollout.group_size=64"},
                 folder());
    live.next("start");
    live.interrupt();
    QVERIFY(live.next("stopping").contains("iteration"));
    live.interrupt();
    QCOMPARE(live.status(), 130);
    QVERIFY(live.next("end").empty());
  }

  void aRunTakesCommandsFromItsFolder() {
    QProcess other;
    const QString run_folder = startForPipe(other);
    QVERIFY(!run_folder.isEmpty());
    QCOMPARE(modeOf(run_folder + "/control"), mode_t{S_IFIFO | 0600});
    QVERIFY(say(run_folder, "nonsense\npause\n"));  // one that is none does no harm
    RunReader reader(run_folder.toStdString());
    QTRY_COMPARE_WITH_TIMEOUT(reader.events("paused").size(), 1U, 20000);
    QTest::qWait(1000);
    const auto held = reader.last_recorded_iteration();
    QTest::qWait(500);
    QCOMPARE(reader.last_recorded_iteration(), held);
    QVERIFY(say(run_folder, "step\n"));
    QTRY_COMPARE_WITH_TIMEOUT(reader.events("paused").size(), 2U, 20000);
    // The store is written behind the run.
    QTRY_COMPARE_WITH_TIMEOUT(*reader.last_recorded_iteration(), *held + 1, 20000);
    QTest::qWait(500);
    QCOMPARE(*reader.last_recorded_iteration(), *held + 1);
    QVERIFY(say(run_folder, "{\"command\": \"resume\"}\n"));
    QTRY_VERIFY_WITH_TIMEOUT(reader.last_recorded_iteration() > *held + 1, 20000);
    QVERIFY(say(run_folder, "stop\n"));
    QVERIFY(other.waitForFinished(kPatience));
    QCOMPARE(other.exitCode(), 130);
    QVERIFY(!QFile::exists(run_folder + "/control"));
    QVERIFY(!QDir(run_folder + "/checkpoints").isEmpty());
  }

  void aSecondStopThereEndsAtOnce() {
    QProcess other;
    const QString run_folder =
        startForPipe(other, {"--set", "tasks.batch=4000", "--set", "rollout.group_size=64"});
    QVERIFY(!run_folder.isEmpty());
    QVERIFY(say(run_folder, "stop\nstop\n"));
    QVERIFY(other.waitForFinished(kPatience));
    QCOMPARE(other.exitCode(), 130);
    QVERIFY(QDir(run_folder + "/checkpoints").isEmpty());
  }

  void aKilledRunsPipeServesTheNextOne() {
    QProcess killed;
    const QString run_folder = startForPipe(killed);
    QVERIFY(!run_folder.isEmpty());
    QTRY_VERIFY_WITH_TIMEOUT(!QDir(run_folder + "/checkpoints").isEmpty(), 20000);
    killed.kill();
    QVERIFY(killed.waitForFinished(kPatience));
    QVERIFY(!say(run_folder, "pause\n"));  // nobody hears
    QProcess next;
    prepare(next, {"run", "--quiet", "--resume", run_folder, "--iterations", "1000000"}, folder());
    next.start();
    // Said once: a second stop would end it at once.
    QVERIFY(QTest::qWaitFor([&] { return say(run_folder, "stop\n"); }, 20000));
    QVERIFY(next.waitForFinished(kPatience));
    QCOMPARE(next.exitCode(), 130);
    QVERIFY(!QFile::exists(run_folder + "/control"));
  }

  void whatIsNoPipeIsLeftAlone() {
    QProcess first;
    const QString run_folder = startForPipe(first);
    QVERIFY(say(run_folder, "stop\n"));
    QVERIFY(first.waitForFinished(kPatience));
    write_all(run_folder + "/control", "stop\n");
    const int done =
        Json::parse(read_all(run_folder + "/run.json").toStdString()).at("completed").get<int>();
    QCOMPARE(
        run({"--quiet", "--resume", run_folder, "--iterations", QString::number(done + 2)}).status,
        0);
    QCOMPARE(read_all(run_folder + "/control"), QByteArray("stop\n"));
  }

  void aRunThatNobodyHearsStops() {
    QProcess shell;
    shell.setWorkingDirectory(folder());
    shell.start("bash",
                {"-c", "set -o pipefail; '" REWARDLOOM_PROGRAM
                       "' run small.json --iterations 1000000 --json < /dev/null | head -n 3"});
    QVERIFY(shell.waitForFinished(kPatience));
    QCOMPARE(shell.readAllStandardOutput().count('\n'), 3);
    QCOMPARE(shell.exitCode(), 130);
  }
};

REWARDLOOM_TEST(TestRunCommand)
#include "test_run_command.moc"
