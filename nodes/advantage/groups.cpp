#include "nodes/advantage/groups.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "engine/core/problem.h"
#include "nodes/advantage/host_rows.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

void require_rows(const char* what, const at::Tensor& tensor, std::int64_t rows) {
  if (tensor.dim() == 1 && tensor.size(0) == rows) return;
  throw Failure("bad-shape",
                fmt::format("{} is {}, but there are {} rewards", what,
                            c10::str("[", c10::Join(",", tensor.sizes().vec()), "]"), rows),
                "rows must agree in number and order");
}

at::Tensor on_host(const at::Tensor& tensor, at::ScalarType type) {
  const bool is_there = tensor.is_cpu() && tensor.scalar_type() == type && tensor.is_contiguous() &&
                        !tensor.requires_grad();
  return is_there ? tensor : tensor.detach().to(at::kCPU, type).contiguous();
}

REWARDLOOM_VECTORISED
bool never_falls(const std::int64_t* id, std::int64_t rows) {
  std::int64_t falls = 0;
  for (std::int64_t row = 1; row < rows; ++row) falls += id[row] < id[row - 1] ? 1 : 0;
  return falls == 0;
}

/// The commonest case, whole batches of groups of one size, by loops that vectorise: ids that rise
/// from each run of `size` equal ids to the next. False where they do not.
bool take_equal_runs(const std::int64_t* id, std::int64_t rows, std::vector<std::int64_t>& kept,
                     std::vector<std::size_t>& starts) {
  std::int64_t size = 1;
  while (size < rows && id[size] == id[0]) ++size;
  if (rows % size != 0 || !never_falls(id, rows)) return false;
  for (std::int64_t first = 0; first < rows; first += size) {
    if (id[first + size - 1] != id[first]) return false;
    if (first > 0 && id[first] == id[first - 1]) return false;
  }
  kept.resize(static_cast<std::size_t>(rows));
  std::iota(kept.begin(), kept.end(), 0);
  starts.resize(static_cast<std::size_t>(rows / size) + 1);
  for (std::size_t g = 0; g < starts.size(); ++g) starts[g] = g * static_cast<std::size_t>(size);
  return true;
}

/// Ids that never fall, as samplers give them: each group is one run of rows. False where they do.
bool take_runs(const std::int64_t* id, const bool* skip, std::int64_t rows,
               std::vector<std::int64_t>& kept, std::vector<std::size_t>& starts) {
  kept.resize(static_cast<std::size_t>(rows));
  std::size_t count = 0;
  std::int64_t before = std::numeric_limits<std::int64_t>::min();
  for (std::int64_t row = 0; row < rows; ++row) {
    if (id[row] < before) {
      starts.clear();
      return false;
    }
    const bool first = count == 0 || id[row] != before;
    if (skip != nullptr && skip[row]) continue;  // `before` stays: it is the last one kept
    if (first) starts.push_back(count);
    before = id[row];
    kept[count++] = row;
  }
  kept.resize(count);
  starts.push_back(count);
  return true;
}

/// Numbers ids in the order in which they are first asked for: by a table where they lie close
/// together, else by hashing.
class Numbering {
 public:
  Numbering(const std::int64_t* id, std::int64_t rows) {
    if (rows == 0) return;
    const auto [low, high] = std::minmax_element(id, id + rows);
    low_ = *low;
    const std::uint64_t width =
        static_cast<std::uint64_t>(*high) - static_cast<std::uint64_t>(low_);
    if (width < 4 * static_cast<std::uint64_t>(rows)) table_.assign(width + 1, kNone);
  }
  /// The number of `id`; `fresh` for one that was not asked for before.
  std::size_t operator()(std::int64_t id, std::size_t fresh) {
    if (table_.empty()) return hashed_.try_emplace(id, fresh).first->second;
    std::size_t& place = table_[static_cast<std::uint64_t>(id) - static_cast<std::uint64_t>(low_)];
    if (place == kNone) place = fresh;
    return place;
  }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::int64_t low_ = 0;
  std::vector<std::size_t> table_;
  std::unordered_map<std::int64_t, std::size_t> hashed_;
};

}  // namespace

