#include "nodes/text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "nodes/text/chat_message.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

std::string trimmed_content(const ChatMessage& message) {
  return std::string(trimmed(message.content));
}

void refuse_tools(ChatFormat format, const std::vector<ChatMessage>& messages,
                  const ChatOptions& options) {
  const bool given = options.tools.is_array() && !options.tools.empty();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "tool" && messages[i].tool_calls.empty()) continue;
    refuse_message(i, "holds tool calls or results", "only the Qwen formats render them");
  }
  if (given) {
    throw Failure("chat-message",
                  fmt::format("tools are given, which {} does not render", name_of(format)),
                  "use qwen2_5 or qwen3, or leave the tools out");
  }
}

std::string chatml(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  std::string out;
  for (const ChatMessage& message : messages) {
    out += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content);
  }
  return out + (options.generation_prompt ? "<|im_start|>assistant\n" : "");
}

std::string llama_turn(std::string_view role, std::string_view content) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role, content);
}

std::string llama3(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                   bool dated) {
  std::string out = options.begin;
  std::size_t first = 0;
  if (dated) {
    const bool has_system = !messages.empty() && messages[0].role == "system";
    out += llama_turn("system",
                      fmt::format("Cutting Knowledge Date: December 2023\nToday Date: {}\n\n{}",
                                  options.date, has_system ? trimmed_content(messages[0]) : ""));
    first = has_system ? 1 : 0;
  }
  for (std::size_t i = first; i < messages.size(); ++i) {
    out += llama_turn(messages[i].role, trimmed_content(messages[i]));
  }
  return out +
         (options.generation_prompt ? "<|start_header_id|>assistant<|end_header_id|>\n\n" : "");
}

std::string gemma(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                  bool takes_system) {
  std::string out = options.begin, front;
  std::size_t first = 0;
  if (!messages.empty() && messages[0].role == "system") {
    if (!takes_system)
      refuse_message(0, "is a system turn, which Gemma does not have",
                     "put its text into the first user turn");
    front = messages[0].content + "\n\n";
    first = 1;
  }
  for (std::size_t i = first; i < messages.size(); ++i) {
    const bool user = messages[i].role == "user";
    if (user != ((i - first) % 2 == 0)) {
      refuse_message(i, fmt::format("is a turn of {}", messages[i].role),
                     "Gemma's turns are user, assistant, user, assistant and so on");
    }
    out += fmt::format("<start_of_turn>{}\n{}{}<end_of_turn>\n", user ? "user" : "model",
                       i == first ? front : "", trimmed_content(messages[i]));
  }
  return out + (options.generation_prompt ? "<start_of_turn>model\n" : "");
}

std::string plain(const std::vector<ChatMessage>& messages) {
  std::string out;
  for (const ChatMessage& message : messages) out += message.content;
  return out;
}

}  // namespace

std::string_view name_of(ChatFormat format) {
  for (const auto& choice : choices(ChatFormat{})) {
    if (choice.value == format) return choice.name;
  }
  return "";
}

std::string render_chat(ChatFormat format, const Json& given, const ChatOptions& options) {
  std::vector<ChatMessage> messages = read_messages(given);
  if (options.system && (messages.empty() || messages[0].role != "system")) {
    messages.insert(messages.begin(), {"system", *options.system, "", {}, false});
  }
  if (format == ChatFormat::qwen2_5) return render_qwen2_5(messages, options);
  if (format == ChatFormat::qwen3) return render_qwen3(messages, options);
  refuse_tools(format, messages, options);
  switch (format) {
    case ChatFormat::chatml: return chatml(messages, options);
    case ChatFormat::llama3:
    case ChatFormat::llama3_1: return llama3(messages, options, format == ChatFormat::llama3_1);
    case ChatFormat::gemma:
    case ChatFormat::gemma3: return gemma(messages, options, format == ChatFormat::gemma3);
    case ChatFormat::plain: return plain(messages);
    default:
      throw Failure("chat-template", "no format is given", "take one from the model's template");
  }
}

namespace {

/// The template itself; of several the one called default.
std::string template_text(const Json& config) {
  if (config.is_object() && config.contains("chat_template")) {
    const Json& entry = config["chat_template"];
    if (entry.is_string()) return entry.get<std::string>();
    for (const Json& one : entry.is_array() ? entry : Json::array()) {
      if (!one.is_object() || one.value("name", Json()) != "default") continue;
      if (one.contains("template") && one["template"].is_string())
        return one["template"].get<std::string>();
    }
  }
  throw Failure("chat-template", "the model's tokenizer_config.json has no chat_template",
                "set format to the one that the model was trained on");
}

/// The text that the template itself writes as a system turn of ChatML.
std::optional<std::string> system_in(std::string_view text) {
  constexpr std::string_view start = "<|im_start|>system\\n", end = "<|im_end|>";
  for (std::size_t at = text.find(start); at != std::string_view::npos;
       at = text.find(start, at + 1)) {
    const std::string_view rest = text.substr(at + start.size());
    const std::string_view content = rest.substr(0, rest.find(end));
    const bool literal = content.size() < rest.size() && !content.empty() &&
                         content.find_first_of("'\"{}") == std::string_view::npos;
    if (literal) return std::string(content);
  }
  return std::nullopt;
}

}  // namespace

ChatStyle chat_style_of(const Json& tokenizer_config) {
  const std::string text = template_text(tokenizer_config);
  const auto holds = [&](std::string_view marker) {
    return text.find(marker) != std::string::npos;
  };
  if (holds("<|im_start|>")) {
    if (holds("reasoning_content") && holds("</think>")) return {ChatFormat::qwen3, std::nullopt};
    if (holds("<tool_call>")) return {ChatFormat::qwen2_5, system_in(text)};
    return {ChatFormat::chatml, system_in(text)};
  }
  if (holds("<|start_header_id|>")) {
    return {holds("Cutting Knowledge Date") ? ChatFormat::llama3_1 : ChatFormat::llama3,
            std::nullopt};
  }
  if (holds("<start_of_turn>")) {
    return {holds("first_user_prefix") ? ChatFormat::gemma3 : ChatFormat::gemma, std::nullopt};
  }
  const bool marks_nothing = !holds("role") && !holds("<|") && !holds("[INST]") && holds("content");
  if (marks_nothing) return {ChatFormat::plain, std::nullopt};
  throw Failure("chat-template",
                fmt::format("the model's chat_template is none of those known here; it begins {}",
                            text.substr(0, 60)),
                "set format, or render the conversations before they come here");
}

}  // namespace rewardloom
