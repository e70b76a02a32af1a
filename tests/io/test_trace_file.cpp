#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "engine/core/json.h"
#include "engine/io/trace_file.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

class TestTraceFile : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void spans_counters_and_names_are_valid_trace_events() {
    TestFolder folder;
    TraceFile trace(folder / "trace.json", 3);
    trace.name_process("rewardloom");
    trace.name_thread(1, "worker \"one\"");
    trace.add({"rollout", "node", 1, 10.5, 2.25, {{"rows", 64}}});
    trace.counter("queue", 11, 2);
    trace.instant("checkpoint", 1, 12);
    trace.close();
    const Json events = Json::parse(read_raw(folder / "trace.json"));
    QCOMPARE(events.size(), 5u);
    QCOMPARE(events[1]["args"]["name"].get<std::string>(), std::string("worker \"one\""));
    const Json span = {
        {"name", "rollout"}, {"cat", "node"}, {"ph", "X"},   {"pid", 3},
        {"tid", 1},          {"ts", 10.5},    {"dur", 2.25}, {"args", {{"rows", 64}}}};
    QCOMPARE(events[2], span);
    QCOMPARE(events[3]["ph"].get<std::string>(), std::string("C"));
    QCOMPARE(events[4]["s"].get<std::string>(), std::string("t"));
    QCOMPARE(trace.dropped(), 0u);
  }

  void nanoseconds_of_a_long_run_are_kept() {
    TestFolder folder;
    TraceFile trace(folder / "t");
    trace.add({"a", "node", 0, 86400e6 * 30 + 0.125, 0.001});
    trace.close();
    const Json events = Json::parse(read_raw(folder / "t"));
    QCOMPARE(events[0]["ts"].get<double>(), 86400e6 * 30 + 0.125);
    QCOMPARE(events[0]["dur"].get<double>(), 0.001);
  }

  void a_trace_without_events_is_an_empty_array() {
    TestFolder folder;
    { TraceFile trace(folder / "t"); }
    QCOMPARE(Json::parse(read_raw(folder / "t")), Json::array());
  }

  void a_killed_process_leaves_whole_events() {
    TestFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
      TraceFile trace(folder / "t");
      for (int i = 0; i < 20000; ++i) trace.add({"node", "node", 0, 1.0 * i, 1});
      ::kill(::getpid(), SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
    const std::string text = read_raw(folder / "t");
    QVERIFY(text.size() > 100000);
    // The array form without its end is what both viewers accept.
    QVERIFY(Json::parse(text + "]").size() > 1000);
  }

  void beyond_its_size_events_are_dropped_and_counted() {
    TestFolder folder;
    TraceFile trace(folder / "t", 0, 100'000);
    for (int i = 0; i < 10000; ++i) trace.add({"node", "node", 0, 1.0 * i, 1});
    trace.name_thread(7, "late");
    trace.close();
    const Json events = Json::parse(read_raw(folder / "t"));
    QVERIFY(std::filesystem::file_size(folder / "t") < 101'000);
    QVERIFY(trace.dropped() > 5000);
    QCOMPARE(events.size() - 2 + trace.dropped(), 10000u);
    QCOMPARE(events.back()["name"].get<std::string>(), std::string("dropped_events"));
    QCOMPARE(events.back()["args"]["count"].get<std::uint64_t>(), trace.dropped());
    QCOMPARE(events[events.size() - 2]["args"]["name"].get<std::string>(), std::string("late"));
  }

  void many_threads_may_add() {
    TestFolder folder;
    TraceFile trace(folder / "t");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&trace, t] {
        for (int i = 0; i < 2000; ++i) trace.add({"node", "node", t, 1.0 * i, 1});
      });
    }
    for (std::thread& thread : threads) thread.join();
    trace.close();
    QCOMPARE(Json::parse(read_raw(folder / "t")).size(), 8000u);
  }

  void a_full_disk_stops_the_trace_and_not_the_run() {
    TraceFile trace("/dev/full");
    trace.add({"a", "node", 0, 0, 1});
    trace.flush();
    QVERIFY(qt(trace.fault()).contains("/dev/full"));
    trace.add({"b", "node", 0, 0, 1});
    QVERIFY(trace.dropped() > 0);
    trace.close();
  }

  void a_path_that_cannot_be_made_is_named() {
    const Problem problem = failure_of([] { TraceFile trace("/nowhere/t.json"); });
    QCOMPARE(problem.code, std::string("write-failed"));
    QVERIFY(qt(problem.text).contains("/nowhere/t.json"));
  }
};

REWARDLOOM_TEST(TestTraceFile)
#include "test_trace_file.moc"
