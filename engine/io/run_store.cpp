#include "engine/io/run_store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <chrono>

#include "engine/io/database.h"

namespace rewardloom {

namespace {

constexpr std::string_view schema = R"(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE metrics (
  iteration INTEGER NOT NULL, name TEXT NOT NULL, value REAL,
  PRIMARY KEY (name, iteration)) WITHOUT ROWID;
CREATE INDEX metrics_by_iteration ON metrics (iteration);
CREATE TABLE histograms (
  id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL,
  node TEXT NOT NULL, port TEXT NOT NULL, component TEXT NOT NULL,
  count INTEGER NOT NULL, absent INTEGER NOT NULL, nonfinite INTEGER NOT NULL,
  mean REAL, std REAL, min REAL, max REAL,
  q01 REAL, q05 REAL, q25 REAL, q50 REAL, q75 REAL, q95 REAL, q99 REAL,
  lo REAL, hi REAL, bins TEXT NOT NULL);
CREATE UNIQUE INDEX histograms_by_port ON histograms (node, port, iteration, component);
CREATE TABLE samples (
  id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL,
  node TEXT NOT NULL, port TEXT NOT NULL, row INTEGER NOT NULL, data TEXT NOT NULL);
CREATE UNIQUE INDEX samples_by_port ON samples (node, port, iteration, row);
CREATE INDEX samples_by_iteration ON samples (iteration);
CREATE TABLE nodes (
  node TEXT PRIMARY KEY, type TEXT NOT NULL, iteration INTEGER NOT NULL,
  firings INTEGER NOT NULL, seconds REAL NOT NULL, waiting_seconds REAL NOT NULL,
  failures INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, time REAL NOT NULL,
  kind TEXT NOT NULL, node TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX events_by_iteration ON events (iteration);
CREATE TABLE alarms (
  id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, time REAL NOT NULL,
  node TEXT NOT NULL, port TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL,
  text TEXT NOT NULL, help TEXT NOT NULL);
CREATE INDEX alarms_by_iteration ON alarms (iteration);
)";

constexpr std::array<const char*, 5> tables_by_iteration = {"metrics", "histograms", "samples",
                                                            "events", "alarms"};

double now() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

Database open_store(const std::filesystem::path& path, int busy_timeout_ms) {
  Database database(path.string(), path,
                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX);
  sqlite3_busy_timeout(database.handle(), busy_timeout_ms);
  return database;
}

// Nothing is changed in a store that this program does not know.
void refuse_other_version(Database& database, const std::filesystem::path& path) {
  const std::string expected = std::to_string(RunStore::schema_version);
  const bool ours = !database.text_of("SELECT name FROM sqlite_master WHERE name = 'meta'").empty();
  const std::string found =
      ours ? database.text_of("SELECT value FROM meta WHERE key = 'schema_version'") : "";
  if (found == expected) return;
  throw Failure(
      "run-store-version",
      fmt::format("{} has {}, this program writes version {}", path.string(),
                  found.empty() ? "tables but no schema version" : "schema version " + found,
                  expected),
      "resume with the program that wrote it, or choose another run folder");
}

void prepare_schema(Database& database, const std::filesystem::path& path) {
  const bool fresh = database.text_of("SELECT count(*) FROM sqlite_master") == "0";
  if (!fresh) refuse_other_version(database, path);
  database.execute("PRAGMA journal_mode = WAL");
  if (!fresh) return;
  database.execute(
      fmt::format("BEGIN IMMEDIATE; {} INSERT INTO meta VALUES ('schema_version', '{}'); COMMIT",
                  schema, RunStore::schema_version));
}

std::string_view pragma_of(Fsync fsync) {
  switch (fsync) {
    case Fsync::off: return "OFF";
    case Fsync::normal: return "NORMAL";
    case Fsync::full: return "FULL";
  }
  return "NORMAL";
}

}  // namespace

struct RunStore::Implementation {
  Implementation(const std::filesystem::path& path, const RunStoreOptions& opened_with)
      : options(opened_with), database(open_store(path, options.busy_timeout_ms)) {
    prepare_schema(database, path);
    database.execute(fmt::format("PRAGMA synchronous = {}", pragma_of(options.fsync)));
  }

  // Statements are prepared on first use and kept.
  Statement& insert(std::optional<Statement>& statement, const char* table, const char* values) {
    if (!statement) {
      statement.emplace(database,
                        fmt::format("INSERT OR REPLACE INTO {} VALUES ({})", table, values));
    }
    if (!database.in_transaction()) database.execute("BEGIN");
    return *statement;
  }

  void added() {
    if (++rows_in_batch >= options.batch_rows) commit();
  }

