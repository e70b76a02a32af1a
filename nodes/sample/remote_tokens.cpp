#include "nodes/sample/remote_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"

namespace rewardloom {

namespace {

void check_range(const std::vector<std::int64_t>& ids, const Tokenizer& tokenizer) {
  for (const std::int64_t id : ids) {
    if (id >= 0 && id < tokenizer.size()) continue;
    throw Failure(
        "token-range",
        fmt::format("the server gave token {}, the tokenizer has {} tokens", id, tokenizer.size()),
        "give the tokenizer of the model that the server runs");
  }
}

std::optional<std::vector<std::int64_t>> ids_of(const std::vector<std::string>& token_texts,
                                                const TokenTexts& texts) {
  std::vector<std::int64_t> ids;
  for (const std::string& text : token_texts) {
    const auto id = texts.id_of(text);
    if (!id) return std::nullopt;
    ids.push_back(*id);
  }
  return ids;
}

std::vector<std::int64_t> encoded(const RemoteAnswer& answer, const std::string& prompt,
                                  bool has_stops, const Tokenizer& tokenizer) {
  std::vector<std::int64_t> ids = tokenizer.encode_answer(prompt, answer.text);
  const bool by_itself = answer.finished() && !answer.stopped_by_text.value_or(has_stops);
  if (by_itself && tokenizer.special().end) ids.push_back(*tokenizer.special().end);
  return ids;
}

}  // namespace

std::shared_ptr<const Tokenizer> tokenizer_from(const std::string& path) {
  namespace fs = std::filesystem;
  const fs::path given(path);
  if (fs::is_directory(given)) return load_tokenizer(given);
  if (!fs::exists(given)) {
    throw Failure("file-not-found", fmt::format("{} does not exist", path),
                  "tokenizer names a Hugging Face folder or its tokenizer.json");
  }
  const std::string name = given.filename().string();
  if (name == "tokenizer.json" || name == "tokenizer_config.json" || name == "tokenizer.model") {
    return load_tokenizer(given.parent_path());
  }
  return json_tokenizer(read_file(given), Json::object());
}

TokenTexts::TokenTexts(std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)) {
  for (std::int64_t id = 0; id < tokenizer_->size(); ++id) {
    const auto [place, is_new] = ids_.emplace(tokenizer_->token_text(id), id);
    if (!is_new) place->second = -1;
  }
}

std::optional<std::int64_t> TokenTexts::id_of(const std::string& text) const {
  auto found = ids_.find(text);
  if (found == ids_.end() && text.size() == 1) {
    found = ids_.find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(text[0])));
  }
  if (found == ids_.end()) return std::nullopt;
  if (found->second >= 0) return found->second;
  const std::vector<std::int64_t> again = tokenizer_->encode(text);
  return again.size() == 1 ? std::optional(again[0]) : std::nullopt;
}

void TokenTexts::save(Package& out) const { out.meta["vocabulary"] = tokenizer_->size(); }

void TokenTexts::load(const Package& in) {
  const std::int64_t before = in.meta.at("vocabulary").get<std::int64_t>();
  if (before == tokenizer_->size()) return;
  throw Failure(
      "tokenizer-changed",
      fmt::format("the tokenizer has {} tokens, the run began with {}", tokenizer_->size(), before),
      "resume with the tokenizer of the run");
}

RemoteRow remote_row(const RemoteAnswer& answer, const std::string& prompt, bool has_stops,
                     const TokenTexts& texts) {
  RemoteRow out;
  GeneratedRow& row = out.row;
  row.finished = answer.finished();
  if (!answer.tokens.empty()) {
    check_range(answer.tokens, texts.tokenizer());
    row.tokens = answer.tokens;
    out.other_text = !texts.tokenizer().decode(row.tokens).starts_with(answer.text);
  } else if (auto ids = ids_of(answer.token_texts, texts); ids && !ids->empty()) {
    row.tokens = std::move(*ids);
  } else {
    row.tokens = encoded(answer, prompt, has_stops, texts.tokenizer());
    // Log-probs of other tokens than these say nothing.
    return out;
  }
  if (answer.log_probs.size() == row.tokens.size()) {
    for (const double p : answer.log_probs) {
      row.log_probs.push_back(static_cast<float>(std::min(p, 0.0)));
    }
  }
  return out;
}

}  // namespace rewardloom
