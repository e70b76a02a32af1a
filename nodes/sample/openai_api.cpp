#include "nodes/sample/openai_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

[[noreturn]] void refuse(std::string text, std::string help = {}) {
  throw Failure("remote-reply", std::move(text), std::move(help));
}

/// The entry of an object, null where there is none.
const Json& entry(const Json& json, const char* name) {
  static const Json null;
  if (!json.is_object()) return null;
  const auto found = json.find(name);
  return found == json.end() ? null : *found;
}

std::vector<std::int64_t> ids(const Json& list) {
  std::vector<std::int64_t> out;
  if (!list.is_array()) return out;
  for (const Json& id : list) {
    if (!id.is_number_integer()) return {};
    out.push_back(id.get<std::int64_t>());
  }
  return out;
}

/// vLLM's return_tokens_as_token_ids writes token_id:N.
std::optional<std::int64_t> id_in_text(std::string_view text) {
  constexpr std::string_view before = "token_id:";
  if (!text.starts_with(before)) return std::nullopt;
  text.remove_prefix(before.size());
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

std::string token_bytes(const Json& item) {
  const Json& bytes = entry(item, "bytes");
  const Json& token = entry(item, "token");
  std::string out;
  if (bytes.is_array() && !bytes.empty()) {
    for (const Json& byte : bytes) {
      if (!byte.is_number_integer()) return "";
      out += static_cast<char>(byte.get<std::int64_t>());
    }
    return out;
  }
  return token.is_string() ? token.get<std::string>() : "";
}

/// A list of token texts and one of log-probs, from either form.
void read_log_probs(const Json& log_probs, RemoteAnswer& answer) {
  std::vector<std::string> texts;
  std::vector<double> values;
  const auto add = [&](std::string text, const Json& value) {
    if (!value.is_number()) return;
    texts.push_back(std::move(text));
    values.push_back(value.get<double>());
  };
  const Json& content = entry(log_probs, "content");
  const Json& tokens = entry(log_probs, "tokens");
  const Json& of_tokens = entry(log_probs, "token_logprobs");
  std::size_t wanted = 0;
  if (content.is_array()) {
    wanted = content.size();
    for (const Json& item : content) add(token_bytes(item), entry(item, "logprob"));
  } else if (tokens.is_array() && of_tokens.is_array() && tokens.size() == of_tokens.size()) {
    wanted = tokens.size();
    for (std::size_t i = 0; i < wanted; ++i) {
      add(tokens[i].is_string() ? tokens[i].get<std::string>() : "", of_tokens[i]);
    }
  }
  // Above 0 (beyond rounding) it is none; servers write -9999 for one that they did not keep.
  const bool good = std::all_of(values.begin(), values.end(), [](double v) {
    return std::isfinite(v) && v <= 1e-4 && v > -9999;
  });
  if (values.size() != wanted || !good) return;
  answer.token_texts = std::move(texts);
  answer.log_probs = std::move(values);
}

/// Ids that stand in the token texts.
void ids_from_texts(RemoteAnswer& answer) {
  if (!answer.tokens.empty()) return;
  std::vector<std::int64_t> found;
  for (const std::string& text : answer.token_texts) {
    const auto id = id_in_text(text);
    if (!id) return;
    found.push_back(*id);
  }
  answer.tokens = std::move(found);
}

std::string text_of(RemoteApi api, const Json& choice) {
  const Json& text =
      api == RemoteApi::chat ? entry(entry(choice, "message"), "content") : entry(choice, "text");
  if (text.is_string()) return text.get<std::string>();
  const Json& why = entry(choice, "finish_reason");
  refuse(fmt::format("a choice has no {}{}", api == RemoteApi::chat ? "message.content" : "text",
                     why.is_string() ? " (finish_reason " + why.get<std::string>() + ")" : ""));
}

RemoteAnswer read_answer(RemoteApi api, const Json& choice) {
  RemoteAnswer answer;
  answer.text = text_of(api, choice);
  const Json& reason = entry(choice, "finish_reason");
  if (reason.is_string()) answer.finish_reason = reason.get<std::string>();
  if (choice.contains("stop_reason")) {
    answer.stopped_by_text = entry(choice, "stop_reason").is_string();
  }
  answer.tokens = ids(entry(choice, "token_ids"));
  answer.prompt_tokens = ids(entry(choice, "prompt_token_ids"));
  read_log_probs(entry(choice, "logprobs"), answer);
  ids_from_texts(answer);
  return answer;
}

}  // namespace

std::string api_path(RemoteApi api) {
  return api == RemoteApi::chat ? "/chat/completions" : "/completions";
}

Json chat_messages(const std::string& system, const std::string& text) {
  Json messages = Json::array();
  const auto add = [&](const char* role, const std::string& content) {
    Json message = Json::object();
    message["role"] = role;
    message["content"] = content;
    messages.push_back(std::move(message));
  };
  if (!system.empty()) add("system", system);
  add("user", text);
  return messages;
}

void merge_extra(Json& body, const Json& extra) {
  if (extra.is_null()) return;
  for (const auto& [name, value] : extra.items()) {
    for (const char* own : {"model", "prompt", "messages", "n", "stream"}) {
      if (name != own) continue;
      throw Failure("remote-extra", fmt::format("extra sets {}, which the node sets itself", name),
                    "leave it out of extra; the node has parameters for what can be changed");
    }
    if (value.is_null()) {
      body.erase(name);
    } else {
      body[name] = value;
    }
  }
}

bool RemoteAnswer::finished() const {
  for (const char* cut : {"", "length", "max_tokens", "content_filter"}) {
    if (finish_reason == cut) return false;
  }
  return true;
}

std::vector<RemoteAnswer> read_answers(RemoteApi api, const Json& reply, std::size_t count) {
  const Json& choices = entry(reply, "choices");
  if (!choices.is_array()) {
    const Json& error = entry(reply, "error");
    refuse(error.is_null()
               ? "the reply has no list of choices"
               : "the server reports " +
                     error.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 300));
  }
  if (choices.size() != count) {
    refuse(fmt::format("asked for {} answers, got {}", count, choices.size()),
           "set per_request to 1 for a server that does not know n");
  }
  std::vector<std::pair<std::int64_t, RemoteAnswer>> indexed;
  for (const Json& choice : choices) {
    if (!choice.is_object()) refuse("a choice is no object");
    const Json& index = entry(choice, "index");
    indexed.emplace_back(index.is_number_integer() ? index.get<std::int64_t>() : 0,
                         read_answer(api, choice));
  }
  std::stable_sort(indexed.begin(), indexed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<RemoteAnswer> answers;
  const std::vector<std::int64_t> prompt = ids(entry(reply, "prompt_token_ids"));
  for (auto& [index, answer] : indexed) {
    if (answer.prompt_tokens.empty()) answer.prompt_tokens = prompt;
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace rewardloom
