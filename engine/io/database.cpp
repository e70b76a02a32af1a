#include "engine/io/database.h"

#include <fmt/format.h>

#include <limits>

namespace rewardloom {

Database::Database(const std::string& name, std::filesystem::path path, int flags)
    : path_(std::move(path)) {
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &opened, flags, nullptr);
  handle_.reset(opened);
  if (code != SQLITE_OK) fail(code, "open");
  sqlite3_extended_result_codes(opened, 1);
}

void Database::fail(int code, std::string_view doing) const {
  std::string reason = sqlite3_errstr(code);
  if (handle_ && (sqlite3_errcode(handle_.get()) & 0xFF) == (code & 0xFF)) {
    reason = sqlite3_errmsg(handle_.get());
  }
  std::string help;
  const int kind = code & 0xFF;
  if (kind == SQLITE_FULL || kind == SQLITE_IOERR)
    help = "check the free space and health of the disk";
  if (kind == SQLITE_BUSY || kind == SQLITE_LOCKED) {
    help = "another program holds the store; close it, or wait for it";
  }
  if (kind == SQLITE_NOTADB || kind == SQLITE_CORRUPT) {
    help =
        "the file is damaged or no run store: restore it from a copy; if it is moved away, a resumed "
        "run goes on without what it held, with a warning";
  }
  throw Failure("run-store-failed", fmt::format("cannot {} {}: {}", doing, path_.string(), reason),
                help);
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, "write");
}

std::string Database::text_of(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.text(0) : std::string();
}

Statement::Statement(const Database& database, const std::string& sql) : database_(&database) {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v3(database.handle(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                                      &prepared, nullptr);
  statement_.reset(prepared);
  if (code != SQLITE_OK) database.fail(code, "query");
}

void Statement::check(int code) {
  if (code != SQLITE_OK) database_->fail(code, "write");
}

Statement& Statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(double value) {
  check(sqlite3_bind_double(statement_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(const std::string& value) {
  check(sqlite3_bind_text64(statement_.get(), ++bound_, value.data(), value.size(),
                            SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

bool Statement::step() {
  const int code = try_step();
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_->fail(code, "read");
  return false;
}

void Statement::run() {
  const int code = try_step();
  bound_ = 0;
  if (code != SQLITE_DONE && code != SQLITE_ROW) {
    sqlite3_reset(statement_.get());
    database_->fail(code, "write");
  }
  check(sqlite3_reset(statement_.get()));
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::real(int column) const {
  if (sqlite3_column_type(statement_.get(), column) == SQLITE_NULL) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return sqlite3_column_double(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return text == nullptr ? std::string() : std::string(text, static_cast<std::size_t>(size));
}

}  // namespace rewardloom
