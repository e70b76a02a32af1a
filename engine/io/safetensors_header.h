// The JSON header of a safetensors file, checked against the size of its data.
#pragma once
#include <string>
#include <string_view>

#include "engine/io/safetensors.h"

namespace rewardloom {

/// Limits of the reference implementation, and the sizes of what stands before the data.
inline constexpr std::size_t safetensors_length_bytes = 8;
inline constexpr std::size_t safetensors_largest_header = 100'000'000;
inline constexpr std::string_view safetensors_metadata_key = "__metadata__";
/// The metadata entry that lists which of the others are JSON text instead of plain strings.
inline constexpr std::string_view safetensors_json_key = "rewardloom_json";

/// The header of a whole file, and where its data starts. Failure `safetensors-invalid` in `name`.
struct SafetensorsHeader {
  SafetensorsIndex index;
  std::size_t data_begin = 0;
};
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& name);

/// The length and header that announce `entries`, padded so that the data is aligned to 8 bytes.
std::string format_safetensors_header(const std::vector<TensorEntry>& entries, const Json& meta);

/// The Failure that names the file and what is wrong in it.
[[noreturn]] void refuse_safetensors(const std::string& name, const std::string& text);

}  // namespace rewardloom
