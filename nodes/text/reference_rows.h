// What a reference-based reward model reads.
#pragma once
#include <cstdint>
#include <string>

namespace rewardloom {

/// Texts longer than `most` characters keep their first `head` and last `tail`.
struct LengthLimit {
  std::int64_t most = 1500;
  std::int64_t head = 500;
  std::int64_t tail = 1000;
};

/// A text with {question}, {reference} and, last of the three, {completion}.
struct ReferenceTemplate {
  static constexpr const char* official =
      "<question>{question}</question>\n<reference_answer>{reference}</reference_answer>\n"
      "<completion>{completion}</completion>";
  std::string text = official;
  LengthLimit limit;

  /// Up to where the completion begins, and from there on.
  std::string prefix(const std::string& question, const std::string& reference) const;
  std::string answer(const std::string& completion) const;
  /// Failure `bad-template` unless each place stands once, {completion} last.
  void check() const;
};

}  // namespace rewardloom
