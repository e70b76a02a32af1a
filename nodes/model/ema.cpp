#include <ATen/ATen.h>

#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

struct ModelEma final : Node, Estimates {
  State<LanguageModel> average{this, "average"};
  Reads<Policy> policy{this, "policy", "the model that is followed, after its update"};
  Output<Policy> averaged{this, "policy", "the average, to sample from, to measure and to save"};
  Output<ReferenceModel> reference{this, "reference", "the same model as a reference"};
  Param<double> decay{this,
                      "decay",
                      0.99,
                      "share of the old average that stays in each iteration",
                      {.min = 0, .max = 1}};
  Synonyms words{
      this, {"exponential moving average", "EMA", "Polyak", "target network", "moving reference"}};
  Doc doc{this,
          "average = decay * average + (1 - decay) * policy, once in "
          "each firing; it starts as a "
          "copy. Decay 1 keeps the copy, 0 follows at once. Metric "
          "distance: root of the mean "
          "square by which policy and average differ afterwards."};

  void run(Step& step) const override {
    const auto& source = step.read<LanguageModel>(policy);
    const auto model = step.shared(average, [&] { return source.copy(); });
    double squares = 0, count = 0;
    for (const auto& [name, weight] : source.decoder().weights()) {
      at::Tensor mean = model->decoder().weights().at(name);
      mean.lerp_(weight, 1 - decay());
      squares += (mean - weight).to(at::kDouble).square().sum().item<double>();
      count += static_cast<double>(mean.numel());
    }
    model->decoder().weights_changed();
    model->set_weight_version(source.weight_version());
    step.metric("distance", std::sqrt(squares / count));
    step[averaged] = Policy{{model}};
    step[reference] = ReferenceModel{{model}};
  }

  void estimate(Estimate& e) const override {
    const auto facts = facts_of_copy(facts_of(e[policy]));
    state_model(e, e[averaged], facts);
    e[reference].facts = facts;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ModelEma, "Moving average of a model", "doi:10.1137/0330046")
