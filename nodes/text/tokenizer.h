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
#include "nodes/text/unicode.h"

namespace rewardloom {

/// Ids with a meaning of their own, where the tokenizer has them.
struct SpecialTokens {
  std::optional<std::int64_t> begin;
  std::optional<std::int64_t> end;
  std::optional<std::int64_t> padding;
  std::optional<std::int64_t> unknown;
  std::optional<std::int64_t> separator;  ///< ends a prompt, as a chat template's generation prompt
};

/// Const members may be called from several threads. Text that is no UTF-8 counts as if U+FFFD
/// stood in place of what is none.
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
  /// The ids of a whole text with all specials that the post-processor puts around it.
  virtual std::vector<std::int64_t> encode_whole(std::string_view text) const {
    return encode_prompt(text);
  }
};

/// From a folder: tokenizer.json, or tokenizer.model (SentencePiece), or the `char_ords` of
/// tokenizer_config.json; or from one such file, with the tokenizer_config.json beside it. Failure
/// `tokenizer` names a component that is not supported, and its place.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);
/// From the content of tokenizer.json and tokenizer_config.json; `config` may be an empty object.
std::shared_ptr<const Tokenizer> json_tokenizer(const std::string& tokenizer, const Json& config);
/// From the content of a SentencePiece .model file (unigram, BPE, word or character). The config's
/// `add_bos_token`, `add_eos_token` and `added_tokens_decoder` count. Failure `tokenizer` and
/// `protocol-buffer` for a damaged file.
std::shared_ptr<const Tokenizer> sentencepiece_tokenizer(const std::string& model,
                                                         const Json& config);
/// tokenizer_config.json of a folder or of the folder that holds a tokenizer file, completed by
/// special_tokens_map.json and chat_template.jinja; an empty object where there is none.
Json tokenizer_config(const std::filesystem::path& path);

/// One id per character: 0 separator, 1 end, 2 padding, 3 unknown, then the characters in order.
/// The separator ends each prompt.
std::shared_ptr<const Tokenizer> character_tokenizer(std::string_view characters);
std::shared_ptr<const Tokenizer> character_tokenizer_from(const Json& config);

/// Whether `ids` begin with more than one begin token, as when a chat template and a tokenizer add
/// one each: models have not seen that.
bool begins_twice(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids);

}  // namespace rewardloom