  void commit() {
    rows_in_batch = 0;
    if (database.in_transaction()) database.execute("COMMIT");
  }

  RunStoreOptions options;
  Database database;
  std::size_t rows_in_batch = 0;
  std::optional<Statement> metric;
  std::optional<Statement> histogram;
  std::optional<Statement> sample;
  std::optional<Statement> node;
  std::optional<Statement> event;
  std::optional<Statement> alarm;
};

RunStore::RunStore(const std::filesystem::path& path, const RunStoreOptions& options)
    : implementation_(std::make_unique<Implementation>(path, options)) {}

RunStore::~RunStore() {
  if (!implementation_) return;
  try {
    implementation_->commit();
  } catch (const Failure&) {
    // Documented: who needs to know calls commit(), a destructor cannot say.
  }
}

RunStore::RunStore(RunStore&&) noexcept = default;
RunStore& RunStore::operator=(RunStore&&) noexcept = default;

void RunStore::add(const MetricRow& row) {
  Implementation& store = *implementation_;
  store.insert(store.metric, "metrics(iteration, name, value)", "?, ?, ?")
      .bind(row.iteration)
      .bind(row.name)
      .bind(row.value)
      .run();
  store.added();
}

void RunStore::add(const HistogramRow& row) {
  Implementation& store = *implementation_;
  const Distribution& d = row.distribution;
  Statement& insert = store.insert(
      store.histogram,
      "histograms(iteration, node, port, component, count, absent, nonfinite, mean, std, min, max, "
      "q01, q05, q25, q50, q75, q95, q99, lo, hi, bins)",
      "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?");
  insert.bind(row.iteration).bind(row.node).bind(row.port).bind(row.component);
  insert.bind(d.count).bind(d.absent).bind(d.nonfinite);
  insert.bind(d.mean).bind(d.std).bind(d.min).bind(d.max);
  for (const double quantile : d.quantiles) insert.bind(quantile);
  insert.bind(d.lo).bind(d.hi).bind(fmt::format("[{}]", fmt::join(d.bins, ","))).run();
  store.added();
}

void RunStore::add(const SampleRow& row) {
  Implementation& store = *implementation_;
  store.insert(store.sample, "samples(iteration, node, port, row, data)", "?, ?, ?, ?, ?")
      .bind(row.iteration)
      .bind(row.node)
      .bind(row.port)
      .bind(row.row)
      .bind(row.data)
      .run();
  store.added();
}

void RunStore::add(const NodeRow& row) {
  Implementation& store = *implementation_;
  store
      .insert(store.node,
              "nodes(node, type, iteration, firings, seconds, waiting_seconds, failures, bytes)",
              "?, ?, ?, ?, ?, ?, ?, ?")
      .bind(row.node)
      .bind(row.type)
      .bind(row.iteration)
      .bind(row.firings)
      .bind(row.seconds)
      .bind(row.waiting_seconds)
      .bind(row.failures)
      .bind(row.bytes)
      .run();
  store.added();
}

void RunStore::add(const EventRow& row) {
  Implementation& store = *implementation_;
  store.insert(store.event, "events(iteration, time, kind, node, data)", "?, ?, ?, ?, ?")
      .bind(row.iteration)
      .bind(row.time == 0 ? now() : row.time)
      .bind(row.kind)
      .bind(row.node)
      .bind(row.data)
      .run();
  store.added();
}

void RunStore::add(const AlarmRow& row) {
  Implementation& store = *implementation_;
  store
      .insert(store.alarm, "alarms(iteration, time, node, port, code, severity, text, help)",
              "?, ?, ?, ?, ?, ?, ?, ?")
      .bind(row.iteration)
      .bind(row.time == 0 ? now() : row.time)
      .bind(row.node)
      .bind(row.port)
      .bind(row.code)
      .bind(std::string(to_string(row.severity)))
      .bind(row.text)
      .bind(row.help)
      .run();
  store.added();
}

void RunStore::commit() { implementation_->commit(); }

void RunStore::rollback() {
  Implementation& store = *implementation_;
  store.rows_in_batch = 0;
  if (store.database.in_transaction()) store.database.execute("ROLLBACK");
}

void RunStore::truncate_after(std::int64_t iteration) {
  Implementation& store = *implementation_;
  if (!store.database.in_transaction()) store.database.execute("BEGIN IMMEDIATE");
  for (const char* table : tables_by_iteration) {
    Statement(store.database, fmt::format("DELETE FROM {} WHERE iteration >= ?", table))
        .bind(iteration)
        .run();
  }
  store.commit();
}

void RunStore::checkpoint_log() {
  implementation_->commit();
  implementation_->database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

}  // namespace rewardloom
