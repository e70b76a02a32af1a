#include "nodes/world/symbol_rows.h"

#include <fmt/format.h>

#include "nodes/reward/rows.h"

namespace rewardloom {

SymbolRows symbol_rows(const Completions& completions) {
  const std::vector<std::string>& answer = answers(completions);
  if (completions.prompt_text.size() != answer.size()) {
    throw Failure("no-prompts",
                  fmt::format("there are {} answers, but {} prompts", answer.size(),
                              completions.prompt_text.size()),
                  "the prompt's text is the target: connect completions of sample.generate");
  }
  return {completions.prompt_text, answer};
}

char only_symbol(const std::string& name, const std::string& value) {
  if (value.size() == 1) return value.front();
  throw Failure("bad-symbol", fmt::format("{} is \"{}\", {} characters", name, value, value.size()),
                "give one character");
}

}  // namespace rewardloom
