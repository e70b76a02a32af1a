// The turns of a conversation, and the formats that need more than their texts.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "nodes/text/chat_template.h"

namespace rewardloom {

struct ChatMessage {
  std::string role;
  std::string content;
  std::string reasoning;
  std::vector<Json> tool_calls;  ///< {"name", "arguments"} each
  bool has_reasoning = false;    ///< `reasoning_content` was given
};

/// Failure `chat-message` names the turn and what is wrong with it.
std::vector<ChatMessage> read_messages(const Json& messages);
[[noreturn]] void refuse_message(std::size_t index, const std::string& why,
                                 const std::string& help);
std::string_view name_of(ChatFormat format);

std::string render_qwen2_5(const std::vector<ChatMessage>& messages, const ChatOptions& options);
std::string render_qwen3(const std::vector<ChatMessage>& messages, const ChatOptions& options);

}  // namespace rewardloom
