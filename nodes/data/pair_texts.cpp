#include "nodes/data/pair_texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::string_view human = "\n\nHuman:";
constexpr std::string_view assistant = "\n\nAssistant:";

/// A text, or messages as a transcript.
std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : transcript_of(value);
}

}  // namespace

std::string transcript_of(const Json& messages) {
  if (!messages.is_array()) {
    throw Failure(
        "data-field",
        fmt::format("an answer must be a text or a list of messages, not {}", messages.type_name()),
        "name the field with the text");
  }
  std::string out;
  for (const Json& message : messages) {
    const std::string role = message.is_object() ? message.value("role", "") : "";
    if (role.empty() || !message.contains("content") || !message["content"].is_string()) {
      throw Failure("data-field", "a message must have the texts role and content");
    }
    const auto content = message["content"].get<std::string>();
    if (role == "system") {
      out += content;
    } else if (role == "user" || role == "human") {
      out.append(human).append(" ").append(content);
    } else if (role == "assistant") {
      out.append(assistant).append(" ").append(content);
    } else {
      throw Failure("data-field", fmt::format("a message has the role {}", role),
                    "roles are system, user and assistant");
    }
  }
  return out;
}

PairTexts split_transcripts(std::string_view chosen, std::string_view rejected) {
  const std::size_t least = std::min(chosen.size(), rejected.size());
  const auto differ = std::mismatch(chosen.begin(), chosen.begin() + least, rejected.begin());
  const auto shared = static_cast<std::size_t>(differ.first - chosen.begin());
  const std::size_t at = chosen.substr(0, shared).rfind(assistant);
  if (at == std::string_view::npos) {
    throw Failure("data-field", "the two answers share no \"\\n\\nAssistant:\" turn",
                  "name the prompt's field, or give transcripts of one dialogue");
  }
  const std::size_t end = at + assistant.size();
  return {std::string(chosen.substr(0, end)), std::string(chosen.substr(end)),
          std::string(rejected.substr(end))};
}

PairTexts pair_texts(const Json* prompt, const Json& chosen, const Json& rejected) {
  if (prompt == nullptr) return split_transcripts(plain(chosen), plain(rejected));
  const std::string before = plain(*prompt);
  if (chosen.is_string() && rejected.is_string()) {
    return {before, chosen.get<std::string>(), rejected.get<std::string>()};
  }
  // Some sets repeat the prompt's messages in front of the answer.
  std::string a = plain(chosen), b = plain(rejected);
  if (!a.starts_with(before) || !b.starts_with(before)) {
    a.insert(0, before);
    b.insert(0, before);
  }
  return split_transcripts(a, b);
}

}  // namespace rewardloom
