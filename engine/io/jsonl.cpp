#include "engine/io/jsonl.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string_view>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"

namespace rewardloom {

namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

// Characters (not continuation bytes) of `text`.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

// nlohmann's message without its own counting of lines, which starts anew with every line.
std::string reason(const Json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t start = text.find("syntax error");
  return std::string(start == std::string_view::npos ? text : text.substr(start));
}

[[noreturn]] void refuse(std::string place, std::string text) {
  throw Failure({Severity::error,
                 "json-invalid",
                 {std::move(place), {}, {}},
                 std::move(text),
                 "correct the file at that place",
                 {}});
}

Json parse_at(std::string_view text, const std::string& name, std::size_t first_line) {
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::parse_error& error) {
    const std::string_view before = text.substr(0, error.byte > 0 ? error.byte - 1 : 0);
    const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 == 0
    const auto lines = static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
    refuse(fmt::format("{}:{}:{}", name, first_line + lines,
                       characters(before.substr(line_start)) + 1),
           reason(error));
  } catch (const Json::exception& error) {
    refuse(fmt::format("{}:{}", name, first_line), reason(error));
  }
}

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

JsonLinesReader::JsonLinesReader(const std::filesystem::path& path)
    : owned_(std::make_unique<std::ifstream>(path, std::ios::binary)),
      input_(owned_.get()),
      name_(path.string()) {
  if (!*input_ || std::filesystem::is_directory(path)) {
    throw Failure("file-not-found", fmt::format("cannot open {}", name_), "check the path");
  }
}

JsonLinesReader::JsonLinesReader(std::istream& input, std::string name)
    : input_(&input), name_(std::move(name)) {}

std::optional<Json> JsonLinesReader::next() {
  std::string line;
  while (std::getline(*input_, line)) {
    ++line_;
    std::string_view text = line;
    if (line_ == 1 && text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (!blank(text)) return parse_at(text, name_, line_);
  }
  if (input_->bad()) throw Failure("read-failed", fmt::format("cannot read {}", name_));
  return std::nullopt;
}

std::string JsonLinesReader::place() const { return fmt::format("{}:{}", name_, line_); }

void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json&, std::size_t line)>& visit) {
  JsonLinesReader reader(path);
  while (const std::optional<Json> value = reader.next()) visit(*value, reader.line());
}

std::vector<Json> read_json_lines(const std::filesystem::path& path) {
  std::vector<Json> values;
  JsonLinesReader reader(path);
  while (std::optional<Json> value = reader.next()) values.push_back(std::move(*value));
  return values;
}

void write_json_lines(const std::filesystem::path& path, const std::vector<Json>& values) {
  DurableFile file(path);
  for (const Json& value : values) {
    file.write(value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  file.commit();
}

Json read_json(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::string_view text = bytes;
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  return parse_at(text, path.string(), 1);
}

}  // namespace rewardloom
