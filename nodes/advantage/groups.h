// Rows by group. Group ids are data: any integers, in any order, ragged.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rewardloom {

/// Which rows belong together, in order of each group's first row; rows that are left out are in
/// none.
class Groups {
 public:
  /// group [N] integers; left_out [N] bool or undefined. Failure `bad-shape` if they do not fit
  /// `rows`.
  Groups(const at::Tensor& group, const at::Tensor& left_out, std::int64_t rows);

  std::size_t count() const { return starts_.size() - 1; }
  /// The rows of one group, ascending.
  std::span<const std::int64_t> rows(std::size_t group) const {
    return std::span(rows_).subspan(starts_[group], starts_[group + 1] - starts_[group]);
  }
  /// All rows that are in a group, group by group.
  std::span<const std::int64_t> rows() const { return rows_; }
  /// Whether those are all rows, in their own order.
  bool in_order() const { return in_order_; }

 private:
  std::vector<std::int64_t> rows_;
  std::vector<std::size_t> starts_;
  bool in_order_ = false;
};

/// Count, mean and spread of some rows, in two passes in double. Equal values have exactly that
/// mean and no spread, whatever rounding says.
struct Moments {
  std::size_t count = 0;
  double mean = 0;
  double squares = 0;  ///< sum of squared distances from the mean
  bool constant = true;

  Moments(const std::vector<double>& values, std::span<const std::int64_t> rows);
  /// The standard deviation with divisor count - 1 (`sample`) or count; 0 where that divisor is 0.
  double spread(bool sample) const;
};

/// Finite numbers of a tensor [N] as doubles. Failure `not-finite` naming the first row that is
/// neither finite nor left out; left-out rows come back as 0.
std::vector<double> finite_rows(const at::Tensor& values, const at::Tensor& left_out,
                                const char* what);

}  // namespace rewardloom
