// Graphs and the catalogue that the tests of this folder share.
#pragma once
#include <QString>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom::examples {

inline std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Small node types modelled on the real ones: tests/wrong/catalogue.json.
inline const Catalogue& catalogue() {
  static const Catalogue all = Catalogue::from_json(
      Json::parse(file_text(REWARDLOOM_SOURCE_DIR "/tests/wrong/catalogue.json")));
  return all;
}

inline Document parse(const std::string& text) { return Document::parse(text, "x.json"); }

/// GRPO on sums, as design pages show it.
inline const std::string grpo = R"({
  "rewardloom": 1,
  "name": "GRPO on arithmetic",
  "parameters": {"group_size": 8},
  "settings": {"iterations": 150, "seed": 0},
  "nodes": {
    "tasks":   {"type": "data.arithmetic", "params": {"digits": 2}},
    "actor":   {"type": "text.policy"},
    "rollout": {"type": "sample.generate", "inputs": {"policy": "actor.policy", "prompts": "tasks.prompts"},
                "params": {"group_size": "$group_size", "max_tokens": 8}},
    "check":   {"type": "reward.exact_match", "inputs": {"completions": "rollout.completions"}},
    "adv":     {"type": "advantage.group", "inputs": {"rewards": "check.rewards"}},
    "clip":    {"type": "loss.policy_clip", "params": {"low": 0.2, "high": 0.2}},
    "update":  {"type": "optimize.policy", "inputs": {"policy": "actor.policy", "completions": "rollout.completions",
                "advantages": "adv.advantages", "terms": ["clip.term"]}, "params": {"learning_rate": 1e-4}}
  },
  "placement": {"actor": {"device": "cuda:0"}},
  "layout": {"tasks": [0, 0], "frames": [{"title": "Rollout", "around": ["tasks", "actor", "rollout"]}]}
}
)";

/// A training step as a subgraph (twice), inside phases and inside a loop.
inline const std::string co_training = R"({
  "rewardloom": 1,
  "parameters": {"rate": 0.001},
  "nodes": {
    "tasks": {"type": "data.arithmetic"},
    "left":  {"type": "text.policy"},
    "right": {"type": "text.policy"},
    "turns": {"type": "flow.phases", "inputs": {"left": "left.policy", "right": "right.policy", "prompts": "tasks.prompts"},
              "params": {"phases": [{"body": "train_left", "iterations": 2}, {"body": "train_right", "with": {"rate": "$rate"}}]}},
    "save":  {"type": "model.save", "inputs": {"policy": "turns.left"}}
  },
  "subgraphs": {
    "step": {
      "parameters": {"rate": 0.5, "group_size": 4},
      "inputs": {"policy": "Policy", "prompts": "Prompts"},
      "nodes": {
        "rollout": {"type": "sample.generate", "inputs": {"policy": "inputs.policy", "prompts": "inputs.prompts"},
                    "params": {"group_size": "$group_size"}},
        "check": {"type": "reward.exact_match", "inputs": {"completions": "rollout.completions"}},
        "adv": {"type": "advantage.group", "inputs": {"rewards": "check.rewards"}},
        "clip": {"type": "loss.policy_clip"},
        "update": {"type": "optimize.policy", "inputs": {"policy": "inputs.policy", "completions": "rollout.completions",
                   "advantages": "adv.advantages", "terms": ["clip.term"]}, "params": {"learning_rate": "$rate"}}
      },
      "outputs": {"policy": "update.policy", "rewards": "check.rewards"}
    },
    "train_left": {
      "inputs": {"left": "Policy", "prompts": "Prompts"},
      "nodes": {
        "one": {"type": "subgraph.step", "inputs": {"policy": "inputs.left", "prompts": "inputs.prompts"}},
        "two": {"type": "subgraph.step", "inputs": {"policy": "one.policy", "prompts": "inputs.prompts"}, "params": {"rate": 0.25}}
      },
      "outputs": {"left": "two.policy"}
    },
    "train_right": {
      "parameters": {"rate": 0.125},
      "inputs": {"right": "Policy", "prompts": "Prompts"},
      "nodes": {
        "step": {"type": "subgraph.step", "inputs": {"policy": "inputs.right", "prompts": "inputs.prompts"}, "params": {"rate": "$rate"}}
      },
      "outputs": {"right": "step.policy"}
    }
  }
}
)";

}  // namespace rewardloom::examples
