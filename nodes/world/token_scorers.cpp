#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/alphabet_params.h"
#include "nodes/world/scorer_grid.h"

namespace rewardloom {

struct TokenScorers final : Node {
  State<ScorerGrid> grid{this, "grid"};
  Input<Values> prior{this, "prior", "what the encoders are pretrained on", {.dims = "V"}};
  Input<Preferences> pairs{this, "pairs", "what the models are trained on"};
  Optional<Preferences> held_out{this, "held_out", "pairs to measure their accuracy on"};
  Output<RewardModel> models{this, "models", "encoders x fine_tunings reward models"};
  AlphabetParams alphabet{this};
  Param<std::int64_t> encoders{this, "encoders", 5, "pretraining seeds", {.min = 1}};
  Param<std::int64_t> fine_tunings{
      this, "fine_tunings", 5, "fine-tuning seeds per encoder", {.min = 1}};
  Param<std::int64_t> embedding{this, "embedding", 12, "width of the encoder", {.min = 1}};
  Param<std::int64_t> hidden{this, "hidden", 32, "ReLU units of the head", {.min = 1}};
  Param<bool> opening{this, "opening", false, "the first token is read on its own as well"};
  Param<std::int64_t> pretrain_steps{this, "pretrain_steps", 200, "of the encoders", {.min = 0}};
  Param<double> pretrain_rate{this, "pretrain_rate", 0.01, "Adam, encoders", {.min = 0}};
  Param<std::int64_t> steps{this,
                            "steps",
                            100,
                            "of the reward models; many more learn the labels' noise by heart",
                            {.min = 1}};
  Param<double> head_rate{this, "head_rate", 3e-3, "Adam, heads", {.min = 0}};
  Param<double> embedding_rate{
      this, "embedding_rate", 3e-5, "Adam, embeddings while the head is trained", {.min = 0}};
  Param<double> center{this,
                       "center",
                       0.01,
                       "times (chosen + rejected)^2: puts the models' scores around 0",
                       {.min = 0}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this,
                 {"seed grid", "reward model ensemble", "pretraining seeds", "fine-tuning seeds",
                  "Bradley-Terry"}};
  Doc doc{
      this,
      "Reward models mean embedding -> ReLU layer -> score, trained once, when the run starts. "
      "Encoder e is pretrained with seed e to tell its own tokens; from it `fine_tunings` models "
      "are trained with Bradley-Terry and centring; fine-tuning seed f draws the same head for "
      "every encoder. The embedding hardly moves, so that the pretraining seed decides what is "
      "said of tokens that the pairs seldom show. Metrics, once: accuracy/train, "
      "accuracy/held_out, and their lowest and highest model; means/range: largest distance "
      "between models' mean scores."};

  void run(Step& step) const override {
    const auto state = step.shared(grid, [] { return std::make_shared<ScorerGrid>(); });
    if (state->empty()) {
      train(step, *state);
      measure(step, *state, "train", step[pairs]);
      if (const Preferences* const more = step[held_out]) measure(step, *state, "held_out", *more);
      step.metric("means/range", (state->means().max() - state->means().min()).item<double>());
    }
    step[models] = RewardModel{{state}};
  }

 private:
  void train(Step& step, ScorerGrid& state) const {
    const ScorerShape shape{alphabet().size(), embedding(), hidden(), opening()};
    if (step[prior].values.size(0) != shape.tokens) {
      step.fail("other-alphabet",
                fmt::format("the prior has {} tokens, the alphabet has {} letters",
                            step[prior].values.size(0), shape.tokens),
                "set common and rare to those of the world");
    }
    const at::Tensor chosen = scorer_features(text_tokens(step[pairs].chosen, alphabet()), shape);
    const at::Tensor rejected =
        scorer_features(text_tokens(step[pairs].rejected, alphabet()), shape);
    RandomKey key = step.random_key();
    key.iteration = 0;
    std::vector<Random> heads;
    for (std::int64_t f = 0; f < fine_tunings(); ++f)
      heads.emplace_back(key, static_cast<std::uint64_t>(f), 1);
    std::vector<ScorerWeights> parts(static_cast<std::size_t>(encoders()));
    step.parallel(parts.size(), [&](std::size_t e) {
      const at::Tensor encoder = pretrain_embedding(
          step[prior].values, shape, {pretrain_steps(), pretrain_rate()}, Random(key, e, 0));
      parts[e] = fine_tune(encoder, shape, chosen, rejected,
                           {steps(), head_rate(), embedding_rate(), center()}, heads);
    });
    ScorerWeights all = joined(parts);
    const at::Tensor scores = scorer_scores(all, at::cat({chosen, rejected})).to(at::kDouble);
    state.assign(std::move(all), shape, encoders(), fine_tunings(), scores.mean(1),
                 scores.std(1, false));
  }

  static ScorerWeights joined(const std::vector<ScorerWeights>& parts) {
    const auto join = [&](at::Tensor ScorerWeights::*member) {
      std::vector<at::Tensor> list;
      for (const ScorerWeights& part : parts) list.push_back(part.*member);
      return at::cat(list);
    };
    return {join(&ScorerWeights::embedding), join(&ScorerWeights::hidden),
            join(&ScorerWeights::hidden_bias), join(&ScorerWeights::out),
            join(&ScorerWeights::out_bias)};
  }

  void measure(Step& step, const ScorerGrid& state, const std::string& name,
               const Preferences& rows) const {
    std::vector<std::int64_t> every;
    for (std::int64_t m = 0; m < state.means().size(0); ++m) every.push_back(m);
    const at::Tensor gap = state.score(text_tokens(rows.chosen, alphabet()), every) -
                           state.score(text_tokens(rows.rejected, alphabet()), every);
    const at::Tensor right = gap.gt(0).to(at::kDouble).mean(1);
    step.metric("accuracy/" + name, right.mean().item<double>());
    step.metric("accuracy/" + name + "/min", right.min().item<double>());
    step.metric("accuracy/" + name + "/max", right.max().item<double>());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TokenScorers, "Grid of reward models (seeds)", "arXiv:2312.09244")
