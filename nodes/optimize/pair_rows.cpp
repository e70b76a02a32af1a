#include "nodes/optimize/pair_rows.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "nodes/optimize/whole_step.h"
#include "nodes/text/head_scores.h"

namespace rewardloom {

namespace {

void check(const Preferences& p) {
  const std::size_t count = p.chosen.size();
  if (p.prompt.size() != count || p.rejected.size() != count) {
    throw Failure("bad-shape",
                  fmt::format("there are {} prompts, {} chosen and {} rejected answers",
                              p.prompt.size(), count, p.rejected.size()),
                  "a pair needs one of each");
  }
  for (const auto& [name, tensor] : {std::pair{"margin", p.margin}, {"weight", p.weight}}) {
    if (!tensor.defined()) continue;
    if (tensor.dim() == 1 && tensor.size(0) == static_cast<std::int64_t>(count)) continue;
    throw Failure("bad-shape",
                  c10::str(name, " is ", tensor.sizes(), ", but there are ", count, " pairs"));
  }
}

/// [N]: tokens of each row.
std::vector<std::int64_t> lengths_of(const TokenRows& rows) {
  const at::Tensor lengths = rows.kinds.ne(0).sum(1);
  const auto* data = lengths.data_ptr<std::int64_t>();
  return {data, data + lengths.numel()};
}

TokenRows selected(const TokenRows& rows, const at::Tensor& index) {
  return {rows.tokens.index_select(0, index), rows.kinds.index_select(0, index)};
}

}  // namespace

TokenRows stacked(const std::vector<TokenRows>& tables, std::int64_t padding) {
  std::int64_t width = 0, count = 0;
  for (const TokenRows& table : tables) {
    width = std::max(width, table.width());
    count += table.rows();
  }
  TokenRows out{at::full({count, width}, padding, at::kLong), at::zeros({count, width}, at::kChar)};
  std::int64_t first = 0;
  for (const TokenRows& table : tables) {
    out.tokens.narrow(0, first, table.rows()).narrow(1, 0, table.width()).copy_(table.tokens);
    out.kinds.narrow(0, first, table.rows()).narrow(1, 0, table.width()).copy_(table.kinds);
    first += table.rows();
  }
  return out;
}

PairRows pair_rows(const LanguageModel& model, const Preferences& preferences, std::int64_t limit) {
  check(preferences);
  const std::vector<std::int64_t> ends = model.end_tokens();
  const std::int64_t end =
      ends.empty() ? -1 : model.tokenizer().special().end.value_or(ends.front());
  const auto rows = [&](const std::vector<std::string>& answers) {
    return text_rows(model.tokenizer(), preferences.prompt, answers, model.padding_token(), end);
  };
  const TokenRows chosen = rows(preferences.chosen), rejected = rows(preferences.rejected);
  const std::int64_t context = model.decoder().config().max_positions;
  const std::int64_t most = limit > 0 ? std::min(limit, context) : context;
  const auto a = lengths_of(chosen), b = lengths_of(rejected);
  PairRows out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::min(a[i], b[i]) > 0 && std::max(a[i], b[i]) <= most) {
      out.pair.push_back(static_cast<std::int64_t>(i));
    }
  }
  out.left_out = static_cast<std::int64_t>(a.size()) - out.count();
  const at::Tensor kept = int64_tensor(out.pair);
  out.rows = stacked({selected(chosen, kept), selected(rejected, kept)}, model.padding_token());
  return out;
}

}  // namespace rewardloom
