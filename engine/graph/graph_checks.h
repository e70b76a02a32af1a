// The checks that look along edges, one function each. Each reports into `problems`; none throws.
#pragma once
#include "engine/graph/flat.h"
#include "engine/graph/flow.h"

namespace rewardloom {

/// What all of these look at.
struct CheckedGraph {
  const FlatGraph& graph;
  const Flow& flow;
  ProblemList& problems;
  std::vector<std::vector<int>> readers;   ///< of each slot: flat nodes, in the order of the file
  std::vector<std::vector<int>> alias_of;  ///< of each slot: container outputs that stand for it

  CheckedGraph(const FlatGraph& flat, const Flow& order, ProblemList& list);
  void report(const FlatNode& node, const std::string& port, std::string code, std::string text,
              std::string help, Severity severity = Severity::error) const;
};

/// size-mismatch: a letter of a node's dims stands for the rows (tokens, ...) of two different
/// sources. Letters in lower case, and those of fixed extents (A C D F H K V W), are not compared.
void check_sizes(const CheckedGraph& checked);
/// What outputs state before the run ("group_size") against what inputs need; the code is the
/// fact's name.
void check_facts(const CheckedGraph& checked);
/// The one fact of which the values of a port are meant, not what they come from: it passes through
/// nodes of one reward only. Outputs state {name: conditions}, inputs need {"not": name} or
/// {"alike": name}, with "when": conditions.
inline constexpr const char* kScaleFact = "scale";
/// double-normalisation and mixed-scales.
void check_scales(const CheckedGraph& checked);
/// An input's need {kScorerNeed: INPUT}: its rewards must be of the reward model that scored those
/// of that other input of the node.
inline constexpr const char* kScorerNeed = "scorer_of";
/// An input's need {kPromptsNeed: INPUT}: its rows must answer the prompts that those of that other
/// input of the node answer.
inline constexpr const char* kPromptsNeed = "prompts_of";
/// The fact of an output that puts noise on rewards.
inline constexpr const char* kNoisyFact = "noisy";
/// other-reward-model, other-prompts and noisy-evaluation.
void check_rewards(const CheckedGraph& checked);
/// gold-to-loss: what is for measuring only reaches an optimizer.
void check_gold(const CheckedGraph& checked);
/// dead-node and unused-rewards.
void check_use(const CheckedGraph& checked);
/// no-path-to-model and loss-argument-missing.
void check_losses(const CheckedGraph& checked);
/// scored-model: a model learns from a policy's rollouts, but another of its kind scores them.
void check_co_training(const CheckedGraph& checked);
/// options: the node types' own rules.
void check_rules(const CheckedGraph& checked);
/// unknown-placement, and unknown keys in it.
void check_placement(const CheckedGraph& checked);

/// Whether all conditions of a rule hold: {parameter: condition}, {input: {"connected": bool}}.
bool all_hold(const FlatNode& node, const Json& conditions);

/// The facts of every slot, for the plan.
std::vector<Json> slot_facts(const FlatGraph& graph, const Flow& flow);

}  // namespace rewardloom
