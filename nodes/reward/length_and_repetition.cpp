#include "nodes/reward/length_and_repetition.h"

#include <torch/types.h>

#include <array>
#include <set>

#include "engine/core/registry.h"
#include "nodes/reward/pattern.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

Pattern word_punctuation() { return Pattern("\\w+|[^\\w\\s]+"); }

LengthAndRepetition length_and_repetition(std::string_view text, const Pattern& token) {
  std::vector<std::string_view> tokens;
  std::size_t from = 0;
  while (const auto match = token.search(text, from)) {
    tokens.push_back(text.substr(match->begin, match->end - match->begin));
    from = match->end;
  }
  LengthAndRepetition out;
  out.length = static_cast<double>(tokens.size()) / 100;
  if (tokens.size() < 3) return out;
  std::set<std::array<std::string_view, 3>> trigrams;
  for (std::size_t i = 0; i + 2 < tokens.size(); ++i) {
    trigrams.insert({tokens[i], tokens[i + 1], tokens[i + 2]});
  }
  out.distinct = static_cast<double>(trigrams.size()) / static_cast<double>(tokens.size() - 2);
  return out;
}

struct LengthAndRepetitionNode final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Output<Rewards> length{this, "length", "words and punctuation marks / 100"};
  Output<Rewards> distinct{this, "distinct", "distinct trigrams / trigrams; 1 without trigrams"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"length incentive", "repetition penalty", "trigram"}};
  Doc doc{
      this,
      "Two factors per answer [N], on tokens that are runs of word characters or of punctuation. "
      "reward.relevance multiplies them with a relevance."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    RowScores lengths(texts.size());
    RowScores shares(texts.size());
    const Pattern token = word_punctuation();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const LengthAndRepetition found = length_and_repetition(texts[i], token);
      lengths.set(i, found.length);
      shares.set(i, found.distinct);
    }
    step[length] = scored(step, c, lengths.scores(), {});
    step[distinct] = scored(step, c, shares.scores(), {});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LengthAndRepetitionNode, "Length and repetition factors", "arXiv:2402.03469")
