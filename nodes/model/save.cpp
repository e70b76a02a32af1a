#include <filesystem>

#include "engine/core/estimate.h"
#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

namespace {

enum class StoredType { float32, bfloat16 };
constexpr auto choices(StoredType) {
  return std::to_array<Choice<StoredType>>({
      {StoredType::float32, "float32", "every bit of the weights"},
      {StoredType::bfloat16, "bfloat16", "half the size, rounded"},
  });
}

enum class AdapterForm { merged, separate };
constexpr auto choices(AdapterForm) {
  return std::to_array<Choice<AdapterForm>>({
      {AdapterForm::merged, "merged", "added into the weights of a whole model"},
      {AdapterForm::separate, "separate", "alone, as adapter_model.safetensors in PEFT's layout"},
  });
}

}  // namespace

struct SaveModel final : Node, Estimates {
  Reads<Policy> policy{this, "policy", "the model to write", true};
  Reads<RewardModel> reward_model{this, "reward_model", "instead: a reward model", true};
  Reads<ValueModel> value_model{this, "value_model", "instead: a value model", true};
  Output<Text> folder{this, "folder",
                      "where it was written; empty in iterations that write nothing"};
  Param<std::string> path{
      this, "path", "", "folder; empty: models/NAME in the run folder", {.path = true}};
  Param<std::string> name{this, "name", "policy", "the folder's name under models"};
  Param<std::int64_t> every{this,
                            "every",
                            1,
                            "writes in iterations every - 1, 2 every - 1, ...",
                            {.min = 1, .unit = "iterations"}};
  Param<StoredType> dtype{this, "dtype", StoredType::float32, "of the stored weights"};
  Param<AdapterForm> adapters{this, "adapters", AdapterForm::merged,
                              "how LoRA adapters are stored"};
  Rule one{this,
           {{{"policy", {{"connected", false}}}, {"reward_model", {{"connected", false}}}},
            {{"value_model", {{"connected", true}}}},
            "there is no model to write",
            "connect a policy, a reward_model or a value_model"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"export", "checkpoint", "Hugging Face", "safetensors"}};
  Doc doc{
      this,
      "config.json, model.safetensors and the tokenizer's files: what text.policy and other "
      "programs "
      "read. Connected to an optimizer's policy output it writes the weights after the update."};

  void run(Step& step) const override {
    Text written;
    if ((step.iteration() + 1) % every() == 0) {
      const LanguageModel& model = connected_model(step);
      const std::filesystem::path target = place(step);
      write(model, target);
      model.tokenizer().save(target);
      written.text = target.string();
    }
    step[folder] = std::move(written);
  }

  /// Takes no passes, and memory file by file.
  void estimate(Estimate&) const override {}

 private:
  const LanguageModel& connected_model(const Step& step) const {
    if (step.connected(policy)) return step.read<LanguageModel>(policy);
    if (step.connected(reward_model)) return step.read<LanguageModel>(reward_model);
    return step.read<LanguageModel>(value_model);
  }

  void write(const LanguageModel& model, const std::filesystem::path& target) const {
    const Decoder& decoder = model.decoder();
    if (adapters() == AdapterForm::separate && decoder.config().lora) {
      return save_adapters(target, decoder.config(), decoder.weights(), model.folder());
    }
    save_model(target, decoder.config(), decoder.weights(),
               dtype() == StoredType::bfloat16 ? at::kBFloat16 : at::kFloat);
  }

  std::filesystem::path place(const Step& step) const {
    if (!path().empty()) return path();
    if (step.run_dir().empty()) {
      step.fail("no-run-folder", "there is no run folder to write into", "set path");
    }
    return std::filesystem::path(step.run_dir()) / "models" / name();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SaveModel, "Save a model", "")
