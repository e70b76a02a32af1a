// What tokenizer_config.json says besides the tokenizer itself.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "nodes/text/added_tokens.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// The text of an entry such as `bos_token`, which is a text or an object with `content`; nothing
/// where there is none.
std::optional<std::string> token_in_config(const Json& config, const char* key);
/// bos_token, eos_token, pad_token and unk_token as ids; `id_of` looks a token up.
SpecialTokens special_tokens(
    const Json& config,
    const std::function<std::optional<std::int64_t>(const std::string&)>& id_of);
/// `added_tokens_decoder`: objects with `content` by id. Failure `tokenizer` for anything else.
std::vector<AddedToken> added_tokens_in_config(const Json& config);
/// Writes tokenizer_config.json, where there is anything to write.
void save_tokenizer_config(const std::filesystem::path& folder, const Json& config);

}  // namespace rewardloom
