#include "engine/io/trace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <system_error>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::size_t kGatherEvents = std::size_t{256} << 10;

// Nanoseconds are kept, as three digits after the microsecond.
double rounded(double microseconds) { return std::round(microseconds * 1000) / 1000; }

/// Whether a text stands in JSON as it is.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f; });
}

}  // namespace

TraceFile::TraceFile(const std::filesystem::path& path, std::int64_t process, std::size_t max_bytes)
    : path_(path), process_(process), max_bytes_(max_bytes) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    throw Failure("write-failed", fmt::format("cannot create {}: {}", path.string(),
                                              std::generic_category().message(errno)));
  }
  pending_.push_back('[');
}

TraceFile::~TraceFile() { close(); }

void TraceFile::append(const Json& event, bool always) {
  const std::string text = event.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::scoped_lock lock(mutex_);
  append_locked(text, always);
}

void TraceFile::append_locked(std::string_view text, bool always) {
  const bool full = size_ + pending_.size() + text.size() > max_bytes_;
  if (descriptor_ < 0 || !fault_.empty() || (full && !always)) {
    ++dropped_;
    return;
  }
  if (!first_) pending_ += ',';
  pending_ += '\n';
  pending_ += text;
  first_ = false;
  if (pending_.size() >= kGatherEvents) flush_locked();
}

void TraceFile::name_process(std::string_view name) {
  append({{"name", "process_name"},
          {"ph", "M"},
          {"pid", process_},
          {"tid", 0},
          {"args", {{"name", name}}}},
         true);
}

void TraceFile::name_thread(std::int64_t thread, std::string_view name) {
  append({{"name", "thread_name"},
          {"ph", "M"},
          {"pid", process_},
          {"tid", thread},
          {"args", {{"name", name}}}},
         true);
}

// Spans come by the ten thousand: they are put together without a JSON object, in a third of a
// microsecond.
void TraceFile::add(const TraceSpan& span) {
  if (!span.args.is_null() || !is_plain(span.name) || !is_plain(span.category)) {
    return add_with_args(span);
  }
  const auto start = static_cast<std::int64_t>(std::llround(span.start_us * 1000));
  const auto duration = static_cast<std::int64_t>(std::llround(span.duration_us * 1000));
  fmt::memory_buffer text;
  const auto out = std::back_inserter(text);
  fmt::format_to(
      out, R"({{"name":"{}","cat":"{}","ph":"X","pid":{},"tid":{},"ts":{}.{:03},"dur":{}.{:03})",
      span.name, span.category, process_, span.thread, start / 1000, start % 1000, duration / 1000,
      duration % 1000);
  if (span.iteration >= 0) fmt::format_to(out, R"(,"args":{{"iteration":{}}})", span.iteration);
  text.push_back('}');
  const std::scoped_lock lock(mutex_);
  append_locked({text.data(), text.size()}, false);
}

void TraceFile::add_with_args(const TraceSpan& span) {
  Json event = {{"name", span.name},
                {"cat", span.category},
                {"ph", "X"},
                {"pid", process_},
                {"tid", span.thread},
                {"ts", rounded(span.start_us)},
                {"dur", rounded(span.duration_us)}};
  if (!span.args.is_null()) {
    event["args"] = span.args;
  } else if (span.iteration >= 0) {
    event["args"] = {{"iteration", span.iteration}};
  }
  append(event, false);
}

void TraceFile::counter(std::string_view name, double time_us, double value) {
  append({{"name", name},
          {"ph", "C"},
          {"pid", process_},
          {"ts", rounded(time_us)},
          {"args", {{"value", value}}}},
         false);
}

void TraceFile::instant(std::string_view name, std::int64_t thread, double time_us) {
  append({{"name", name},
          {"ph", "i"},
          {"s", "t"},
          {"pid", process_},
          {"tid", thread},
          {"ts", rounded(time_us)}},
         false);
}

void TraceFile::flush() {
  const std::scoped_lock lock(mutex_);
  flush_locked();
}

void TraceFile::flush_locked() {
  std::string_view rest = pending_;
  while (!rest.empty() && fault_.empty()) {
    const ssize_t done = ::write(descriptor_, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      fault_ = fmt::format("cannot write {}: {}", path_.string(),
                           std::generic_category().message(errno));
    } else {
      size_ += static_cast<std::size_t>(done);
      rest.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  pending_.clear();
}

void TraceFile::close() {
  const std::scoped_lock lock(mutex_);
  if (descriptor_ < 0) return;
  if (dropped_ > 0) {
    append_locked(fmt::format(R"({{"name":"dropped_events","ph":"M","pid":{},"tid":0,)"
                              R"("args":{{"count":{}}}}})",
                              process_, dropped_),
                  true);
  }
  pending_ += "\n]\n";
  flush_locked();
  ::close(descriptor_);
  descriptor_ = -1;
}

std::uint64_t TraceFile::dropped() const {
  const std::scoped_lock lock(mutex_);
  return dropped_;
}

std::string TraceFile::fault() const {
  const std::scoped_lock lock(mutex_);
  return fault_;
}

}  // namespace rewardloom
