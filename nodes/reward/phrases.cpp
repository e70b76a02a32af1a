#include "nodes/reward/phrases.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

/// Every text contains the empty one, so that a phrase without text would pay for nothing.
RuleDeclaration holds_text(const char* list) {
  RuleDeclaration rule;
  rule.require[list] = {{"items", {{"set", true}}}};
  rule.text = "a phrase without text occurs in every answer";
  rule.help = "take \"\" out of the list";
  return rule;
}

}  // namespace

double repeated_ngrams(std::string_view text, std::int64_t n) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  const auto size = static_cast<std::size_t>(n);
  if (words.size() < size) return 0;
  std::map<std::vector<std::string>, int> counts;
  const std::size_t total = words.size() - size + 1;
  for (std::size_t i = 0; i < total; ++i) {
    const auto start = words.begin() + static_cast<std::ptrdiff_t>(i);
    ++counts[{start, start + static_cast<std::ptrdiff_t>(size)}];
  }
  const auto twice = std::count_if(counts.begin(), counts.end(),
                                   [](const auto& entry) { return entry.second > 1; });
  return static_cast<double>(twice) / static_cast<double>(total);
}

double phrase_reward(std::string_view text, const PhraseOptions& options) {
  const std::string small = lower(text);
  const auto present = std::count_if(
      options.phrases.begin(), options.phrases.end(),
      [&](const std::string& phrase) { return small.find(lower(phrase)) != std::string::npos; });
  double reward = std::min(options.cap, static_cast<double>(present) / options.divisor);
  reward -= repeated_ngrams(small, options.ngram);
  for (const std::string& phrase : options.penalties) {
    reward -= static_cast<double>(occurrences(small, lower(phrase)));
  }
  return std::max(0.0, reward);
}

struct Phrases final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Output<Rewards> rewards{this, "rewards", "0 to cap"};
  Param<std::vector<std::string>> phrases{
      this, "phrases",
      std::vector<std::string>{
          "wait",    "let me",  "so ",       "because", "therefore",      "first",        "then",
          "next",    "finally", "check",     "verify",  "however",        "but ",         "if ",
          "suppose", "recall",  "note that", "we need", "in other words", "alternatively"},
      "what is looked for; each counts once"};
  Param<std::vector<std::string>> penalties{this, "penalty_phrases", std::vector<std::string>{},
                                            "each occurrence costs 1"};
  Param<double> divisor{
      this, "divisor", 20.0, "phrases for a reward of 1", {.min = 1, .max = 1000}};
  Param<double> cap{this, "cap", 1.0, "largest reward for phrases", {.min = 0}};
  Param<std::int64_t> ngram{
      this, "ngram", 20, "words of a repeated passage", {.min = 2, .max = 50}};
  Rule something{this,
                 {Json::object(),
                  {{"phrases", {{"set", true}}}},
                  "the list of phrases is empty",
                  "name at least one"}};
  Rule no_empty{this, holds_text("phrases")};
  Rule no_empty_penalty{this, holds_text("penalty_phrases")};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RPR", "reasoning pattern", "keywords"}};
  Doc doc{
      this,
      "max(0, min(cap, c / divisor) - repetition - penalties), c the number of phrases that occur; "
      "repetition the share of n-grams of words that occur again; [N]. Upper and lower case (of a "
      "to z) are the same, in answers and in phrases.\n"
      "It never looks at whether the answer is right: a proxy to be hacked."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    if (phrases().empty()) {
      step.fail("param-range", "the list of phrases is empty", "name at least one");
    }
    const PhraseOptions options{phrases(), penalties(), divisor(), cap(), ngram()};
    std::vector<double> scores;
    for (const std::string& text : answers(c)) scores.push_back(phrase_reward(text, options));
    step[rewards] = scored(step, c, scores);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Phrases, "Reasoning phrases (RPR)", "arXiv:2505.22653")
