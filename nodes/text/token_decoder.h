// From tokens back to text: the `decoder` of a tokenizer.json.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// Components in order: ByteLevel, Metaspace, WordPiece, BPEDecoder, Fuse, ByteFallback, Strip,
/// Replace. Bytes that are no UTF-8 become U+FFFD.
class TokenDecoder {
 public:
  /// Null: tokens are joined by spaces. Failure `tokenizer` names another component.
  explicit TokenDecoder(const TokenizerPart& decoder);
  std::string operator()(std::vector<std::string> tokens) const;
  /// Whether tokens are bytes as printable characters.
  bool is_byte_level() const { return byte_level_; }

 private:
  using Rewrite = std::function<void(std::vector<std::string>&)>;
  static Rewrite rewrite_of(const TokenizerPart& part);
  std::vector<Rewrite> rewrites_;
  bool byte_level_ = false;
  bool joins_with_spaces_ = false;
};

}  // namespace rewardloom
