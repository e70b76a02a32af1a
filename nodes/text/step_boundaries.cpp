#include "nodes/text/step_boundaries.h"

#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

/// Columns of the last tokens of one row's steps.
std::vector<std::int64_t> ends_of_row(const bool* mask, const bool* delimiter, std::int64_t tokens,
                                      std::int64_t min_tokens) {
  std::vector<std::int64_t> ends;
  std::int64_t open = 0;
  std::int64_t last = -1;
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (!mask[t]) continue;
    ++open;
    last = t;
    if (!delimiter[t] || open < min_tokens) continue;
    ends.push_back(t);
    open = 0;
  }
  if (open == 0) return ends;
  if (open < min_tokens && !ends.empty()) {
    ends.back() = last;
  } else {
    ends.push_back(last);
  }
  return ends;
}

}  // namespace

StepBoundaries step_boundaries(const at::Tensor& mask, const at::Tensor& delimiter,
                               std::int64_t min_tokens) {
  if (mask.dim() != 2 || mask.sizes() != delimiter.sizes()) {
    throw Failure(
        "bad-shape",
        c10::str("the mask is ", mask.sizes(), ", the delimiters are ", delimiter.sizes()),
        "both are [N,T]");
  }
  const at::Tensor own = mask.to(at::kCPU, at::kBool).contiguous();
  const at::Tensor marks = delimiter.to(at::kCPU, at::kBool).contiguous();
  const std::int64_t rows = own.size(0), tokens = own.size(1);
  StepBoundaries out;
  out.index = at::full({rows, tokens}, -1, at::kLong);
  std::vector<std::vector<std::int64_t>> all;
  std::size_t most = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const bool* const in = own.data_ptr<bool>() + i * tokens;
    const bool* const mark = marks.data_ptr<bool>() + i * tokens;
    all.push_back(ends_of_row(in, mark, tokens, min_tokens));
    most = std::max(most, all.back().size());
    std::int64_t* const index = out.index.data_ptr<std::int64_t>() + i * tokens;
    std::int64_t now = 0;
    bool marked = false;
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (!in[t]) continue;
      marked = marked || mark[t];
      index[t] = now;
      now += t == all.back()[static_cast<std::size_t>(now)];
    }
    out.without += !marked && !all.back().empty();
  }
  const auto width = static_cast<std::int64_t>(most);
  out.end = at::full({rows, width}, -1, at::kLong);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto& ends = all[static_cast<std::size_t>(i)];
    std::copy(ends.begin(), ends.end(), out.end.data_ptr<std::int64_t>() + i * width);
  }
  return out;
}

at::Tensor step_states(const at::Tensor& end, const at::Tensor& mask) {
  const at::Tensor ends = end.to(at::kLong);
  if (mask.size(1) == 0) return ends;
  const at::Tensor behind = (ends + 1).clamp(0, mask.size(1) - 1);
  const at::Tensor followed = mask.to(ends.device(), at::kBool)
                                  .gather(1, behind)
                                  .logical_and(ends + 1 < mask.size(1))
                                  .logical_and(ends.ge(0));
  return at::where(followed, ends + 1, ends);
}

}  // namespace rewardloom
