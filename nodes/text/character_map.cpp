#include "nodes/text/character_map.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include "engine/core/problem.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::string from_base64(const TokenizerPart& part, std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) part.refuse("precompiled_charsmap is not base64");
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFFFU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return value;
}

// The parts of a unit of the trie.
bool has_leaf(std::uint32_t unit) { return unit >> 8 & 1; }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7FFFFFFFU; }
std::uint32_t label_of(std::uint32_t unit) { return unit & (0x80000000U | 0xFFU); }
std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200U) >> 6); }

/// The end of the grapheme cluster that starts at `at` (Unicode Standard Annex 29).
std::size_t cluster_end(std::string_view text, std::size_t at) {
  utf8proc_int32_t state = 0;
  Utf8Character now = utf8_character(text, at);
  at += now.length;
  while (at < text.size()) {
    const Utf8Character next = utf8_character(text, at);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(now.c),
                                         static_cast<utf8proc_int32_t>(next.c), &state)) {
      break;
    }
    now = next;
    at += next.length;
  }
  return at;
}

constexpr std::size_t longest_cluster = 5;

}  // namespace

CharacterMap::CharacterMap(std::string_view bytes) {
  if (bytes.empty()) return;
  const std::size_t size = bytes.size() < 4 ? 0 : little_endian(bytes);
  if (bytes.size() < 4 || size > bytes.size() - 4 || size % 4 != 0) {
    throw Failure("tokenizer",
                  fmt::format("a precompiled_charsmap of {} bytes holds no trie", bytes.size()),
                  "fetch the file again: it is damaged");
  }
  for (std::size_t i = 0; i < size; i += 4) units_.push_back(little_endian(bytes.substr(4 + i)));
  texts_ = bytes.substr(4 + size);
}

CharacterMap::CharacterMap(const TokenizerPart& part)
    : CharacterMap(from_base64(part, part.text("precompiled_charsmap", ""))) {}

std::optional<CharacterMap::Rule> CharacterMap::find(std::string_view text, bool shortest) const {
  std::optional<Rule> found;
  if (units_.empty()) return found;
  std::size_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto key = static_cast<unsigned char>(text[i]);
    node ^= key;
    // A damaged map may lead anywhere.
    if (node >= units_.size() || label_of(units_[node]) != key) return found;
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    const std::size_t at = node < units_.size() ? value_of(units_[node]) : texts_.size();
    if (at >= texts_.size()) return found;
    found = Rule{i + 1, std::string_view(texts_).substr(at, texts_.find('\0', at) - at)};
    if (shortest) return found;
  }
  return found;
}

void CharacterMap::add(std::string_view cluster, std::string& out) const {
  if (cluster.size() <= longest_cluster) {
    if (const auto rule = find(cluster, true)) {
      out += rule->by;
      return;
    }
  }
  for (std::size_t i = 0; i < cluster.size();) {
    const std::string_view c = cluster.substr(i, utf8_character(cluster, i).length);
    const auto rule = find(c, true);
    out += rule ? rule->by : c;
    i += c.size();
  }
}

std::string CharacterMap::operator()(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = cluster_end(text, at);
    add(text.substr(at, end - at), out);
    at = end;
  }
  // A damaged map may write anything.
  return repaired_utf8(out);
}

}  // namespace rewardloom
