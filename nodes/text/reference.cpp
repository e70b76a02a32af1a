#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/model_params.h"

namespace rewardloom {

struct TextReference final : Node, Estimates {
  State<LanguageModel> weights{this, "weights"};
  Reads<Policy> policy{this, "policy", "copied when the run starts; else the folder is read", true};
  Output<ReferenceModel> reference{this, "reference", "a model that stays as it is"};
  ModelParams source{this};
  Synonyms words{this, {"reference model", "frozen", "initial policy", "KL"}};
  Doc doc{
      this,
      "What a policy is compared with. With a policy connected, the weights that it has the first "
      "time this node runs are copied and kept; a resumed run gets the same copy back."};

  void run(Step& step) const override {
    const auto model = step.shared(weights, [&] {
      if (step.connected(policy)) return step.read<LanguageModel>(policy).copy();
      return make_language_model(source(step));
    });
    step[reference] = ReferenceModel{{model}};
  }

  void estimate(Estimate& e) const override {
    state_model(e, e[reference],
                e.connected(policy) ? facts_of_copy(facts_of(e[policy]))
                                    : model_facts(source(e), TrainedPart::all));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextReference, "Language model (frozen reference)", "arXiv:2203.02155")
