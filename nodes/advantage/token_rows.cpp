#include "nodes/advantage/token_rows.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kPiece = 1 << 16;  // elements of a piece

template <class T>
void fill_rows(const at::Tensor& values, const at::Tensor& mask, const at::Tensor& out,
               const ParallelCalls& parallel) {
  const T* const value = values.data_ptr<T>();
  const std::int64_t tokens = mask.size(1);
  for_rows(mask.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T own = value[row];
      fill_masked(row_of<const bool>(mask, row), tokens, row_of<T>(out, row),
                  [own](std::int64_t) { return own; });
    }
  });
}

std::string size_text(at::IntArrayRef sizes) {
  return c10::str("[", c10::Join(",", sizes.vec()), "]");
}

}  // namespace

void for_rows(std::int64_t rows, std::int64_t width, const ParallelCalls& parallel,
              const std::function<void(std::int64_t, std::int64_t)>& work) {
  if (!parallel) {
    work(0, rows);
    return;
  }
  const std::int64_t piece = std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, width));
  const std::int64_t pieces = (rows + piece - 1) / piece;
  if (pieces < 2) {
    work(0, rows);
    return;
  }
  parallel(static_cast<std::size_t>(pieces), [&](std::size_t p) {
    const std::int64_t first = static_cast<std::int64_t>(p) * piece;
    work(first, std::min(rows, first + piece));
  });
}

at::ScalarType working_type(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined() && tensor.scalar_type() == at::kDouble) return at::kDouble;
  }
  return at::kFloat;
}

at::Tensor prepared(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.defined() ? tensor.detach().to(type).contiguous() : tensor;
}

void require_sizes(const char* what, const at::Tensor& tensor, const char* than,
                   at::IntArrayRef sizes) {
  if (!tensor.defined() || tensor.sizes() == sizes) return;
  throw Failure("bad-shape",
                fmt::format("{} are {}, but {} are {}", what, size_text(tensor.sizes()), than,
                            size_text(sizes)),
                "rows and tokens must agree in number and order");
}

void require_matrix(const char* what, const at::Tensor& tensor) {
  if (tensor.dim() == 2) return;
  throw Failure("bad-shape",
                fmt::format("{} are {}, but must be [N,T]", what, size_text(tensor.sizes())),
                "give one number per token");
}

void require_vector(const char* what, const at::Tensor& tensor, std::int64_t rows) {
  if (tensor.dim() == 1 && tensor.size(0) == rows) return;
  throw Failure(
      "bad-shape",
      fmt::format("{} are {}, but there are {} rows", what, size_text(tensor.sizes()), rows),
      "rows must agree in number and order");
}

at::Tensor checked_mask(const at::Tensor& mask, const char* than, at::IntArrayRef sizes) {
  if (!mask.defined()) return mask;
  if (mask.sizes() != sizes) {
    throw Failure("bad-shape",
                  fmt::format("the mask is {}, but {} are {}", size_text(mask.sizes()), than,
                              size_text(sizes)),
                  "both must be of the same completions");
  }
  return mask.to(at::kBool).contiguous();
}

std::int64_t count_tokens(const bool* mask, std::int64_t tokens) {
  constexpr std::uint64_t kBytes = 0x00ff00ff00ff00ff;
  std::int64_t count = 0;
  std::int64_t t = 0;
  while (t + 8 <= tokens) {
    std::uint64_t sums = 0;  // eight counts of a byte each, which hold up to 255
    const std::int64_t end = std::min(tokens - 7, t + 8 * 255);
    for (; t < end; t += 8) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, mask + t, sizeof bits);
      sums += bits;
    }
    const std::uint64_t pairs = (sums & kBytes) + ((sums >> 8) & kBytes);
    count += static_cast<std::int64_t>((pairs * 0x0001000100010001) >> 48);
  }
  for (; t < tokens; ++t) count += mask[t] ? 1 : 0;
  return count;
}

at::Tensor row_lengths(const at::Tensor& mask) {
  if (!mask.is_cpu()) return mask.sum(-1);
  const at::Tensor dense = mask.contiguous();
  at::Tensor out = at::empty({mask.size(0)}, at::dtype(at::kLong));
  std::int64_t* const length = out.data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < mask.size(0); ++row) {
    length[row] = count_tokens(row_of<const bool>(dense, row), mask.size(1));
  }
  return out;
}

at::Tensor on_tokens(const at::Tensor& values, const at::Tensor& mask,
                     const ParallelCalls& parallel) {
  require_vector("values", values, mask.size(0));
  const bool raw = values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble;
  if (!values.is_cpu() || !raw) {
    return at::where(mask, values.unsqueeze(1), at::zeros({}, values.options()));
  }
  at::Tensor out = at::empty(mask.sizes(), values.options());
  const at::Tensor v = values.contiguous();
  const at::Tensor m = mask.contiguous();
  values.scalar_type() == at::kFloat ? fill_rows<float>(v, m, out, parallel)
                                     : fill_rows<double>(v, m, out, parallel);
  return out;
}

at::Tensor reverse_scan(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor factor = a;
  at::Tensor sum = b;
  const std::int64_t tokens = b.size(-1);
  for (std::int64_t d = 1; d < tokens; d *= 2) {
    // What lies within d of the end is complete; its factor meets nothing any more.
    const auto head = [&](const at::Tensor& x) { return x.narrow(-1, 0, tokens - d); };
    const auto shifted = [&](const at::Tensor& x) { return x.narrow(-1, d, tokens - d); };
    const auto tail = [&](const at::Tensor& x) { return x.narrow(-1, tokens - d, d); };
    at::Tensor next = at::cat({head(sum) + head(factor) * shifted(sum), tail(sum)}, -1);
    if (2 * d < tokens) {
      factor = at::cat({head(factor) * shifted(factor), tail(factor)}, -1);
    }
    sum = std::move(next);
  }
  return sum;
}

at::Tensor next_in_mask(const at::Tensor& values, const at::Tensor& mask) {
  if (values.size(-1) == 0) return values;
  const at::Tensor zero = at::zeros({}, values.options());
  const at::Tensor from_here =
      reverse_scan(mask.logical_not().to(values.scalar_type()), at::where(mask, values, zero));
  return at::cat(
      {from_here.narrow(-1, 1, values.size(-1) - 1), at::zeros_like(values.narrow(-1, 0, 1))}, -1);
}

at::Tensor last_in_mask(const at::Tensor& mask) {
  return mask.flip(-1).cumsum(-1).flip(-1).eq(1).logical_and(mask);
}

at::Tensor given_mask(const at::Tensor& own, const Completions* completions) {
  if (own.defined() || completions == nullptr) return own;
  return completions->mask();
}

at::Tensor needed_mask(const at::Tensor& own, const Completions* completions) {
  at::Tensor mask = given_mask(own, completions);
  if (mask.defined()) return mask;
  throw Failure("no-mask", "nothing says which tokens are the policy's own",
                "connect completions, or token rewards with a mask");
}

Advantages advantages_of(at::Tensor values, const TokenRewards& from) {
  Advantages out;
  out.advantages = std::move(values);
  out.group = from.group;
  out.batch = from.batch;
  return out;
}

}  // namespace rewardloom
