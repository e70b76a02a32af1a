#include <sqlite3.h>
#include <sys/mount.h>
#include <unistd.h>

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

bool names(const std::vector<Problem>& problems, const std::string& text) {
  return std::any_of(problems.begin(), problems.end(), [&](const Problem& problem) {
    return problem.text.find(text) != std::string::npos;
  });
}

// Asks everything there is to ask.
void read_all(RunReader& reader) {
  reader.last_iteration();
  reader.latest_metrics();
  reader.metrics();
  for (const ProbeSummary& probe : reader.probes()) {
    reader.histograms(probe.node, probe.port, probe.component);
    reader.histograms_at(probe.node, probe.port, 0);
  }
  for (const ProbeName& probe : reader.probe_names()) {
    reader.last_histograms(probe.node, probe.port);
    reader.samples_of(probe.node, probe.port, {}, 100000);
  }
  reader.samples_of_row(0, 0);
  reader.last_recorded_iteration();
  reader.samples({"", "", {}, 0, 100000});
  reader.alarms();
  reader.events();
  reader.nodes();
}

void write_run(const std::filesystem::path& path, int iterations = 3) {
  RunStore store(path);
  for (int i = 0; i < iterations; ++i) {
    store.add(MetricRow{i, "loss", 1.0 * i});
    HistogramRow histogram{i, "n", "p", "total", {}};
    histogram.distribution.bins = {1, 2};
    store.add(histogram);
    store.add(SampleRow{i, "n", "p", 0, "{\"text\":\"" + std::string(500, 'x') + "\"}"});
    store.add(EventRow{i, "step", "", "{}", 1});
    store.add(AlarmRow{i, "n", "", "c", "t", "", Severity::note, 1});
    store.add(NodeRow{"n", "a.b", i, 1, 0, 0, 0, 0});
  }
  store.checkpoint_log();
}

}  // namespace

