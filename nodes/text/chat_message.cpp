#include "nodes/text/chat_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

std::string text_in(const Json& message, const char* key, std::size_t index, bool may_lack) {
  const bool lacks = !message.contains(key) || message[key].is_null();
  if (lacks && may_lack) return "";
  if (!lacks && message[key].is_string()) return message[key].get<std::string>();
  refuse_message(index, fmt::format("has no text {}", key),
                 "write {\"role\": \"user\", \"content\": \"...\"}");
}

std::vector<Json> calls_in(const Json& message, std::size_t index) {
  std::vector<Json> out;
  if (!message.contains("tool_calls") || message["tool_calls"].is_null()) return out;
  const Json& calls = message["tool_calls"];
  for (const Json& call : calls.is_array() ? calls : Json::array({calls})) {
    const Json& function = call.is_object() && call.contains("function") ? call["function"] : call;
    const bool named = function.is_object() && function.contains("name") &&
                       function["name"].is_string() && function.contains("arguments");
    if (!named) {
      refuse_message(index, "has a tool call without name and arguments",
                     R"(write {"name": "f", "arguments": {}})");
    }
    out.push_back(function);
  }
  return out;
}

ChatMessage read_message(const Json& json, std::size_t index) {
  if (!json.is_object()) {
    refuse_message(index, fmt::format("is a JSON {}, not an object", json.type_name()),
                   "write {\"role\": \"user\", \"content\": \"...\"}");
  }
  ChatMessage message;
  message.role = text_in(json, "role", index, false);
  constexpr std::array roles{"system", "user", "assistant", "tool"};
  if (std::find(roles.begin(), roles.end(), message.role) == roles.end()) {
    refuse_message(index, fmt::format("has the role {}", message.role),
                   "roles are system, user, assistant and tool");
  }
  message.tool_calls = calls_in(json, index);
  message.content = text_in(json, "content", index, !message.tool_calls.empty());
  message.reasoning = text_in(json, "reasoning_content", index, true);
  message.has_reasoning =
      json.contains("reasoning_content") && !json["reasoning_content"].is_null();
  return message;
}

}  // namespace

std::vector<ChatMessage> read_messages(const Json& messages) {
  if (!messages.is_array() || messages.empty()) {
    throw Failure("chat-message",
                  fmt::format("a conversation is {}, not a list of messages",
                              messages.empty() ? "empty" : messages.type_name()),
                  "write [{\"role\": \"user\", \"content\": \"...\"}]");
  }
  std::vector<ChatMessage> out;
  for (const Json& message : messages) out.push_back(read_message(message, out.size()));
  return out;
}

void refuse_message(std::size_t index, const std::string& why, const std::string& help) {
  throw Failure("chat-message", fmt::format("message {} {}", index, why), help);
}

std::string python_json(const Json& value) {
  if (value.is_object()) {
    std::string out;
    for (const auto& [key, entry] : value.items()) {
      out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", Json(key).dump(), python_json(entry));
    }
    return "{" + out + "}";
  }
  if (value.is_array()) {
    std::string out;
    for (const Json& entry : value) out += (out.empty() ? "" : ", ") + python_json(entry);
    return "[" + out + "]";
  }
  return value.dump();
}

}  // namespace rewardloom
