// Comma-separated values after RFC 4180.
#pragma once
#include <cstddef>
#include <filesystem>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// Streams records of fields: quoted fields may hold separators, line breaks and doubled quotes.
/// CRLF, LF, a UTF-8 byte order mark and blank lines are allowed.
class CsvReader {
 public:
  explicit CsvReader(const std::filesystem::path& path, char separator = ',');
  /// Reads `input`, which the caller keeps alive; `name` stands for the file in errors.
  CsvReader(std::istream& input, std::string name, char separator = ',');

  /// The next record, or nothing at the end. Failure `csv-invalid` whose place is file:line:column.
  std::optional<std::vector<std::string>> next();
  /// The line on which the record last returned starts, from 1.
  std::size_t line() const noexcept { return record_line_; }

 private:
  std::string field(bool& record_ends);
  std::string quoted_field(bool& record_ends);
  bool ends_field(int c, bool& record_ends);
  int take();
  [[noreturn]] void fail(std::size_t line, std::size_t column, const std::string& text,
                         const std::string& help) const;

  std::unique_ptr<std::istream> owned_;
  std::istream* input_;
  std::string name_;
  char separator_;
  std::size_t line_ = 1;
  std::size_t column_ = 0;
  std::size_t record_line_ = 0;
};

/// The file as objects keyed by its first record; all values are strings. Failure `csv-invalid` for
/// a record with another number of fields than the header, or a header with a name twice.
std::vector<Json> read_csv(const std::filesystem::path& path, char separator = ',');

}  // namespace rewardloom
