// What a judge is asked, how its answers are read, and what a set of comparisons says.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/node.h"
#include "nodes/reward/pattern.h"

namespace rewardloom {

/// The template with each {name} of `values` replaced, in one pass: what is put in is not searched
/// again. Other braces stay as they are.
std::string fill_template(std::string_view text,
                          const std::vector<std::pair<std::string, std::string>>& values);
/// Whether {name} stands in the template.
bool has_slot(std::string_view text, std::string_view name);

/// What a pattern finds: group 1 of its last match (a judge argues first and concludes last), or
/// all of it where it has no group. Failure `judge-answer`: no match.
std::string verdict_in(const Pattern& pattern, const std::string& answer);
/// The verdict as a number of lowest..highest. Failure `judge-answer` says what was found instead.
double read_score(const Pattern& pattern, const std::string& answer, double lowest, double highest);
/// 1 if A (shown first) is preferred, 0 if B, 0.5 for C or tie. Failure `judge-answer`.
double read_preference(const Pattern& pattern, const std::string& answer);

enum class ComparedWith { all, first, reference };
constexpr auto choices(ComparedWith) {
  return std::to_array<Choice<ComparedWith>>({
      {ComparedWith::all, "all", "each pair of answers in a group"},
      {ComparedWith::first, "first", "each answer with the first of its group"},
      {ComparedWith::reference, "reference", "each answer with the reference answer"},
  });
}

/// Two answers to compare. `other` is -1 for the reference answer.
struct Comparison {
  std::int64_t row = 0;
  std::int64_t other = 0;
  double preference = 0.5;  ///< of `row`: 1 wins, 0 loses, 0.5 tie, mean over the orders shown
  bool answered = false;
  bool operator==(const Comparison&) const = default;
};

/// The comparisons that `with` asks for, rows in order. group [N]: any ids in any order.
std::vector<Comparison> plan_comparisons(const std::vector<std::int64_t>& group, ComparedWith with);

/// The table that preference.tournament reads, [N,N,2]: at [i,j] the scores of rows i and j when i
/// is shown first, NaN where that was not asked or not answered.
class JudgeTable {
 public:
  explicit JudgeTable(std::int64_t rows);
  /// Rows outside the table (a reference answer, -1) are left out.
  void set(std::int64_t first, std::int64_t second, double of_first, double of_second);
  const at::Tensor& scores() const { return scores_; }

 private:
  at::Tensor scores_;
};

/// Share of its answered comparisons that each row won, ties half, [N]; nothing for a row without.
std::vector<std::optional<double>> win_rates(const std::vector<Comparison>& comparisons,
                                             std::size_t rows);

/// Over comparisons shown in both orders: `first_shown[i]` are the preferences for what was shown
/// first, in the one order and in the other.
struct OrderEffect {
  double position_bias = 0;  ///< how much oftener than half what is shown first wins: -0.5 .. 0.5
  double disagreement = 0;   ///< share of comparisons in which the other order changes the verdict
};
/// Zheng et al. 2023, arXiv:2306.05685, section 3.3 (position bias; swapping positions).
OrderEffect order_effect(const std::vector<std::array<double, 2>>& first_shown);

}  // namespace rewardloom
