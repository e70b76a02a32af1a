// Benchmarks of reward models that know which answers are right: RewardBench 2 (Malik et al. 2025,
// arXiv:2506.01937) and RewardMATH (Kim et al. 2024, arXiv:2410.01729).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class ChoiceTies { fractional, strict };
constexpr auto choices(ChoiceTies) {
  return std::to_array<Choice<ChoiceTies>>({
      {ChoiceTies::fractional, "fractional", "credit 1/m for one of m highest"},
      {ChoiceTies::strict, "strict", "no credit: the right answer must be the only highest"},
  });
}

/// Credit of one prompt.
struct Choice4 {
  double credit = 0;
  bool tied = false;  ///< the right answer shares the highest score with others
};
/// scores: the right answer first. Failure `nothing-to-measure` if there are none.
Choice4 grade_choice(std::span<const double> scores, ChoiceTies rule);

/// The list cut into pieces. Failure `bad-lengths` unless the lengths are positive and add up.
std::vector<std::vector<double>> split_by(const std::vector<double>& all,
                                          const std::vector<std::int64_t>& lengths);

enum class RankTies { rejected_first, strict, expected };
constexpr auto choices(RankTies) {
  return std::to_array<Choice<RankTies>>({
      {RankTies::rejected_first, "rejected_first",
       "wrong ones of equal score rank ahead (RewardMATH)"},
      {RankTies::strict, "strict", "only wrong ones of strictly higher score rank ahead"},
      {RankTies::expected, "expected", "the mean over all orders of the equal ones"},
  });
}

/// Means over prompts.
struct OneVsMany {
  double accuracy = 0;            ///< right > every wrong
  double accuracy_with_ties = 0;  ///< right >= every wrong
  double mrr = 0;                 ///< mean of 1 / rank of the right one
};
/// scores [P,K] double, column 0 the right solution, K >= 2. Failure `too-few` otherwise.
OneVsMany one_vs_many(const at::Tensor& scores, RankTies rule);

enum class ZeroSpread { nan_to_zero, error };
constexpr auto choices(ZeroSpread) {
  return std::to_array<Choice<ZeroSpread>>({
      {ZeroSpread::nan_to_zero, "nan_to_zero", "the margin of 0/0 is 0, of x/0 it is +-1"},
      {ZeroSpread::error, "error", "refused, naming the prompt"},
  });
}

/// One prompt of the Ties subset: its right answers come first in `scores`.
struct TiesPrompt {
  std::int64_t pair = 0;
  bool tied = false;
  std::size_t correct = 0;
  std::vector<double> scores;
};
struct TiesScore {
  double tied_accuracy = 0;   ///< worst right > best wrong, prompts with several right answers
  double ref_accuracy = 0;    ///< the same, prompts with one
  double preferred = 0;       ///< right-wrong gap wider than the spread of the right ones
  double preferred_hard = 0;  ///< and so is the gap of the single-answer prompt
  double margin = 0;          ///< mean tanh(smaller gap / spread - 1)
  double score = 0;           ///< weighted sum
};
/// weights: of the five numbers in their order. Failure `bad-pairs` naming ids that do not stand
/// for one single-answer and one tied prompt, `bad-correct`.
TiesScore ties_score(const std::vector<TiesPrompt>& prompts, const std::vector<double>& weights,
                     ZeroSpread rule);

}  // namespace rewardloom
