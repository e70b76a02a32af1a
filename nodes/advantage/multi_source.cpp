#include "nodes/advantage/multi_source.h"

#include <torch/types.h>

#include <algorithm>
#include <limits>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/group.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/whiten.h"
#include "nodes/reward/kl_penalty.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

constexpr double kMaxEpsilon = 1e-6;  // PRIME's, beside the largest sum

/// The process rewards of each row.
struct RowStatistics {
  std::vector<double> mean, low, high;
  std::vector<std::int64_t> tokens;

  explicit RowStatistics(std::size_t rows)
      : mean(rows, 0.0),
        low(rows, std::numeric_limits<double>::infinity()),
        high(rows, -std::numeric_limits<double>::infinity()),
        tokens(rows, 0) {}
};

template <class T>
RowStatistics statistics_of_rows(const at::Tensor& process, const at::Tensor& mask,
                                 const ParallelCalls& parallel) {
  RowStatistics out(static_cast<std::size_t>(process.size(0)));
  const std::int64_t tokens = process.size(1);
  for_rows(process.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const T* const x = row_of<const T>(process, row);
      const bool* const m = row_of<const bool>(mask, row);
      T low = std::numeric_limits<T>::infinity();
      T high = -low;
      for (std::int64_t t = 0; t < tokens; ++t) {
        const T inside = kept(x[t], m[t]);
        const T outside = kept(std::numeric_limits<T>::infinity(), !m[t]);
        low = std::min(low, inside + outside);
        high = std::max(high, inside - outside);
      }
      const double sum =
          masked_sum(m, tokens, [x](std::int64_t t) { return static_cast<double>(x[t]); });
      out.tokens[i] = count_tokens(m, tokens);
      out.low[i] = static_cast<double>(low);
      out.high[i] = static_cast<double>(high);
      out.mean[i] = sum / static_cast<double>(std::max<std::int64_t>(1, out.tokens[i]));
    }
  });
  return out;
}

RowStatistics statistics_by_operators(const at::Tensor& process, const at::Tensor& mask) {
  RowStatistics out(static_cast<std::size_t>(process.size(0)));
  const at::Tensor x = process.to(at::kDouble);
  const at::Tensor count = mask.sum(-1);
  const at::Tensor outside = mask.logical_not();
  const double huge = std::numeric_limits<double>::infinity();
  const auto copy = [](const at::Tensor& from, std::vector<double>& to) {
    const at::Tensor host = from.to(at::kCPU, at::kDouble).contiguous();
    std::copy_n(host.data_ptr<double>(), to.size(), to.begin());
  };
  copy(x.masked_fill(outside, 0).sum(-1) / count.clamp_min(1), out.mean);
  copy(x.masked_fill(outside, huge).amin(-1), out.low);
  copy(x.masked_fill(outside, -huge).amax(-1), out.high);
  const at::Tensor host = count.to(at::kCPU, at::kLong).contiguous();
  std::copy_n(host.data_ptr<std::int64_t>(), out.tokens.size(), out.tokens.begin());
  return out;
}

/// What each row's process rewards are multiplied with and shifted by, and its outcome's advantage.
struct RowTerms {
  std::vector<double> factor, shift, outcome;
};

/// The process side of one group: K/(K-1) r - (sum of the rows' means)/(K-1), nothing where all are
/// equal.
void process_terms(const std::vector<std::size_t>& rows, const RowStatistics& process, double scale,
                   RowTerms& terms) {
  const auto count = static_cast<double>(rows.size());
  double sum = 0;
  double low = process.low[rows[0]];
  double high = process.high[rows[0]];
  for (const std::size_t i : rows) {
    sum += process.mean[i];
    low = std::min(low, process.low[i]);
    high = std::max(high, process.high[i]);
  }
  if (low == high) return;
  for (const std::size_t i : rows) {
    terms.factor[i] = scale * count / (count - 1);
    terms.shift[i] = scale * sum / (count - 1);
  }
}

