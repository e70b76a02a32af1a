#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <thread>

#include "engine/core/json.h"
#include "engine/io/run_reader.h"
#include "engine/io/run_store.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

namespace {

void run_sql(const std::filesystem::path& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  sqlite3_open(path.c_str(), &handle);
  char* error = nullptr;
  if (sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error) != SQLITE_OK) {
    qWarning("%s: %s", sql.c_str(), error);
  }
  sqlite3_free(error);
  sqlite3_close(handle);
}

HistogramRow histogram(std::int64_t iteration, const std::string& component = "total") {
  HistogramRow row{iteration, "check", "rewards", component, {}};
  row.distribution.count = 5;
  row.distribution.absent = 2;
  row.distribution.nonfinite = 1;
  row.distribution.mean = 0.1;
  row.distribution.std = 0.25;
  row.distribution.min = -1;
  row.distribution.max = 1;
  row.distribution.quantiles = {-1, -0.9, -0.5, 0, 0.5, 0.9, 1};
  row.distribution.lo = -1;
  row.distribution.hi = 1;
  row.distribution.bins = {2, 0, 3'000'000'000, 5'000'000'000};
  return row;
}

void fill(RunStore& store, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i <= last; ++i) {
    store.add(MetricRow{i, "reward/mean", static_cast<double>(i) / 10});
    store.add(MetricRow{i, "loss", -static_cast<double>(i)});
    store.add(histogram(i));
    store.add(histogram(i, "format"));
    for (std::int64_t row = 0; row < 3; ++row) {
      store.add(SampleRow{i, "check", "rewards", row, "{\"reward\":" + std::to_string(row) + "}"});
    }
    store.add(EventRow{i, "checkpoint", "", "{\"bytes\":7}", 1000.5 + static_cast<double>(i)});
    store.add(AlarmRow{i, "adv", "rewards", "no-spread", "all equal", "sample more",
                       Severity::warning, 5});
    store.add(NodeRow{"adv", "advantage.group", i, i + 1, 0.5, 0.25, 1, 64});
  }
}

}  // namespace

