// Chrome's trace event format as an array, which Perfetto and chrome://tracing also read
// unfinished.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/core/json.h"

namespace rewardloom {

/// One span of work: times in microseconds since any fixed origin; `args` an object shown on a
/// click.
struct TraceSpan {
  std::string_view name;
  std::string_view category = "node";
  std::int64_t thread = 0;
  double start_us = 0;
  double duration_us = 0;
  Json args = nullptr;
  std::int64_t iteration =
      -1;  ///< shown as the only argument if there are no `args`; -1: not at all
};

/// Safe for many threads. Beyond `max_bytes`, or once the disk refuses, events are dropped and
/// counted: a trace never stops a run. Every write to the file ends with a whole event.
class TraceFile {
 public:
  /// `process` is the pid shown; a rank, for runs of several processes. Failure `write-failed` if
  /// it cannot be made.
  explicit TraceFile(const std::filesystem::path& path, std::int64_t process = 0,
                     std::size_t max_bytes = std::size_t{512} << 20);
  /// Closes, if close() was not called.
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  void name_process(std::string_view name);
  void name_thread(std::int64_t thread, std::string_view name);
  /// A span (phase "X").
  void add(const TraceSpan& span);
  /// A number over time (phase "C").
  void counter(std::string_view name, double time_us, double value);
  /// A moment (phase "i") on a thread.
  void instant(std::string_view name, std::int64_t thread, double time_us);
  /// Hands what was added to the system.
  void flush();
  /// Says how many events were dropped, ends the array and closes the file.
  void close();

  std::uint64_t dropped() const;
  /// Why the file took no more events, empty while all is well.
  std::string fault() const;

 private:
  void append(const Json& event, bool always);
  void add_with_args(const TraceSpan& span);
  void append_locked(std::string_view text, bool always);
  void flush_locked();

  mutable std::mutex mutex_;
  std::filesystem::path path_;
  std::int64_t process_;
  std::size_t max_bytes_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
  std::uint64_t dropped_ = 0;
  bool first_ = true;
  std::string pending_;
  std::string fault_;
};

}  // namespace rewardloom
