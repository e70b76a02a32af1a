#include "nodes/text/byte_level.h"

#include <array>
#include <vector>

#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct LevelTable {
  std::array<std::string, 256> characters;
  std::array<int, 0x144> bytes;  ///< by character, -1 where there is none
};

/// Printable bytes stand for themselves, the others are counted up from U+0100.
const LevelTable& level_table() {
  static const LevelTable table = [] {
    LevelTable t;
    t.bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t c = is_printable(byte) ? static_cast<char32_t>(byte) : next++;
      append_utf8(t.characters[static_cast<std::size_t>(byte)], c);
      t.bytes[c] = byte;
    }
    return t;
  }();
  return table;
}

}  // namespace

std::string byte_level(std::string_view text) {
  const LevelTable& table = level_table();
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char byte : text) out += table.characters[static_cast<unsigned char>(byte)];
  return out;
}

std::string bytes_of_level(std::string_view token) {
  const LevelTable& table = level_table();
  std::string out;
  for (std::size_t i = 0; i < token.size();) {
    const Utf8Character next = utf8_character(token, i);
    const int byte = next.c < table.bytes.size() ? table.bytes[next.c] : -1;
    if (byte < 0) return std::string(token);
    out += static_cast<char>(byte);
    i += next.length;
  }
  return out;
}

}  // namespace rewardloom
