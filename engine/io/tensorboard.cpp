#include "engine/io/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <system_error>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::size_t kGatherSummaries = std::size_t{64} << 10;

constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0);
    table[i] = value;
  }
  return table;
}

// TFRecord stores checksums rotated, so that a checksum of checksums stays useful.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u; }

template <typename T>
void append_raw(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// Protocol buffers' encoding: a field is its number and wire type, then the value.
class Message {
 public:
  Message& integer(int field, std::int64_t value) {
    tag(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real(int field, double value) {
    tag(field, 1);
    append_raw(bytes_, value);
    return *this;
  }
  Message& single(int field, float value) {
    tag(field, 5);
    append_raw(bytes_, value);
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    bytes_.append(value);
    return *this;
  }
  const std::string& encoded() const { return bytes_; }

 private:
  void tag(int field, int wire) { varint(static_cast<std::uint64_t>(field << 3 | wire)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// Field numbers of tensorboard/compat/proto/{event,summary}.proto.
namespace event_field {
constexpr int wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace value_field {
constexpr int tag = 1, simple_value = 2, histogram = 5;
}
namespace histogram_field {
constexpr int min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, limits = 6, counts = 7;
}

double now() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event_bytes(std::int64_t step, double wall_time, int field, std::string_view content) {
  return Message()
      .real(event_field::wall_time, wall_time == 0 ? now() : wall_time)
      .integer(event_field::step, step)
      .bytes(field, content)
      .encoded();
}

std::string summary_of(const Message& value) {
  return Message().bytes(1, value.encoded()).encoded();
}

std::string histogram_bytes(const Distribution& d) {
  const auto count = static_cast<double>(d.count);
  std::string limits;
  std::string counts;
  const auto bins = d.bins.size();
  for (std::size_t i = 0; i < bins; ++i) {
    const double upper =
        d.lo + (d.hi - d.lo) * static_cast<double>(i + 1) / static_cast<double>(bins);
    append_raw(limits, i + 1 == bins ? d.hi : upper);
    append_raw(counts, static_cast<double>(d.bins[i]));
  }
  return Message()
      .real(histogram_field::min, d.min)
      .real(histogram_field::max, d.max)
      .real(histogram_field::num, count)
      .real(histogram_field::sum, d.mean * count)
      .real(histogram_field::sum_squares, (d.std * d.std + d.mean * d.mean) * count)
      .bytes(histogram_field::limits, limits)
      .bytes(histogram_field::counts, counts)
      .encoded();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  std::string host(name.data());
  for (char& c : host) c = c == '/' ? '_' : c;
  return host;
}

[[noreturn]] void fail(const std::filesystem::path& path, int error, const char* doing) {
  throw Failure(
      "write-failed",
      fmt::format("cannot {} {}: {}", doing, path.string(), std::generic_category().message(error)),
      error == ENOSPC ? "free some space there" : "");
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> table = crc32c_table();
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return crc ^ 0xFFFFFFFFu;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder,
                                     std::optional<std::int64_t> resumed_at) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(folder, error.value(), "create");
  // Readers take the files of a folder in the order of their names, so the time has a fixed width.
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    path_ =
        folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}",
                             static_cast<std::int64_t>(now()), host_name(), ::getpid(), attempt);
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor_ < 0 && errno != EEXIST) fail(path_, errno, "create");
  }
  event(Message()
            .real(event_field::wall_time, now())
            .bytes(event_field::file_version, "brain.Event:2")
            .encoded());
  // SessionLog.START makes readers forget what came at this step or after it.
  if (resumed_at) {
    event(event_bytes(*resumed_at, 0, event_field::session_log, Message().integer(1, 1).encoded()));
  }
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  try {
    flush();
  } catch (const Failure&) {
    // The run store has the same numbers; a destructor cannot say more.
  }
  ::close(descriptor_);
}

void TensorBoardWriter::event(std::string_view payload) {
  std::string length;
  append_raw(length, static_cast<std::uint64_t>(payload.size()));
  pending_ += length;
  append_raw(pending_, masked(crc32c(length)));
  pending_ += payload;
  append_raw(pending_, masked(crc32c(payload)));
  if (pending_.size() >= kGatherSummaries) flush();
}

void TensorBoardWriter::scalar(std::string_view tag, std::int64_t step, double value,
                               double wall_time) {
  Message message;
  message.bytes(value_field::tag, tag).single(value_field::simple_value, static_cast<float>(value));
  event(event_bytes(step, wall_time, event_field::summary, summary_of(message)));
}

void TensorBoardWriter::histogram(std::string_view tag, std::int64_t step,
                                  const Distribution& distribution, double wall_time) {
  if (distribution.count == 0 || distribution.bins.empty()) return;
  Message message;
  message.bytes(value_field::tag, tag).bytes(value_field::histogram, histogram_bytes(distribution));
  event(event_bytes(step, wall_time, event_field::summary, summary_of(message)));
}

void TensorBoardWriter::flush() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t done = ::write(descriptor_, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      const int error = errno;
      pending_.erase(0, pending_.size() - rest.size());
      fail(path_, error, "write");
    }
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
  pending_.clear();
}

}  // namespace rewardloom
