// The content of a SentencePiece .model file.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/character_map.h"

namespace rewardloom {

/// Kudo and Richardson 2018, arXiv:1808.06226; github.com/google/sentencepiece. Read here, because
/// the library brings a protobuf of its own that cannot live in one process with LibTorch's.
struct SentencePieceModel {
  enum class Kind { unigram = 1, pairs = 2, words = 3, characters = 4 };
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };

  std::vector<Piece> pieces;
  Kind kind = Kind::unigram;
  bool byte_fallback = false;
  bool space_is_suffix = false;
  std::string unknown_surface = " \u2047 ";  ///< what an unknown token decodes to
  std::string begin = "<s>", end = "</s>", padding = "<pad>";
  CharacterMap rules;
  bool dummy_prefix = true;          ///< a space before (or behind) each text
  bool removes_extra_spaces = true;  ///< at both ends, and all but one within
  bool escapes_spaces = true;        ///< spaces become U+2581
};

/// Failure `tokenizer` for a file that is damaged, contradicts itself, or rewrites decoded text.
SentencePieceModel read_sentencepiece_model(std::string_view file);

}  // namespace rewardloom
