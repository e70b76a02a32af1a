#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/head_params.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/model_params.h"

namespace rewardloom {

struct MakeRewardModel final : Node, Estimates {
  State<LanguageModel> weights{this, "weights"};
  Reads<Policy> policy{this, "policy", "its trunk is copied when the run starts; else the folder",
                       true};
  Reads<RewardModel> of{
      this, "of", "instead: a reward model that is copied, with its head, when this first runs",
      true};
  Output<RewardModel> reward_model{this, "reward_model", "the scorer, to read and to train"};
  ModelParams source{this};
  Param<std::int64_t> labels{
      this, "labels", 1, "scores per sequence: 1, or classes or attributes", {.min = 1}};
  HeadParams head{this};
  Synonyms words{this,
                 {"reward model", "RM", "preference model", "classifier", "verifier", "regression",
                  "Bradley-Terry", "sequence classification"}};
  Doc doc{
      this,
      "A decoder with `labels` scores read at the last token, as Hugging Face's "
      "...ForSequenceClassification (score.weight, no bias): a scalar reward, classes, or "
      "attributes. A folder of that form is read with its head; a language model's folder, or "
      "a connected policy, gives the trunk, and the head is new. Connected to another reward "
      "model, it begins as a copy of what that is when this node first runs, so that several "
      "branches can go on from one. With use_bidirectional_attention and classifier_pooling mean in "
      "its config every token sees the whole row, and the score is the mean over its tokens."};

  void run(Step& step) const override {
    const auto model = step.shared(weights, [&] {
      auto made = first(step);
      made->decoder().train(head.train());
      return made;
    });
    step[reward_model] = RewardModel{{model}};
  }

  void estimate(Estimate& e) const override {
    if (e.connected(of)) return state_model(e, e[reward_model], facts_of_copy(facts_of(e[of])));
    state_model(e, e[reward_model],
                e.connected(policy) ? facts_with_score_head(facts_of(e[policy]), HeadKind::sequence,
                                                            labels(), head.train())
                                    : model_facts(with_head(e), head.train()));
  }

 private:
  std::shared_ptr<LanguageModel> first(const Step& step) const {
    if (step.connected(of)) return step.read<LanguageModel>(of).copy();
    if (!step.connected(policy)) return make_language_model(with_head(step));
    return step.read<LanguageModel>(policy).with_score_head(
        HeadKind::sequence, labels(), head.new_head(static_cast<std::uint64_t>(source.seed())));
  }

  template <class At>
  ModelSource with_head(const At& at) const {
    ModelSource from = source(at);
    from.head = ScoreHead{HeadKind::sequence, labels(), head.init() == HeadInit::zeros};
    return from;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MakeRewardModel, "Reward model", "arXiv:2203.02155")
