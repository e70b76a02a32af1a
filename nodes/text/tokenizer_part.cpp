#include "nodes/text/tokenizer_part.h"

#include <fmt/format.h>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr int deepest = 16;

}  // namespace

const nlohmann::json* TokenizerPart::value(const char* key) const {
  if (json_->is_null()) return nullptr;
  if (!json_->is_object()) refuse(fmt::format("is a JSON {}, not an object", json_->type_name()));
  const auto found = json_->find(key);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

bool TokenizerPart::has(const char* key) const { return value(key) != nullptr; }

std::string TokenizerPart::text(const char* key) const {
  if (!has(key)) refuse(fmt::format("has no {}", key));
  return text(key, "");
}

std::string TokenizerPart::text(const char* key, const std::string& otherwise) const {
  const nlohmann::json* const found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_string())
    refuse(fmt::format("{} is a JSON {}, not a text", key, found->type_name()));
  return found->get<std::string>();
}

bool TokenizerPart::flag(const char* key, bool otherwise) const {
  const nlohmann::json* const found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_boolean()) refuse(fmt::format("{} is neither true nor false", key));
  return found->get<bool>();
}

std::int64_t TokenizerPart::count(const char* key, std::int64_t otherwise) const {
  const nlohmann::json* const found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_number_unsigned() || *found > most_token_ids) {
    refuse(fmt::format("{} is {}, not a count", key, found->dump()));
  }
  return found->get<std::int64_t>();
}

std::int64_t TokenizerPart::id(const char* key) const {
  const nlohmann::json* const found = value(key);
  if (found == nullptr) refuse(fmt::format("has no {}", key));
  return token_id(*found, place_);
}

TokenizerPart TokenizerPart::at(const char* key) const {
  static const nlohmann::json null;
  const nlohmann::json* const found = value(key);
  const std::string place = place_.empty() ? key : place_ + "." + key;
  return {found == nullptr ? null : *found, place};
}

std::vector<TokenizerPart> TokenizerPart::items(const char* key) const {
  const nlohmann::json* const found = value(key);
  if (found == nullptr) refuse(fmt::format("has no {}", key));
  if (!found->is_array())
    refuse(fmt::format("{} is a JSON {}, not a list", key, found->type_name()));
  std::vector<TokenizerPart> out;
  for (const nlohmann::json& item : *found) {
    out.emplace_back(item,
                     fmt::format("{}{}{}[{}]", place_, place_.empty() ? "" : ".", key, out.size()));
  }
  return out;
}

void TokenizerPart::add_sequence(const char* list, int depth,
                                 std::vector<TokenizerPart>& out) const {
  if (is_null()) return;
  if (type() != "Sequence") {
    out.push_back(*this);
    return;
  }
  if (depth == deepest) refuse(fmt::format("lies more than {} Sequences deep", deepest));
  for (const TokenizerPart& part : items(list)) part.add_sequence(list, depth + 1, out);
}

std::vector<TokenizerPart> TokenizerPart::sequence(const char* list) const {
  std::vector<TokenizerPart> out;
  add_sequence(list, 0, out);
  return out;
}

void TokenizerPart::refuse(const std::string& why, const std::string& help) const {
  throw Failure("tokenizer", fmt::format("tokenizer.json: {}: {}", place_, why), help);
}

void TokenizerPart::unsupported(const std::vector<std::string>& supported) const {
  const std::string name = type();
  refuse(name.empty() ? "has no type" : fmt::format("{} is not supported", name),
         "supported here are " + listed(supported, "and"));
}

std::int64_t token_id(const nlohmann::json& value, std::string_view place) {
  if (value.is_number_unsigned() && value < most_token_ids) return value.get<std::int64_t>();
  throw Failure(
      "tokenizer",
      fmt::format(
          "tokenizer.json: {}: {} is no token id", place,
          value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 60)),
      fmt::format("ids are whole numbers from 0 to {}", most_token_ids - 1));
}

}  // namespace rewardloom
