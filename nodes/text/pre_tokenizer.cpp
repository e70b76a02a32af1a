#define PCRE2_CODE_UNIT_WIDTH 8
#include "nodes/text/pre_tokenizer.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <map>

#include "engine/core/problem.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// A compiled pattern; matching it is const.
class PreTokenizer::Pattern {
 public:
  explicit Pattern(const std::string& text) : text_(text) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    if (code_) return;
    throw Failure("tokenizer",
                  fmt::format("the pattern {} does not compile at character {}", text, offset));
  }

  /// Matches, and what lies between them, each a piece of its own.
  void isolate(std::string_view text, std::vector<std::string>& pieces) const {
    const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr), pcre2_match_data_free);
    std::size_t at = 0;
    while (at < text.size()) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                    text.size(), at, PCRE2_NOTEMPTY, match.get(), nullptr);
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) {
        throw Failure("tokenizer",
                      fmt::format("matching the pattern {} failed with {}", text_, found));
      }
      const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match.get());
      if (ends[0] > at) pieces.emplace_back(text.substr(at, ends[0] - at));
      pieces.emplace_back(text.substr(ends[0], ends[1] - ends[0]));
      at = ends[1];
    }
    if (at < text.size()) pieces.emplace_back(text.substr(at));
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  std::string text_;
  std::unique_ptr<pcre2_code, Free> code_;
};

namespace {

/// GPT-2's own pattern, which ByteLevel uses unless told not to.
constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/// Printable bytes stand for themselves, the others are counted up from U+0100.
const std::array<char32_t, 256>& level_characters() {
  static const std::array<char32_t, 256> table = [] {
    std::array<char32_t, 256> t{};
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      t[byte] = is_printable(byte) ? static_cast<char32_t>(byte) : next++;
    }
    return t;
  }();
  return table;
}

bool may_compose(char32_t c) {
  if (c < 0x300) return false;
  const auto in = [c](char32_t low, char32_t high) { return c >= low && c <= high; };
  return in(0x300, 0x36F) || in(0x483, 0x487) || in(0x591, 0x5C7) || in(0x610, 0x61A) ||
         in(0x64B, 0x65F) || c == 0x374 || c == 0x37E || c == 0x387 || in(0x93C, 0x93C) ||
         in(0x958, 0x95F) || in(0x9BC, 0x9BE) || in(0x9D7, 0x9DF) || in(0xB3C, 0xB3E) ||
         in(0xB56, 0xB5D) || in(0x1161, 0x1175) || in(0x11A8, 0x11C2) || in(0x1F71, 0x1F7D) ||
         in(0x1FBB, 0x1FBE) || in(0x20D0, 0x20F0) || in(0x2000, 0x2001) || in(0x212A, 0x212B) ||
         c == 0x2126 || in(0x2329, 0x232A) || in(0x3099, 0x309A) || in(0xF900, 0xFAFF) ||
         in(0xFB1D, 0xFB4E) || in(0xFE20, 0xFE2F) || in(0x1D15E, 0x1D1C0) || in(0x2F800, 0x2FA1D);
}

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<nlohmann::json>& components) {
  for (const nlohmann::json& part : components) {
    const std::string type = part.value("type", "");
    if (type == "Split" && part.value("behavior", "") == "Isolated" &&
        !part.value("invert", false) && part.at("pattern").contains("Regex")) {
      patterns_.push_back(
          std::make_shared<const Pattern>(part["pattern"]["Regex"].get<std::string>()));
    } else if (type == "ByteLevel") {
      byte_level_ = true;
      prefix_space_ = part.value("add_prefix_space", false);
      if (part.value("use_regex", true))
        patterns_.push_back(std::make_shared<const Pattern>(gpt2_pattern));
    } else {
      throw Failure("tokenizer", fmt::format("the pre_tokenizer {} is not supported", part.dump()),
                    "Split by an isolated pattern and ByteLevel are");
    }
  }
}

std::vector<std::string> PreTokenizer::split(std::string_view text) const {
  std::string whole(text);
  if (prefix_space_ && !whole.starts_with(' ')) whole.insert(0, 1, ' ');
  std::vector<std::string> pieces{whole};
  for (const auto& pattern : patterns_) {
    std::vector<std::string> finer;
    for (const std::string& piece : pieces) pattern->isolate(piece, finer);
    pieces = std::move(finer);
  }
  if (!byte_level_) return pieces;
  for (std::string& piece : pieces) {
    std::string level;
    for (const char byte : piece)
      append_utf8(level, level_characters()[static_cast<unsigned char>(byte)]);
    piece = std::move(level);
  }
  return pieces;
}

std::string bytes_of_level(std::string_view text) {
  static const std::map<char32_t, char> bytes = [] {
    std::map<char32_t, char> table;
    for (int byte = 0; byte < 256; ++byte)
      table[level_characters()[byte]] = static_cast<char>(byte);
    return table;
  }();
  std::string out;
  for (const char32_t c : code_points(text)) {
    const auto found = bytes.find(c);
    if (found == bytes.end())
      append_utf8(out, c);
    else
      out += found->second;
  }
  return out;
}

void require_composed(std::string_view text) {
  for (const char32_t c : code_points(text)) {
    if (!may_compose(c)) continue;
    throw Failure(
        "tokenizer",
        fmt::format("the text holds U+{:04X}, which the normalizer NFC may join with others; "
                    "composition is not supported",
                    static_cast<std::uint32_t>(c)),
        "compose the text (Unicode form C) before it comes here");
  }
}

}  // namespace rewardloom
