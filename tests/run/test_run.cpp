// Whole runs: folders, exact resume, checkpoints, commands.
#include <QTemporaryDir>
#include <fstream>

#include "engine/graph/override.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/run_reader.h"
#include "engine/run/recorder.h"
#include "engine/run/run.h"
#include "tests/qt_test.h"
#include "tests/run/test_nodes.h"

using namespace rewardloom;
using namespace rewardloom::testing;
namespace fs = std::filesystem;

namespace {

constexpr const char* kGraph =
    R"({"rewardloom":1,"name":"counting","settings":{"iterations":6,"checkpoint_every":2},
  "nodes":{
    "c":{"type":"test.counter"},
    "d":{"type":"test.draw"},
    "r":{"type":"test.rewards"},
    "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"d.value"}}}})";

class Watcher final : public RunObserver {
 public:
  void metric(std::int64_t, const std::string&, double) override {}
  void problem(const Problem& problem) override { problems.push_back(problem); }
  void started(const Run&) override {}
  void iteration_done(std::int64_t iteration, double) override {
    if (on_iteration) on_iteration(iteration);
  }
  void checkpoint_written(std::int64_t, const std::string&) override { ++checkpoints; }
  void paused(bool is_paused) override {
    if (is_paused && on_pause) on_pause();
  }
  void hung(const Problem&) override {}
  std::function<void(std::int64_t)> on_iteration;
  std::function<void()> on_pause;
  std::vector<Problem> problems;
  int checkpoints = 0;
};

struct TemporaryFolder {
  QTemporaryDir temporary;
  fs::path path() const { return temporary.path().toStdString(); }
};

RunOptions options_in(const TemporaryFolder& place, std::int64_t iterations) {
  RunOptions options;
  options.parent = place.path();
  options.iterations = iterations;
  options.threads = 2;
  return options;
}

RunOptions resume_of(const fs::path& folder, std::int64_t iterations) {
  RunOptions options;
  options.folder = folder;
  options.resume = true;
  options.iterations = iterations;
  return options;
}

std::vector<std::pair<std::int64_t, double>> series(const fs::path& folder,
                                                    const std::string& name) {
  std::vector<std::pair<std::int64_t, double>> out;
  for (const auto& point : RunReader(folder).metric(name))
    out.emplace_back(point.iteration, point.value);
  return out;
}

fs::path run(const Document& document, const Registry& registry, const RunOptions& options) {
  Run run(document, registry, options);
  if (run.execute() != RunEnd::done) throw Failure(*run.failure());
  return run.folder();
}

}  // namespace

class TestRun : public QObject {
  Q_OBJECT
  const Registry registry = test_registry();
  const Document document = Document::parse(kGraph, "");

 private Q_SLOTS:
  void aRunFolderHoldsWhatTheDesignSays() {
    TemporaryFolder place;
    const fs::path folder = run(document, registry, options_in(place, 5));
    for (const char* name :
         {"graph.json", "run.json", "run.db", "trace.json", "tensorboard", "checkpoints"}) {
      QVERIFY2(fs::exists(folder / name), name);
    }
    const RunInfo info = read_run_info(folder);
    QCOMPARE(info.state, std::string("done"));
    QCOMPARE(info.completed, std::int64_t{5});
    QCOMPARE(series(folder, "add/value").size(), std::size_t{5});
    const Document saved = Document::load(folder / "graph.json");
    QCOMPARE(saved.node("r")->params.at("rows"), Json(4));
    std::ifstream trace(folder / "trace.json");
    QVERIFY(Json::parse(trace).size() >= 20);
  }

  void twoHalvesEqualTheWhole() {
    TemporaryFolder place;
    const fs::path whole = run(document, registry, options_in(place, 8));
    const fs::path half = run(document, registry, options_in(place, 4));
    run(document, registry, resume_of(half, 8));
    QVERIFY(series(half, "add/value") == series(whole, "add/value"));
    const auto states = [](const fs::path& folder) {
      const CheckpointInfo last = list_checkpoints(folder / "checkpoints").back();
      return last.files.front().checksum;
    };
    QCOMPARE(states(half), states(whole));
  }

  void aResumeFromAnOlderCheckpointForgetsWhatCameAfter() {
    TemporaryFolder place;
    const fs::path folder = run(document, registry, options_in(place, 6));
    const auto before = series(folder, "add/value");
    RunOptions options = resume_of(folder / "checkpoints" / "000004", 6);
    run(document, registry, options);
    QVERIFY(series(folder, "add/value") == before);
  }

