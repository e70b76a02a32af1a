#include "nodes/text/own_tokens.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cctype>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kRowsLookedAt = 8;

/// What normalisers and clean-up leave alone: letters in lower case, digits, bytes of other
/// scripts.
std::string core_of(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0) out += static_cast<char>(std::tolower(byte));
  }
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The ids of a row's answer that have a text, in order.
std::vector<std::int64_t> answer_ids(const at::Tensor& tokens, const at::Tensor& kinds,
                                     std::int64_t vocabulary) {
  std::vector<std::int64_t> ids;
  const std::int64_t* const token = tokens.data_ptr<std::int64_t>();
  const std::int8_t* const kind = kinds.data_ptr<std::int8_t>();
  for (std::int64_t t = 0; t < tokens.size(0); ++t) {
    const bool written = kind[t] >= static_cast<std::int8_t>(TokenKind::action);
    if (written && token[t] >= 0 && token[t] < vocabulary) ids.push_back(token[t]);
  }
  return ids;
}

std::string shortened(const std::string& text) {
  constexpr std::size_t most = 40;
  return text.size() <= most ? text : text.substr(0, most) + "...";
}

}  // namespace

void require_own_tokens(const LanguageModel& model, const Completions& completions,
                        const std::string& help) {
  const Tokenizer& tokenizer = model.tokenizer();
  const auto rows = std::min<std::int64_t>(completions.rows(),
                                           static_cast<std::int64_t>(completions.text.size()));
  std::string difference;
  for (std::int64_t row = 0, looked = 0; row < rows && looked < kRowsLookedAt; ++row) {
    const std::string& text = completions.text[static_cast<std::size_t>(row)];
    const std::string wanted = core_of(text);
    if (wanted.empty()) continue;
    const auto ids = answer_ids(completions.tokens[row].to(at::kCPU).contiguous(),
                                completions.kinds[row].to(at::kCPU).contiguous(), tokenizer.size());
    const std::string read = tokenizer.decode(ids);
    const std::string here = core_of(read);
    if (!here.empty() && (contains(here, wanted) || contains(wanted, here))) return;
    ++looked;
    if (difference.empty()) {
      difference = fmt::format(
          "row {} was written as \"{}\", but this model's {} tokens read its "
          "ids as \"{}\"",
          row, shortened(text), tokenizer.size(), shortened(read));
    }
  }
  if (difference.empty()) return;
  throw Failure("other-tokenizer",
                "the answers' token ids come from another tokenizer: " + difference, help);
}

}  // namespace rewardloom
