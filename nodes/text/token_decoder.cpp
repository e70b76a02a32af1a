#include "nodes/text/token_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "nodes/text/byte_level.h"
#include "nodes/text/pre_tokenizer.h"
#include "nodes/text/text_pattern.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

using Tokens = std::vector<std::string>;

std::string joined(const Tokens& tokens, std::string_view between = "") {
  std::string out;
  for (const std::string& token : tokens) {
    if (&token != &tokens.front()) out += between;
    out += token;
  }
  return out;
}

std::optional<char> fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const char* const end = token.data() + 5;
  const auto read = std::from_chars(token.data() + 3, end, value, 16);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return static_cast<char>(value);
}

/// Runs of byte tokens become text; a run that is no UTF-8 becomes one U+FFFD for each byte.
void join_bytes(Tokens& tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (invalid_utf8(bytes)) {
      out.insert(out.end(), bytes.size(), "\uFFFD");
    } else {
      out.push_back(bytes);
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes += *byte;
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

void join_level(Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += bytes_of_level(token);
  tokens = {repaired_utf8(bytes)};
}

/// Takes up to `start` and `stop` of one character from both ends.
std::string stripped(std::string_view token, std::string_view c, std::int64_t start,
                     std::int64_t stop) {
  for (; start > 0 && token.starts_with(c); --start) token.remove_prefix(c.size());
  for (; stop > 0 && token.ends_with(c); --stop) token.remove_suffix(c.size());
  return std::string(token);
}

/// English as it is written, not as WordPiece cuts it.
std::string cleaned_up(std::string text) {
  static const std::pair<const char*, const char*> rules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules) text = TextPattern::literal(from).replaced(text, to);
  return text;
}

}  // namespace

TokenDecoder::Rewrite TokenDecoder::rewrite_of(const TokenizerPart& part) {
  const std::string type = part.type();
  const auto each =
      [](std::function<std::string(const std::string&, bool first, bool last)> rewrite) {
        return [rewrite = std::move(rewrite)](Tokens& tokens) {
          for (std::size_t i = 0; i < tokens.size(); ++i) {
            tokens[i] = rewrite(tokens[i], i == 0, i + 1 == tokens.size());
          }
        };
      };
  if (type == "ByteLevel") return join_level;
  if (type == "ByteFallback") return join_bytes;
  if (type == "Fuse") return [](Tokens& tokens) { tokens = {joined(tokens)}; };
  if (type == "Metaspace") {
    const bool prepends = prepend_scheme(part) != PrependScheme::never;
    return each([mark = TextPattern::literal(metaspace_replacement(part)), prepends](
                    const std::string& token, bool first, bool) {
      return mark.replaced(token, first && prepends ? "" : " ");
    });
  }
  if (type == "WordPiece") {
    return each([prefix = part.text("prefix", "##"), cleans = part.flag("cleanup", true)](
                    const std::string& token, bool first, bool) {
      std::string out = first                       ? token
                        : token.starts_with(prefix) ? token.substr(prefix.size())
                                                    : " " + token;
      return cleans ? cleaned_up(std::move(out)) : out;
    });
  }
  if (type == "BPEDecoder") {
    const std::string suffix = part.text("suffix", "</w>");
    if (suffix.empty()) part.refuse("suffix is empty");
    return each([suffix = TextPattern::literal(suffix)](const std::string& token, bool, bool last) {
      return suffix.replaced(token, last ? "" : " ");
    });
  }
  if (type == "Strip") {
    const std::string c = part.text("content", " ");
    if (code_points(c).size() != 1) part.refuse("content is not one character");
    return each(
        [c, start = part.count("start", 0), stop = part.count("stop", 0)](
            const std::string& token, bool, bool) { return stripped(token, c, start, stop); });
  }
  if (type == "Replace") {
    return each(
        [pattern = TextPattern(part.at("pattern")), content = part.text("content")](
            const std::string& token, bool, bool) { return pattern.replaced(token, content); });
  }
  part.unsupported({"ByteLevel", "ByteFallback", "Fuse", "Metaspace", "WordPiece", "BPEDecoder",
                    "Strip", "Replace", "Sequence"});
}

TokenDecoder::TokenDecoder(const TokenizerPart& decoder) {
  joins_with_spaces_ = decoder.is_null();
  for (const TokenizerPart& part : decoder.sequence("decoders")) {
    rewrites_.push_back(rewrite_of(part));
    byte_level_ = byte_level_ || part.type() == "ByteLevel";
  }
}

std::string TokenDecoder::operator()(std::vector<std::string> tokens) const {
  for (const Rewrite& rewrite : rewrites_) rewrite(tokens);
  return joined(tokens, joins_with_spaces_ ? " " : "");
}

}  // namespace rewardloom
