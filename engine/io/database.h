// A thin owner of SQLite's handles, for the run store's writer and reader only.
#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/problem.h"

namespace rewardloom {

/// One open database. Every fault is a Failure `run-store-failed` with the path and SQLite's
/// reason.
class Database {
 public:
  /// `flags` are those of sqlite3_open_v2; `name` is a path, or a file: URI with SQLITE_OPEN_URI.
  Database(const std::string& name, std::filesystem::path path, int flags);

  /// Runs statements that give no rows of interest.
  void execute(const std::string& sql);
  /// The first column of the first row of a query, empty if there is none.
  std::string text_of(const std::string& sql);
  bool in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }
  [[noreturn]] void fail(int code, std::string_view doing) const;
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

/// A prepared statement. Parameters and columns count from 0.
class Statement {
 public:
  Statement(const Database& database, const std::string& sql);

  Statement& bind(std::int64_t value);
  Statement& bind(double value);  ///< NaN is stored as NULL
  Statement& bind(const std::string& value);
  /// Moves to the next row; false at the end.
  bool step();
  /// As step(), giving SQLite's result code instead of throwing.
  int try_step() { return sqlite3_step(statement_.get()); }
  /// Runs a statement without rows and makes it ready for the next values.
  void run();

  std::int64_t integer(int column) const;
  double real(int column) const;  ///< NaN where NULL
  std::string text(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  void check(int code);

  const Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

}  // namespace rewardloom
