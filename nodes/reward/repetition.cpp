#include "nodes/reward/repetition.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "engine/core/random.h"
#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

double repeated_share(std::span<const std::int64_t> tokens, std::int64_t ngram) {
  const auto n = static_cast<std::size_t>(ngram);
  if (tokens.size() < n) return 0;
  const std::size_t total = tokens.size() - n + 1;
  // A table of first positions: equal hashes are compared token by token, so that the count is
  // exact.
  std::vector<std::size_t> table(std::bit_ceil(2 * total), total);
  const std::size_t wrap = table.size() - 1;
  std::size_t distinct = 0;
  for (std::size_t i = 0; i < total; ++i) {
    std::uint64_t hash = 0;
    for (std::size_t j = 0; j < n; ++j) hash = mix(hash, static_cast<std::uint64_t>(tokens[i + j]));
    std::size_t slot = hash & wrap;
    while (table[slot] != total &&
           !std::equal(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                       tokens.begin() + static_cast<std::ptrdiff_t>(i + n),
                       tokens.begin() + static_cast<std::ptrdiff_t>(table[slot]))) {
      slot = (slot + 1) & wrap;
    }
    if (table[slot] != total) continue;
    table[slot] = i;
    ++distinct;
  }
  return 1 - static_cast<double>(distinct) / static_cast<double>(total);
}

namespace {

/// Token ids row after row.
struct TokenRows {
  std::vector<std::int64_t> tokens;
  std::vector<std::size_t> starts{0};
  std::size_t count() const { return starts.size() - 1; }
  std::span<const std::int64_t> row(std::size_t i) const {
    return std::span(tokens).subspan(starts[i], starts[i + 1] - starts[i]);
  }
};

at::Tensor on_host(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.to(at::kCPU, type).contiguous();
}

TokenRows rows_of(const Completions& c) {
  const at::Tensor tokens = on_host(c.tokens, at::kLong);
  const at::Tensor mask = on_host(c.mask(), at::kBool);
  const std::int64_t* const id = tokens.data_ptr<std::int64_t>();
  const bool* const own = mask.data_ptr<bool>();
  const std::int64_t width = tokens.size(1);
  TokenRows rows;
  for (std::int64_t i = 0; i < tokens.size(0); ++i) {
    for (std::int64_t t = i * width; t < (i + 1) * width; ++t) {
      if (own[t]) rows.tokens.push_back(id[t]);
    }
    rows.starts.push_back(rows.tokens.size());
  }
  return rows;
}

TokenRows rows_of(const at::Tensor& tokens, const at::Tensor& lengths) {
  const at::Tensor flat = on_host(tokens, at::kLong).reshape({-1});
  const at::Tensor sizes = on_host(lengths, at::kLong);
  TokenRows rows;
  rows.tokens.assign(flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel());
  for (std::int64_t i = 0; i < sizes.numel(); ++i) {
    const std::int64_t length = sizes.data_ptr<std::int64_t>()[i];
    if (length < 0) {
      throw Failure("bad-value", fmt::format("the length of row {} is {}", i, length));
    }
    rows.starts.push_back(rows.starts.back() + static_cast<std::size_t>(length));
  }
  if (rows.starts.back() != rows.tokens.size()) {
    throw Failure("bad-shape",
                  fmt::format("the lengths add up to {}, but there are {} tokens",
                              rows.starts.back(), rows.tokens.size()),
                  "give the tokens of all rows, one row after the other");
  }
  return rows;
}

}  // namespace

struct Repetition final : Node {
  Optional<Completions> completions{this, "completions", "whose action tokens are looked at"};
  Optional<Values> tokens{
      this, "tokens", "instead: token ids of all rows, one row after the other", {.dims = "M"}};
  Optional<Values> lengths{this, "lengths", "and how many of them each row has", {.dims = "N"}};
  Output<Rewards> rewards{this, "rewards", "0 down to max_penalty"};
  Param<std::int64_t> ngram{this, "ngram", 3, "how many tokens are compared", {.min = 1}};
  Param<double> max_penalty{
      this, "max_penalty", -1.0, "reward of an answer that repeats everything", {.max = 0}};
  Rule one_source{this,
                  {{{"completions", {{"connected", false}}}},
                   {{"tokens", {{"connected", true}}}, {"lengths", {{"connected", true}}}},
                   "there are no tokens to look at",
                   "connect completions, or tokens and lengths"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"n-gram", "repetition penalty", "degenerate"}};
  Doc doc{
      this,
      "max_penalty * (1 - distinct n-grams / n-grams) over the token ids of an answer; [N]. Rows "
      "shorter than ngram get 0."};

  void run(Step& step) const override {
    const Completions* const c = step[completions];
    const Values* const flat = step[tokens];
    const Values* const sizes = step[lengths];
    if (c == nullptr && (flat == nullptr || sizes == nullptr)) {
      step.fail("there are no tokens to look at", "connect completions, or tokens and lengths");
    }
    const TokenRows rows = c != nullptr ? rows_of(*c) : rows_of(flat->values, sizes->values);
    at::Tensor total = at::zeros({static_cast<std::int64_t>(rows.count())}, at::kDouble);
    double* const score = total.data_ptr<double>();
    constexpr std::size_t kBlock = 32;
    step.parallel((rows.count() + kBlock - 1) / kBlock, [&](std::size_t block) {
      const std::size_t end = std::min(rows.count(), (block + 1) * kBlock);
      for (std::size_t i = block * kBlock; i < end; ++i) {
        score[i] = max_penalty() * repeated_share(rows.row(i), ngram());
      }
    });
    if (c != nullptr) {
      step[rewards] = scored(step, *c, total, {});
      return;
    }
    Rewards out;
    out.total = total;
    out.batch = sizes->batch;
    out.components = {{step.node(), total}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Repetition, "Repetition penalty", "arXiv:2502.03373")
