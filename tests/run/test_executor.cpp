// The executor: order, state, failures, deadlines, caching, bodies, memory.
#include <oneapi/tbb/task_arena.h>
#include <sys/resource.h>

#include <fstream>

#include "engine/run/breakpoints.h"
#include "engine/run/run.h"
#include "tests/qt_test.h"
#include "tests/run/test_nodes.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

std::string failure_of(Bench& bench, std::int64_t iterations = 1) {
  try {
    bench.iterate(iterations);
  } catch (const Failure& failure) {
    return format(failure.problem());
  }
  return "no failure";
}

std::string name_of(int i) { return "n" + std::to_string(i); }

/// Values of 10 MB that pass through `length` nodes.
std::string bulk_chain(int length) {
  Json nodes;
  for (int i = 0; i < length; ++i) {
    nodes[name_of(i)] = {{"type", "test.bulk"}};
    if (i > 0) nodes[name_of(i)]["inputs"] = {{"from", name_of(i - 1) + ".latents"}};
  }
  return Json{{"rewardloom", 1}, {"name", "x"}, {"nodes", nodes}}.dump();
}

/// A web of sums, all of which are added to a counter.
std::string many_sums(int count) {
  Json nodes{{"a", {{"type", "test.constant"}}}, {"c", {{"type", "test.counter"}}}};
  Json all = Json::array();
  for (int i = 0; i < count; ++i) {
    Json from = Json::array({"a.value"});
    if (i > 3) from.push_back(name_of(i - 1 - i % 3) + ".sum");
    nodes[name_of(i)] = {{"type", "test.sum"}, {"inputs", {{"values", from}}}};
    all.push_back(name_of(i) + ".sum");
  }
  nodes["s"] = {{"type", "test.sum"}, {"inputs", {{"values", all}}}};
  nodes["add"] = {{"type", "test.add"}, {"inputs", {{"handle", "c.handle"}, {"amount", "s.sum"}}}};
  return Json{{"rewardloom", 1}, {"name", "x"}, {"nodes", nodes}}.dump();
}

double resident_megabytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) * 4096e-6;
}

}  // namespace

