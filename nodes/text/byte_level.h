// Bytes as printable characters, so that any bytes are text: GPT-2's table.
#pragma once
#include <string>
#include <string_view>

namespace rewardloom {

/// One printable character for each byte of `text`.
std::string byte_level(std::string_view text);
/// The bytes behind a token at byte level; a token with a character that stands for no byte stays
/// itself.
std::string bytes_of_level(std::string_view token);

}  // namespace rewardloom
