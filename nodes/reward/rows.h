// What reward nodes share: rewards for completions, and checks that rows belong together.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"

namespace rewardloom {

/// Rewards for these completions with one component that is called as the node, so that it can
/// still be told apart after combining. scores [N]; the tensor lies where the completions lie.
Rewards scored(const Step& step, const Completions& completions, const std::vector<double>& scores);

/// A copy of `rewards` with another total and, for what made the difference, a component called as
/// the node.
Rewards changed(const Step& step, const Rewards& rewards, const at::Tensor& total);

/// As `scored`, from scores [N] that keep their type; rows of `absent` ([N] bool, or undefined) are
/// absent, and 0.
Rewards scored(const Step& step, const Completions& completions, const at::Tensor& scores,
               const at::Tensor& absent);
/// Rewards of the same rows as `from` (groups, batch, absent rows) with one component that is
/// called as the node; rows of `absent` are absent as well, and 0.
Rewards rescored(const Step& step, const Rewards& from, const at::Tensor& scores,
                 const at::Tensor& absent = {});
/// Rows that either leaves out: [N] bool, undefined if there are none.
at::Tensor either_absent(const at::Tensor& a, const at::Tensor& b);

/// Scores of N rows of which some cannot be scored: those are absent, never 0.
class RowScores {
 public:
  explicit RowScores(std::size_t rows) : scores_(rows), failed_(rows) {}
  void set(std::size_t row, double score) { scores_[row] = score; }
  /// The row is absent; the node's on_error says whether the run goes on.
  void fail(Step& step, std::size_t row, std::string_view reason);
  bool failed(std::size_t row) const { return failed_[row] != 0; }
  /// [N] double
  at::Tensor scores() const;
  /// [N] bool; undefined if every row has a score
  at::Tensor absent() const;

 private:
  std::vector<double> scores_;
  std::vector<std::uint8_t> failed_;
};

/// The numbers of a tensor in row-major order, on the host.
std::vector<double> numbers_of(const at::Tensor& tensor);

/// The answers, [N]. Failure `no-text` where the completions carry token ids only.
const std::vector<std::string>& answers(const Completions& completions);
/// The reference answers, [N]. Failure `no-references`.
const std::vector<std::string>& references(const Completions& completions);

/// Failure `bad-shape` unless both have the same number of rows, `other-rows` if they are known to
/// come from different samplings (0 = not known).
void require_same_rows(std::string_view a, std::int64_t a_rows, std::int64_t a_batch,
                       std::string_view b, std::int64_t b_rows, std::int64_t b_batch);

/// A reward and what a message calls it.
struct NamedRewards {
  const char* name;
  const Rewards* rewards;
};
/// What rewards of the same rows leave out together. Failure as `require_same_rows`, and
/// `not-finite` for a row that is neither absent nor a number.
at::Tensor absent_in_any(std::initializer_list<NamedRewards> parts);

}  // namespace rewardloom