  void aCorruptCheckpointIsNamedAndTheOneBeforeOffered() {
    TemporaryFolder place;
    const fs::path folder = run(document, registry, options_in(place, 6));
    const fs::path last = list_checkpoints(folder / "checkpoints").back().path;
    {
      std::fstream file(last / "state-0000.safetensors",
                        std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(20);
      file.put('!');
    }
    try {
      run(document, registry, resume_of(folder, 8));
      QFAIL("resumed from a corrupt checkpoint");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("checkpoint-corrupt"));
      QVERIFY(failure.problem().help.find("000004") != std::string::npos);
    }
  }

  void aFolderIsHeldByOneRunAtATime() {
    TemporaryFolder place;
    Run first(document, registry, options_in(place, 4));
    try {
      Run second(document, registry, resume_of(first.folder(), 8));
      QFAIL("two runs in one folder");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("run-in-use"));
    }
    QVERIFY(first.execute() == RunEnd::done);
    run(document, registry, resume_of(first.folder(), 8));
  }

  void aFailedRunCanBeResumed() {
    TemporaryFolder place;
    Document bad = Document::parse(kGraph, "");
    bad.node("r")->params = {{"bad", 1}, {"at", 3}};
    Run first(bad, registry, options_in(place, 6));
    QVERIFY(first.execute() == RunEnd::failed);
    QCOMPARE(first.failure()->code, std::string("not-finite"));
    QCOMPARE(*first.failure()->iteration, std::int64_t{3});
    QCOMPARE(read_run_info(first.folder()).state, std::string("failed"));
    const fs::path whole = run(document, registry, options_in(place, 6));
    run(document, registry, resume_of(first.folder(), 6));
    QVERIFY(series(first.folder(), "add/value") == series(whole, "add/value"));
  }

  void stopEndsAfterTheIterationWithACheckpoint() {
    TemporaryFolder place;
    Watcher watcher;
    Run run(document, registry, options_in(place, 1000), &watcher);
    watcher.on_iteration = [&](std::int64_t iteration) {
      if (iteration == 2) run.stop();
    };
    QVERIFY(run.execute() == RunEnd::interrupted);
    QCOMPARE(list_checkpoints(run.folder() / "checkpoints").back().iteration, std::int64_t{3});
    QCOMPARE(read_run_info(run.folder()).state, std::string("interrupted"));
  }

  void pauseAndStep() {
    TemporaryFolder place;
    Watcher watcher;
    Run run(document, registry, options_in(place, 10), &watcher);
    std::vector<std::int64_t> done;
    int pauses = 0;
    watcher.on_iteration = [&](std::int64_t iteration) { done.push_back(iteration); };
    watcher.on_pause = [&] {
      // Called with the run waiting: another thread gives the next command.
      std::thread([&, count = ++pauses] { count < 4 ? run.step() : run.stop(); }).detach();
    };
    run.pause(true);
    QVERIFY(run.execute() == RunEnd::interrupted);
    QCOMPARE(done.size(), std::size_t{3});
  }

  void setChangesAParameterBetweenIterations() {
    TemporaryFolder place;
    Watcher watcher;
    Run run(document, registry, options_in(place, 4), &watcher);
    watcher.on_iteration = [&](std::int64_t iteration) {
      if (iteration == 1) run.set("r.rows=6");
    };
    QVERIFY(run.execute() == RunEnd::done);
    RunReader reader(run.folder());
    const auto rows = reader.histograms("r", "rewards", "total");
    QCOMPARE(rows.front().distribution.count, std::int64_t{4});
    QCOMPARE(rows.back().distribution.count, std::int64_t{6});
    QVERIFY_EXCEPTION_THROWN(run.set("r.row=6"), Failure);
  }

  void aGraphThatDoesNotCheckIsRefusedWithAllProblems() {
    TemporaryFolder place;
    const Document bad = Document::parse(R"({"rewardloom":1,"name":"x","nodes":{
      "a":{"type":"test.nothing"},"b":{"type":"test.add"}}})",
                                         "");
    try {
      Run run(bad, registry, options_in(place, 1));
      QFAIL("accepted");
    } catch (const CheckFailed& failed) {
      QVERIFY(failed.problems().size() >= 2);
    }
    QVERIFY(fs::is_empty(place.path()));
  }

  void aSlowDiskDropsSamplesNeverMetrics() {
    TemporaryFolder place;
    RecorderOptions options;
    options.folder = place.path();
    options.queue_limit = 8;
    options.before_write = [] { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
    Recorder recorder(options);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 500; ++i) {
      recorder.metric(i, "m", i);
      Rewards rewards;
      rewards.total = at::ones({4});
      recorder.probe(i, "n", "p", Value::of(std::move(rewards)));
    }
    QVERIFY(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(200));
    recorder.close();
    QVERIFY(recorder.dropped_values() > 0);
    QCOMPARE(series(place.path(), "m").size(), std::size_t{500});
  }
};

REWARDLOOM_TEST(TestRun)
#include "test_run.moc"
