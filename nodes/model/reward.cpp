#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/head_params.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_params.h"

namespace rewardloom {

struct MakeRewardModel final : Node {
  State<LanguageModel> weights{this, "weights"};
  Reads<Policy> policy{this, "policy", "its trunk is copied when the run starts; else the folder",
                       true};
  Output<RewardModel> reward_model{this, "reward_model", "the scorer, to read and to train"};
  ModelParams source{this};
  Param<std::int64_t> labels{
      this, "labels", 1, "scores per sequence: 1, or classes or attributes", {.min = 1}};
  HeadParams head{this};
  Synonyms words{this,
                 {"reward model", "RM", "preference model", "classifier", "verifier", "regression",
                  "Bradley-Terry", "sequence classification"}};
  Doc doc{this,
          "A decoder with `labels` scores read at the last token, as Hugging Face's "
          "...ForSequenceClassification (score.weight, no bias): a scalar reward, classes, or "
          "attributes. A folder of that form is read with its head; a language model's folder, or "
          "a connected policy, gives the trunk, and the head is new."};

  void run(Step& step) const override {
    const auto model = step.shared(weights, [&] {
      auto made = step.connected(policy)
                      ? step.read<LanguageModel>(policy).with_score_head(
                            HeadKind::sequence, labels(),
                            head.new_head(static_cast<std::uint64_t>(source.seed())))
                      : make_language_model(with_head(step));
      made->decoder().train(head.train());
      return made;
    });
    step[reward_model] = RewardModel{{model}};
  }

 private:
  ModelSource with_head(const Step& step) const {
    ModelSource from = source(step);
    from.head = ScoreHead{HeadKind::sequence, labels(), head.init() == HeadInit::zeros};
    return from;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MakeRewardModel, "Reward model", "arXiv:2203.02155")
