#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/model_params.h"

namespace rewardloom {

struct TextPolicy final : Node, Estimates {
  State<LanguageModel> weights{this, "weights"};
  Reads<Policy> of{this, "of",
                   "another policy, which is copied when this first runs; else the folder is read",
                   true};
  Output<Policy> policy{this, "policy", "the model, to sample from and to train"};
  ModelParams source{this};
  Synonyms words{this,
                 {"actor", "language model", "LLM", "transformer", "Llama", "Qwen", "Mistral",
                  "Gemma", "GPT-2", "LoRA"}};
  Doc doc{
      this,
      "A decoder-only transformer: config.json, model.safetensors (or shards) and a tokenizer, as "
      "Hugging Face lays them out; Llama, Mistral, Qwen2, Qwen3, Gemma 2 and GPT-2. With init "
      "random "
      "the weights are drawn from the config's initializer_range, each from (seed, tensor, index). "
      "Without a folder, characters is the alphabet and config states the sizes of a small Llama. "
      "With adapter or lora the model has low-rank adapters (arXiv:2106.09685), and an optimizer "
      "trains these alone."};

  void run(Step& step) const override {
    const auto model = step.shared(weights, [&] {
      return step.connected(of) ? step.read<LanguageModel>(of).copy()
                                : make_language_model(source(step));
    });
    step[policy] = Policy{{model}};
  }

  void estimate(Estimate& e) const override {
    state_model(e, e[policy],
                e.connected(of) ? facts_of_copy(facts_of(e[of]))
                                : model_facts(source(e), TrainedPart::all));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextPolicy, "Language model (policy)", "arXiv:2302.13971")