class TestRunStore : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void every_row_comes_back() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    fill(store, 0, 4);
    store.commit();
    RunReader reader(folder.path());
    QCOMPARE(reader.schema_version(), RunStore::schema_version);
    QCOMPARE(reader.last_iteration().value(), 4);
    QCOMPARE(reader.metric_names(), (std::vector<std::string>{"loss", "reward/mean"}));
    const std::vector<MetricPoint> series = reader.metric("reward/mean", {2, 3});
    QCOMPARE(series.size(), 2u);
    QCOMPARE(series[1].iteration, 3);
    QCOMPARE(series[1].value, 0.3);
    QCOMPARE(reader.metrics({4, 9}).size(), 2u);
    QCOMPARE(reader.latest_metrics().at(0).name, std::string("loss"));
    QCOMPARE(reader.latest_metrics().at(0).value, -4.0);
    const std::vector<NodeRow> nodes = reader.nodes();
    QCOMPARE(nodes.size(), 1u);
    QCOMPARE(nodes[0].type, std::string("advantage.group"));
    QCOMPARE(nodes[0].firings, 5);
    QCOMPARE(nodes[0].waiting_seconds, 0.25);
    QCOMPARE(nodes[0].bytes, 64);
    const std::vector<EventRow> events = reader.events("checkpoint", {1, 1});
    QCOMPARE(events.size(), 1u);
    QCOMPARE(events[0].data, std::string("{\"bytes\":7}"));
    QCOMPARE(events[0].time, 1001.5);
    QVERIFY(reader.events("nothing").empty());
    const std::vector<AlarmRow> alarms = reader.alarms({3});
    QCOMPARE(alarms.size(), 2u);
    QCOMPARE(alarms[0].help, std::string("sample more"));
    QVERIFY(alarms[0].severity == Severity::warning);
    QVERIFY(reader.problems().empty());
  }

  void a_distribution_keeps_every_number() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    store.add(histogram(3));
    HistogramRow nothing{4, "check", "rewards", "total", {}};
    store.add(nothing);
    store.commit();
    RunReader reader(folder / "run.db");
    const std::vector<HistogramRow> rows = reader.histograms("check", "rewards", "total");
    QCOMPARE(rows.size(), 2u);
    const Distribution expected = histogram(3).distribution;
    const Distribution& found = rows[0].distribution;
    QCOMPARE(found.count, expected.count);
    QCOMPARE(found.absent, expected.absent);
    QCOMPARE(found.nonfinite, expected.nonfinite);
    QCOMPARE(found.mean, expected.mean);
    QCOMPARE(found.std, expected.std);
    QCOMPARE(found.min, expected.min);
    QCOMPARE(found.max, expected.max);
    QVERIFY(found.quantiles == expected.quantiles);
    QCOMPARE(found.lo, expected.lo);
    QCOMPARE(found.hi, expected.hi);
    QCOMPARE(found.bins, expected.bins);
    QVERIFY(std::isnan(rows[1].distribution.mean) && rows[1].distribution.bins.empty());
    const std::vector<ProbeSummary> probes = reader.probes();
    QCOMPARE(probes.size(), 1u);
    QCOMPARE(probes[0].recorded, 2);
    QCOMPARE(probes[0].iterations.first, 3);
    QCOMPARE(probes[0].iterations.last, 4);
  }

  void nan_and_infinity_survive() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    store.add(MetricRow{0, "a", std::nan("")});
    store.add(MetricRow{1, "a", -std::numeric_limits<double>::infinity()});
    store.add(MetricRow{2, "a", 5e-324});
    store.commit();
    const std::vector<MetricPoint> series = RunReader(folder / "run.db").metric("a");
    QVERIFY(std::isnan(series.at(0).value));
    QCOMPARE(series.at(1).value, -std::numeric_limits<double>::infinity());
    QVERIFY(series.at(2).value == 5e-324);
  }

  void the_last_value_of_an_iteration_counts() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    store.add(MetricRow{0, "a", 1});
    store.add(MetricRow{0, "a", 2});
    store.commit();
    const std::vector<MetricPoint> series = RunReader(folder / "run.db").metric("a");
    QCOMPARE(series.size(), 1u);
    QCOMPARE(series[0].value, 2.0);
  }

  void samples_are_filtered_and_paged() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    fill(store, 0, 9);
    store.add(SampleRow{5, "other", "rewards", 0, "{}"});
    store.commit();
    RunReader reader(folder / "run.db");
    QCOMPARE(reader.samples({}).total, 31);
    const SamplePage page = reader.samples({"check", "rewards", {}, 28, 10});
    QCOMPARE(page.total, 30);
    QCOMPARE(page.rows.size(), 2u);
    QCOMPARE(page.rows[0].iteration, 9);
    QCOMPARE(page.rows[0].row, 1);
    const SamplePage one = reader.samples({"", "", 5, 0, 50});
    QCOMPARE(one.total, 4);
    QCOMPARE(one.rows.back().node, std::string("other"));
    QCOMPARE(one.rows[2].data, std::string("{\"reward\":2}"));
  }

  void anyone_can_query_it() {
    REQUIRE_PYTHON();
    TestFolder folder;
    RunStore store(folder / "run.db");
    fill(store, 0, 2);
    store.commit();
    const std::string printed = python(R"(
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
one = lambda sql: db.execute(sql).fetchone()
print(one('select value from meta where key=\'schema_version\'')[0], one('pragma journal_mode')[0])
print(one('select avg(value) from metrics where name=\'loss\'')[0])
mean, q25, bins = one('select mean, q25, bins from histograms '
                      'where component=\'format\' and iteration=1')
print(mean, q25, json.loads(bins))
print(one('select json_extract(data, \'$.reward\') from samples where iteration=2 and row=1')[0])
tables = db.execute('select name from sqlite_master where type=\'table\'')
print(sorted(row[0] for row in tables))
)",
                                       {qt(folder / "run.db")});
    QCOMPARE(
        printed,
        std::string("1 wal\n-1.0\n0.1 -0.5 [2, 0, 3000000000, 5000000000]\n1\n['alarms', 'events', "
                    "'histograms', 'meta', 'metrics', 'nodes', 'samples']\n"));
  }

  void readers_see_commits_of_a_live_run() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    RunReader reader(folder / "run.db");
    QVERIFY(!reader.last_iteration().has_value());
    store.add(MetricRow{0, "a", 1});
    QVERIFY(reader.metric("a").empty());
    store.commit();
    QCOMPARE(reader.metric("a").size(), 1u);
    store.add(MetricRow{1, "a", 1});
    store.rollback();
    store.commit();
    QCOMPARE(reader.metric("a").size(), 1u);
    QVERIFY(reader.problems().empty());
  }

  void a_full_batch_commits_by_itself() {
    TestFolder folder;
    RunStoreOptions options;
    options.batch_rows = 10;
    RunStore store(folder / "run.db", options);
    for (int i = 0; i < 25; ++i) store.add(MetricRow{i, "a", 0});
    QCOMPARE(RunReader(folder / "run.db").metric("a").size(), 20u);
  }

  void truncation_makes_room_for_a_resumed_run() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    fill(store, 0, 9);
    store.truncate_after(6);
    RunReader reader(folder / "run.db");
    QCOMPARE(reader.last_iteration().value(), 5);
    QCOMPARE(reader.metric("loss").size(), 6u);
    QCOMPARE(reader.histograms("check", "rewards", "format").size(), 6u);
    QCOMPARE(reader.samples({}).total, 18);
    QCOMPARE(reader.alarms().size(), 6u);
    QCOMPARE(reader.events().size(), 6u);
    QCOMPARE(reader.nodes().size(), 1u);
    fill(store, 6, 7);
    store.commit();
    QCOMPARE(reader.last_iteration().value(), 7);
  }

  void another_schema_version_is_refused_and_left_alone() {
    TestFolder folder;
    { RunStore store(folder / "run.db"); }
    run_sql(folder / "run.db", "UPDATE meta SET value = '7' WHERE key = 'schema_version'");
    const Problem problem = failure_of([&] { RunStore store(folder / "run.db"); });
    QCOMPARE(problem.code, std::string("run-store-version"));
    QVERIFY2(qt(problem.text).contains("schema version 7, this program writes version 1"),
             problem.text.c_str());
    run_sql(folder / "other.db", "CREATE TABLE t (x)");
    QCOMPARE(failure_of([&] { RunStore store(folder / "other.db"); }).code,
             std::string("run-store-version"));
  }

  void what_is_no_database_is_refused() {
    TestFolder folder;
    write_raw(folder / "run.db", std::string(5000, 'x'));
    QCOMPARE(failure_of([&] { RunStore store(folder / "run.db"); }).code,
             std::string("run-store-failed"));
    const Problem missing = failure_of([&] { RunStore store(folder / "no/run.db"); });
    QCOMPARE(missing.code, std::string("run-store-failed"));
    QVERIFY(qt(missing.text).contains("no/run.db"));
  }

  void a_killed_writer_loses_only_what_was_not_committed() {
    TestFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
      RunStore store(folder / "run.db");
      fill(store, 0, 3);
      store.commit();
      fill(store, 4, 9);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    QVERIFY(WIFSIGNALED(status));
    QCOMPARE(RunReader(folder / "run.db").last_iteration().value(), 3);
    RunStore store(folder / "run.db");
    fill(store, 4, 5);
    store.commit();
    QCOMPARE(RunReader(folder / "run.db").metric("loss").size(), 6u);
  }

  void a_full_disk_is_reported_and_nothing_committed_is_lost() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    fill(store, 0, 3);
    store.commit();
    rlimit old_limit{};
    getrlimit(RLIMIT_FSIZE, &old_limit);
    const rlimit limit{512 << 10, old_limit.rlim_max};
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const Problem problem = failure_of([&] {
      for (int i = 4; i < 100000; ++i) {
        store.add(SampleRow{i, "n", "p", 0, std::string(1000, 'x')});
        if (i % 100 == 0) store.commit();
      }
    });
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    QCOMPARE(problem.code, std::string("run-store-failed"));
    QVERIFY(qt(problem.text).contains("run.db"));
    store.rollback();
    store.add(MetricRow{4, "loss", 0});
    store.commit();
    QCOMPARE(RunReader(folder / "run.db").metric("loss").size(), 5u);
  }

  void a_reader_never_blocks_the_writer() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    std::atomic<bool> done{false};
    std::atomic<int> reads{0};
    std::atomic<bool> ordered{true};
    std::thread watcher([&] {
      RunReader reader(folder / "run.db");
      std::size_t seen = 0;
      while (!done) {
        const std::size_t now = reader.metric("loss").size();
        if (now < seen || !reader.problems().empty()) ordered = false;
        seen = now;
        ++reads;
      }
    });
    for (std::int64_t i = 0; i < 200; ++i) {
      fill(store, i, i);
      store.commit();
    }
    while (reads < 3) std::this_thread::yield();
    done = true;
    watcher.join();
    QVERIFY(ordered);
    QCOMPARE(RunReader(folder / "run.db").metric("loss").size(), 200u);
  }

  void many_metric_rows_are_quick_to_write_and_read() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    QElapsedTimer timer;
    timer.start();
    for (std::int64_t i = 0; i < 2000; ++i) {
      for (int name = 0; name < 50; ++name) {
        store.add(MetricRow{i, "metric/" + std::to_string(name), 0.5});
      }
    }
    store.commit();
    qInfo("1e5 metric rows: %lld ms", static_cast<long long>(timer.elapsed()));
    QVERIFY(timer.elapsed() < 10000);
    timer.restart();
    RunReader reader(folder / "run.db");
    QCOMPARE(reader.metric_names().size(), 50u);
    QCOMPARE(reader.latest_metrics().size(), 50u);
    QCOMPARE(reader.metric("metric/7").size(), 2000u);
    QVERIFY(timer.elapsed() < 500);
  }
};

REWARDLOOM_TEST(TestRunStore)
#include "test_run_store.moc"
