// A JSONL file as rows of a data set, and in which order they come.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/package.h"

namespace rewardloom {

/// The value behind a path such as "question", "meta.answer" or "prompt/-1/content" (parts divided
/// by / if there is one, else by .; a number is an index into a list, from the end if negative).
/// Null: not there.
const Json* at_path(const Json& value, std::string_view path);

/// A text as it is, anything else as JSON.
std::string as_text(const Json& value);

/// Row `position` (0, 1, ... over all epochs) of `count` rows: in file order, or in an order that
/// is drawn anew for each epoch. Keeps the order of the epoch it saw last.
class RowOrder {
 public:
  RowOrder(std::size_t count, bool shuffle, std::uint64_t seed, std::uint64_t node)
      : count_(count), shuffle_(shuffle), seed_(seed), node_(node) {}
  std::size_t row(std::uint64_t position);

 private:
  void draw(std::uint64_t epoch);
  std::size_t count_;
  bool shuffle_;
  std::uint64_t seed_;
  std::uint64_t node_;
  std::uint64_t epoch_ = 0;
  std::vector<std::uint32_t> order_;
};

/// The rows of a file with their places ("train.jsonl:12").
struct JsonlRows {
  std::vector<Json> rows;
  std::vector<std::string> places;
  std::uint64_t fingerprint = 0;

  /// Reads at most `limit` rows (0: all) after the first `skip`. Failure of the reader, or
  /// `data-empty`.
  static JsonlRows read(const std::string& path, std::size_t skip, std::size_t limit);

  /// A checkpoint holds the fingerprint alone; another file is refused with `data-changed`.
  void save(Package& out) const;
  void load(const Package& in);
};

}  // namespace rewardloom
