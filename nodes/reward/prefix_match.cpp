#include "nodes/reward/prefix_match.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/language_model.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

PrefixCredit prefix_credit(const std::vector<char32_t>& answer,
                           const std::vector<char32_t>& reference, EndCredit end) {
  const std::size_t shares = reference.size() + (end == EndCredit::none ? 0 : 1);
  const double share = shares == 0 ? 1.0 : 1.0 / static_cast<double>(shares);
  const auto parted =
      std::mismatch(answer.begin(), answer.end(), reference.begin(), reference.end());
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
       "the token that holds the character; needs policy, or one character per token"},
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

/// An answer and where its characters stand in its row.
struct Written {
  std::vector<char32_t> characters;
  std::vector<std::int64_t> position;  ///< of the token that holds each character
  std::vector<std::int64_t> after;     ///< positions of the tokens behind the text
  std::int64_t last = -1;              ///< position of the last action token
  bool aligned = true;                 ///< whether `position` and `after` are known
};

/// Positions of the action tokens of one row.
std::vector<std::int64_t> action_positions(const at::Tensor& mask_row) {
  std::vector<std::int64_t> out;
  const bool* const on = mask_row.data_ptr<bool>();
  for (std::int64_t t = 0; t < mask_row.size(0); ++t) {
    if (on[t]) out.push_back(t);
  }
  return out;
}

/// By the text alone: right where every character is one token and at most an end token follows.
Written written_text(std::string_view text, const std::vector<std::int64_t>& positions,
                     bool finished) {
  Written out;
  out.characters = code_points(text);
  const std::size_t count = out.characters.size();
  out.last = positions.empty() ? -1 : positions.back();
  out.aligned = positions.size() == count || positions.size() == count + 1;
  if (!out.aligned && finished && out.last >= 0) out.after = {out.last};
  if (!out.aligned) return out;
  const auto end = positions.begin() + static_cast<std::ptrdiff_t>(count);
  out.position.assign(positions.begin(), end);
  out.after.assign(end, positions.end());
  return out;
}

/// By the tokens: special tokens stand as their text and match nothing; end tokens are behind the
/// text. Characters beyond the first `enough` may be left out.
Written written_tokens(const at::Tensor& tokens, const std::vector<std::int64_t>& positions,
                       const LanguageModel& model, std::size_t enough) {
  Written out;
  const std::vector<std::int64_t> ends = model.end_tokens();
  const std::int64_t* const id = tokens.data_ptr<std::int64_t>();
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> places;
  for (const std::int64_t position : positions) {
    if (std::find(ends.begin(), ends.end(), id[position]) != ends.end()) {
      out.after.push_back(position);
    } else {
      ids.push_back(id[position]);
      places.push_back(position);
    }
    out.last = position;
  }
  // A character belongs to the token with which it first appears, be it in part.
  for (std::size_t k = 0; k < ids.size() && out.characters.size() <= enough; ++k) {
    const std::vector<std::int64_t> so_far(ids.begin(),
                                           ids.begin() + static_cast<std::ptrdiff_t>(k) + 1);
    out.characters = code_points(model.tokenizer().decode(so_far, false));
    out.position.resize(out.characters.size(), places[k]);
  }
  return out;
}

}  // namespace

struct PrefixMatch final : Node {
  Input<Completions> completions{this, "completions", "answers whose prompts carry a reference"};
  Reads<Policy> policy{this, "policy", "the model whose tokenizer says which token holds what",
                       true};
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
          "L = characters of the reference. Each character of the answer that equals the "
          "reference's, counted from the start and up to the first mismatch, earns 1/(L+1) (1/L "
          "with end: none) at its own token. rewards [N] are the sums over token_rewards [N,T].\n"
          "With policy connected its tokenizer says which token holds which character, and special "
          "tokens inside an answer match nothing. Without it the text must have one character per "
          "token; rows that have not get all their credit at their last token, with an alarm."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& given = answers(c);
    const auto& wanted = references(c);
    const LanguageModel* const model =
        step.connected(policy) ? &step.read<LanguageModel>(policy) : nullptr;
    const at::Tensor mask = c.mask().to(at::kCPU).contiguous();
    const at::Tensor tokens = c.tokens.to(at::kCPU, at::kLong).contiguous();
    const at::Tensor credit = at::zeros(mask.sizes(), at::dtype(at::kDouble));
    std::vector<double> totals(given.size());
    std::int64_t unaligned = 0;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      const auto positions = action_positions(mask[row]);
      const auto reference = code_points(wanted[i]);
      // A broken character may stand for up to four until it is whole.
      const Written answer =
          model != nullptr ? written_tokens(tokens[row], positions, *model, reference.size() + 4)
                           : written_text(given[i], positions,
                                          c.finished.defined() && c.finished[row].item<bool>());
      unaligned += !answer.aligned;
      totals[i] = write_credit(prefix_credit(answer.characters, reference, end()), answer,
                               credit[row].data_ptr<double>());
    }
    if (unaligned > 0 && place() == CreditPlace::character) note(step, unaligned, c.rows());
    step[rewards] = scored(step, c, totals);
    TokenRewards dense;
    dense.rewards = credit.to(c.tokens.device(), at::kFloat);
    dense.mask = c.mask();
    dense.group = c.group;
    dense.batch = c.batch;
    step[token_rewards] = std::move(dense);
  }

 private:
  /// Writes one row's credit to its tokens; gives the sum.
  double write_credit(const PrefixCredit& credit, const Written& answer, double* token) const {
    double sum = 0;
    for (std::size_t k = 0; k < credit.characters.size(); ++k) {
      sum += credit.characters[k];
      if (answer.aligned) token[answer.position[k]] += credit.characters[k];
    }
    // Only `repeat_last` pays more than once.
    const std::size_t paid = end() == EndCredit::repeat_last
                                 ? answer.after.size()
                                 : std::min<std::size_t>(answer.after.size(), 1);
    for (std::size_t k = 0; k < paid; ++k) {
      sum += credit.after;
      token[answer.after[k]] += credit.after;
    }
    if (answer.last >= 0 && (!answer.aligned || place() == CreditPlace::last_token)) {
      std::fill_n(token, answer.last, 0.0);
      token[answer.last] = sum;
    }
    return sum;
  }

  static void note(Step& step, std::int64_t unaligned, std::int64_t rows) {
    step.metric("unaligned_rows", static_cast<double>(unaligned));
    step.alarm("no-token-per-character",
               fmt::format("in {} of {} rows the text is not one character per token: their credit "
                           "is at the last token; connect policy, or set place to last_token",
                           unaligned, rows));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PrefixMatch, "Prefix match",
                "github.com/Jiayi-Pan/TinyZero tests/e2e/envs/digit_completion")
