#include "engine/io/csv.h"

#include <fmt/format.h>

#include <fstream>
#include <unordered_set>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr int end_of_file = std::char_traits<char>::eof();

bool continues_character(int c) { return c != end_of_file && (c & 0xC0) == 0x80; }

}  // namespace

CsvReader::CsvReader(const std::filesystem::path& path, char separator)
    : owned_(std::make_unique<std::ifstream>(path, std::ios::binary)),
      input_(owned_.get()),
      name_(path.string()),
      separator_(separator) {
  if (!*input_ || std::filesystem::is_directory(path)) {
    throw Failure("file-not-found", fmt::format("cannot open {}", name_), "check the path");
  }
}

CsvReader::CsvReader(std::istream& input, std::string name, char separator)
    : input_(&input), name_(std::move(name)), separator_(separator) {}

void CsvReader::fail(std::size_t line, std::size_t column, const std::string& text,
                     const std::string& help) const {
  throw Failure({Severity::error,
                 "csv-invalid",
                 {fmt::format("{}:{}:{}", name_, line, column), {}, {}},
                 text,
                 help,
                 {}});
}

int CsvReader::take() {
  const int c = input_->get();
  if (c == '\n') {
    ++line_;
    column_ = 0;
  } else if (!continues_character(c)) {
    ++column_;
  }
  return c;
}

// Whether `c` closes a field; a carriage return counts only before a line feed.
bool CsvReader::ends_field(int c, bool& record_ends) {
  if (c == '\r' && input_->peek() == '\n') c = take();
  record_ends = c == '\n' || c == end_of_file;
  return record_ends || c == static_cast<unsigned char>(separator_);
}

std::string CsvReader::quoted_field(bool& record_ends) {
  const std::size_t line = line_;
  const std::size_t column = column_;
  std::string text;
  for (;;) {
    const int c = take();
    if (c == end_of_file) {
      fail(line, column, "the quotation mark opened here is never closed",
           "close the field with a quotation mark, or double those that belong to the text");
    }
    if (c != '"') {
      text += static_cast<char>(c);
      continue;
    }
    if (input_->peek() == '"') {
      text += static_cast<char>(take());
      continue;
    }
    const std::size_t after_line = line_;
    const std::size_t after_column = column_ + 1;
    if (ends_field(take(), record_ends)) return text;
    fail(after_line, after_column, "text follows the closing quotation mark of a field",
         "double quotation marks that belong to the text");
  }
}

std::string CsvReader::field(bool& record_ends) {
  std::string text;
  for (int c = take(); !ends_field(c, record_ends); c = take()) {
    if (c == '"' && text.empty()) return quoted_field(record_ends);
    if (c == '"') {
      fail(line_, column_, "a quotation mark stands inside of an unquoted field",
           "quote the whole field and double the marks inside of it");
    }
    text += static_cast<char>(c);
  }
  return text;
}

std::optional<std::vector<std::string>> CsvReader::next() {
  if (record_line_ == 0 && input_->peek() == 0xEF) {
    for (const int expected : {0xEF, 0xBB, 0xBF}) {
      if (input_->peek() == expected) input_->get();
    }
  }
  while (input_->peek() == '\n' || input_->peek() == '\r') take();
  if (input_->peek() == end_of_file) return std::nullopt;
  record_line_ = line_;
  std::vector<std::string> fields;
  for (bool record_ends = false; !record_ends;) fields.push_back(field(record_ends));
  return fields;
}

std::vector<Json> read_csv(const std::filesystem::path& path, char separator) {
  CsvReader reader(path, separator);
  const auto place = [&] { return fmt::format("{}:{}:1", path.string(), reader.line()); };
  const std::optional<std::vector<std::string>> header = reader.next();
  std::vector<Json> rows;
  if (!header) return rows;
  std::unordered_set<std::string> names;
  for (const std::string& name : *header) {
    if (names.insert(name).second) continue;
    throw Failure({Severity::error,
                   "csv-invalid",
                   {place(), {}, {}},
                   fmt::format("column \"{}\" is there twice", name),
                   "rename one of them",
                   {}});
  }
  while (std::optional<std::vector<std::string>> fields = reader.next()) {
    if (fields->size() != header->size()) {
      throw Failure({Severity::error,
                     "csv-invalid",
                     {place(), {}, {}},
                     fmt::format("the header has {} fields, but this record has {}", header->size(),
                                 fields->size()),
                     "give every record as many fields as the header has",
                     {}});
    }
    Json row = Json::object();
    for (std::size_t i = 0; i < fields->size(); ++i) row[(*header)[i]] = std::move((*fields)[i]);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace rewardloom
