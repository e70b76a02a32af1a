// Whole runs: folders, exact resume, checkpoints, commands.
#include <QTemporaryDir>
#include <atomic>
#include <fstream>

#include "engine/graph/override.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/run_reader.h"
#include "engine/run/out_of_memory.h"
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

/// As above, with a number that a person may change: scale.number.
constexpr const char* kScaled =
    R"({"rewardloom":1,"name":"scaled","settings":{"iterations":6,"checkpoint_every":2},
  "nodes":{
    "c":{"type":"test.counter"},
    "d":{"type":"test.draw"},
    "r":{"type":"test.rewards"},
    "scale":{"type":"test.constant"},
    "both":{"type":"test.sum","inputs":{"values":["d.value","scale.value"]}},
    "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"both.sum"}}}})";

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
  std::vector<Problem> heard(const std::string& code) const {
    std::vector<Problem> found;
    for (const Problem& problem : problems) {
      if (problem.code == code) found.push_back(problem);
    }
    return found;
  }
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

void resume_as_it_was_in(const fs::path& folder, std::int64_t iterations,
                         const Registry& registry) {
  ResumedGraph graph = graph_to_resume(folder, resumed_iteration(folder));
  RunOptions options = resume_of(folder, iterations);
  options.versions = std::move(graph.versions);
  options.graph_in_file = graph.in_file;
  run(graph.document, registry, options);
}

}  // namespace

class TestRun : public QObject {
  Q_OBJECT
  const Registry registry = test_registry();
  const Document document = Document::parse(kGraph, "");
  const Document scaled = Document::parse(kScaled, "");

  void resume_as_it_was(const fs::path& folder, std::int64_t iterations) {
    resume_as_it_was_in(folder, iterations, registry);
  }

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

  void whatWasSetIsSetAgainAtItsIteration() {
    TemporaryFolder place;
    const auto with_change = [&](std::int64_t iterations) {
      Watcher watcher;
      Run run(scaled, registry, options_in(place, iterations), &watcher);
      watcher.on_iteration = [&](std::int64_t iteration) {
        if (iteration == 4) run.set("scale.number=3");
      };
      if (run.execute() != RunEnd::done) throw Failure(*run.failure());
      return run.folder();
    };
    const fs::path whole = with_change(9);
    const fs::path unchanged = run(scaled, registry, options_in(place, 9));
    QVERIFY(series(whole, "add/value") != series(unchanged, "add/value"));
    // As if killed at iteration 7: the newest checkpoint is from before the change.
    const fs::path killed = with_change(7);
    remove_checkpoints_after(killed / "checkpoints", 4);
    resume_as_it_was(killed, 9);
    QVERIFY(series(killed, "add/value") == series(whole, "add/value"));
    const auto sets = RunReader(killed).events("set");
    QCOMPARE(sets.size(), std::size_t{1});
    QCOMPARE(sets[0].iteration, std::int64_t{5});
    QCOMPARE(Json::parse(sets[0].data).at("set"), Json({"scale.number=3"}));
    // Without any checkpoint too, and from the one of the very iteration.
    remove_checkpoints_after(killed / "checkpoints", -1);
    resume_as_it_was(killed, 5);
    QVERIFY(RunReader(killed).events("set").empty());
    resume_as_it_was(killed, 9);
    QVERIFY(series(killed, "add/value") == series(whole, "add/value"));
    QCOMPARE(RunReader(killed).events("set").size(), std::size_t{1});
    QCOMPARE(read_run_info(killed).graph_hash, read_run_info(whole).graph_hash);
    remove_checkpoints_after(killed / "checkpoints", 5);
  }

  void aFolderWithoutGraphsIsResumedAndCompleted() {
    TemporaryFolder place;
    const fs::path folder = run(scaled, registry, options_in(place, 4));
    fs::remove_all(folder / "graphs");
    resume_as_it_was(folder, 6);
    const auto versions = read_graph_versions(folder);
    QCOMPARE(versions.size(), std::size_t{1});
    QCOMPARE(versions[0].from, std::int64_t{0});
    QCOMPARE(versions[0].graph_hash, read_run_info(folder).graph_hash);
    std::ofstream(folder / "graphs" / "000000.json") << "{";
    QVERIFY_EXCEPTION_THROWN(graph_to_resume(folder, 6), Failure);
  }

  void aChangeBeforeAnOlderOneStays() {
    TemporaryFolder place;
    Watcher watcher;
    Run first(scaled, registry, options_in(place, 6), &watcher);
    watcher.on_iteration = [&](std::int64_t iteration) {
      if (iteration == 4) first.set("scale.number=3");
    };
    QVERIFY(first.execute() == RunEnd::done);
    remove_checkpoints_after(first.folder() / "checkpoints", 4);
    ResumedGraph graph = graph_to_resume(first.folder(), 4);
    RunOptions options = resume_of(first.folder(), 6);
    options.versions = std::move(graph.versions);
    Run again(graph.document, registry, options);
    again.set("r.rows=6");
    QVERIFY(again.execute() == RunEnd::done);
    QCOMPARE(again.plan().nodes[2].params.at("rows"), Json(6));
    const auto versions = read_graph_versions(first.folder());
    QCOMPARE(versions.size(), std::size_t{3});
    QCOMPARE(versions[1].from, std::int64_t{4});
    QCOMPARE(versions[2].graph.node("r")->params.at("rows"), Json(6));
    QCOMPARE(versions[2].graph.node("scale")->params.at("number"), Json(3));
  }

