#include "nodes/advantage/rows.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/problem.h"
#include "nodes/advantage/token_rows.h"

namespace rewardloom {

std::vector<double> by_group(
    const std::vector<double>& reward, const Groups& groups,
    const std::function<void(std::span<const std::int64_t>, std::vector<double>&)>& work) {
  std::vector<double> advantage(reward.size(), 0.0);
  for (std::size_t g = 0; g < groups.count(); ++g) work(groups.rows(g), advantage);
  return advantage;
}

GroupMean::GroupMean(const double* reward, std::span<const std::int64_t> rows) {
  if (rows.empty()) return;
  const double first = reward[rows[0]];
  double sum = 0;
  for (const std::int64_t row : rows) {
    const double value = reward[row];
    constant = constant && value == first;
    sum += value;
  }
  mean = constant ? first : sum / static_cast<double>(rows.size());
}

at::Tensor row_mask(const at::Tensor& mask, std::size_t rows) {
  if (mask.dim() == 2 && mask.size(0) == static_cast<std::int64_t>(rows)) return mask.to(at::kBool);
  throw Failure("bad-shape",
                fmt::format("the mask is {}, but there are {} rewards",
                            c10::str("[", c10::Join(",", mask.sizes().vec()), "]"), rows),
                "both must be of the same completions");
}

std::vector<double> lengths_of(const at::Tensor& mask) {
  const at::Tensor lengths = row_lengths(mask).to(at::kCPU, at::kDouble).contiguous();
  const double* const length = lengths.data_ptr<double>();
  return {length, length + lengths.numel()};
}

}  // namespace rewardloom
