#include "engine/run/out_of_memory.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <charconv>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rewardloom {
namespace {

constexpr const char* kHelp =
    "use a smaller batch or group size, a smaller model, or a micro-batch: "
    "placement.NODE.micro_batch works on few rows at once; `rewardloom check --estimate` says what "
    "a graph needs";

/// "72.0 GB (72000000000 bytes)"
std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  double shown = bytes;
  std::size_t unit = 0;
  for (; shown >= 1000 && unit + 1 < std::size(kUnits); ++unit) shown /= 1000;
  if (unit == 0) return fmt::format("{:.0f} bytes", bytes);
  return fmt::format("{:.1f} {} ({:.0f} bytes)", shown, kUnits[unit], bytes);
}

/// What follows "tried to allocate" in a message: "72000000000 bytes", "2.00 GiB".
std::string size_in(std::string_view message) {
  for (const std::string_view sign : {"tried to allocate ", "Tried to allocate "}) {
    const std::size_t at = message.find(sign);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = message.substr(at + sign.size());
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) return {};
    const std::string_view unit = rest.substr(static_cast<std::size_t>(end - rest.data()));
    if (unit.starts_with(" bytes")) return bytes_text(number);
    const std::size_t word = unit.find_first_not_of(' ');
    if (word == std::string_view::npos) return {};
    return fmt::format("{} {}", number, unit.substr(word, unit.find_first_of(". ", word) - word));
  }
  return {};
}

Failure failure(std::string_view of, const std::string& size) {
  const std::string asked = size.empty() ? "" : fmt::format(": {} were asked for", size);
  return Failure("out-of-memory", fmt::format("{} is out of memory{}", of, asked), kHelp);
}

}  // namespace

std::optional<Failure> out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return failure("the machine", {});
  if (dynamic_cast<const std::length_error*>(&error) != nullptr) {
    return Failure("out-of-memory",
                   fmt::format("more is asked for than a program can address ({})", error.what()),
                   kHelp);
  }
  const auto* const tensors = dynamic_cast<const c10::Error*>(&error);
  if (tensors == nullptr) return std::nullopt;
  // LibTorch has no type of its own for this on the host, and only newer ones have one on a device.
  const std::string text = tensors->what_without_backtrace();
  const auto says = [&](std::string_view words) { return text.find(words) != std::string::npos; };
  if (says("DefaultCPUAllocator")) return failure("the machine", size_in(text));
  if (says("out of memory")) return failure("the device", size_in(text));
  if (says("Storage size calculation overflowed")) {
    return Failure("out-of-memory", "a tensor is larger than a program can address", kHelp);
  }
  return std::nullopt;
}

}  // namespace rewardloom