  void anEditedGraphIsRefusedWithWhatDiffers() {
    TemporaryFolder place;
    const fs::path folder = run(scaled, registry, options_in(place, 4));
    Document edited = Document::load(folder / "graph.json");
    edited.settings["checkpoint_every"] = 1;
    edited.layout = {{"c", {1, 2}}};
    edited.save(folder / "graph.json");
    // What changes no number may be edited, and holds.
    QCOMPARE(graph_to_resume(folder, 4).document.settings.at("checkpoint_every"), Json(1));
    edited.node("scale")->params["number"] = 9;
    edited.save(folder / "graph.json");
    try {
      graph_to_resume(folder, 4);
      QFAIL("an edited graph was taken");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("graph-changed"));
      QVERIFY2(
          failure.problem().text.find("scale.number is 9, in the run it is 1") != std::string::npos,
          failure.what());
      QVERIFY(failure.problem().help.find("--set") != std::string::npos);
    }
    fs::remove(folder / "graph.json");
    resume_as_it_was(folder, 5);
    QCOMPARE(Document::load(folder / "graph.json").node("scale")->params.at("number"), Json(1.0));
  }

  void aLostHistoryIsTold() {
    TemporaryFolder place;
    const fs::path folder = run(document, registry, options_in(place, 4));
    std::int64_t iterations = 4;
    for (const bool emptied : {false, true}) {
      fs::remove(folder / "run.db");
      if (emptied) std::ofstream(folder / "run.db");
      std::ofstream(folder / "run.db-wal") << "left behind by a killed run";
      Watcher watcher;
      Run again(document, registry, resume_of(folder, iterations + 2), &watcher);
      QVERIFY(again.execute() == RunEnd::done);
      RunReader reader(folder);
      const auto events = reader.events("history-lost");
      QCOMPARE(events.size(), std::size_t{1});
      QCOMPARE(Json::parse(events[0].data).at("before").get<std::int64_t>(), iterations);
      QCOMPARE(reader.alarms().at(0).code, std::string("history-lost"));
      QCOMPARE(watcher.heard("history-lost").size(), std::size_t{1});
      // Also if the run is resumed there again.
      remove_checkpoints_after(folder / "checkpoints", iterations);
      run(document, registry, resume_of(folder, iterations + 2));
      QCOMPARE(RunReader(folder).events("history-lost").size(), std::size_t{1});
      iterations += 2;
    }
    Watcher watcher;
    Run whole(document, registry, resume_of(folder, iterations + 1), &watcher);
    QVERIFY(whole.execute() == RunEnd::done);
    QVERIFY(watcher.heard("history-lost").empty());
  }

  void lessThanWhatIsCompleteUndoesNothing() {
    TemporaryFolder place;
    const fs::path folder = run(document, registry, options_in(place, 4));
    run(document, registry, resume_of(folder, 2));
    const RunInfo info = read_run_info(folder);
    QCOMPARE(info.completed, std::int64_t{4});
    QCOMPARE(info.iterations, std::int64_t{4});
  }

  void metricsOfBreakpointsAreLookedAt() {
    TemporaryFolder place;
    Watcher watcher;
    Run run(document, registry, options_in(place, 2), &watcher);
    try {
      run.add_breakpoint("add if value > 1");
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("unknown-metric"));
      QVERIFY(failure.problem().help.find("add/value") != std::string::npos);
    }
    QVERIFY_EXCEPTION_THROWN(run.add_breakpoint("if ad/value > 1"), Failure);
    run.add_breakpoint("add if add/value > 1e9");
    run.add_breakpoint("d if add/nothing > 1");
    QVERIFY(run.execute() == RunEnd::done);
    const auto unseen = watcher.heard("breakpoint-unseen");
    QCOMPARE(unseen.size(), std::size_t{1});
    QVERIFY(unseen[0].text.find("add/nothing") != std::string::npos);
  }

  void memoryThatRunsOutIsCalledSo() {
    const auto said = [](const std::function<void()>& asks) {
      try {
        asks();
      } catch (const std::exception& error) {
        const auto memory = out_of_memory(error);
        return memory ? memory->problem() : Problem();
      }
      return Problem();
    };
    const Problem tensor = said([] { at::empty({std::int64_t{1} << 60}, at::kByte); });
    QCOMPARE(tensor.code, std::string("out-of-memory"));
    QVERIFY2(tensor.text.find("1152921504606846976 bytes") != std::string::npos,
             tensor.text.c_str());
    QVERIFY(tensor.help.find("micro_batch") != std::string::npos);
    QCOMPARE(said([] { throw std::bad_alloc(); }).code, std::string("out-of-memory"));
    const Problem device = said([] {
      TORCH_CHECK(false, "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 1 GiB free");
    });
    QCOMPARE(device.text, std::string("the device is out of memory: 2.5 GiB were asked for"));
    QVERIFY(said([] { at::ones({2}) + at::ones({3}); }).code.empty());
    QVERIFY(said([] { throw Failure("a", "out of memory"); }).code.empty());
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

  void rowsGatherAndReachTheStoreByThemselves() {
    TemporaryFolder place;
    std::atomic<int> batches{0};
    RecorderOptions options;
    options.folder = place.path();
    options.before_write = [&] { ++batches; };
    Recorder recorder(options);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 50; ++i) {
      recorder.metric(i, "m", i);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    QTRY_COMPARE_WITH_TIMEOUT(series(place.path(), "m").size(), std::size_t{50}, 5000);
    const auto taken = std::chrono::steady_clock::now() - start;
    QVERIFY2(batches <= 2 + taken / std::chrono::milliseconds(20), "a batch for every few rows");
    recorder.close();
  }
};

REWARDLOOM_TEST(TestRun)
#include "test_run.moc"
