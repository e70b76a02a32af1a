// Cuts normalised text into the pieces within which byte pairs are merged.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

/// The pre_tokenizer components of a tokenizer.json: Split by a pattern (isolated) and ByteLevel.
class PreTokenizer {
 public:
  /// No component: the text stays whole. Failure `tokenizer` for another component, or a pattern
  /// that does not compile.
  explicit PreTokenizer(const std::vector<nlohmann::json>& components);
  /// In order; at byte level each byte is one printable character.
  std::vector<std::string> split(std::string_view text) const;

 private:
  class Pattern;
  std::vector<std::shared_ptr<const Pattern>> patterns_;
  bool byte_level_ = false;
  bool prefix_space_ = false;
};

/// The bytes behind text at byte level; a character that stands for no byte stays itself.
std::string bytes_of_level(std::string_view text);
/// Failure `tokenizer` for text whose canonical composition (Unicode's form C) may differ from it.
void require_composed(std::string_view text);

}  // namespace rewardloom
