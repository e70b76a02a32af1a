// Whether token ids mean to a model what they meant to the one that wrote them.
#pragma once
#include "engine/core/port_types.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

/// Looks at some answers: their ids, read with the model's tokenizer, must give the texts that came
/// with them; letter case and whatever is neither a letter nor a digit may differ, and either text
/// may be a part of the other. Rows without a text say nothing. Failure `other-tokenizer` if none
/// of the rows looked at agrees, naming one and both sides; `help`: what to do.
void require_own_tokens(const LanguageModel& model, const Completions& completions,
                        const std::string& help);

}  // namespace rewardloom
