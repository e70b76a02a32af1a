#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/chain_reader_params.h"

namespace rewardloom {

struct ChainRewardModel final : Node {
  Input<Preferences> preferences{this, "preferences", "labelled pairs of solutions", {.dims = "R"}};
  Input<Completions> completions{this, "completions", "solutions to score"};
  Output<Rewards> rewards{this, "rewards", "one score per solution"};
  ChainReaderParams reads{this};
  Param<double> ridge{this, "ridge", 1.0, "pulls the weights to 0", {.min = 0}};
  Synonyms words{this, {"outcome reward model", "ORM", "Bradley-Terry", "linear", "style bias"}};
  Doc doc{
      this,
      "A Bradley-Terry reward model on five features of a solution: share of lines that hold, "
      "whether all do, whether the final number follows, lines per operator, terse. It is "
      "fitted anew on each set of pairs, so data, label noise and the bias of those who label "
      "(preference.from_rewards) show in its scores. What it sees is wrong in `misread` of the "
      "cases, the same ones for the same seed and reader. [N]. Metrics: weight/lines, weight/all, "
      "weight/final, weight/count, weight/terse."};

  void run(Step& step) const override {
    const Preferences& pairs = step[preferences];
    const Completions& c = step[completions];
    const ChainReader reader = reads.reader(step);
    std::vector<ChainFeatures> differences;
    for (std::size_t i = 0; i < pairs.chosen.size(); ++i) {
      const ChainFeatures chosen = features(pairs.prompt[i], pairs.chosen[i], reader);
      ChainFeatures rejected = features(pairs.prompt[i], pairs.rejected[i], reader);
      for (std::size_t k = 0; k < chosen.size(); ++k) rejected[k] = chosen[k] - rejected[k];
      differences.push_back(rejected);
    }
    const ChainFeatures weights = fit_linear_bradley_terry(differences, ridge());
    constexpr std::array kNames{"lines", "all", "final", "count", "terse"};
    for (std::size_t k = 0; k < weights.size(); ++k) {
      step.metric(fmt::format("weight/{}", kNames[k]), weights[k]);
    }
    const std::vector<std::string>& texts = answers(c);
    std::vector<double> scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const ChainFeatures x = features(c.prompt_text.at(i), texts[i], reader);
      for (std::size_t k = 0; k < x.size(); ++k) scores[i] += weights[k] * x[k];
    }
    step[rewards] = scored(step, c, scores);
  }

 private:
  ChainFeatures features(const std::string& question, const std::string& text,
                         const ChainReader& reader) const {
    const ModularChain chain = ModularChain::parse(question, reads.modulus());
    return chain_features(chain, read_solution(chain, text, reader));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ChainRewardModel, "Reward model of chains (Bradley-Terry)", "arXiv:2410.01729")
