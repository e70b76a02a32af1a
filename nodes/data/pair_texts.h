// Preference rows in the forms in which data sets come, as prompt, chosen and
// rejected text.
#pragma once
#include <string>
#include <string_view>

#include "engine/core/json.h"

namespace rewardloom {

struct PairTexts {
  std::string prompt;
  std::string chosen;
  std::string rejected;
};

/// A list of {"role", "content"} as a transcript: "\n\nHuman: ...",
/// "\n\nAssistant: ..."; a system message comes first, as it is. Failure
/// `data-field` for anything else.
std::string transcript_of(const Json& messages);

/// Two transcripts of the same dialogue ("\n\nHuman: ...\n\nAssistant: ..."):
/// the prompt reaches to the last "\n\nAssistant:" that both share, the answers
/// are what follows it, leading space included. Failure `data-field` where they
/// share none.
PairTexts split_transcripts(std::string_view chosen, std::string_view rejected);

/// `prompt` is null where the row has none. Texts with a prompt are taken as
/// they are; without one they are transcripts; lists of messages become
/// transcripts, and a prompt of messages ends with
/// "\n\nAssistant:". Failure `data-field`.
PairTexts pair_texts(const Json* prompt, const Json& chosen, const Json& rejected);

}  // namespace rewardloom
