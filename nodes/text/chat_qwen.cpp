#include <fmt/format.h>

#include "nodes/text/chat_message.h"

namespace rewardloom {

namespace {

constexpr const char* qwen_system =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
constexpr const char* tools_before =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr const char* tools_behind =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

bool has_tools(const ChatOptions& options) {
  return options.tools.is_array() && !options.tools.empty();
}

std::string tool_list(const ChatOptions& options) {
  std::string out = tools_before;
  for (const Json& tool : options.tools) out += "\n" + python_json(tool);
  return out + tools_behind;
}

std::string turn(std::string_view role, std::string_view content) {
  return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
}

/// Results of tools that follow each other are one user turn.
std::string tool_result(const std::vector<ChatMessage>& messages, std::size_t i) {
  const bool opens = i == 0 || messages[i - 1].role != "tool";
  const bool closes = i + 1 == messages.size() || messages[i + 1].role != "tool";
  return fmt::format("{}\n<tool_response>\n{}\n</tool_response>{}", opens ? "<|im_start|>user" : "",
                     messages[i].content, closes ? "<|im_end|>\n" : "");
}

std::string call_text(const Json& call, bool text_as_it_is) {
  const Json& arguments = call["arguments"];
  const std::string written = text_as_it_is && arguments.is_string() ? arguments.get<std::string>()
                                                                     : python_json(arguments);
  return fmt::format("<tool_call>\n{{\"name\": \"{}\", \"arguments\": {}}}\n</tool_call>",
                     call["name"].get<std::string>(), written);
}

std::string stripped_lines(std::string text, bool left, bool right) {
  if (right) text.erase(text.find_last_not_of('\n') + 1);
  return left ? text.substr(std::min(text.find_first_not_of('\n'), text.size())) : text;
}

}  // namespace

std::string render_qwen2_5(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  const bool has_system = messages[0].role == "system";
  const std::string system = has_system ? messages[0].content : qwen_system;
  std::string out = has_tools(options)
                        ? "<|im_start|>system\n" + system + "\n\n" + tool_list(options)
                        : turn("system", system);
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "tool") {
      out += tool_result(messages, i);
    } else if (message.tool_calls.empty()) {
      out += turn(message.role, message.content);
    } else {
      out += "<|im_start|>" + message.role;
      if (!message.content.empty()) out += "\n" + message.content;
      for (const Json& call : message.tool_calls) out += "\n" + call_text(call, false);
      out += "<|im_end|>\n";
    }
  }
  return out + (options.generation_prompt ? "<|im_start|>assistant\n" : "");
}

namespace {

/// An answer taken apart: what was thought, and what was said.
struct Thought {
  std::string reasoning, said;
};

Thought thought_of(const ChatMessage& message) {
  if (message.has_reasoning) return {message.reasoning, message.content};
  const std::string& text = message.content;
  const std::size_t end = text.find("</think>"), last = text.rfind("</think>");
  if (end == std::string::npos) return {"", text};
  std::string before = stripped_lines(text.substr(0, end), false, true);
  const std::size_t start = before.rfind("<think>");
  if (start != std::string::npos) before = before.substr(start + 7);
  return {stripped_lines(before, true, false), stripped_lines(text.substr(last + 8), true, false)};
}

/// The last question that a person asked: thoughts before it are left out. Without one, the last
/// message.
std::size_t last_query(const std::vector<ChatMessage>& messages) {
  for (std::size_t i = messages.size(); i-- > 0;) {
    const std::string& text = messages[i].content;
    const bool result = text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
    if (messages[i].role == "user" && !result) return i;
  }
  return messages.size() - 1;
}

std::string qwen3_answer(const std::vector<ChatMessage>& messages, std::size_t i, bool recent) {
  const ChatMessage& message = messages[i];
  const auto [reasoning, said] = thought_of(message);
  std::string out = "<|im_start|>assistant\n";
  if (recent && (i + 1 == messages.size() || !reasoning.empty())) {
    out += fmt::format("<think>\n{}\n</think>\n\n{}", stripped_lines(reasoning, true, true),
                       stripped_lines(said, true, false));
  } else {
    out += said;
  }
  for (std::size_t k = 0; k < message.tool_calls.size(); ++k) {
    if (k > 0 || !said.empty()) out += "\n";
    out += call_text(message.tool_calls[k], true);
  }
  return out + "<|im_end|>\n";
}

}  // namespace

std::string render_qwen3(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  const bool has_system = messages[0].role == "system";
  std::string out;
  if (has_tools(options)) {
    out = "<|im_start|>system\n" + (has_system ? messages[0].content + "\n\n" : "") +
          tool_list(options);
  } else if (has_system) {
    out = turn("system", messages[0].content);
  }
  const std::size_t query = last_query(messages);
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    if (messages[i].role == "tool") {
      out += tool_result(messages, i);
    } else if (messages[i].role == "assistant") {
      out += qwen3_answer(messages, i, i > query);
    } else {
      out += turn(messages[i].role, messages[i].content);
    }
  }
  if (!options.generation_prompt) return out;
  const bool silent = options.thinking && !*options.thinking;
  return out + "<|im_start|>assistant\n" + (silent ? "<think>\n\n</think>\n\n" : "");
}

}  // namespace rewardloom
