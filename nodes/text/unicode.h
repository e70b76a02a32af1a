// Unicode text as UTF-8: code points, normal forms, case and the classes that tokenizers cut at.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

/// One step through UTF-8 text. An invalid sequence is U+FFFD as long as its maximal valid start,
/// at least one byte (the Unicode Standard, 3.9, "substitution of maximal subparts").
struct Utf8Character {
  char32_t c;
  std::size_t length;
  bool valid;
};
/// The character at byte `at`, which is below text.size().
Utf8Character utf8_character(std::string_view text, std::size_t at);

/// Unicode code points of UTF-8 text; what is none becomes U+FFFD.
std::vector<char32_t> code_points(std::string_view text);
void append_utf8(std::string& out, char32_t c);
/// The offset of the first byte that belongs to no character; nothing for valid UTF-8.
std::optional<std::size_t> invalid_utf8(std::string_view text);
/// The text with U+FFFD for every invalid sequence.
std::string repaired_utf8(std::string_view text);

/// Unicode Standard Annex 15.
enum class NormalForm { composed, decomposed, compatible_composed, compatible_decomposed };
/// Text in NFC, NFD, NFKC or NFKD; `text` is valid UTF-8.
std::string normal_form(std::string_view text, NormalForm form);
/// Character by character, without the context of a final sigma.
std::string lowercase(std::string_view text);

/// Property White_Space.
bool is_white_space(char32_t c);
/// General category P, or any other ASCII sign that is printed and neither letter nor digit.
bool is_punctuation(char32_t c);
/// General category M, and Mn alone.
bool is_mark(char32_t c);
bool is_nonspacing_mark(char32_t c);
/// General category C: control, format, private use, unassigned.
bool is_other(char32_t c);
/// General category N.
bool is_numeric(char32_t c);
/// What a regular expression's \w is: alphabetic, marks, decimal digits, connectors, joiners.
bool is_word_character(char32_t c);
/// The text without white space at its start and its end.
std::string_view trimmed(std::string_view text, bool left = true, bool right = true);

}  // namespace rewardloom
