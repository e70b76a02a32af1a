#include "nodes/text/head_scores.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/core/port_types.h"
#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr auto padding_kind = static_cast<std::int8_t>(TokenKind::padding);

void require_score_head(const Decoder& decoder) {
  if (decoder.config().head != HeadKind::language_model) return;
  throw Failure("model-head", fmt::format("{} has no score head", decoder.config().architecture),
                "open the model with model.reward or model.value");
}

/// Calls `score` with each chunk of rows: their first index and the indices themselves.
void for_chunks(std::int64_t rows, std::int64_t chunk, const ParallelCalls& parallel,
                const std::function<void(std::int64_t, const std::vector<std::int64_t>&)>& score) {
  const std::int64_t chunks = (rows + chunk - 1) / chunk;
  parallel(static_cast<std::size_t>(chunks), [&](std::size_t c) {
    const std::int64_t first = static_cast<std::int64_t>(c) * chunk;
    std::vector<std::int64_t> chosen(std::min(chunk, rows - first));
    std::iota(chosen.begin(), chosen.end(), first);
    score(first, chosen);
  });
}

}  // namespace

RowBatch scored_batch(const TokenRows& rows, const std::vector<std::int64_t>& chosen,
                      ScorePooling pooling) {
  RowBatch batch;
  batch.rows = static_cast<std::int64_t>(chosen.size());
  const std::int64_t width = rows.width();
  std::vector<std::int64_t> flat;
  for (std::int64_t i = 0; i < batch.rows; ++i) {
    const std::int64_t* tokens = rows.tokens.data_ptr<std::int64_t>() + chosen[i] * width;
    const std::int8_t* kinds = rows.kinds.data_ptr<std::int8_t>() + chosen[i] * width;
    std::int64_t first = 0, last = width;
    while (first < width && kinds[first] == padding_kind) ++first;
    while (last > first && kinds[last - 1] == padding_kind) --last;
    if (first == last) continue;
    batch.sequences.tokens.emplace_back(tokens + first, tokens + last);
    std::vector<std::int64_t> wanted(pooling == ScorePooling::mean ? last - first : 1);
    std::iota(wanted.begin(), wanted.end(),
              last - first - static_cast<std::int64_t>(wanted.size()));
    batch.sequences.wanted.push_back(std::move(wanted));
    flat.push_back(i);
  }
  batch.flat = at::tensor(flat, at::TensorOptions().dtype(at::kLong));
  return batch;
}

namespace {

/// [S] int64: how many positions of each sequence are wanted.
at::Tensor wanted_counts(const RowBatch& batch) {
  std::vector<std::int64_t> counts;
  for (const auto& wanted : batch.sequences.wanted) {
    counts.push_back(static_cast<std::int64_t>(wanted.size()));
  }
  return at::tensor(counts, at::TensorOptions().dtype(at::kLong));
}

bool reads_one_each(const RowBatch& batch) {
  return batch.sequences.wanted_count() == static_cast<std::int64_t>(batch.sequences.tokens.size());
}

}  // namespace

at::Tensor pooled_scores(const RowBatch& batch, const at::Tensor& logits) {
  if (reads_one_each(batch)) return logits;
  std::vector<at::Tensor> means;
  std::int64_t first = 0;
  for (const auto& wanted : batch.sequences.wanted) {
    const auto count = static_cast<std::int64_t>(wanted.size());
    means.push_back(logits.narrow(0, first, count).mean(0));
    first += count;
  }
  return at::stack(means);
}

at::Tensor pooled_backward(const RowBatch& batch, const at::Tensor& d_scores) {
  if (reads_one_each(batch)) return d_scores;
  const at::Tensor counts = wanted_counts(batch).to(d_scores.device());
  return (d_scores / counts.unsqueeze(1)).repeat_interleave(counts, 0);
}

at::Tensor score_states(const Decoder& decoder, const TokenRows& rows, std::int64_t chunk,
                        const ParallelCalls& parallel) {
  require_score_head(decoder);
  if (decoder.config().labels != 1) {
    throw Failure("model-head",
                  fmt::format("the head has {} outputs, a value is one", decoder.config().labels),
                  "use a model with one output");
  }
  at::Tensor values = at::zeros({rows.rows(), rows.width()});
  for_chunks(rows.rows(), chunk, parallel, [&](std::int64_t first, const auto& chosen) {
    const RowBatch batch = row_batch(rows, chosen);
    if (batch.sequences.tokens.empty()) return;
    const at::Tensor scores = decoder.score(batch.sequences, false)->logits().to(at::kCPU);
    values.view(-1).index_copy_(0, batch.flat + first * rows.width(), scores.squeeze(1));
  });
  return values;
}

at::Tensor score_sequences(const Decoder& decoder, const TokenRows& rows, std::int64_t chunk,
                           const ParallelCalls& parallel) {
  require_score_head(decoder);
  at::Tensor scores = at::full({rows.rows(), decoder.config().labels},
                               std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  for_chunks(rows.rows(), chunk, parallel, [&](std::int64_t first, const auto& chosen) {
    const RowBatch batch = scored_batch(rows, chosen, decoder.config().pooling);
    if (batch.sequences.tokens.empty()) return;
    const at::Tensor got = decoder.score(batch.sequences, false)->logits().to(at::kCPU);
    scores.index_copy_(0, batch.flat + first, pooled_scores(batch, got));
  });
  return scores;
}

TokenRows text_rows(const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                    const std::vector<std::string>& answers, std::int64_t padding,
                    std::int64_t end) {
  if (prompts.size() != answers.size()) {
    throw Failure("bad-shape", fmt::format("there are {} prompts and {} answers", prompts.size(),
                                           answers.size()));
  }
  std::vector<std::vector<std::int64_t>> before, after;
  std::size_t width = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    before.push_back(tokenizer.encode_prompt(prompts[i]));
    after.push_back(tokenizer.encode_answer(prompts[i], answers[i]));
    if (end >= 0) after.back().push_back(end);
    width = std::max(width, before.back().size() + after.back().size());
  }
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(prompts.size()),
                                        static_cast<std::int64_t>(width)};
  TokenRows rows{at::full(shape, padding, at::kLong), at::zeros(shape, at::kChar)};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    std::int64_t* tokens = rows.tokens.data_ptr<std::int64_t>() + i * width;
    std::int8_t* kinds = rows.kinds.data_ptr<std::int8_t>() + i * width;
    std::copy(before[i].begin(), before[i].end(), tokens);
    std::copy(after[i].begin(), after[i].end(), tokens + before[i].size());
    std::fill_n(kinds, before[i].size(), static_cast<std::int8_t>(TokenKind::prompt));
    std::fill_n(kinds + before[i].size(), after[i].size(),
                static_cast<std::int8_t>(TokenKind::action));
  }
  return rows;
}

}  // namespace rewardloom
