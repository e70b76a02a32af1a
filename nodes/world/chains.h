// Chained modular arithmetic with solutions of two styles and three kinds of mistakes, after the
// benchmark of Kim et al. 2024 (RewardMATH, arXiv:2410.01729).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/node.h"
#include "engine/core/random.h"

namespace rewardloom {

/// start op operand op operand ..., from left to right, modulo `modulus` (2 .. 10, so that every
/// number is one digit).
struct ModularChain {
  std::int64_t modulus = 5;
  std::int64_t start = 0;
  std::string operators;               ///< each of + - *
  std::vector<std::int64_t> operands;  ///< as many

  std::string question() const;               ///< 3+4*2=
  std::vector<std::int64_t> results() const;  ///< after each operator, each in 0 .. modulus-1
  std::int64_t answer() const { return results().back(); }
  /// By a hash of the question: no seed matters.
  bool is_held_out(double share) const;
  Json to_json() const;
  /// The chain that a question asks for. Failure `no-chain`.
  static ModularChain parse(std::string_view question, std::int64_t modulus);
  /// Failure `no-chain` for anything that `to_json` did not write.
  static ModularChain from_json(const Json& fields);
};

struct ChainSpace {
  std::int64_t modulus = 5;
  std::int64_t fewest = 3;  ///< operators
  std::int64_t most = 4;
  std::string operators = "+-*";
  /// Uniform in length, operators and numbers (operands from 1) over one part.
  ModularChain draw(Random random, bool held_out, double held_out_share) const;
};

enum class ChainMistake { none, wrong_step, skipped_step, wrong_final };
enum class ChainStyle { verbose, terse };

/// verbose: 3+4=2;2*2=4;#4. terse: 2;4;#4. A wrong or skipped step is carried on to the end; where
/// the answer would come out right all the same, the final number alone is wrong.
std::string chain_solution(const ModularChain& chain, ChainMistake mistake, ChainStyle style,
                           Random random);
/// One of the three mistakes, equally likely.
ChainMistake drawn_mistake(Random& random);

enum class StyleChoice { verbose, terse, mixed };
constexpr auto choices(StyleChoice) {
  return std::to_array<Choice<StyleChoice>>({
      {StyleChoice::verbose, "verbose", "each step in full, as a machine writes: 3+4=2;#2"},
      {StyleChoice::terse, "terse", "results alone, as people write: 2;#2"},
      {StyleChoice::mixed, "mixed", "each solution in either, equally likely"},
  });
}
ChainStyle drawn_style(StyleChoice choice, Random& random);

}  // namespace rewardloom