class TestExecutor : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { prepare_process(); }

  void valuesFlow() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "a":{"type":"test.constant","params":{"number":2}},
      "b":{"type":"test.constant","params":{"number":3}},
      "s":{"type":"test.sum","inputs":{"values":["a.value","b.value"]}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"s.sum"}}}})");
    bench.iterate(3);
    QCOMPARE(bench.ear.metrics.at({2, "add/value"}), 15.0);
  }

  void pureNodesFireOnceWhileTheirInputsStay() {
    Journaling journal;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "a":{"type":"test.constant"},
      "s":{"type":"test.sum","inputs":{"values":["a.value"]}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"s.sum"}}}})");
    bench.iterate(5);
    QCOMPARE(journal.count("a"), std::int64_t{1});
    QCOMPARE(journal.count("s"), std::int64_t{5});
    QCOMPARE(bench.ear.metrics.at({4, "add/value"}), 5.0);
  }

  void readersThatAreNotDownstreamSeeTheStart() {
    for (int round = 0; round < 50; ++round) {
      Journaling journal;
      Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
        "c":{"type":"test.counter"},
        "add":{"type":"test.add","inputs":{"handle":"c.handle"}},
        "before":{"type":"test.read","inputs":{"handle":"c.handle"}},
        "after":{"type":"test.read","inputs":{"handle":"c.handle","after":"add.value"}},
        "end":{"type":"test.sum","inputs":{"values":["before.value","after.value"]}}}})");
      bench.iterate(2);
      QCOMPARE(bench.ear.metrics.at({0, "before/value"}), 0.0);
      QCOMPARE(bench.ear.metrics.at({0, "after/value"}), 1.0);
      QCOMPARE(bench.ear.metrics.at({1, "before/value"}), 1.0);
      QCOMPARE(bench.ear.metrics.at({1, "after/value"}), 2.0);
    }
  }

  void independentNodesRunAtTheSameTime() {
    Meet::present() = 0;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "a":{"type":"test.meet"},
      "b":{"type":"test.meet"},
      "s":{"type":"test.sum","inputs":{"values":["a.value","b.value"]}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"s.sum"}}}})");
    oneapi::tbb::task_arena arena(2);
    arena.execute([&] { bench.iterate(); });
    QCOMPARE(bench.ear.metrics.at({0, "add/value"}), 2.0);
  }

  void aFailureNamesNodeAndIteration() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "f":{"type":"test.fragile","params":{"failures":1}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"f.value"}}}})");
    QCOMPARE(failure_of(bench),
             std::string("error[node-failed]: test.json: f, iteration 0\n  broken on purpose"));
  }

  void retriesAreCounted() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "f":{"type":"test.fragile","params":{"failures":2},"on_error":{"policy":"retry","attempts":3}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"f.value"}}}})");
    bench.iterate();
    QCOMPARE(bench.ear.metrics.at({0, "add/value"}), 1.0);
    QCOMPARE(bench.ear.problems.size(), std::size_t{2});
    QCOMPARE(bench.ear.problems[0].code, std::string("node-retried"));
  }

  void tooFewRetriesFail() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "f":{"type":"test.fragile","params":{"failures":3},"on_error":{"policy":"retry","attempts":3}},
      "s":{"type":"test.sum","inputs":{"values":["f.value"]}}}})");
    QVERIFY(failure_of(bench).starts_with("error[node-failed]"));
  }

  void aSkippedNodeSkipsWhatNeedsIt() {
    Journaling journal;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "f":{"type":"test.fragile","params":{"failures":1},"on_error":{"policy":"skip"}},
      "s":{"type":"test.sum","inputs":{"values":["f.value"]}},
      "c":{"type":"test.counter"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"s.sum"}}}})");
    bench.iterate(2);
    QCOMPARE(journal.count("s"), std::int64_t{1});
    QCOMPARE(bench.ear.metrics.at({1, "add/value"}), 2.0);
  }

  void failedRowsStopOrAreCounted() {
    const std::string text = R"({"rewardloom":1,"name":"x","nodes":{
      "f":{"type":"test.fragile","params":{"bad_rows":3}%s},
      "s":{"type":"test.sum","inputs":{"values":["f.value"]}}}})";
    const auto with = [&](const std::string& policy) {
      std::string out = text;
      return out.replace(out.find("%s"), 2, policy);
    };
    Bench strict(with(""));
    QVERIFY(failure_of(strict).find("row 0: no answer") != std::string::npos);
    Bench lenient(with(R"(,"on_error":{"policy":"skip_row"})"));
    lenient.iterate();
    QCOMPARE(lenient.ear.metrics.at({0, "f/failed_rows"}), 3.0);
  }

  void aRewardThatIsNoNumberIsNamed() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "r":{"type":"test.rewards","params":{"bad":2,"at":1}}}})");
    QVERIFY(failure_of(bench, 3).starts_with(
        "error[not-finite]: test.json: r.rewards, iteration 1\n  row 2 is not a finite number"));
  }

  void aLateNodeIsNamedWithWhoWaits() {
    WatchdogOptions watch;
    watch.period = 0.01;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "slow":{"type":"test.sum","params":{"sleep":0.3},"deadline":0.05},
      "next":{"type":"test.sum","inputs":{"values":["slow.sum"]}},
      "last":{"type":"test.sum","inputs":{"values":["slow.sum","next.sum"]}}}})",
                watch);
    const std::string failure = failure_of(bench);
    QVERIFY2(failure.starts_with("error[node-deadline]: test.json: slow, iteration 0"),
             failure.c_str());
    const std::vector<Problem> problems = bench.ear.heard();
    QCOMPARE(problems.size(), std::size_t{1});
    const Problem& problem = problems[0];
    QCOMPARE(problem.where.node, std::string("slow"));
    QVERIFY(problem.text.find("waiting for it: next and last") != std::string::npos);
  }

  void aNodeThatNeverGivesUpIsReportedAsHung() {
    std::atomic<bool> hung{false};
    WatchdogOptions watch;
    watch.period = 0.01;
    watch.grace = 0.05;
    watch.hung = [&](const Problem& problem) {
      if (problem.code == "node-hung") hung = true;
    };
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "slow":{"type":"test.sum","params":{"sleep":0.4},"deadline":0.05}}})",
                watch);
    failure_of(bench);
    QVERIFY(hung);
  }

  /// A person looks at a node inside a container that has a deadline.
  void timeInWhichABodyIsHeldDoesNotCount() {
    Breakpoints breakpoints;
    std::atomic<bool> stopped{false}, hung{false};
    breakpoints.stopped = [&](const std::string&, const std::string&, std::int64_t) {
      stopped = true;
    };
    breakpoints.add(Breakpoint::parse("loop/d"));
    WatchdogOptions watch;
    watch.period = 0.01;
    watch.grace = 0.05;
    watch.patience = 0.2;
    watch.hung = [&](const Problem&) { hung = true; };
    watch.held = [&] { return breakpoints.held_nanoseconds(); };
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "c":{"type":"test.counter"},
      "loop":{"type":"test.again","params":{"body":"inner","times":2},"deadline":0.3,
              "inputs":{"policy":"c.handle"}}},
      "subgraphs":{"inner":{"inputs":{"policy":"Policy"},
        "nodes":{"d":{"type":"test.draw"},
                 "add":{"type":"test.add","inputs":{"handle":"inputs.policy","amount":"d.value"}}},
        "outputs":{"value":"add.value"}}}})",
                watch);
    bench.environment.breakpoints = &breakpoints;
    std::string failure;
    std::thread run([&] { failure = failure_of(bench); });
    QTRY_VERIFY(stopped);
    QTest::qWait(600);
    breakpoints.clear();
    breakpoints.release();
    run.join();
    QCOMPARE(failure, std::string("no failure"));
    QVERIFY(bench.ear.heard().empty());
    QVERIFY(!hung);
    std::vector<NodeRow> rows;
    bench.runtime->add_node_rows(rows, 0);
    for (const NodeRow& row : rows) QVERIFY2(row.seconds < 0.3, row.node.c_str());
  }

  void whatTakesLongestIsBegunFirst() {
    Journaling journal;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "short":{"type":"test.sum"},
      "long":{"type":"test.sum","params":{"sleep":0.02}},
      "first":{"type":"test.sum","params":{"sleep":0.01}},
      "second":{"type":"test.sum","params":{"sleep":0.04},"inputs":{"values":["first.sum"]}}}})");
    oneapi::tbb::task_arena arena(1);
    arena.execute([&] { bench.iterate(2); });
    const std::vector<std::string> all = journal.lines();
    QCOMPARE(std::vector<std::string>(all.begin() + 4, all.end()),
             (std::vector<std::string>{"first", "second", "long", "short"}));
  }

  void aPatientWatchdogStillReports() {
    WatchdogOptions watch;
    watch.period = 0.01;
    watch.patience = 0.05;
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "slow":{"type":"test.sum","params":{"sleep":0.3}}}})",
                watch);
    bench.iterate();
    QCOMPARE(bench.ear.heard().size(), std::size_t{1});
    QCOMPARE(bench.ear.heard()[0].code, std::string("node-slow"));
  }

  void bodiesShareStateAndSeeTheirOwnIterations() {
    Bench bench(R"({"rewardloom":1,"name":"x","nodes":{
      "c":{"type":"test.counter"},
      "loop":{"type":"test.again","params":{"body":"inner","times":3},"inputs":{"policy":"c.handle"}}},
      "subgraphs":{"inner":{"inputs":{"policy":"Policy"},
        "nodes":{"d":{"type":"test.draw"},
                 "add":{"type":"test.add","inputs":{"handle":"inputs.policy","amount":"d.value"}}},
        "outputs":{"value":"add.value"}}}})");
    bench.iterate(2);
    double expected = 0;
    for (std::uint64_t i = 0; i < 6; ++i) {
      expected += Random({7, hash_name("loop/d"), i}).uniform();
    }
    QCOMPARE(bench.ear.metrics.at({1, "loop/add/value"}), expected);
  }

  void stateComesBackFromAStore() {
    const std::string text = R"({"rewardloom":1,"name":"x","nodes":{
      "c":{"type":"test.counter"},"d":{"type":"test.draw"},
      "add":{"type":"test.add","inputs":{"handle":"c.handle","amount":"d.value"}}}})";
    Bench whole(text);
    whole.iterate(6);
    Bench first(text);
    first.iterate(3);
    Bench second(text);
    second.states.restore(first.states.save());
    second.iteration = 3;
    second.iterate(3);
    for (std::int64_t i = 3; i < 6; ++i) {
      QCOMPARE(second.ear.metrics.at({i, "add/value"}), whole.ear.metrics.at({i, "add/value"}));
    }
    QCOMPARE(second.states.save().at("c/counter").meta.at("weight_version"), Json(6));
  }

  void valuesAreFreedAfterTheirLastReader() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    QSKIP("the sanitizer keeps freed memory");
#endif
    const double base = resident_megabytes();
    Bench bench(bulk_chain(200));
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    bench.iterate(2);
    getrusage(RUSAGE_SELF, &after);
    const double peak = static_cast<double>(after.ru_maxrss) / 1024;
    QVERIFY2(peak - std::max(base, static_cast<double>(before.ru_maxrss) / 1024) < 60,
             std::to_string(peak - base).c_str());
  }

  void manyFiringsLoseNothing() {
    const std::string text = many_sums(500);
    double one = 0;
    for (const int threads : {1, 2, 4}) {
      Bench bench(text);
      oneapi::tbb::task_arena arena(threads);
      arena.execute([&] { bench.iterate(20); });
      const double value = bench.ear.metrics.at({19, "add/value"});
      if (threads == 1) one = value;
      QCOMPARE(value, one);
    }
    QVERIFY(one > 0);
  }
};

REWARDLOOM_TEST(TestExecutor)
#include "test_executor.moc"
