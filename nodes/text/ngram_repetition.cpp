#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/ngrams.h"

namespace rewardloom {

struct TextNgramRepetition final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Output<Rewards> ratio{this, "ratio", "share of repeated n-grams, 0: nothing occurs twice"};
  Param<std::int64_t> ngram{this, "ngram", 20, "words per n-gram", {.min = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"repetition", "degeneration", "loops"}};
  Doc doc{this,
          "Different word n-grams that occur more than once, over all n-grams of the answer; [N]. "
          "Words are divided by white space; an answer of fewer words gives 0. Unlike "
          "reward.repetition it counts what is repeated once, however often it is. Give it a "
          "negative weight in reward.combine."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    std::vector<double> scores;
    for (const std::string& text : answers(c)) scores.push_back(ngram_repetition(text, ngram()));
    const at::Tensor total = at::tensor(at::ArrayRef<double>(scores), at::dtype(at::kDouble));
    Rewards out = Rewards::of(c, total);
    out.components = {{step.node(), total}};
    step[ratio] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextNgramRepetition, "Repeated n-grams", "arXiv:2505.22653")
