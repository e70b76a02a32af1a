// One component of a tokenizer.json, with its place in the file for messages.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

/// Reads the keys of one component; whatever does not fit is a Failure `tokenizer` that names the
/// place, e.g. `pre_tokenizer.pretokenizers[1]`. It refers to the JSON, which must outlive it.
/// (nlohmann::json finds a key in logarithmic time; our own Json, in order, would take minutes.)
class TokenizerPart {
 public:
  TokenizerPart(const nlohmann::json& json, std::string place)
      : json_(&json), place_(std::move(place)) {}

  bool is_null() const { return json_->is_null(); }
  const nlohmann::json& json() const { return *json_; }
  const std::string& place() const { return place_; }
  /// The key `type`; empty where there is none.
  std::string type() const { return text("type", ""); }
  bool has(const char* key) const;

  std::string text(const char* key) const;
  std::string text(const char* key, const std::string& otherwise) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t count(const char* key, std::int64_t otherwise) const;
  /// A token id: from 0, below a bound that keeps a damaged file from asking for all memory.
  std::int64_t id(const char* key) const;
  /// The component under a key; null where there is none.
  TokenizerPart at(const char* key) const;
  /// The elements of a list, which must be there.
  std::vector<TokenizerPart> items(const char* key) const;
  /// Nothing for null, the component itself, or for a Sequence (nested or not) those in its `list`.
  std::vector<TokenizerPart> sequence(const char* list) const;

  [[noreturn]] void refuse(const std::string& why, const std::string& help = {}) const;
  /// Refuses the component by the name of its type.
  [[noreturn]] void unsupported(const std::vector<std::string>& supported) const;

 private:
  const nlohmann::json* value(const char* key) const;
  void add_sequence(const char* list, int depth, std::vector<TokenizerPart>& out) const;

  const nlohmann::json* json_;
  std::string place_;
};

/// The bound of token ids.
constexpr std::int64_t most_token_ids = std::int64_t{1} << 24;
/// `value` as a token id; Failure `tokenizer` naming `place` otherwise.
std::int64_t token_id(const nlohmann::json& value, std::string_view place);

}  // namespace rewardloom
