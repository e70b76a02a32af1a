#include "engine/io/run_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "engine/io/database.h"
#include "engine/io/durable_file.h"
#include "engine/io/run_store.h"

namespace rewardloom {

namespace {

using Columns = std::vector<std::string>;
using Bind = std::function<void(Statement&)>;

void nothing(Statement&) {}

Bind bind_range(const Iterations& range) {
  return [range](Statement& query) { query.bind(range.first).bind(range.last); };
}

std::filesystem::path store_path(const std::filesystem::path& path) {
  std::error_code fault;
  const bool folder = std::filesystem::is_directory(path, fault);
  const std::filesystem::path file = folder ? path / "run.db" : path;
  const auto there = std::filesystem::status(file, fault);
  const auto unreadable = [&](const std::string& why) {
    return Failure("run-store-failed", fmt::format("{} cannot be read: {}", file.string(), why),
                   "ask its owner for the right to read the run folder, or copy it");
  };
  if (fault == std::errc::permission_denied) throw unreadable(fault.message());
  if (!std::filesystem::exists(there)) {
    throw Failure("run-store-missing", fmt::format("there is no run store at {}", file.string()),
                  "name a run folder, or the run.db inside of it");
  }
  if (std::filesystem::is_directory(there)) throw unreadable("it is a folder");
  // Opening it to see would, on closing, drop the locks that another reader in this process has.
  if (::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) != 0) {
    throw unreadable(std::generic_category().message(errno));
  }
  return file;
}

std::string percent_encoded(const std::string& path) {
  std::string out;
  for (const char c : path) {
    const bool plain = c != '%' && c != '?' && c != '#';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Database open_read_only(const std::filesystem::path& path) {
  Database database(path.string(), path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX);
  sqlite3_busy_timeout(database.handle(), 2000);
  return database;
}

// For media that cannot be written: SQLite then needs no lock and no shared memory.
Database open_immutable(const std::filesystem::path& path) {
  const std::string uri = "file:" + percent_encoded(path.string()) + "?immutable=1";
  return {uri, path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI};
}

Severity severity_of(const std::string& text) {
  if (text == "error") return Severity::error;
  return text == "note" ? Severity::note : Severity::warning;
}

// "[1,2,3]" to counts; nothing where the text is something else.
std::optional<std::vector<std::uint64_t>> parse_bins(const std::string& text) {
  std::vector<std::uint64_t> bins;
  if (text == "[]") return bins;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  const char* at = text.data() + 1;
  const char* const end = text.data() + text.size();
  while (at < end) {
    std::uint64_t count = 0;
    const auto [rest, error] = std::from_chars(at, end, count);
    if (error != std::errc() || rest == end || (*rest != ',' && *rest != ']')) return std::nullopt;
    bins.push_back(count);
    at = rest + 1;
  }
  return bins;
}

}  // namespace

struct RunReader::Implementation {
  explicit Implementation(const std::filesystem::path& given)
      : path(store_path(given)), database(open_read_only(path)) {
    if (const int code = probe(); code != SQLITE_OK) {
      const int kind = code & 0xFF;
      if (kind == SQLITE_CORRUPT) {
        open_cut_off(code);
      } else if (kind == SQLITE_CANTOPEN || kind == SQLITE_READONLY) {
        open_without_log();
      } else {
        database.fail(code, "read");
      }
    }
    note_version();
  }

  // The result of the first read.
  int probe() {
    return sqlite3_exec(database.handle(), "SELECT count(*) FROM sqlite_master", nullptr, nullptr,
                        nullptr);
  }

  void open_without_log() {
    database = open_immutable(path);
    if (const int code = probe(); code != SQLITE_OK) database.fail(code, "read");
    std::error_code ignored;
    const auto log_bytes = std::filesystem::file_size(path.string() + "-wal", ignored);
    if (ignored || log_bytes == 0) return;
    note("run-store-log-unread",
         fmt::format("the folder of {} cannot be written, so the newest rows, which are still in "
                     "{}-wal, are not read",
                     path.string(), path.filename().string()),
         "copy the run folder to where you may write");
  }

  // SQLite refuses a file that is shorter than it says, as a full disk or a broken copy leaves it.
  // What is there can be read from a copy in memory whose missing pages are empty.
  void open_cut_off(int code) {
    std::string bytes = read_file(path);
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    constexpr std::size_t header = 100;
    if (bytes.size() < header) database.fail(code, "read");
    const std::size_t given = (std::size_t{byte(16)} << 8) | byte(17);
    const std::size_t page = given == 1 ? 65536 : given;
    std::size_t pages = 0;
    for (std::size_t at = 28; at < 32; ++at) pages = pages << 8 | byte(at);
    const std::size_t whole = page * pages;
    constexpr std::size_t largest = std::size_t{4} << 30;
    if (bytes.size() >= whole || whole > largest) database.fail(code, "read");
    note("run-store-damaged",
         fmt::format("{} is cut off: {} of {} bytes are there", path.string(), bytes.size(), whole),
         "what is missing is lost; copy the run folder anew if there is a whole one");
    bytes.resize(whole, '\0');
    bytes[18] = bytes[19] = 1;  // memory knows no write-ahead log
    auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(whole));
    if (copy == nullptr) database.fail(SQLITE_NOMEM, "read");
    std::memcpy(copy, bytes.data(), whole);
    database = Database(":memory:", path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
    const auto size = static_cast<sqlite3_int64>(whole);
    const int loaded =
        sqlite3_deserialize(database.handle(), "main", copy, size, size,
                            SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
    if (loaded != SQLITE_OK) database.fail(loaded, "read");
    if (const int again = probe(); again != SQLITE_OK) database.fail(again, "read");
  }

  void note_version() {
    if (!has("meta", "value")) return;
    query("meta", {"value"}, {"key"}, "WHERE key = 'schema_version'", nothing,
          [&](const Statement& row) { version = static_cast<int>(row.integer(0)); });
    if (version <= RunStore::schema_version) return;
    note(
        "run-store-version",
        fmt::format("{} has schema version {}, this program knows {}: what it does not know is not "
                    "shown",
                    path.string(), version, RunStore::schema_version),
        "update this program");
  }

  void note(std::string code, std::string text, std::string help = {}) {
    const bool known = std::any_of(problems.begin(), problems.end(),
                                   [&](const Problem& p) { return p.text == text; });
    if (known) return;
    problems.push_back({Severity::warning,
                        std::move(code),
                        {path.string(), {}, {}},
                        std::move(text),
                        std::move(help),
                        {}});
  }

  // Asked anew while a table is missing: a run that just began creates it later.
  bool has(const std::string& table, const std::string& column) {
    std::set<std::string>& known = columns[table];
    if (known.empty()) {
      Statement info(database, fmt::format("SELECT name FROM pragma_table_info('{}')", table));
      while (info.try_step() == SQLITE_ROW) known.insert(info.text(0));
    }
    return known.count(column) > 0;
  }

  // What of a query this store can answer; empty if nothing.
  std::string selection(const std::string& table, const Columns& wanted, const Columns& needed) {
    for (const std::string& column : needed) {
      if (has(table, column)) continue;
      const bool no_table = columns[table].empty();
      note("run-store-incomplete",
           no_table ? fmt::format("there is no table {}", table)
                    : fmt::format("table {} lacks column {}, so it cannot be read", table, column));
      return {};
    }
    std::string list;
    for (const std::string& column : wanted) {
      const bool plain = column.find('(') == std::string::npos;
      const bool there = !plain || has(table, column);
      if (!there) {
        note("run-store-incomplete", columns[table].empty()
                                         ? fmt::format("there is no table {}", table)
                                         : fmt::format("table {} lacks column {}", table, column));
        if (columns[table].empty()) return {};
      }
      list += fmt::format("{}{}", list.empty() ? "" : ", ", there ? column : "NULL");
    }
    return list;
  }

  // Visits the rows of one table. Columns in `wanted` that the store lacks read as NULL; `needed`
  // are those that `tail` uses. Damage ends the visit and is noted.
  template <typename Visit>
  void query(const std::string& table, const Columns& wanted, const Columns& needed,
             const std::string& tail, const Bind& bind, Visit&& visit) {
    try {
      const std::string list = selection(table, wanted, needed);
      if (list.empty()) return;
      Statement statement(database, fmt::format("SELECT {} FROM {} {}", list, table, tail));
      bind(statement);
      while (statement.step()) visit(static_cast<const Statement&>(statement));
    } catch (const Failure& failure) {
      note("run-store-damaged",
           fmt::format("table {} could be read in part only: {}", table, failure.problem().text),
           failure.problem().help);
    }
  }

  std::optional<std::int64_t> last_of(std::initializer_list<const char*> tables) {
    std::optional<std::int64_t> last;
    for (const char* table : tables) {
      query(table, {"iteration"}, {"iteration"}, "ORDER BY iteration DESC LIMIT 1", nothing,
            [&](const Statement& row) {
              last = std::max(last.value_or(row.integer(0)), row.integer(0));
            });
    }
    return last;
  }

  HistogramRow histogram_of(const Statement& row) {
    HistogramRow out{row.integer(0), row.text(1), row.text(2), row.text(3), {}};
    Distribution& d = out.distribution;
    d.count = row.integer(4);
    d.absent = row.integer(5);
    d.nonfinite = row.integer(6);
    d.mean = row.real(7);
    d.std = row.real(8);
    d.min = row.real(9);
    d.max = row.real(10);
    for (int i = 0; i < 7; ++i) d.quantiles[static_cast<std::size_t>(i)] = row.real(11 + i);
    d.lo = row.real(18);
    d.hi = row.real(19);
    const std::string text = row.text(20);
    std::optional<std::vector<std::uint64_t>> bins = parse_bins(text.empty() ? "[]" : text);
    if (!bins) {
      note("run-store-damaged", fmt::format("histogram of {}.{} ({}) at iteration {} has bins that "
                                            "are no list of counts",
                                            out.node, out.port, out.component, out.iteration));
    }
    if (bins) d.bins = std::move(*bins);
    return out;
  }

  std::filesystem::path path;
  Database database;
  int version = 0;
  std::vector<Problem> problems;
  std::map<std::string, std::set<std::string>> columns;
};

namespace {

const Columns histogram_columns = {"iteration", "node", "port", "component", "count", "absent",
                                   "nonfinite", "mean", "std",  "min",       "max",   "q01",
                                   "q05",       "q25",  "q50",  "q75",       "q95",   "q99",
                                   "lo",        "hi",   "bins"};

}  // namespace

RunReader::RunReader(const std::filesystem::path& path)
    : implementation_(std::make_unique<Implementation>(path)) {}
RunReader::~RunReader() = default;
RunReader::RunReader(RunReader&&) noexcept = default;
RunReader& RunReader::operator=(RunReader&&) noexcept = default;

int RunReader::schema_version() const { return implementation_->version; }
const std::vector<Problem>& RunReader::problems() const { return implementation_->problems; }

std::int64_t RunReader::change_counter() {
  const std::string text = implementation_->database.text_of("PRAGMA data_version");
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

std::optional<std::int64_t> RunReader::last_iteration() {
  return implementation_->last_of({"metrics", "events", "samples"});
}

std::optional<std::int64_t> RunReader::last_recorded_iteration() {
  return implementation_->last_of({"metrics", "samples"});
}

std::vector<std::string> RunReader::metric_names() {
  // Hops from name to name over the primary key instead of scanning every row.
  std::vector<std::string> names;
  for (bool more = true; more;) {
    const std::string tail =
        names.empty() ? "ORDER BY name LIMIT 1" : "WHERE name > ? ORDER BY name LIMIT 1";
    const Bind after = [last = names.empty() ? std::string() : names.back()](Statement& query) {
      if (!last.empty()) query.bind(last);
    };
    more = false;
    implementation_->query("metrics", {"name"}, {"name"}, tail, after, [&](const Statement& row) {
      names.push_back(row.text(0));
      more = true;
    });
  }
  return names;
}

std::vector<MetricPoint> RunReader::metric(const std::string& name, Iterations range) {
  std::vector<MetricPoint> points;
  implementation_->query(
      "metrics", {"iteration", "value"}, {"iteration", "name"},
      "WHERE name = ? AND iteration BETWEEN ? AND ? ORDER BY iteration",
      [&](Statement& query) { query.bind(name).bind(range.first).bind(range.last); },
      [&](const Statement& row) {
        points.push_back({row.integer(0), row.real(1)});
      });
  return points;
}

std::vector<MetricRow> RunReader::metrics(Iterations range) {
  std::vector<MetricRow> rows;
  implementation_->query("metrics", {"iteration", "name", "value"}, {"iteration", "name"},
                         "WHERE iteration BETWEEN ? AND ? ORDER BY iteration, name",
                         bind_range(range), [&](const Statement& row) {
                           rows.push_back({row.integer(0), row.text(1), row.real(2)});
                         });
  return rows;
}

std::vector<MetricRow> RunReader::latest_metrics() {
  std::vector<MetricRow> rows;
  for (const std::string& name : metric_names()) {
    implementation_->query(
        "metrics", {"iteration", "value"}, {"iteration", "name"},
        "WHERE name = ? ORDER BY iteration DESC LIMIT 1",
        [&](Statement& query) { query.bind(name); },
        [&](const Statement& row) {
          rows.push_back({row.integer(0), name, row.real(1)});
        });
  }
  return rows;
}

std::vector<ProbeSummary> RunReader::probes() {
  std::vector<ProbeSummary> probes;
  implementation_->query(
      "histograms", {"node", "port", "component", "count(*)", "min(iteration)", "max(iteration)"},
      {"node", "port", "component", "iteration"}, "GROUP BY node, port, component ORDER BY 1, 2, 3",
      nothing, [&](const Statement& row) {
        probes.push_back({row.text(0),
                          row.text(1),
                          row.text(2),
                          row.integer(3),
                          {row.integer(4), row.integer(5)}});
      });
  return probes;
}

std::vector<ProbeName> RunReader::probe_names() {
  // Hops from port to port over the index instead of scanning every row.
  std::vector<ProbeName> ports;
  for (bool more = true; more;) {
    more = false;
    const std::string tail = fmt::format("{} ORDER BY node, port LIMIT 1",
                                         ports.empty() ? "" : "WHERE (node, port) > (?, ?)");
    const Bind after = [&](Statement& query) {
      if (!ports.empty()) query.bind(ports.back().node).bind(ports.back().port);
    };
    implementation_->query("histograms", {"node", "port"}, {"node", "port"}, tail, after,
                           [&](const Statement& row) {
                             ports.push_back({row.text(0), row.text(1), {}});
                             more = true;
                           });
  }
  std::vector<ProbeName> names;
  for (const ProbeName& port : ports) {
    std::set<std::string> components;
    for (const char* end : {"min", "max"}) {
      implementation_->query(
          "histograms", {"component"}, {"node", "port", "iteration"},
          fmt::format("WHERE node = ?1 AND port = ?2 AND iteration = (SELECT {}(iteration) FROM "
                      "histograms WHERE node = ?1 AND port = ?2)",
                      end),
          [&](Statement& query) { query.bind(port.node).bind(port.port); },
          [&](const Statement& row) { components.insert(row.text(0)); });
    }
    for (const std::string& component : components) {
      names.push_back({port.node, port.port, component});
    }
  }
  return names;
}

std::vector<HistogramRow> RunReader::histograms(const std::string& node, const std::string& port,
                                                const std::string& component, Iterations range) {
  std::vector<HistogramRow> rows;
  implementation_->query(
      "histograms", histogram_columns, {"node", "port", "component", "iteration"},
      "WHERE node = ? AND port = ? AND component = ? AND iteration BETWEEN ? AND ? "
      "ORDER BY iteration",
      [&](Statement& query) {
        query.bind(node).bind(port).bind(component).bind(range.first).bind(range.last);
      },
      [&](const Statement& row) { rows.push_back(implementation_->histogram_of(row)); });
  return rows;
}

std::vector<HistogramRow> RunReader::histograms_at(const std::string& node, const std::string& port,
                                                   std::int64_t iteration) {
  std::vector<HistogramRow> rows;
  implementation_->query(
      "histograms", histogram_columns, {"node", "port", "component", "iteration"},
      "WHERE node = ? AND port = ? AND iteration = ? ORDER BY component",
      [&](Statement& query) { query.bind(node).bind(port).bind(iteration); },
      [&](const Statement& row) { rows.push_back(implementation_->histogram_of(row)); });
  return rows;
}

std::vector<HistogramRow> RunReader::last_histograms(const std::string& node,
                                                     const std::string& port) {
  std::vector<HistogramRow> rows;
  implementation_->query(
      "histograms", histogram_columns, {"node", "port", "component", "iteration"},
      "WHERE node = ?1 AND port = ?2 AND iteration = (SELECT max(iteration) FROM histograms "
      "WHERE node = ?1 AND port = ?2) ORDER BY component",
      [&](Statement& query) { query.bind(node).bind(port); },
      [&](const Statement& row) { rows.push_back(implementation_->histogram_of(row)); });
  return rows;
}

SamplePage RunReader::samples(const SampleFilter& filter) {
  std::string where;
  const auto require = [&](bool wanted, const char* condition) {
    if (wanted) where += fmt::format("{} {}", where.empty() ? "WHERE" : " AND", condition);
  };
  require(!filter.node.empty(), "node = ?");
  require(!filter.port.empty(), "port = ?");
  require(filter.iteration.has_value(), "iteration = ?");
  const auto bind = [&](Statement& query) {
    if (!filter.node.empty()) query.bind(filter.node);
    if (!filter.port.empty()) query.bind(filter.port);
    if (filter.iteration) query.bind(*filter.iteration);
  };
  const auto bind_page = [&](Statement& query) {
    bind(query);
    query.bind(filter.limit).bind(filter.offset);
  };
  const Columns needed = {"iteration", "node", "port", "row"};
  SamplePage page;
  implementation_->query("samples", {"count(*)"}, needed, where, bind,
                         [&](const Statement& row) { page.total = row.integer(0); });
  implementation_->query("samples", {"iteration", "node", "port", "row", "data"}, needed,
                         where + " ORDER BY iteration, node, port, row LIMIT ? OFFSET ?", bind_page,
                         [&](const Statement& row) {
                           page.rows.push_back({row.integer(0), row.text(1), row.text(2),
                                                row.integer(3), row.text(4)});
                         });
  return page;
}

std::vector<SampleRow> RunReader::samples_of(const std::string& node, const std::string& port,
                                             Iterations range, std::int64_t limit) {
  std::vector<SampleRow> rows;
  implementation_->query(
      "samples", {"iteration", "row", "data"}, {"node", "port", "iteration", "row"},
      "WHERE node = ? AND port = ? AND iteration BETWEEN ? AND ? ORDER BY iteration, row LIMIT ?",
      [&](Statement& query) {
        query.bind(node).bind(port).bind(range.first).bind(range.last).bind(limit);
      },
      [&](const Statement& row) {
        rows.push_back({row.integer(0), node, port, row.integer(1), row.text(2)});
      });
  return rows;
}

std::vector<SampleRow> RunReader::samples_of_row(std::int64_t iteration, std::int64_t index) {
  std::vector<SampleRow> rows;
  implementation_->query(
      "samples", {"node", "port", "data"}, {"iteration", "row"},
      "WHERE iteration = ? AND row = ? ORDER BY node, port",
      [&](Statement& query) { query.bind(iteration).bind(index); },
      [&](const Statement& row) {
        rows.push_back({iteration, row.text(0), row.text(1), index, row.text(2)});
      });
  return rows;
}

std::vector<AlarmRow> RunReader::alarms(Iterations range) {
  std::vector<AlarmRow> rows;
  implementation_->query(
      "alarms", {"iteration", "node", "port", "code", "text", "help", "severity", "time"},
      {"iteration", "id"}, "WHERE iteration BETWEEN ? AND ? ORDER BY id", bind_range(range),
      [&](const Statement& row) {
        rows.push_back({row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4),
                        row.text(5), severity_of(row.text(6)), row.real(7)});
      });
  return rows;
}

std::vector<EventRow> RunReader::events(const std::string& kind, Iterations range) {
  std::vector<EventRow> rows;
  const auto bind = [&](Statement& query) {
    query.bind(range.first).bind(range.last);
    if (!kind.empty()) query.bind(kind);
  };
  implementation_->query(
      "events", {"iteration", "kind", "node", "data", "time"}, {"iteration", "kind", "id"},
      fmt::format("WHERE iteration BETWEEN ? AND ?{} ORDER BY id",
                  kind.empty() ? "" : " AND kind = ?"),
      bind, [&](const Statement& row) {
        rows.push_back({row.integer(0), row.text(1), row.text(2), row.text(3), row.real(4)});
      });
  return rows;
}

std::vector<NodeRow> RunReader::nodes() {
  std::vector<NodeRow> rows;
  implementation_->query(
      "nodes",
      {"node", "type", "iteration", "firings", "seconds", "waiting_seconds", "failures", "bytes"},
      {"node"}, "ORDER BY node", nothing, [&](const Statement& row) {
        rows.push_back({row.text(0), row.text(1), row.integer(2), row.integer(3), row.real(4),
                        row.real(5), row.integer(6), row.integer(7)});
      });
  return rows;
}

}  // namespace rewardloom
