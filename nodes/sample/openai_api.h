// The OpenAI-compatible interface: bodies of requests, and what their replies say.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/node.h"

namespace rewardloom {

enum class RemoteApi { chat, completions };
constexpr auto choices(RemoteApi) {
  return std::to_array<Choice<RemoteApi>>({
      {RemoteApi::chat, "chat", "messages, posted to /chat/completions"},
      {RemoteApi::completions, "completions", "a text to go on with, posted to /completions"},
  });
}

/// "/chat/completions" or "/completions".
std::string api_path(RemoteApi api);

/// One user message, behind a system message unless that is empty.
Json chat_messages(const std::string& system, const std::string& text);

/// Sets the entries of `extra` in a body; null takes an entry out. Failure `remote-extra` for
/// entries that the node itself needs: model, prompt, messages, n, stream.
void merge_extra(Json& body, const Json& extra);

/// One of the answers in a reply.
struct RemoteAnswer {
  std::string text;
  std::string finish_reason;  ///< "" where the server says none
  /// Whether a stop text ended it, where the server says so (vLLM's stop_reason).
  std::optional<bool> stopped_by_text;
  std::vector<std::int64_t> tokens;         ///< ids, where the server gives them
  std::vector<std::int64_t> prompt_tokens;  ///< of the prompt as the server saw it
  std::vector<std::string> token_texts;     ///< of the log-probs' tokens, as bytes
  std::vector<double> log_probs;            ///< one per token text; empty: not given

  /// Ended by itself: not cut off at a limit and not withheld.
  bool finished() const;
};

/// The `count` answers of a reply, in order of their index. Failure `remote-reply` says what is not
/// as it should be. Log-probs that do not fit together are left out.
std::vector<RemoteAnswer> read_answers(RemoteApi api, const Json& reply, std::size_t count);

}  // namespace rewardloom
