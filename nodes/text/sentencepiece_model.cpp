#include "nodes/text/sentencepiece_model.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/core/problem.h"
#include "nodes/text/protocol_buffer.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

using Kind = ProtocolField::Kind;

[[noreturn]] void refuse_model(const std::string& why) {
  throw Failure("tokenizer", "the SentencePiece model " + why,
                "fetch the file again; a Git LFS pointer is not the model itself");
}

void put(std::string& value, const ProtocolField& field) {
  if (field.kind == Kind::delimited) value = field.bytes;
}
void put(bool& value, const ProtocolField& field) {
  if (field.kind == Kind::integer) value = field.number != 0;
}
template <class E>
void put_choice(E& value, const ProtocolField& field, std::uint64_t most, const char* what) {
  if (field.kind != Kind::integer) return;
  if (field.number < 1 || field.number > most)
    refuse_model(fmt::format("has the {} {}", what, field.number));
  value = static_cast<E>(field.number);
}

SentencePieceModel::Piece read_piece(std::string_view message, std::size_t index) {
  SentencePieceModel::Piece piece;
  for (ProtocolReader reader(message); !reader.done();) {
    const ProtocolField field = reader.next();
    if (field.key == 1) put(piece.text, field);
    if (field.key == 2 && field.kind == Kind::fixed32) piece.score = field.decimal;
    if (field.key == 3) put_choice(piece.type, field, 6, "piece type");
  }
  if (piece.text.empty()) refuse_model(fmt::format("has no text for piece {}", index));
  if (invalid_utf8(piece.text)) refuse_model(fmt::format("has a piece {} that is no UTF-8", index));
  if (!std::isfinite(piece.score))
    refuse_model(fmt::format("has the score {} at piece {}", piece.score, index));
  return piece;
}

void read_trainer(std::string_view message, SentencePieceModel& model) {
  for (ProtocolReader reader(message); !reader.done();) {
    const ProtocolField field = reader.next();
    if (field.key == 3) put_choice(model.kind, field, 4, "kind");
    if (field.key == 24) put(model.space_is_suffix, field);
    if (field.key == 35) put(model.byte_fallback, field);
    if (field.key == 44) put(model.unknown_surface, field);
    if (field.key == 46) put(model.begin, field);
    if (field.key == 47) put(model.end, field);
    if (field.key == 48) put(model.padding, field);
  }
}

void read_normalizer(std::string_view message, SentencePieceModel& model) {
  for (ProtocolReader reader(message); !reader.done();) {
    const ProtocolField field = reader.next();
    if (field.key == 2 && field.kind == Kind::delimited) model.rules = CharacterMap(field.bytes);
    if (field.key == 3) put(model.dummy_prefix, field);
    if (field.key == 4) put(model.removes_extra_spaces, field);
    if (field.key == 5) put(model.escapes_spaces, field);
  }
}

void require_no_rules(std::string_view message) {
  for (ProtocolReader reader(message); !reader.done();) {
    const ProtocolField field = reader.next();
    if (field.key == 2 && !field.bytes.empty())
      refuse_model("rewrites decoded text, which is not supported");
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view file) {
  SentencePieceModel model;
  for (ProtocolReader reader(file); !reader.done();) {
    const ProtocolField field = reader.next();
    if (field.kind != Kind::delimited) continue;
    if (field.key == 1) model.pieces.push_back(read_piece(field.bytes, model.pieces.size()));
    if (field.key == 2) read_trainer(field.bytes, model);
    if (field.key == 3) read_normalizer(field.bytes, model);
    if (field.key == 5) require_no_rules(field.bytes);
  }
  if (model.pieces.empty()) refuse_model("has no pieces");
  return model;
}

}  // namespace rewardloom
