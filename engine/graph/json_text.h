// JSON text for people: reading with positions, writing in one layout.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// A parsed text and what the values alone do not tell.
struct JsonText {
  Json value;
  std::map<double, std::string> number_literals;  ///< fractions as first spelled: 0.0001 -> "1e-4"
  std::vector<std::string> duplicate_keys;        ///< "nodes.adv": keys that one object holds twice
};

/// Throws Failure json-syntax with line and column (both from 1, columns in bytes) and `file`.
JsonText parse_json(const std::string& text, const std::string& file);

/// Adds a member without looking for an equal key, so that objects of n members are made in O(n).
void append_member(Json& object, std::string key, Json value);

/// Writes JSON so that lines stay within 120 columns where strings allow it.
class JsonLayout {
 public:
  explicit JsonLayout(const std::map<double, std::string>& number_literals)
      : number_literals_(number_literals) {}

  /// On one line: {"a": 1, "b": [2, 3]}
  std::string compact(const Json& value) const;
  /// On one line if it fits there, else filled: as many members to a line as fit, aligned after the
  /// opening bracket. `column` is where the text starts.
  std::string filled(const Json& value, std::size_t column) const;
  /// One member to a line, each filled, names padded to `name_width`; `indent` is that of the
  /// members.
  std::string lines(const Json& object, std::size_t indent, std::size_t name_width = 0) const;

 private:
  void append_scalar(std::string& out, const Json& value) const;
  void append_compact(std::string& out, const Json& value) const;
  void append_filled(std::string& out, const Json& value, std::size_t column) const;
  const std::map<double, std::string>& number_literals_;
};

/// A JSON string with its quotes.
std::string json_quoted(std::string_view text);

}  // namespace rewardloom