Groups::Groups(const at::Tensor& group, const at::Tensor& left_out, std::int64_t rows) {
  if (!group.defined()) {
    throw Failure("no-groups", "the rewards carry no group ids",
                  "take rewards from a reward node that scores sampled completions");
  }
  if (rows > 0 && !at::isIntegralType(group.scalar_type(), false)) {
    throw Failure("bad-dtype", fmt::format("group ids are {}, but must be integers",
                                           c10::toString(group.scalar_type())));
  }
  require_rows("group", group, rows);
  const at::Tensor ids = on_host(group, at::kLong);
  at::Tensor skipped;
  if (left_out.defined()) {
    require_rows("absent", left_out, rows);
    skipped = on_host(left_out, at::kBool);
  }
  const std::int64_t* const id = ids.data_ptr<std::int64_t>();
  const bool* const skip = skipped.defined() ? skipped.data_ptr<bool>() : nullptr;

  if (skip == nullptr && take_equal_runs(id, rows, rows_, starts_)) {
    in_order_ = true;
    return;
  }
  if (take_runs(id, skip, rows, rows_, starts_)) return;
  Numbering number(id, rows);
  std::vector<std::size_t> sizes;
  std::vector<std::size_t> group_of(static_cast<std::size_t>(rows));
  std::size_t kept = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (skip != nullptr && skip[row]) continue;
    const std::size_t group_index = number(id[row], sizes.size());
    if (group_index == sizes.size()) sizes.push_back(0);
    ++sizes[group_index];
    group_of[static_cast<std::size_t>(row)] = group_index;
    ++kept;
  }
  starts_.resize(sizes.size() + 1, 0);
  for (std::size_t g = 0; g < sizes.size(); ++g) starts_[g + 1] = starts_[g] + sizes[g];
  rows_.resize(kept);
  std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
  for (std::int64_t row = 0; row < rows; ++row) {
    if (skip != nullptr && skip[row]) continue;
    rows_[next[group_of[static_cast<std::size_t>(row)]]++] = row;
  }
}

Moments::Moments(const std::vector<double>& values, std::span<const std::int64_t> rows)
    : count(rows.size()) {
  if (rows.empty()) return;
  const double first = values[static_cast<std::size_t>(rows[0])];
  double sum = 0;
  for (const std::int64_t row : rows) {
    const double value = values[static_cast<std::size_t>(row)];
    constant = constant && value == first;
    sum += value;
  }
  mean = constant ? first : sum / static_cast<double>(count);
  if (constant) return;
  for (const std::int64_t row : rows) {
    const double distance = values[static_cast<std::size_t>(row)] - mean;
    squares += distance * distance;
  }
}

double Moments::spread(bool sample) const {
  const std::size_t lost = sample ? 1 : 0;
  return count <= lost ? 0 : std::sqrt(squares / static_cast<double>(count - lost));
}

REWARDLOOM_VECTORISED
bool all_finite(const double* numbers, std::int64_t count) {
  constexpr std::int64_t lanes = 8;  // independent, so that the compiler vectorises
  double probe[lanes] = {};          // a number that is none stays none times 0
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (std::int64_t j = 0; j < lanes; ++j) probe[j] += numbers[i + j] * 0.0;
  }
  for (; i < count; ++i) probe[0] += numbers[i] * 0.0;
  double all = 0;
  for (const double lane : probe) all += lane;
  return all == 0;
}

at::Tensor unchecked_host_rows(const at::Tensor& values, const at::Tensor& left_out,
                               const char* what) {
  if (values.dim() != 1) {
    throw Failure("bad-shape",
                  fmt::format("{} must be [N], but has {} dimensions", what, values.dim()));
  }
  at::Tensor numbers = on_host(values, at::kDouble);
  if (left_out.defined()) {
    require_rows("absent", left_out, values.size(0));
    numbers = numbers.masked_fill(on_host(left_out, at::kBool), 0.0);
  }
  return numbers;
}

void require_finite(const at::Tensor& host_rows, const char* what) {
  const double* const number = host_rows.data_ptr<double>();
  if (all_finite(number, host_rows.numel())) return;
  std::int64_t row = 0;
  while (std::isfinite(number[row])) ++row;
  throw Failure("not-finite", fmt::format("{} of row {} is {}", what, row, number[row]),
                "mark rows that could not be scored as absent");
}

at::Tensor host_rows(const at::Tensor& values, const at::Tensor& left_out, const char* what) {
  at::Tensor numbers = unchecked_host_rows(values, left_out, what);
  require_finite(numbers, what);
  return numbers;
}

std::vector<double> finite_rows(const at::Tensor& values, const at::Tensor& left_out,
                                const char* what) {
  const at::Tensor numbers = host_rows(values, left_out, what);
  const double* const number = numbers.data_ptr<double>();
  return {number, number + numbers.numel()};
}

}  // namespace rewardloom
