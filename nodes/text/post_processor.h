// What is put around the ids of a text: the `post_processor` of a tokenizer.json.
#pragma once
#include <cstdint>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// Ids before and behind those of one text.
struct Surround {
  std::vector<std::int64_t> before;
  std::vector<std::int64_t> behind;
};

/// From TemplateProcessing (its `single` form), BertProcessing, RobertaProcessing, ByteLevel and
/// Sequences of them. Failure `tokenizer` names another component.
Surround surround_of(const TokenizerPart& post_processor);

}  // namespace rewardloom