RowTerms row_terms(const MultiSourceInputs& in, const RowStatistics& process, double scale) {
  const std::vector<double> outcome = finite_rows(in.outcome, in.absent, "the outcome reward");
  const Groups groups(in.group, in.absent, in.outcome.size(0));
  RowTerms terms{std::vector<double>(outcome.size(), 0.0), std::vector<double>(outcome.size(), 0.0),
                 std::vector<double>(outcome.size(), 0.0)};
  std::vector<std::size_t> members;
  std::vector<std::int64_t> rows;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    members.clear();
    rows.clear();
    for (const std::int64_t row : groups.rows(g)) {
      if (process.tokens[static_cast<std::size_t>(row)] == 0) continue;
      members.push_back(static_cast<std::size_t>(row));
      rows.push_back(row);
    }
    if (members.size() < 2) continue;
    process_terms(members, process, scale, terms);
    const Moments moments(outcome, rows);
    const auto count = static_cast<double>(members.size());
    for (const std::size_t i : members) {
      terms.outcome[i] = (outcome[i] - moments.mean) * count / (count - 1);
    }
  }
  return terms;
}

template <class T>
at::Tensor sums_of_rows(const at::Tensor& process, const at::Tensor& mask, const RowTerms& terms,
                        const MultiSourceOptions& options, const ParallelCalls& parallel) {
  at::Tensor out = at::empty_like(process);
  const std::int64_t tokens = process.size(1);
  for_rows(process.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const T* const x = row_of<const T>(process, row);
      const bool* const m = row_of<const bool>(mask, row);
      T* const g = row_of<T>(out, row);
      const double factor = terms.factor[i];
      const double shift = terms.shift[i];
      double steps = 0;
      double outcome = terms.outcome[i];  // once the last token is passed, discounted further on
      double discount = 1;
      for (std::int64_t t = tokens; t-- > 0;) {
        const bool in = m[t];
        const double own = static_cast<double>(x[t]) * factor - shift;
        steps = options.gamma_process * steps + kept(own, in);
        const double sum = options.weight_process * steps + options.weight_outcome * outcome;
        g[t] = kept(static_cast<T>(sum), in);
        discount = in ? options.gamma_outcome : discount;
        outcome *= discount;
      }
    }
  });
  return out;
}

at::Tensor sums_by_scan(const at::Tensor& process, const at::Tensor& mask, const RowTerms& terms,
                        const MultiSourceOptions& options) {
  const auto column = [&](const std::vector<double>& x) {
    return at::tensor(at::ArrayRef<double>(x), at::dtype(at::kDouble)).to(process.device());
  };
  const at::Tensor steps = process.to(at::kDouble) * column(terms.factor).unsqueeze(1) -
                           column(terms.shift).unsqueeze(1);
  const at::Tensor outcome = at_last_token(column(terms.outcome), mask);
  return options.weight_process * discounted_returns_by_scan(steps, mask, options.gamma_process) +
         options.weight_outcome * discounted_returns_by_scan(outcome, mask, options.gamma_outcome);
}

/// The mask without absent rows, all sizes checked.
at::Tensor scored_tokens(const MultiSourceInputs& in) {
  require_matrix("process rewards", in.process);
  require_vector("outcome rewards", in.outcome, in.process.size(0));
  at::Tensor mask = checked_mask(in.mask, "process rewards", in.process.sizes());
  if (!in.absent.defined()) return mask;
  require_vector("absent", in.absent, in.process.size(0));
  return mask.logical_and(in.absent.to(at::kBool).logical_not().unsqueeze(1)).contiguous();
}

double process_scale(const at::Tensor& sums, ProcessNormalise mode) {
  if (mode == ProcessNormalise::none || sums.numel() == 0) return 1;
  return 1 / (sums.abs().max().to(at::kDouble).item<double>() + kMaxEpsilon);
}

}  // namespace

AdvantagesAndReturns multi_source_by_scan(const MultiSourceInputs& inputs,
                                          const MultiSourceOptions& options) {
  const at::Tensor mask = scored_tokens(inputs);
  if (mask.numel() == 0) return {at::zeros_like(inputs.process), at::zeros_like(inputs.process)};
  double scale = 1;
  if (options.process_normalise != ProcessNormalise::none) {
    scale = process_scale(discounted_returns_by_scan(inputs.process, mask, 1.0),
                          options.process_normalise);
  }
  const RowTerms terms = row_terms(inputs, statistics_by_operators(inputs.process, mask), scale);
  const at::Tensor sums = sums_by_scan(inputs.process, mask, terms, options);
  const at::ScalarType type = inputs.process.scalar_type();
  const at::Tensor advantages =
      options.whiten ? whiten_by_operators(sums, mask, whitening_of(Divisor::sample)) : sums;
  return {advantages.to(type), sums.to(type)};
}

