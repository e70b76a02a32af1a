// What is done to text before it is cut: the `normalizer` of a tokenizer.json.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// Components in order: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, BertNormalizer, Prepend,
/// Replace, Strip, ByteLevel, Precompiled.
class Normalizer {
 public:
  /// Null: text stays as it is. Failure `tokenizer` names another component.
  explicit Normalizer(const TokenizerPart& normalizer);
  /// `text` is valid UTF-8; where it continues other text, nothing is put before it.
  std::string operator()(std::string_view text, bool continues = false) const;

 private:
  using Rewrite = std::function<std::string(std::string_view text, bool continues)>;
  static Rewrite rewrite_of(const TokenizerPart& part);
  std::vector<Rewrite> rewrites_;
};

}  // namespace rewardloom
