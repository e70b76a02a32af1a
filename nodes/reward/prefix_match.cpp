#include "nodes/reward/prefix_match.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3
                               : lead >> 3 == 30 ? 4 : 1;
    char32_t point = length == 1 ? lead : lead & (0x7F >> length);
    bool whole = i + length <= text.size();
    for (std::size_t k = 1; whole && k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      whole = next >> 6 == 2;
      point = point << 6 | (next & 0x3F);
    }
    out.push_back(whole ? point : lead);
    i += whole ? length : 1;
  }
  return out;
}

PrefixCredit prefix_credit(const std::vector<char32_t>& answer,
                           const std::vector<char32_t>& reference, EndCredit end) {
  const std::size_t shares = reference.size() + (end == EndCredit::none ? 0 : 1);
  const double share = shares == 0 ? 1.0 : 1.0 / static_cast<double>(shares);
  const auto parted = std::mismatch(answer.begin(), answer.end(), reference.begin(),
                                    reference.end());
  const auto matched = static_cast<std::size_t>(parted.first - answer.begin());

  PrefixCredit credit;
  credit.characters.assign(answer.size(), 0.0);
  std::fill_n(credit.characters.begin(), matched, share);
  const bool right = matched == answer.size() && matched == reference.size();
  if (end == EndCredit::repeat_last) {
    credit.after = !answer.empty() ? credit.characters.back() : reference.empty() ? 1.0 : 0.0;
  } else if (right && (end == EndCredit::if_complete || answer.empty())) {
    credit.after = share;
  }
  return credit;
}

namespace {

enum class CreditPlace { character, last_token };
constexpr auto choices(CreditPlace) {
  return std::to_array<Choice<CreditPlace>>({
      {CreditPlace::character, "character",
       "each character's own token; needs a tokenizer with one token per character"},
      {CreditPlace::last_token, "last_token", "all credit of a row at its last token"},
  });
}

enum class PrefixPreset { none, verl_digit_completion };
constexpr auto choices(PrefixPreset) {
  return std::to_array<Choice<PrefixPreset>>({
      {PrefixPreset::none, "none", "the parameters as given"},
      {PrefixPreset::verl_digit_completion, "verl_digit_completion",
       "verl's end-to-end test task: what follows the text repeats the last credit"},
  });
}

/// Positions of the action tokens of one row.
std::vector<std::int64_t> action_positions(const at::Tensor& mask_row) {
  std::vector<std::int64_t> out;
  const bool* const on = mask_row.data_ptr<bool>();
  for (std::int64_t t = 0; t < mask_row.size(0); ++t) {
    if (on[t]) out.push_back(t);
  }
  return out;
}

}  // namespace

struct PrefixMatch final : Node {
  Input<Completions> completions{this, "completions", "answers whose prompts carry a reference"};
  Output<Rewards> rewards{this, "rewards", "the sum of the row's credit, 1 for a right answer"};
  Output<TokenRewards> token_rewards{this, "token_rewards", "the same credit where it was earned"};
  Param<EndCredit> end{this, "end", EndCredit::if_complete,
                       "what the tokens after the text (the end token) earn"};
  Param<CreditPlace> place{this, "place", CreditPlace::character, "which tokens earn the credit"};
  Param<PrefixPreset> preset{this, "preset", PrefixPreset::none,
                             "sets the other parameters; explicit ones win"};
  Preset verl{this, "verl_digit_completion", {{"end", "repeat_last"}, {"place", "character"}}};
  Synonyms words{this, {"dense reward", "partial credit", "digit completion"}};
  Doc doc{this,
          "L = characters of the reference. Each character of the answer that equals the reference's, "
          "counted from the start and up to the first mismatch, earns 1/(L+1) (1/L with end: none) at "
          "its own token. rewards [N] are the sums over token_rewards [N,T].\n"
          "Which token holds which character is known where every character is one token; for other "
          "tokenizers set place to last_token."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& given = answers(c);
    const auto& wanted = references(c);
    const at::Tensor mask = c.mask().to(at::kCPU).contiguous();
    const at::Tensor credit = at::zeros(mask.sizes(), at::dtype(at::kDouble));
    std::vector<double> totals(given.size());
    std::int64_t unaligned = 0;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      totals[i] = write_credit(
          prefix_credit(code_points(given[i]), code_points(wanted[i]), end()),
          action_positions(mask[row]), credit[row], unaligned);
    }
    if (unaligned > 0) note_unaligned(step, unaligned, c.rows());
    step[rewards] = scored(step, c, totals);
    TokenRewards dense;
    dense.rewards = credit.to(c.tokens.device(), at::kFloat);
    dense.mask = c.mask();
    dense.group = c.group;
    dense.batch = c.batch;
    step[token_rewards] = std::move(dense);
  }

 private:
  /// Writes one row's credit to its tokens; gives the sum. Where the text is not one character per token
  /// (an end token may follow), all of it goes to the last token.
  double write_credit(const PrefixCredit& credit, const std::vector<std::int64_t>& positions,
                      const at::Tensor& out, std::int64_t& unaligned) const {
    double* const token = out.data_ptr<double>();
    const std::size_t characters = credit.characters.size();
    if (place() == CreditPlace::last_token) return at_last(credit, positions, token);
    if (positions.size() != characters && positions.size() != characters + 1) {
      ++unaligned;
      return at_last(credit, positions, token);
    }
    double sum = 0;
    for (std::size_t k = 0; k < positions.size(); ++k) {
      const double earned = k < characters ? credit.characters[k] : credit.after;
      token[positions[k]] = earned;
      sum += earned;
    }
    return sum;
  }
  static void note_unaligned(Step& step, std::int64_t unaligned, std::int64_t rows) {
    step.metric("unaligned_rows", static_cast<double>(unaligned));
    step.alarm("no-token-per-character",
               fmt::format("in {} of {} rows the text is not one character per token: their credit "
                           "is at the last token (see place)",
                           unaligned, rows));
  }
  /// A text that was cut has no token after it: what it earned stands for itself.
  static double at_last(const PrefixCredit& credit, const std::vector<std::int64_t>& positions,
                        double* token) {
    if (positions.empty()) return 0;
    double sum = positions.size() > credit.characters.size() ? credit.after : 0;
    for (const double earned : credit.characters) sum += earned;
    token[positions.back()] = sum;
    return sum;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PrefixMatch, "Prefix match",
                "github.com/Jiayi-Pan/TinyZero tests/e2e/envs/digit_completion")
