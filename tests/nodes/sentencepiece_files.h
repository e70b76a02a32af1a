// Small SentencePiece models trained in a test, and the same models as a tokenizer.json.
#pragma once
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/problem.h"

namespace rewardloom::sentencepiece_files {

/// Sentences of made-up words, the frequent ones short; some in other scripts.
inline std::vector<std::string> sentences() {
  const std::vector<std::string> words{
      "the",      "reward",  "of",       "a",       "policy",       "is",
      "gradient", "token",   "tokens",   "model",   "modelled",     "sampling",
      "samples",  "sampled", "learning", "learned", "caf\u00e9",    "na\u00efve",
      "12",       "345",     "loss",     "losses",  "\u4f60\u597d", "\u043c\u0438\u0440"};
  std::vector<std::string> out;
  std::uint64_t state = 12345;
  const auto below = [&](std::uint64_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % n;
  };
  for (int i = 0; i < 400; ++i) {
    std::string sentence;
    for (int k = 0; k < 8; ++k) {
      const std::uint64_t word = below(words.size()) * below(words.size()) / words.size();
      sentence += (k == 0 ? "" : " ") + words[word];
    }
    out.push_back(sentence + (i % 3 == 0 ? "." : i % 3 == 1 ? ", (why?)" : "!"));
  }
  return out;
}

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> all) : all_(std::move(all)) {}
  bool done() const override { return at_ == all_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return all_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> all_;
  std::size_t at_ = 0;
};

/// The bytes of a .model file. `options` as on the command line of spm_train.
inline std::string trained(const std::string& options) {
  Sentences input(sentences());
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--minloglevel=2 --hard_vocab_limit=false --num_threads=1 " + options, &input, &model);
  if (!status.ok()) throw Failure("training", status.ToString());
  return model;
}

/// Field `number`, a text or message, of a protocol buffer; empty where there is none.
inline std::string field(const std::string& message, int number) {
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[at++]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < message.size()) {
    const std::uint64_t key = varint();
    const std::uint64_t size = (key & 7) == 2   ? varint()
                               : (key & 7) == 5 ? 4
                               : (key & 7) == 1 ? 8
                                                : 0;
    if ((key & 7) == 0) varint();
    if (key >> 3 == static_cast<std::uint64_t>(number)) return message.substr(at, size);
    at += size;
  }
  return "";
}

inline std::string base64(const std::string& bytes) {
  static const char* const digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

/// The component that rewrites text as the model's own rules do, white space included.
inline Json normalizer(const std::string& model) {
  const std::string rules = field(field(model, 3), 2);
  Json out = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  out["normalizers"].push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(rules)}});
  out["normalizers"].push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
  out["normalizers"].push_back(
      {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  return out;
}

inline Json with_model(const std::string& bytes, Json model) {
  const Json metaspace = {{"type", "Metaspace"},
                          {"replacement", "\u2581"},
                          {"prepend_scheme", "always"},
                          {"split", false}};
  return {
      {"normalizer", normalizer(bytes)},
      {"pre_tokenizer", metaspace},
      {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, metaspace}}}},
      {"model", std::move(model)}};
}

/// tokenizer.json for a unigram model.
inline Json unigram_json(const sentencepiece::SentencePieceProcessor& pieces,
                         const std::string& bytes, bool byte_fallback) {
  Json vocab = Json::array();
  for (int i = 0; i < pieces.GetPieceSize(); ++i) {
    vocab.push_back({pieces.IdToPiece(i), pieces.GetScore(i)});
  }
  return with_model(bytes, {{"type", "Unigram"},
                            {"unk_id", pieces.unk_id()},
                            {"byte_fallback", byte_fallback},
                            {"vocab", vocab}});
}

/// tokenizer.json for a BPE model: each piece can be merged from any two others that make it.
inline Json pairs_json(const sentencepiece::SentencePieceProcessor& pieces,
                       const std::string& bytes, bool byte_fallback) {
  Json vocab = Json::object(), merges = Json::array();
  std::set<std::string> known;
  for (int i = 0; i < pieces.GetPieceSize(); ++i) {
    vocab[pieces.IdToPiece(i)] = i;
    if (!pieces.IsControl(i) && !pieces.IsUnknown(i) && !pieces.IsByte(i))
      known.insert(pieces.IdToPiece(i));
  }
  for (int i = 0; i < pieces.GetPieceSize(); ++i) {
    const std::string piece = pieces.IdToPiece(i);
    if (!known.contains(piece)) continue;
    for (std::size_t cut = 1; cut < piece.size(); ++cut) {
      const std::string left = piece.substr(0, cut), right = piece.substr(cut);
      if (known.contains(left) && known.contains(right)) merges.push_back({left, right});
    }
  }
  return with_model(bytes, {{"type", "BPE"},
                            {"unk_token", pieces.IdToPiece(pieces.unk_id())},
                            {"fuse_unk", true},
                            {"byte_fallback", byte_fallback},
                            {"vocab", vocab},
                            {"merges", merges}});
}

}  // namespace rewardloom::sentencepiece_files
