#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/head_params.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/model_params.h"

namespace rewardloom {

struct MakeValueModel final : Node, Estimates {
  State<LanguageModel> weights{this, "weights"};
  Reads<Policy> policy{this, "policy", "its trunk is copied when the run starts; else the folder",
                       true};
  Output<ValueModel> value_model{this, "value_model", "the critic, to read and to train"};
  ModelParams source{this};
  HeadParams head{this};
  Synonyms words{this, {"critic", "value function", "value head", "baseline"}};
  Doc doc{this,
          "A decoder with one score per token, V(what stands before the next token), as Hugging "
          "Face's ...ForTokenClassification with one label (score.weight, score.bias). A folder of "
          "that form, or of ...ForSequenceClassification with one label, is read with its head; a "
          "language model's folder, or a connected policy, gives the trunk, and the head is new."};

  void run(Step& step) const override {
    const auto model = step.shared(weights, [&] {
      auto made =
          step.connected(policy)
              ? step.read<LanguageModel>(policy).with_score_head(
                    HeadKind::token, 1, head.new_head(static_cast<std::uint64_t>(source.seed())))
              : make_language_model(with_head(step));
      made->decoder().train(head.train());
      return made;
    });
    step[value_model] = ValueModel{{model}};
  }

  void estimate(Estimate& e) const override {
    state_model(e, e[value_model],
                e.connected(policy)
                    ? facts_with_score_head(facts_of(e[policy]), HeadKind::token, 1, head.train())
                    : model_facts(with_head(e), head.train()));
  }

 private:
  template <class At>
  ModelSource with_head(const At& at) const {
    ModelSource from = source(at);
    from.head = ScoreHead{HeadKind::token, 1, head.init() == HeadInit::zeros};
    return from;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MakeValueModel, "Value model (critic)", "arXiv:1707.06347")
