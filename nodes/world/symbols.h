// A task whose true reward is known: answers made of symbols are worth how well they match a target
// multiset.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/core/node.h"
#include "engine/core/random.h"

namespace rewardloom {

/// 2 |a and b| / (|a| + |b|) of two multisets of symbols (bytes): the harmonic mean of precision
/// and recall. 0 if either is empty.
double multiset_f1(std::string_view target, std::string_view answer);

/// Symbols that are equal to the one right before them.
std::int64_t repeated_symbols(std::string_view answer);

struct SymbolRewardOptions {
  double repetition_cost = 0.05;  ///< per repeated symbol
  double length_cost = 0.02;      ///< per symbol beyond `free_length`
  std::int64_t free_length = 12;
  double scale = 1;
};

/// The parts of what an answer is worth, each scaled; the costs are negative.
struct SymbolReward {
  double f1 = 0;
  double repetition = 0;
  double length = 0;
  double total() const { return f1 + repetition + length; }
};

/// scale (F1(target, answer) - repetition_cost repetitions - length_cost max(0, length -
/// free_length)).
SymbolReward symbol_reward(std::string_view target, std::string_view answer,
                           const SymbolRewardOptions& options);

/// The parameters of that reward, the same in every node that computes it.
struct SymbolRewardParams {
  explicit SymbolRewardParams(Node* node)
      : repetition_cost(node, "repetition_cost", 0.05,
                        "per symbol that is equal to the one before it", {.min = 0}),
        length_cost(node, "length_cost", 0.02, "per symbol beyond free_length", {.min = 0}),
        free_length(node, "free_length", 12, "length that costs nothing",
                    {.min = 0, .unit = "symbols"}),
        scale(node, "scale", 1.0, "factor of the reward", {.min = 0, .exclusive_min = true}) {}

  SymbolRewardOptions operator()() const {
    return {repetition_cost(), length_cost(), free_length(), scale()};
  }

  Param<double> repetition_cost, length_cost;
  Param<std::int64_t> free_length;
  Param<double> scale;
};

/// An alphabet that a node can work with: two or more printable ASCII characters, none twice.
/// Failure `bad-alphabet`.
void require_alphabet(const std::string& alphabet);

/// How well a mediocre writer writes.
struct MediocreOptions {
  std::string alphabet = "abcdefghijklmnop";
  double skill = 0.5;   ///< chance of each symbol to be one that the target still misses
  double spread = 0.5;  ///< writers differ: theirs is uniform in skill +- spread
  std::int64_t min_length = 4;
  std::int64_t max_length = 12;
};

/// An answer of uniform length: each symbol is, by chance, one of those of the target that are not
/// there yet, else any of the alphabet.
std::string mediocre_answer(std::string_view target, const MediocreOptions& options, Random random);

}  // namespace rewardloom
