// From a conversation to the text that a model was trained on.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "engine/core/json.h"
#include "engine/core/node.h"

namespace rewardloom {

/// How turns are marked. `from_model` is only a parameter's value: what chat_format_of gives.
enum class ChatFormat {
  from_model,
  chatml,
  qwen2_5,
  qwen3,
  llama3,
  llama3_1,
  gemma,
  gemma3,
  plain
};
constexpr auto choices(ChatFormat) {
  return std::to_array<Choice<ChatFormat>>({
      {ChatFormat::from_model, "from_model", "the one that the model's chat_template shows"},
      {ChatFormat::chatml, "chatml",
       "<|im_start|>role, text, <|im_end|>; no system prompt of its own"},
      {ChatFormat::qwen2_5, "qwen2_5", "ChatML with Qwen's system prompt and tool calls"},
      {ChatFormat::qwen3, "qwen3",
       "ChatML with tool calls; thoughts stay with the last answer only"},
      {ChatFormat::llama3, "llama3", "Llama 3: headers, texts without white space around them"},
      {ChatFormat::llama3_1, "llama3_1", "Llama 3.1: as llama3, the system turn tells the date"},
      {ChatFormat::gemma, "gemma", "Gemma 1 and 2: user and model in turn, no system turn"},
      {ChatFormat::gemma3, "gemma3", "Gemma 3: the system prompt begins the first user turn"},
      {ChatFormat::plain, "plain", "the texts one after another, nothing between them"},
  });
}

struct ChatOptions {
  bool generation_prompt = true;      ///< ends with the start of an answer
  std::optional<bool> thinking;       ///< Qwen3: false begins the answer with an empty thought
  std::string begin;                  ///< what Llama 3 and Gemma begin with: the begin token's text
  std::string date = "26 Jul 2024";   ///< that Llama 3.1 is told
  std::optional<std::string> system;  ///< system prompt where a conversation has none
  Json tools;                         ///< Qwen: functions that may be called; null: none
};

/// `messages` is a list of {"role", "content"}; an assistant's may hold `tool_calls` and
/// `reasoning_content`. Failure `chat-message` for what the format has no place for.
std::string render_chat(ChatFormat format, const Json& messages, const ChatOptions& options);

/// What a tokenizer_config.json's `chat_template` renders, known by the markers in it.
struct ChatStyle {
  ChatFormat format = ChatFormat::plain;
  std::optional<std::string> system;  ///< the template's own default system prompt
};
/// Failure `chat-template` where there is no template, or it is none of those known here.
ChatStyle chat_style_of(const Json& tokenizer_config);

/// As Python's json.dumps writes it, characters beyond ASCII as they are: what templates' tojson
/// gives.
std::string python_json(const Json& value);

}  // namespace rewardloom
