// Replies of a server, kept so that a run that is resumed gets the same ones again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/core/json.h"
#include "engine/core/package.h"

namespace rewardloom {

/// SHA-256, as hexadecimal digits, of where a request stands in a run and of what it says.
std::string request_key(std::string_view place, const Json& body);

/// A JSON Lines file of objects that begin with their key; in memory is where each line starts.
/// A line is written whole when an answer is in, so that a run killed anywhere loses at most the
/// line in progress, which is skipped on reading. May be used from several threads.
class AnswerCache {
 public:
  /// An empty path: nothing is kept. Failure `answer-cache` with the system's reason.
  explicit AnswerCache(std::filesystem::path path = {});
  ~AnswerCache();
  AnswerCache(const AnswerCache&) = delete;
  AnswerCache& operator=(const AnswerCache&) = delete;

  /// What was stored under the key.
  std::optional<Json> find(const std::string& key) const;
  /// Of several entries under one key the last counts.
  void store(const std::string& key, const Json& entry);
  std::size_t size() const;

  /// The file is its own memory: checkpoints hold nothing of it.
  void save(Package&) const {}
  void load(const Package&) {}

 private:
  struct Line {
    std::int64_t start = 0;
    std::int64_t length = 0;
  };
  void open();
  void index();
  [[noreturn]] void fail(std::string_view doing) const;

  const std::filesystem::path path_;
  int descriptor_ = -1;
  bool torn_ = false;  ///< the last line has no end
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Line> lines_;
};

}  // namespace rewardloom
