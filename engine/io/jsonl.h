// JSON Lines: one JSON value a line.
#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// Streams values line by line. Blank lines, CRLF and a UTF-8 byte order mark are allowed.
class JsonLinesReader {
 public:
  explicit JsonLinesReader(const std::filesystem::path& path);
  /// Reads `input`, which the caller keeps alive; `name` stands for the file in errors.
  JsonLinesReader(std::istream& input, std::string name);

  /// The next value, or nothing at the end. Failure `json-invalid` whose place is file:line:column
  /// (both from 1, the column in characters).
  std::optional<Json> next();
  /// The line of the value last returned, from 1.
  std::size_t line() const noexcept { return line_; }
  /// file:line of the value last returned, for errors about its content.
  std::string place() const;

 private:
  std::unique_ptr<std::istream> owned_;
  std::istream* input_;
  std::string name_;
  std::size_t line_ = 0;
};

/// Calls `visit` with each value and its line.
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json&, std::size_t line)>& visit);
/// All values of a file.
std::vector<Json> read_json_lines(const std::filesystem::path& path);
/// One value per line, atomically; invalid UTF-8 becomes U+FFFD.
void write_json_lines(const std::filesystem::path& path, const std::vector<Json>& values);
/// A whole JSON file; Failure `json-invalid` at file:line:column.
Json read_json(const std::filesystem::path& path);

}  // namespace rewardloom
