#include "engine/cli/templates.h"

#include <cctype>
#include <utility>
#include <vector>

#include "engine/graph/json_text.h"

namespace rewardloom::cli {
namespace {

constexpr const char* kHeader = R"(// Scaled and shifted rewards.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct @CLASS@Options {
  double scale = 1.0;
  double shift = 0.0;
};

/// scale * rewards + shift. rewards [N] -> [N].
at::Tensor @FUNCTION@(const at::Tensor& rewards, const @CLASS@Options& options);

}  // namespace rewardloom
)";

constexpr const char* kSource = R"(#include "nodes/@FAMILY@/@NAME@.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

at::Tensor @FUNCTION@(const at::Tensor& rewards, const @CLASS@Options& options) {
  return rewards * options.scale + options.shift;
}

struct @CLASS@ final : Node {
  Input<Rewards> rewards{this, "rewards", "one reward per row"};
  Output<Rewards> changed{this, "changed", "the same rows with scaled and shifted rewards"};
  Param<double> scale{this, "scale", 1.0, "by which rewards are multiplied"};
  Param<double> shift{this, "shift", 0.0, "added to them afterwards"};
  TraitsMember traits{this, {.pure = true}};
  Doc doc{this, "changed [N] = scale * rewards + shift. Absent rows stay absent."};

  void run(Step& step) const override {
    Rewards out = step[rewards];
    out.total = @FUNCTION@(out.total, {scale(), shift()});
    step[changed] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(@CLASS@, "@TITLE@", "")
)";

constexpr const char* kTest = R"(#include <torch/types.h>

#include "engine/run/evaluate.h"
#include "nodes/@FAMILY@/@NAME@.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

namespace rewardloom {

class Test@CLASS@ : public QObject {
  Q_OBJECT
  const at::Tensor rewards = at::tensor({1.0, 0.0, -2.0});
  const at::Tensor expected = at::tensor({2.5, 0.5, -3.5});

 private Q_SLOTS:
  void rewardsAreScaledThenShifted() {
    QVERIFY(@FUNCTION@(rewards, {2.0, 0.5}).equal(expected));
  }

  void theNodeGivesWhatTheFunctionGives() {
    Registry registry;
    register_all_nodes(registry);
    Package inputs;
    inputs.tensors["rewards"] = rewards;
    const Json params = {{"scale", 2.0}, {"shift", 0.5}};
    const Package outputs = evaluate(registry, "@FAMILY@.@NAME@", params, inputs).outputs;
    QVERIFY(outputs.tensors.at("changed").equal(expected));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::Test@CLASS@)
#include "test_@FAMILY@_@NAME@.moc"
)";

// Measured over 1000 iterations (seed 0): accuracy 0.01 at first, 0.96 at last.
constexpr const char* kGraph = R"({
  "rewardloom": 1,
  "name": @NAME@,
  "about": "A beginning: a tiny new model learns sums of two digits from rewards alone (GRPO).",
  "settings": {"iterations": 1000, "seed": 0, "checkpoint_every": 250},
  "nodes": {
    "tasks":   {"type": "data.arithmetic", "params": {"digits": 1, "batch": 16}},
    "actor":   {"type": "text.policy", "params": {"init": "random", "characters": "0123456789+-*=",
                "config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                           "num_attention_heads": 4, "num_key_value_heads": 4}}},
    "rollout": {"type": "sample.generate", "inputs": {"policy": "actor.policy", "prompts": "tasks.prompts"},
                "params": {"group_size": 16, "max_tokens": 3}},
    "check":   {"type": "reward.prefix_match", "inputs": {"completions": "rollout.completions",
                "policy": "actor.policy"}},
    "adv":     {"type": "advantage.group", "inputs": {"rewards": "check.rewards"}},
    "clip":    {"type": "loss.policy_clip"},
    "explore": {"type": "loss.entropy", "params": {"coefficient": -0.01}},
    "update":  {"type": "optimize.policy", "inputs": {"policy": "actor.policy",
                "completions": "rollout.completions", "advantages": "adv.advantages",
                "terms": ["clip.term", "explore.term"]}, "params": {"learning_rate": 5e-4}},
    "measure": {"type": "eval.accuracy", "inputs": {"completions": "rollout.completions"}}
  },
  "layout": {"tasks": [0, 0], "actor": [0, 160], "rollout": [260, 80], "check": [520, 0],
             "measure": [520, 160], "adv": [780, 0], "clip": [780, 120], "explore": [780, 240],
             "update": [1040, 80]}
}
)";

std::string title_case(const std::string& snake) {
  std::string out;
  bool up = true;
  for (const char c : snake) {
    if (c == '_') {
      up = true;
      continue;
    }
    out += up ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    up = false;
  }
  return out;
}

using Replacements = std::vector<std::pair<std::string, std::string>>;

std::string filled(std::string text, const Replacements& replacements) {
  for (const auto& [mark, value] : replacements) {
    std::size_t at = 0;
    while ((at = text.find(mark, at)) != std::string::npos) {
      text.replace(at, mark.size(), value);
      at += value.size();
    }
  }
  return text;
}

}  // namespace

NodeTemplate node_template(const std::string& family, const std::string& name) {
  std::string title = name;
  title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
  for (char& c : title) {
    if (c == '_') c = ' ';
  }
  const Replacements replacements = {{"@CLASS@", title_case(family) + title_case(name)},
                                     {"@FUNCTION@", family + "_" + name},
                                     {"@FAMILY@", family},
                                     {"@NAME@", name},
                                     {"@TITLE@", title}};
  return {filled(kHeader, replacements), filled(kSource, replacements),
          filled(kTest, replacements)};
}

std::string starter_graph(const std::string& title) {
  return filled(kGraph, {{"@NAME@", json_quoted(title)}});
}

}  // namespace rewardloom::cli
