// A language so small that a model of a few layers writes it: functions of one integer, run in
// process. For UTRL's task at the size of a CPU (arXiv:2508.21107).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

struct MiniLimits {
  std::int64_t tokens = 16;  ///< longest program
  std::int64_t steps = 64;   ///< longest run
};

struct MiniResult {
  enum class State { value, error, timeout };
  State state = State::value;
  std::int64_t value = 0;
  const char* fault = "";  ///< of an error
};

/// f(x) as a list of cases, tokens parted by white space, an integer is one token:
///   program := { guard ':' sum } [ 'else' sum ]  |  sum
///   guard   := ('<' | '<=' | '=' | '!=' | '>' | '>=') sum      x stands on its left
///   sum     := product { ('+' | '-') product }
///   product := factor { factor }                               side by side: multiplied
///   factor  := INTEGER | 'x' | '(' sum ')' | 'f' factor        f calls the program itself
/// The first case whose guard holds gives the value. "< 2 : 3 x + 1 = 2 : 5 else -1 x + 4" is
/// 3x+1 below 2, 5 at 2 and 4-x above it. Each operation that is carried out is a step.
class MiniProgram {
 public:
  MiniProgram(std::string_view source, const MiniLimits& limits);
  /// Why it is no program; empty if it is one.
  const std::string& fault() const { return fault_; }
  /// error: no case applies, or a number leaves 64 bits. timeout: more steps than allowed.
  MiniResult run(std::int64_t x) const;

 private:
  enum class Operation : std::uint8_t { number, x, add, subtract, multiply, call };
  enum class Guard : std::uint8_t { always, less, at_most, equal, unequal, greater, at_least };
  struct Term {
    Operation operation;
    std::int32_t left = 0, right = 0;  ///< terms
    std::int64_t number = 0;
  };
  struct Case {
    Guard guard;
    std::int32_t bound = 0, value = 0;  ///< terms
  };
  struct Run;
  class Parser;

  std::vector<Term> terms_;
  std::vector<Case> cases_;
  std::int64_t steps_;
  std::string fault_;
};

}  // namespace rewardloom
