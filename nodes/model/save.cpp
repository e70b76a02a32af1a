#include <filesystem>

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

}  // namespace

struct SaveModel final : Node {
  Reads<Policy> policy{this, "policy", "the model to write"};
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
      const LanguageModel& model = step.read<LanguageModel>(policy);
      const std::filesystem::path target = place(step);
      save_model(target, model.decoder().config(), model.decoder().weights(),
                 dtype() == StoredType::bfloat16 ? at::kBFloat16 : at::kFloat);
      model.tokenizer().save(target);
      written.text = target.string();
    }
    step[folder] = std::move(written);
  }

 private:
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
