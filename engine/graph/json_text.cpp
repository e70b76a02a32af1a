#include "engine/graph/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::size_t kColumns = 120;
constexpr std::size_t kDeepest = 200;

/// Builds the value and notes number spellings and duplicate keys on the way.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& text, const std::string& file) : text_(text), file_(file) {}
  JsonText take() { return std::move(result_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t& spelled) override {
    result_.number_literals.emplace(value, spelled);
    return put(value);
  }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t& value) override { return put(std::move(value)); }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }

  bool key(string_t& name) override {
    Frame& frame = frames_.back();
    if (frame.has(name)) result_.duplicate_keys.push_back(path() + name);
    frame.key = std::move(name);
    return true;
  }

  bool end_object() override {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    Json::object_t object;
    object.reserve(frame.keys.size());
    for (std::size_t i = 0; i < frame.keys.size(); ++i) {
      object.emplace_back(std::move(frame.keys[i]), std::move(frame.items[i]));
    }
    return put(Json(std::move(object)));
  }

  bool end_array() override {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    return put(Json(std::move(frame.items)));
  }

  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error) override {
    std::string text = error.what();
    const std::size_t column = text.find(", column ");
    const std::size_t colon = text.find(": ", column == std::string::npos ? 0 : column);
    if (colon != std::string::npos) text.erase(0, colon + 2);
    // What was read last may reach back to an earlier token: it would mislead.
    const std::size_t read = text.find("; last read: '");
    const std::size_t quote = text.rfind('\'');
    if (read != std::string::npos) text.erase(read, quote - read + 1);
    // The position is that of the token's last byte; of these tokens alone the text is kept.
    const bool whole = text.find("unexpected string literal") != std::string::npos ||
                       text.find("unexpected number literal") != std::string::npos;
    const std::size_t token = whole ? std::max<std::size_t>(last_token.size(), 1) : 1;
    fail(position >= token ? position - token + 1 : position, text);
  }

 private:
  struct Frame {
    bool object = false;
    std::string key;
    std::vector<std::string> keys;
    std::vector<Json> items;
    std::unordered_set<std::string> names;  // of large objects only

    bool has(const std::string& name) {
      constexpr std::size_t large = 16;
      if (keys.size() < large) return std::find(keys.begin(), keys.end(), name) != keys.end();
      if (names.empty()) names.insert(keys.begin(), keys.end());
      return !names.insert(name).second;
    }
  };

  [[noreturn]] void fail(std::size_t position, const std::string& what) const {
    const std::size_t end = std::min(position == 0 ? 0 : position - 1, text_.size());
    const auto begin = text_.begin();
    const auto line = 1 + std::count(begin, begin + static_cast<std::ptrdiff_t>(end), '\n');
    const std::size_t start = end == 0 ? std::string::npos : text_.rfind('\n', end - 1);
    const std::size_t column = start == std::string::npos ? end + 1 : end - start;
    throw Failure({Severity::error,
                   "json-syntax",
                   {file_, "", ""},
                   fmt::format("line {}, column {}: {}", line, column, what),
                   "",
                   {}});
  }

  std::string path() const {
    std::string text;
    for (std::size_t i = 0; i + 1 < frames_.size(); ++i) {
      if (frames_[i].object) text += frames_[i].key + ".";
    }
    return text;
  }

  bool open(bool object) {
    if (frames_.size() == kDeepest) {
      fail(text_.size(), fmt::format("values are nested more than {} deep", kDeepest));
    }
    frames_.emplace_back();
    frames_.back().object = object;
    return true;
  }

  template <class T>
  bool put(T&& value) {
    if (frames_.empty()) {
      result_.value = std::forward<T>(value);
      return true;
    }
    Frame& frame = frames_.back();
    if (frame.object) frame.keys.push_back(std::move(frame.key));
    frame.items.emplace_back(std::forward<T>(value));
    return true;
  }

  const std::string& text_;
  const std::string& file_;
  JsonText result_;
  std::vector<Frame> frames_;
};

/// Columns that UTF-8 text takes, one per code point.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::size_t column_after(const std::string& text, std::size_t start_column) {
  const std::size_t line = text.rfind('\n');
  if (line == std::string::npos) return start_column + columns(text);
  return columns(std::string_view(text).substr(line + 1));
}

}  // namespace

JsonText parse_json(const std::string& text, const std::string& file) {
  Builder builder(text, file);
  Json::sax_parse(text, &builder);
  return builder.take();
}

void append_member(Json& object, std::string key, Json value) {
  object.get_ref<Json::object_t&>().emplace_back(std::move(key), std::move(value));
}

std::string json_quoted(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void JsonLayout::append_scalar(std::string& out, const Json& value) const {
  if (value.is_number_float()) {
    const auto literal = number_literals_.find(value.get<double>());
    if (literal != number_literals_.end()) {
      out += literal->second;
      return;
    }
  }
  out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void JsonLayout::append_compact(std::string& out, const Json& value) const {
  if (!value.is_structured()) return append_scalar(out, value);
  const bool object = value.is_object();
  out += object ? '{' : '[';
  bool first = true;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (!first) out += ", ";
    first = false;
    if (object) out += json_quoted(it.key()) + ": ";
    append_compact(out, *it);
  }
  out += object ? '}' : ']';
}

std::string JsonLayout::compact(const Json& value) const {
  std::string out;
  append_compact(out, value);
  return out;
}

void JsonLayout::append_filled(std::string& out, const Json& value, std::size_t column) const {
  // Two columns are left for what may follow: a comma and a bracket.
  constexpr std::size_t limit = kColumns - 2;
  const std::string one_line = compact(value);
  if (!value.is_structured() || value.empty() || column + columns(one_line) <= limit) {
    out += one_line;
    return;
  }
  const bool object = value.is_object();
  out += object ? '{' : '[';
  const std::size_t indent = column + 1;
  std::size_t at = indent;
  bool broken = false;  // what follows a member of several lines starts on a line of its own
  for (auto it = value.begin(); it != value.end(); ++it) {
    const std::string name = object ? json_quoted(it.key()) + ": " : std::string();
    if (it != value.begin()) {
      const bool fits = !broken && at + 2 + columns(name) + columns(compact(*it)) <= limit;
      out += fits ? ", " : ",\n" + std::string(indent, ' ');
      at = fits ? at + 2 : indent;
    }
    out += name;
    std::string member;
    append_filled(member, *it, at + columns(name));
    at = column_after(member, at + columns(name));
    broken = member.find('\n') != std::string::npos;
    out += member;
  }
  out += object ? '}' : ']';
}

std::string JsonLayout::filled(const Json& value, std::size_t column) const {
  std::string out;
  append_filled(out, value, column);
  return out;
}

std::string JsonLayout::lines(const Json& object, std::size_t indent,
                              std::size_t name_width) const {
  if (object.empty()) return "{}";
  std::string out = "{\n";
  for (auto it = object.begin(); it != object.end(); ++it) {
    std::string name = json_quoted(it.key()) + ":";
    const std::size_t width = name_width + 3;  // quotes and colon
    const std::size_t taken = columns(name);
    name.append(name_width > 0 && taken < width ? width - taken + 1 : 1, ' ');
    out += std::string(indent, ' ') + name + filled(*it, indent + columns(name));
    out += std::next(it) == object.end() ? "\n" : ",\n";
  }
  return out + std::string(indent - 2, ' ') + "}";
}

}  // namespace rewardloom
