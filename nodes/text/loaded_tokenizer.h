// A tokenizer that a node reads once in a run.
#pragma once
#include <memory>
#include <string>

#include "engine/core/node.h"
#include "engine/core/package.h"
#include "engine/core/step.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// The state behind a node's own tokenizer; checkpoints hold nothing of it, it is read again.
struct LoadedTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
  Json config = Json::object();  ///< tokenizer_config.json
  void save(Package&) const {}
  void load(const Package&) {}
};

/// The parameters that say where a tokenizer comes from.
struct TokenizerParams {
  explicit TokenizerParams(Node* node)
      : model(node, "model", "", "Hugging Face folder whose tokenizer is used", {.path = true}),
        tokenizer(node, "tokenizer", "",
                  "instead: a tokenizer.json, or a SentencePiece .model file", {.path = true}) {}

  bool given() const { return !model().empty() || !tokenizer().empty(); }
  /// Failure `tokenizer` where neither or both are given.
  LoadedTokenizer load(const Step& step) const {
    if (model().empty() == tokenizer().empty()) {
      throw Failure("tokenizer",
                    given() ? "both model and tokenizer are given" : "no tokenizer is given",
                    "set model to a Hugging Face folder, or tokenizer to a file");
    }
    const std::string path = step.path(given_path());
    return {load_tokenizer(path), tokenizer_config(path)};
  }

  Param<std::string> model;
  Param<std::string> tokenizer;

 private:
  const std::string& given_path() const { return model().empty() ? tokenizer() : model(); }
};

/// Alarm `double-begin` for the first of the rows whose ids begin with two begin tokens.
template <class Rows>
void alarm_double_begin(Step& step, const Tokenizer& tokenizer, const Rows& rows) {
  std::size_t count = 0, first = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (begins_twice(tokenizer, rows[i]) && count++ == 0) first = i;
  }
  if (count == 0) return;
  std::string ids;
  for (std::size_t k = 0; k < rows[first].size() && k < 6; ++k) {
    ids += (k == 0 ? "" : " ") + std::to_string(rows[first][k]);
  }
  step.alarm("double-begin", std::to_string(count) + " rows begin with two begin tokens, row " +
                                 std::to_string(first) + " with ids " + ids +
                                 ": the text holds one, and the tokenizer adds another");
}

}  // namespace rewardloom
