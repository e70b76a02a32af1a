#include "engine/core/registry.h"
#include "nodes/reward/answer_match.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct ExactMatch final : Node {
  Input<Completions> completions{this, "completions", "answers whose prompts carry a reference"};
  Output<Rewards> rewards{this, "rewards", "`right` where the answer matches, else `wrong`"};
  MatchParams match{this};
  Param<double> right{this, "right", 1.0, "reward of a right answer"};
  Param<double> wrong{this, "wrong", 0.0, "reward of a wrong answer"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"accuracy", "rule-based reward", "verifiable reward", "RLVR"}};
  Doc doc{
      this,
      "One reward per completion [N]: does the answer equal the reference answer of its prompt?\n"
      "An empty reference is an answer like any other: it is matched by the empty answer.\n"
      "Under number, whole numbers are compared exactly, however long. Commas before groups of "
      "exactly three digits, after one to three digits, are those of thousands (1,234); for "
      "last_number all others separate a list, of which the last number counts (3,4)."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& given = answers(c);
    const auto& wanted = references(c);
    std::vector<double> scores(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      scores[i] = matches(given[i], wanted[i], match()) ? right() : wrong();
    }
    step[rewards] = scored(step, c, scores);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ExactMatch, "Exact match", "arXiv:2501.12948")
