#include "nodes/text/row_scores.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/core/port_types.h"
#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr auto padding = static_cast<std::int8_t>(TokenKind::padding);
constexpr auto action = static_cast<std::int8_t>(TokenKind::action);

/// First column that holds a token, and one past the last.
std::pair<std::int64_t, std::int64_t> extent(const std::int8_t* kinds, std::int64_t width) {
  std::int64_t first = 0, last = width;
  while (first < width && kinds[first] == padding) ++first;
  while (last > first && kinds[last - 1] == padding) --last;
  return {first, last};
}

void check_row(const std::int8_t* kinds, std::int64_t width, std::int64_t row) {
  const auto [first, last] = extent(kinds, width);
  if (std::find(kinds + first, kinds + last, padding) != kinds + last) {
    throw Failure("row-layout", fmt::format("row {} has padding between its tokens", row),
                  "padding may stand before the prompt and after the answer only");
  }
  if (first < last && kinds[first] == action) {
    throw Failure("row-layout", fmt::format("the first token of row {} is an action", row),
                  "an action needs a token before it, e.g. a begin token, that predicts it");
  }
}

}  // namespace

TokenRows token_rows(const at::Tensor& tokens, const at::Tensor& kinds) {
  if (tokens.dim() != 2 || !kinds.defined() || kinds.sizes() != tokens.sizes()) {
    throw Failure("bad-shape", "tokens and kinds must both be [N,T]");
  }
  TokenRows rows{tokens.to(at::kCPU, at::kLong).contiguous(),
                 kinds.to(at::kCPU, at::kChar).contiguous()};
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    check_row(rows.kinds.data_ptr<std::int8_t>() + i * rows.width(), rows.width(), i);
  }
  return rows;
}

RowBatch row_batch(const TokenRows& rows, const std::vector<std::int64_t>& chosen) {
  RowBatch batch;
  batch.rows = static_cast<std::int64_t>(chosen.size());
  const std::int64_t width = rows.width();
  std::vector<std::int64_t> targets, flat;
  for (std::int64_t i = 0; i < batch.rows; ++i) {
    const std::int64_t* tokens = rows.tokens.data_ptr<std::int64_t>() + chosen[i] * width;
    const std::int8_t* kinds = rows.kinds.data_ptr<std::int8_t>() + chosen[i] * width;
    const auto [first, last] = extent(kinds, width);
    std::vector<std::int64_t> wanted;
    for (std::int64_t t = first + 1; t < last; ++t) {
      if (kinds[t] != action) continue;
      wanted.push_back(t - 1 - first);
      targets.push_back(tokens[t]);
      flat.push_back(i * width + t);
    }
    if (wanted.empty()) continue;
    // What follows the last wanted position predicts nothing that is asked.
    batch.sequences.tokens.emplace_back(tokens + first, tokens + first + wanted.back() + 1);
    batch.sequences.wanted.push_back(std::move(wanted));
  }
  batch.targets = at::tensor(targets, at::TensorOptions().dtype(at::kLong));
  batch.flat = at::tensor(flat, at::TensorOptions().dtype(at::kLong));
  return batch;
}

TokenStatistics score_rows(const Decoder& decoder, const TokenRows& rows,
                           const SamplingOptions& options, std::int64_t chunk,
                           const ParallelCalls& parallel) {
  TokenStatistics out{at::zeros({rows.rows(), rows.width()}),
                      at::zeros({rows.rows(), rows.width()})};
  const std::int64_t chunks = (rows.rows() + chunk - 1) / chunk;
  parallel(static_cast<std::size_t>(chunks), [&](std::size_t c) {
    const std::int64_t first = static_cast<std::int64_t>(c) * chunk;
    std::vector<std::int64_t> chosen(std::min(chunk, rows.rows() - first));
    std::iota(chosen.begin(), chosen.end(), first);
    const RowBatch batch = row_batch(rows, chosen);
    if (batch.sequences.tokens.empty()) return;
    const auto pass = decoder.score(batch.sequences, false);
    const TokenStatistics s =
        token_statistics(pass->logits(), batch.targets.to(pass->logits().device()), options);
    const at::Tensor place = batch.flat + first * rows.width();
    out.log_probs.view(-1).index_copy_(0, place, s.log_probs.to(at::kCPU));
    out.entropy.view(-1).index_copy_(0, place, s.entropy.to(at::kCPU));
  });
  return out;
}

}  // namespace rewardloom
