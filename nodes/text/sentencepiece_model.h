// What must hold of a SentencePiece .model file before the library may read it.
#pragma once
#include <string_view>

namespace rewardloom {

/// Walks over the protocol buffer. The library follows the trie of the rewriting rules without
/// looking at its bounds, so a damaged one has to be refused here: Failure `tokenizer`.
void require_sound_model(std::string_view model);

}  // namespace rewardloom
