// From text to token ids and back, from the files of a Hugging Face folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// Ids with a meaning of their own, where the tokenizer has them.
struct SpecialTokens {
  std::optional<std::int64_t> begin;
  std::optional<std::int64_t> end;
  std::optional<std::int64_t> padding;
  std::optional<std::int64_t> unknown;
  std::optional<std::int64_t> separator;  ///< ends a prompt, as a chat template's generation prompt
};

/// Const members may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// The ids of a text, specials that its post-processor adds left out.
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  /// The ids that a model continues: begin token or separator included, as the tokenizer has it.
  virtual std::vector<std::int64_t> encode_prompt(std::string_view text) const = 0;
  /// What `answer` adds behind encode_prompt(prompt), end token left out.
  virtual std::vector<std::int64_t> encode_answer(std::string_view prompt,
                                                  std::string_view answer) const = 0;
  /// Ids outside the vocabulary are refused: Failure `token-range`.
  virtual std::string decode(const std::vector<std::int64_t>& ids,
                             bool skip_special = true) const = 0;
  virtual std::int64_t size() const = 0;
  virtual const SpecialTokens& special() const = 0;
  /// The text of one token, for showing it.
  virtual std::string token_text(std::int64_t id) const = 0;
  /// Writes the files that load_tokenizer reads.
  virtual void save(const std::filesystem::path& folder) const = 0;
};

/// Reads tokenizer.json (BPE: byte fallback or byte level), or the `char_ords` of
/// tokenizer_config.json. Failure `tokenizer` names a component that is not supported.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& folder);
/// From the content of the two files; `config` may be an empty object.
std::shared_ptr<const Tokenizer> bpe_tokenizer(const std::string& tokenizer, const Json& config);

/// One id per character: 0 separator, 1 end, 2 padding, 3 unknown, then the characters in order.
/// The separator ends each prompt.
std::shared_ptr<const Tokenizer> character_tokenizer(std::string_view characters);
std::shared_ptr<const Tokenizer> character_tokenizer_from(const Json& config);

/// Unicode code points of UTF-8 text; a byte that belongs to none becomes U+FFFD.
std::vector<char32_t> code_points(std::string_view text);
void append_utf8(std::string& out, char32_t c);

}  // namespace rewardloom
