// Sampled answers as rows of the symbolic task.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"

namespace rewardloom {

/// Targets and answers of N rows; a prompt's text is its target. Views of the completions.
struct SymbolRows {
  const std::vector<std::string>& target;
  const std::vector<std::string>& answer;
  std::size_t size() const { return answer.size(); }
};

/// Failure `no-text` if the completions carry token ids only, `no-prompts` if they lost their
/// prompts.
SymbolRows symbol_rows(const Completions& completions);

/// The one character that `name` may hold. Failure `bad-symbol` for none or several.
char only_symbol(const std::string& name, const std::string& value);

}  // namespace rewardloom