AdvantagesAndReturns multi_source(const MultiSourceInputs& inputs,
                                  const MultiSourceOptions& options,
                                  const ParallelCalls& parallel) {
  if (!inputs.process.is_cpu()) return multi_source_by_scan(inputs, options);
  const at::Tensor mask = scored_tokens(inputs);
  const at::ScalarType type = working_type({inputs.process});
  const bool wide = type == at::kDouble;
  const at::Tensor process = prepared(inputs.process, type);
  double scale = 1;
  if (options.process_normalise != ProcessNormalise::none) {
    scale =
        process_scale(discounted_returns(process, mask, 1.0, parallel), options.process_normalise);
  }
  const RowStatistics statistics = wide ? statistics_of_rows<double>(process, mask, parallel)
                                        : statistics_of_rows<float>(process, mask, parallel);
  const RowTerms terms = row_terms(inputs, statistics, scale);
  const at::Tensor sums = wide ? sums_of_rows<double>(process, mask, terms, options, parallel)
                               : sums_of_rows<float>(process, mask, terms, options, parallel);
  const at::Tensor advantages =
      options.whiten ? whiten(sums, mask, whitening_of(Divisor::sample), parallel) : sums;
  const at::ScalarType given = inputs.process.scalar_type();
  return {advantages.to(given), sums.to(given)};
}

struct MultiSource final : Node {
  Input<TokenRewards> process{this, "process_rewards", "one score per token"};
  Input<Rewards> outcome{
      this,
      "outcome_rewards",
      "one per completion, placed on its last action token, with group ids",
      {.needs = {{"group_size", {{"min", 2}}},
                 {"scale", {{"not", "normalised"}, {"when", {{"whiten", true}}}}}}}};
  Optional<Completions> completions{this, "completions",
                                    "the mask, where process_rewards carry none"};
  Output<Advantages> advantages{
      this,
      "advantages",
      "whitened returns, 0 outside the mask",
      {.dims = "N,T", .facts = {{"scale", {{"normalised", {{"whiten", true}}}}}}}};
  Output<Returns> returns{this, "returns", "before whitening, 0 outside", {.dims = "N,T"}};
  Param<double> gamma_process{
      this, "gamma_process", 1.0, "discount of process rewards", {.min = 0, .max = 1}};
  Param<double> gamma_outcome{
      this, "gamma_outcome", 1.0, "discount of the outcome", {.min = 0, .max = 1}};
  Param<ProcessNormalise> normalise{this, "process_normalise", ProcessNormalise::none,
                                    "what divides process rewards before use"};
  Param<bool> whitening{this, "whiten", true, "whiten the sum over the batch"};
  Param<double> weight_process{this, "weight_process", 1.0, "weight of the process returns"};
  Param<double> weight_outcome{this, "weight_outcome", 1.0, "weight of the outcome returns"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PRIME", "process reward", "RLOO", "implicit reward"}};
  Doc doc{this,
          "Per source: r' = K/(K-1) r - (sum of the K rows' mean r)/(K-1) inside the group, then "
          "discounted sums of what follows; their weighted sum is the return, whitened the "
          "advantage; [N,T].\n"
          "Group ids come from the outcome. Absent outcomes take their row out."};

  void run(Step& step) const override {
    const TokenRewards& p = step[process];
    const Rewards& o = step[outcome];
    require_same_rows("process_rewards", p.rewards.size(0), p.batch, "outcome_rewards",
                      o.total.size(0), o.batch);
    const Completions* const c = step[completions];
    const at::Tensor group = o.group.defined()   ? o.group
                             : p.group.defined() ? p.group
                             : c != nullptr      ? c->group
                                                 : at::Tensor();
    const MultiSourceInputs in{p.rewards, o.total, group, o.absent, needed_mask(p.mask, c)};
    const AdvantagesAndReturns out = multi_source(in,
                                                  {gamma_process(), gamma_outcome(), normalise(),
                                                   whitening(), weight_process(), weight_outcome()},
                                                  calls_of(step));
    if (p.rewards.numel() > 0) {
      require_finite_tokens(out.returns, {{"process_rewards", p.rewards, scored_tokens(in)}});
    }
    step[advantages] = Advantages{out.advantages, o};
    step[returns] = Returns{out.returns, o.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MultiSource, "Process and outcome advantage (PRIME)", "arXiv:2502.01456")
