// The parameters that say where a language model comes from.
#pragma once
#include <array>
#include <string>

#include "engine/core/node.h"
#include "engine/core/step.h"
#include "nodes/text/config_entries.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

enum class WeightInit { pretrained, random };
constexpr auto choices(WeightInit) {
  return std::to_array<Choice<WeightInit>>({
      {WeightInit::pretrained, "pretrained", "the weights in the folder"},
      {WeightInit::random, "random", "new weights for the config"},
  });
}

constexpr auto choices(ComputeType) {
  return std::to_array<Choice<ComputeType>>({
      {ComputeType::float32, "float32", "passes in the precision of the weights"},
      {ComputeType::bfloat16, "bfloat16", "matrix products in bfloat16, sums and norms in float32"},
  });
}

struct ModelParams {
  explicit ModelParams(Node* node)
      : model(node, "model", "", "Hugging Face folder; empty: a new model from config",
              {.path = true}),
        init(node, "init", WeightInit::pretrained, "where the weights come from"),
        seed(node, "seed", 0, "of random weights, apart from the run's seed", {.min = 0}),
        config(node, "config", Json(), "entries that replace those of config.json"),
        entries(node, {{{"model", {{"set", false}}}},
                       {{"config", config_entries()}},
                       "no config of a new model",
                       "without a folder, config holds the entries of a config.json"}),
        characters(node, "characters", "",
                   "alphabet of a character tokenizer that replaces the folder's"),
        adapter(node, "adapter", "", "folder with LoRA adapters in PEFT's layout", {.path = true}),
        lora(node, "lora", Json(),
             "new LoRA adapters, which alone are trained, e.g. "
             "{\"rank\": 8, \"alpha\": 16, \"targets\": [\"q_proj\", \"v_proj\"]}"),
        compute(node, "compute", ComputeType::float32,
                "precision of the passes; weights, gradients and optimizer stay float32"),
        gradient_checkpointing(node, "gradient_checkpointing", false,
                               "training keeps what layers are given and computes the rest again: "
                               "less memory, a third more time, the same gradients") {}

  /// `At` is a Step, or an Estimate.
  template <class At>
  ModelSource operator()(const At& at) const {
    ModelSource source;
    if (!model().empty()) source.folder = at.path(model());
    source.random = init() == WeightInit::random;
    source.seed = static_cast<std::uint64_t>(seed());
    source.config = config();
    source.characters = characters();
    source.device = at.device();
    if (!adapter().empty()) source.adapter = at.path(adapter());
    if (!lora().is_null()) source.lora = lora_targets(lora());
    source.compute = compute();
    source.recomputes_layers = gradient_checkpointing();
    return source;
  }

  Param<std::string> model;
  Param<WeightInit> init;
  Param<std::int64_t> seed;
  Param<Json> config;
  Rule entries;
  Param<std::string> characters;
  Param<std::string> adapter;
  Param<Json> lora;
  Param<ComputeType> compute;
  Param<bool> gradient_checkpointing;
};

}  // namespace rewardloom
