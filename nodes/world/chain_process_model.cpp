#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/chain_reader_params.h"

namespace rewardloom {

struct ChainProcessModel final : Node {
  Input<Completions> training{
      this, "training", "solutions whose steps are labelled exactly", {.dims = "R,L"}};
  Input<Completions> completions{this, "completions", "solutions to score"};
  Output<StepRewards> step_rewards{
      this, "step_rewards", "probability that all is right so far, for each line and the answer"};
  ChainReaderParams reads{this};
  Synonyms words{this, {"process reward model", "PRM", "step verifier"}};
  Doc doc{this,
          "A process reward model: how often a step at which the reader finds all right so far, or "
          "not, in a terse or a verbose solution, was right in the training rows (one more of each "
          "is counted). [N,S]; the boundaries number the steps of each solution, -1 where it has "
          "fewer. For reward.step_aggregate."};

  void run(Step& step) const override {
    const ChainReader reader = reads.reader(step);
    const Probabilities right = fitted(step[training], reader);
    const Completions& c = step[completions];
    const std::vector<std::string>& texts = answers(c);
    std::vector<ChainReading> readings;
    std::size_t width = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      readings.push_back(read_solution(chain_of(c, i), texts[i], reader));
      width = std::max(width, readings.back().steps());
    }
    const auto rows = static_cast<std::int64_t>(texts.size());
    const auto columns = static_cast<std::int64_t>(width);
    StepRewards out;
    out.rewards = at::zeros({rows, columns}, at::kDouble);
    out.boundaries = at::full({rows, columns}, -1, at::kLong);
    double* const score = out.rewards.data_ptr<double>();
    std::int64_t* const place = out.boundaries.data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < readings.size(); ++i) {
      for (std::size_t k = 0; k < readings[i].steps(); ++k) {
        score[i * width + k] = right[readings[i].holds_until(k)][readings[i].terse];
        place[i * width + k] = static_cast<std::int64_t>(k);
      }
    }
    out.rewards = out.rewards.to(c.tokens.device());
    out.boundaries = out.boundaries.to(c.tokens.device());
    out.group = c.group;
    out.batch = c.batch;
    step[step_rewards] = std::move(out);
  }

 private:
  /// By: found right so far, terse.
  using Probabilities = std::array<std::array<double, 2>, 2>;

  ModularChain chain_of(const Completions& c, std::size_t row) const {
    return ModularChain::parse(c.prompt_text.at(row), reads.modulus());
  }

  Probabilities fitted(const Completions& rows, const ChainReader& reader) const {
    Probabilities hits{{{1, 1}, {1, 1}}}, count{{{2, 2}, {2, 2}}};
    const std::vector<std::string>& texts = answers(rows);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const ModularChain chain = chain_of(rows, i);
      const ChainReading found = read_solution(chain, texts[i], reader);
      const ChainReading truth = read_solution(chain, texts[i], {});
      for (std::size_t k = 0; k < found.steps(); ++k) {
        hits[found.holds_until(k)][found.terse] += truth.holds_until(k);
        count[found.holds_until(k)][found.terse] += 1;
      }
    }
    for (std::size_t a = 0; a < 2; ++a) {
      for (std::size_t b = 0; b < 2; ++b) hits[a][b] /= count[a][b];
    }
    return hits;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ChainProcessModel, "Process reward model of chains", "arXiv:2410.01729")