class TestRunReader : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void a_missing_store_is_named() {
    TestFolder folder;
    const Problem problem = failure_of([&] { RunReader reader(folder.path()); });
    QCOMPARE(problem.code, std::string("run-store-missing"));
    QVERIFY(qt(problem.text).contains("run.db"));
  }

  void what_is_no_database_is_refused() {
    TestFolder folder;
    write_raw(folder / "run.db", std::string(5000, 'x'));
    QCOMPARE(failure_of([&] { RunReader reader(folder.path()); }).code,
             std::string("run-store-failed"));
  }

  void an_empty_file_reads_as_nothing_and_says_so() {
    TestFolder folder;
    write_raw(folder / "run.db", "");
    RunReader reader(folder.path());
    read_all(reader);
    QCOMPARE(reader.schema_version(), 0);
    for (const char* table : {"metrics", "histograms", "samples", "nodes", "events", "alarms"}) {
      QVERIFY2(names(reader.problems(), std::string("no table ") + table), table);
    }
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void tables_that_appear_later_are_found() {
    TestFolder folder;
    write_raw(folder / "run.db", "");
    RunReader reader(folder.path());
    QVERIFY(reader.metric("loss").empty());
    write_run(folder / "run.db");
    QCOMPARE(reader.metric("loss").size(), 3u);
  }

  void an_older_store_shows_what_it_has() {
    TestFolder folder;
    write_run(folder / "run.db");
    run_sql(folder / "run.db",
            "UPDATE meta SET value = '0'; ALTER TABLE alarms DROP COLUMN help; DROP TABLE samples; "
            "ALTER TABLE histograms DROP COLUMN q50");
    RunReader reader(folder.path());
    read_all(reader);
    QCOMPARE(reader.metric("loss").size(), 3u);
    QCOMPARE(reader.alarms().size(), 3u);
    QCOMPARE(reader.alarms()[0].text, std::string("t"));
    QCOMPARE(reader.alarms()[0].help, std::string());
    const std::vector<HistogramRow> rows = reader.histograms("n", "p", "total");
    QCOMPARE(rows.size(), 3u);
    QVERIFY(std::isnan(rows[0].distribution.quantiles[3]));
    QCOMPARE(rows[0].distribution.bins.size(), 2u);
    QVERIFY(names(reader.problems(), "table alarms lacks column help"));
    QVERIFY(names(reader.problems(), "table histograms lacks column q50"));
    QVERIFY(names(reader.problems(), "no table samples"));
    QCOMPARE(reader.problems().size(), 3u);
  }

  void a_newer_store_is_read_and_named() {
    TestFolder folder;
    write_run(folder / "run.db");
    run_sql(folder / "run.db", "UPDATE meta SET value = '2'; ALTER TABLE metrics ADD COLUMN unit");
    RunReader reader(folder.path());
    QCOMPARE(reader.metric("loss").size(), 3u);
    QCOMPARE(reader.schema_version(), 2);
    QVERIFY(names(reader.problems(), "schema version 2, this program knows 1"));
  }

  void a_column_that_a_query_needs_is_named() {
    TestFolder folder;
    write_run(folder / "run.db");
    run_sql(folder / "run.db", "DROP TABLE events; CREATE TABLE events (id INTEGER, kind TEXT)");
    RunReader reader(folder.path());
    QVERIFY(reader.events().empty());
    QVERIFY(names(reader.problems(), "table events lacks column iteration, so it cannot be read"));
  }

  void bins_that_are_no_counts_are_named() {
    TestFolder folder;
    write_run(folder / "run.db");
    for (const char* bins : {"[1,-2]", "oops", "[1,2", "[,]", "[1 ]"}) {
      run_sql(folder / "run.db", std::string("UPDATE histograms SET bins = '") + bins + "'");
      RunReader reader(folder.path());
      QVERIFY2(reader.histograms("n", "p", "total").at(0).distribution.bins.empty(), bins);
      QVERIFY2(names(reader.problems(), "no list of counts"), bins);
    }
  }

  // A page of zeros in the middle: reading gives rows, or names the damage, and never crashes.
  void a_damaged_store_is_read_as_far_as_it_goes() {
    TestFolder folder;
    write_run(folder / "run.db", 400);
    const std::string whole = read_raw(folder / "run.db");
    int damaged = 0;
    for (std::size_t page = 1; page < whole.size() / 4096; page += 3) {
      std::string bytes = whole;
      bytes.replace(page * 4096, 4096, std::string(4096, page % 2 == 0 ? '\0' : '\x5A'));
      write_raw(folder / "run.db", bytes);
      try {
        RunReader reader(folder.path());
        read_all(reader);
        damaged += names(reader.problems(), "in part only") ? 1 : 0;
      } catch (const Failure& failure) {
        QCOMPARE(failure.problem().code, std::string("run-store-failed"));
        ++damaged;
      }
    }
    QVERIFY(damaged > 10);
  }

  void a_cut_off_store_is_read_as_far_as_it_goes() {
    TestFolder folder;
    write_run(folder / "run.db", 400);
    const std::string whole = read_raw(folder / "run.db");
    const std::size_t step = whole.size() / 24;
    for (std::size_t size = 0; size + step <= whole.size() - step; size += step) {
      write_raw(folder / "run.db", whole.substr(0, size));
      try {
        RunReader reader(folder.path());
        read_all(reader);
        QVERIFY(!reader.problems().empty());
      } catch (const Failure& failure) {
        QCOMPARE(failure.problem().code, std::string("run-store-failed"));
      }
    }
  }

  void half_a_store_gives_what_is_in_that_half() {
    TestFolder folder;
    write_run(folder / "run.db", 4000);
    const std::string whole = read_raw(folder / "run.db");
    write_raw(folder / "run.db", whole.substr(0, whole.size() / 2));
    RunReader reader(folder.path());
    const std::size_t points = reader.metric("loss").size();
    QVERIFY2(points > 100 && points < 4000, std::to_string(points).c_str());
    QVERIFY(names(reader.problems(), "is cut off"));
    QVERIFY(names(reader.problems(), "in part only"));
    QCOMPARE(read_raw(folder / "run.db").size(), whole.size() / 2);
  }

  void ports_are_named_without_counting_their_rows() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    const auto add = [&](std::int64_t iteration, const char* node, const char* component) {
      HistogramRow row{iteration, node, "rewards", component, {}};
      row.distribution.bins = {1};
      row.distribution.count = iteration + 1;
      store.add(row);
    };
    for (std::int64_t i = 0; i < 5; ++i) {
      add(i, "a", "total");
      add(i, "b", "total");
    }
    add(0, "b", "early");
    add(7, "b", "late");
    store.commit();
    RunReader reader(folder.path());
    std::vector<std::string> found;
    for (const ProbeName& name : reader.probe_names()) {
      found.push_back(name.node + "." + name.port + "." + name.component);
    }
    QCOMPARE(found, (std::vector<std::string>{"a.rewards.total", "b.rewards.early",
                                              "b.rewards.late", "b.rewards.total"}));
    const auto last = reader.last_histograms("a", "rewards");
    QCOMPARE(last.size(), 1u);
    QCOMPARE(last[0].distribution.count, 5);
    QCOMPARE(reader.last_histograms("b", "rewards").at(0).component, std::string("late"));
    QVERIFY(reader.last_histograms("c", "rewards").empty());
  }

  void a_change_by_another_is_noticed() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    store.add(MetricRow{0, "loss", 1});
    store.add(EventRow{1, "done", "", "{}", 1});
    store.commit();
    RunReader reader(folder.path());
    const std::int64_t before = reader.change_counter();
    QCOMPARE(reader.last_iteration(), std::optional<std::int64_t>(1));
    QCOMPARE(reader.last_recorded_iteration(), std::optional<std::int64_t>(0));
    QCOMPARE(reader.change_counter(), before);
    store.add(MetricRow{3, "loss", 1});
    store.commit();
    QVERIFY(reader.change_counter() != before);
    QCOMPARE(reader.last_recorded_iteration(), std::optional<std::int64_t>(3));
  }

  void samples_of_a_row_are_those_of_every_port() {
    TestFolder folder;
    RunStore store(folder / "run.db");
    for (std::int64_t i = 0; i < 3; ++i) {
      for (const char* node : {"a", "b"}) {
        for (std::int64_t row = 0; row < 4; ++row) store.add(SampleRow{i, node, "p", row, "{}"});
      }
    }
    store.commit();
    RunReader reader(folder.path());
    const auto rows = reader.samples_of_row(1, 2);
    QCOMPARE(rows.size(), 2u);
    QCOMPARE(rows[1].node, std::string("b"));
    QCOMPARE(rows[1].row, 2);
    const auto some = reader.samples_of("a", "p", {1, 2}, 6);
    QCOMPARE(some.size(), 6u);
    QCOMPARE(some.front().iteration, 1);
    QCOMPARE(some.back().row, 1);
  }

  void a_folder_that_cannot_be_written_is_read() {
    TestFolder folder;
    std::filesystem::create_directory(folder / "disk");
    const std::string disk = (folder / "disk").string();
    if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=4m") != 0)
      QSKIP("needs the right to mount");
    write_run(folder / "disk" / "run.db");
    const bool read_only = ::mount("", disk.c_str(), "", MS_REMOUNT | MS_RDONLY, "") == 0;
    std::size_t metrics = 0;
    if (read_only) metrics = RunReader(folder / "disk").metric("loss").size();
    ::umount(disk.c_str());
    if (!read_only) QSKIP("needs the right to remount");
    QCOMPARE(metrics, 3u);
  }
};

REWARDLOOM_TEST(TestRunReader)
#include "test_run_reader.moc"
