// Token ids for what a server wrote, and whether its log-probs belong to them.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/core/package.h"
#include "nodes/sample/generation.h"
#include "nodes/sample/openai_api.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// A Hugging Face folder, or one of its files (tokenizer.json under any name).
std::shared_ptr<const Tokenizer> tokenizer_from(const std::string& path);

/// A tokenizer with a way back from a token's text to its id.
class TokenTexts {
 public:
  explicit TokenTexts(std::shared_ptr<const Tokenizer> tokenizer);
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// The id whose text this is. Of several, the one that encoding the text gives; else none.
  std::optional<std::int64_t> id_of(const std::string& text) const;

  /// Loaded anew with the run; another vocabulary is refused: Failure `tokenizer-changed`.
  void save(Package& out) const;
  void load(const Package& in);

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unordered_map<std::string, std::int64_t> ids_;  ///< -1: several have this text
};

struct RemoteRow {
  GeneratedRow row;         ///< log_probs empty: not known for each token
  bool other_text = false;  ///< the server's ids do not spell its text with this tokenizer
};

/// The server's token ids if it gave them, else those of its log-probs' token texts, else the text
/// encoded anew (end token added where the answer ended by itself and not by one of the stop
/// texts). Failure `token-range` for ids that the tokenizer does not have.
RemoteRow remote_row(const RemoteAnswer& answer, const std::string& prompt, bool has_stops,
                     const TokenTexts& texts);

}  // namespace rewardloom
