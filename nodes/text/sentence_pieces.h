// Cuts text into the pieces of a SentencePiece model, and puts pieces together again.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "nodes/text/prefix_index.h"
#include "nodes/text/sentencepiece_model.h"

namespace rewardloom {

/// Gives the same ids and texts as the library does. Const members may be called from several
/// threads.
class SentencePieces {
 public:
  /// Failure `tokenizer` for pieces that occur twice, no unknown piece, or missing bytes.
  explicit SentencePieces(SentencePieceModel model);

  /// A byte that belongs to no character counts as U+FFFD.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// Ids below size(); control pieces give nothing.
  std::string decode(const std::vector<std::int64_t>& ids) const;

  std::int64_t size() const { return static_cast<std::int64_t>(model_.pieces.size()); }
  const SentencePieceModel::Piece& piece(std::int64_t id) const {
    return model_.pieces[static_cast<std::size_t>(id)];
  }
  std::optional<std::int64_t> find(std::string_view piece) const;
  std::int64_t unknown() const { return unknown_; }
  /// A control piece by its text.
  std::optional<std::int64_t> control(std::string_view piece) const;
  const SentencePieceModel& model() const { return model_; }

 private:
  /// A stretch of the normalised text and the piece that it is.
  using Cut = std::vector<std::pair<std::string_view, std::int64_t>>;
  using Type = SentencePieceModel::Type;
  bool is(std::int64_t id, Type type) const { return piece(id).type == type; }
  void add_piece(std::int64_t id);
  void require_bytes() const;
  /// The next stretch of the text as it is rewritten, and the bytes that it takes.
  std::pair<std::string_view, std::size_t> rewritten(std::string_view text) const;
  std::string normalized(std::string_view text) const;
  /// A user-defined piece, or one character.
  std::size_t step(std::string_view text, bool& user_defined) const;
  std::int64_t id_of(std::string_view piece) const { return find(piece).value_or(unknown_); }

  Cut by_probability(std::string_view text) const;
  Cut by_pairs(std::string_view text) const;
  Cut by_words(std::string_view text) const;
  Cut by_characters(std::string_view text) const;
  double user_score(std::size_t length) const;

  SentencePieceModel model_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  using Lookup = std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>>;
  Lookup texts_;     ///< pieces that stand for text
  Lookup reserved_;  ///< control, unknown and byte pieces
  std::array<std::int64_t, 256> bytes_{};
  PrefixIndex index_, user_defined_;
  std::int64_t unknown_ = -1;
  float lowest_ = 0, highest_ = 0;
};

}  // namespace rewardloom
