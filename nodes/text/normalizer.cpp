#include "nodes/text/normalizer.h"

#include <map>
#include <memory>
#include <optional>

#include "nodes/text/byte_level.h"
#include "nodes/text/character_map.h"
#include "nodes/text/text_pattern.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

template <class Keep>
std::string filtered(std::string_view text, Keep keep) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : code_points(text)) {
    if (keep(c)) append_utf8(out, c);
  }
  return out;
}

/// The blocks of Chinese characters, as BERT counts them.
bool is_chinese(char32_t c) {
  const auto in = [c](char32_t low, char32_t high) { return c >= low && c <= high; };
  return in(0x4E00, 0x9FFF) || in(0x3400, 0x4DBF) || in(0x20000, 0x2A6DF) || in(0x2A700, 0x2B73F) ||
         in(0x2B740, 0x2B81F) || in(0x2B920, 0x2CEAF) || in(0xF900, 0xFAFF) || in(0x2F800, 0x2FA1F);
}

std::string cleaned(std::string_view text) {
  std::string out;
  for (const char32_t c : code_points(text)) {
    if (is_white_space(c)) {
      out += ' ';
    } else if (c != U'\uFFFD' && !is_other(c)) {
      append_utf8(out, c);
    }
  }
  return out;
}

std::string apart(std::string_view text) {
  std::string out;
  for (const char32_t c : code_points(text)) {
    const bool chinese = is_chinese(c);
    if (chinese) out += ' ';
    append_utf8(out, c);
    if (chinese) out += ' ';
  }
  return out;
}

struct BertOptions {
  bool clean, chinese, accents, lower;
};

/// Devlin et al. 2019, arXiv:1810.04805: the reference code's basic tokenizer.
std::string bert_normal(std::string_view text, const BertOptions& options) {
  std::string out(text);
  if (options.clean) out = cleaned(out);
  if (options.chinese) out = apart(out);
  if (options.accents) {
    out = filtered(normal_form(out, NormalForm::decomposed),
                   [](char32_t c) { return !is_nonspacing_mark(c); });
  }
  return options.lower ? lowercase(out) : out;
}

BertOptions bert_options(const TokenizerPart& part) {
  BertOptions options{};
  options.clean = part.flag("clean_text", true);
  options.chinese = part.flag("handle_chinese_chars", true);
  options.lower = part.flag("lowercase", true);
  options.accents = part.flag("strip_accents", options.lower);
  return options;
}

std::optional<NormalForm> form_of(const std::string& type) {
  if (type == "NFC") return NormalForm::composed;
  if (type == "NFD") return NormalForm::decomposed;
  if (type == "NFKC") return NormalForm::compatible_composed;
  if (type == "NFKD") return NormalForm::compatible_decomposed;
  return std::nullopt;
}

}  // namespace

Normalizer::Rewrite Normalizer::rewrite_of(const TokenizerPart& part) {
  const std::string type = part.type();
  if (const auto form = form_of(type)) {
    return [form = *form](std::string_view text, bool) { return normal_form(text, form); };
  }
  if (type == "Lowercase") return [](std::string_view text, bool) { return lowercase(text); };
  if (type == "StripAccents") {
    return [](std::string_view text, bool) {
      return filtered(text, [](char32_t c) { return !is_mark(c); });
    };
  }
  if (type == "BertNormalizer") {
    return [options = bert_options(part)](std::string_view text, bool) {
      return bert_normal(text, options);
    };
  }
  if (type == "Prepend") {
    return [front = part.text("prepend")](std::string_view text, bool continues) {
      return text.empty() || continues ? std::string(text) : front + std::string(text);
    };
  }
  if (type == "Replace") {
    return [pattern = TextPattern(part.at("pattern")), content = part.text("content")](
               std::string_view text, bool) { return pattern.replaced(text, content); };
  }
  if (type == "Strip") {
    const bool left = part.flag("strip_left", true), right = part.flag("strip_right", true);
    return [left, right](std::string_view text, bool) {
      return std::string(trimmed(text, left, right));
    };
  }
  if (type == "ByteLevel") return [](std::string_view text, bool) { return byte_level(text); };
  if (type == "Precompiled") {
    return [map = std::make_shared<const CharacterMap>(part)](std::string_view text, bool) {
      return (*map)(text);
    };
  }
  part.unsupported({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer",
                    "Prepend", "Replace", "Strip", "ByteLevel", "Precompiled", "Sequence"});
}

Normalizer::Normalizer(const TokenizerPart& normalizer) {
  for (const TokenizerPart& part : normalizer.sequence("normalizers")) {
    rewrites_.push_back(rewrite_of(part));
  }
}

std::string Normalizer::operator()(std::string_view text, bool continues) const {
  std::string out(text);
  for (const Rewrite& rewrite : rewrites_) out = rewrite(out, continues);
  return out;
}

}  // namespace rewardloom
