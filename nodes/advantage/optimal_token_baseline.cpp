#include "nodes/advantage/optimal_token_baseline.h"

#include <torch/types.h>

#include <algorithm>
#include <limits>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Inputs of one type on one device, sizes checked.
struct Checked {
  TokenBaselineInputs in;
  Checked(const TokenBaselineInputs& given, at::ScalarType type) : in(given) {
    require_matrix("rewards", in.rewards);
    const at::IntArrayRef sizes = in.rewards.sizes();
    require_sizes("log_probs", in.log_probs, "rewards", sizes);
    require_sizes("sum_pi_squared", in.sum_pi_squared, "rewards", sizes);
    require_sizes("weights", in.weights, "rewards", sizes);
    in.mask = checked_mask(in.mask, "rewards", sizes);
    in.rewards = prepared(in.rewards, type);
    in.log_probs = prepared(in.log_probs, type);
    in.sum_pi_squared = prepared(in.sum_pi_squared, type);
    in.weights = prepared(in.weights, type);
  }
};

/// The place behind the last token of each row of a mask on the CPU.
std::vector<std::int64_t> ends(const at::Tensor& mask) {
  const std::int64_t tokens = mask.size(1);
  std::vector<std::int64_t> out(static_cast<std::size_t>(mask.size(0)), 0);
  const bool* row = mask.data_ptr<bool>();
  for (std::int64_t& end : out) {
    end = tokens;
    while (end > 0 && !row[end - 1]) --end;
    row += tokens;
  }
  return out;
}

/// How far each row reaches: the place behind its last token, counted as rows meet.
std::vector<std::int64_t> reaches(const at::Tensor& mask, bool multi_turn) {
  const std::int64_t tokens = mask.size(1);
  if (!multi_turn && mask.is_cpu()) return ends(mask.contiguous());
  const at::Tensor place = at::arange(1, tokens + 1, mask.options().dtype(at::kLong));
  const at::Tensor reach =
      multi_turn || tokens == 0 ? row_lengths(mask) : (mask.to(at::kLong) * place).amax(-1);
  const at::Tensor host = reach.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* const data = host.data_ptr<std::int64_t>();
  return {data, data + host.numel()};
}

/// From which place on a row has no baseline; the width where it always has one.
std::vector<std::int64_t> tails(const Groups& groups, const std::vector<std::int64_t>& reach,
                                std::int64_t width, const TokenBaselineOptions& options) {
  std::vector<std::int64_t> tail(reach.size(), width);
  for (std::size_t g = 0; g < groups.count(); ++g) {
    std::int64_t longest = -1, second = -1;
    std::size_t row_of_longest = 0;
    for (const std::int64_t row : groups.rows(g)) {
      const std::int64_t length = reach[static_cast<std::size_t>(row)];
      if (length > longest) {
        second = longest;
        longest = length;
        row_of_longest = static_cast<std::size_t>(row);
      } else {
        second = std::max(second, length);
      }
    }
    if (second < 0) {
      if (options.singleton == Singleton::raw) tail[row_of_longest] = 0;
    } else if (options.handle_zero_tail && longest > second) {
      tail[row_of_longest] = second;
    }
  }
  return tail;
}

/// What meets at each place of a group; one place more than there are tokens, for nothing.
template <class T>
class Places {
 public:
  explicit Places(std::int64_t tokens)
      : weighted_(static_cast<std::size_t>(tokens) + 1, 0.0),
        weight_(weighted_),
        low_(weighted_.size(), std::numeric_limits<T>::infinity()),
        high_(weighted_.size(), -std::numeric_limits<T>::infinity()) {}

  /// Without `in` nothing changes.
  void add(std::size_t k, bool in, T value, double weight) {
    weighted_[k] += kept(static_cast<double>(value) * weight, in);
    weight_[k] += kept(weight, in);
    // Without a branch: outside the mask the candidates are +-infinity.
    const T inside = kept(value, in);
    const T outside = kept(std::numeric_limits<T>::infinity(), !in);
    low_[k] = std::min(low_[k], inside + outside);
    high_[k] = std::max(high_[k], inside - outside);
  }
  /// The places of a whole row, where those are its tokens.
  void add_row(const bool* in, const T* value, const double* weight, std::size_t tokens) {
    for (std::size_t k = 0; k < tokens; ++k) add(k, in[k], value[k], weight[k]);
  }
  /// Where all returns are equal, exactly that.
  std::vector<double> baselines(double epsilon) const {
    std::vector<double> out(weight_.size());
    for (std::size_t k = 0; k < out.size(); ++k) {
      out[k] = low_[k] == high_[k] ? static_cast<double>(low_[k])
                                   : weighted_[k] / (weight_[k] + epsilon);
    }
    return out;
  }

 private:
  std::vector<double> weighted_, weight_;
  std::vector<T> low_, high_;
};

template <class T>
class GroupBaseline {
 public:
  GroupBaseline(const TokenBaselineInputs& in, const at::Tensor& probabilities,
                const AdvantagesAndReturns& out, const TokenBaselineOptions& options)
      : in_(in), probabilities_(probabilities), out_(out), options_(options) {}

  void run(std::span<const std::int64_t> rows, const std::vector<std::int64_t>& tail) const {
    const std::int64_t tokens = in_.rewards.size(1);
    Places<T> places(tokens);
    std::vector<double> energy(static_cast<std::size_t>(tokens));
    for (const std::int64_t row : rows) collect(row, tokens, places, energy.data());
    const std::vector<double> baseline = places.baselines(options_.epsilon);
    for (const std::int64_t row : rows) {
      subtract(row, tokens, baseline, tail[static_cast<std::size_t>(row)]);
    }
  }

 private:
  /// energy: room for a number per token.
  void collect(std::int64_t row, std::int64_t tokens, Places<T>& places, double* energy) const {
    const T* const r = row_of<const T>(in_.rewards, row);
    const T* const pi = row_of<const T>(probabilities_, row);
    const T* const squares = row_of<const T>(in_.sum_pi_squared, row);
    const T* const w = row_of<const T>(in_.weights, row);
    const bool* const m = row_of<const bool>(in_.mask, row);
    T* const g = row_of<T>(out_.returns, row);
    double later = 0;
    for (std::int64_t t = tokens; t-- > 0;) {
      later += static_cast<double>(kept(r[t], m[t]));
      g[t] = kept(static_cast<T>(later), m[t]);
    }
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double weight = w == nullptr ? 1.0 : static_cast<double>(w[t]);
      const double step = (1 - 2 * static_cast<double>(pi[t]) + static_cast<double>(squares[t])) *
                          (weight * weight);
      sum += kept(step, m[t]);
      energy[t] = sum;
    }
    if (!options_.multi_turn) {
      places.add_row(m, g, energy, static_cast<std::size_t>(tokens));
      return;
    }
    std::size_t nth = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      places.add(nth, m[t], g[t], energy[t]);
      nth += m[t];
    }
  }

  void subtract(std::int64_t row, std::int64_t tokens, const std::vector<double>& baseline,
                std::int64_t tail) const {
    const bool* const m = row_of<const bool>(in_.mask, row);
    const T* const g = row_of<const T>(out_.returns, row);
    T* const a = row_of<T>(out_.advantages, row);
    std::int64_t nth = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t place = options_.multi_turn ? nth : t;
      const double base = place < tail ? baseline[static_cast<std::size_t>(place)] : 0;
      a[t] = kept(static_cast<T>(static_cast<double>(g[t]) - base), m[t]);
      nth += m[t];
    }
  }

  const TokenBaselineInputs& in_;
  const at::Tensor& probabilities_;
  const AdvantagesAndReturns& out_;
  const TokenBaselineOptions& options_;
};

/// Groups of the rows that have tokens.
Groups rows_with_tokens(const TokenBaselineInputs& in, const std::vector<std::int64_t>& reach) {
  at::Tensor empty = at::zeros({in.rewards.size(0)}, at::dtype(at::kBool));
  bool* const flag = empty.data_ptr<bool>();
  for (std::size_t i = 0; i < reach.size(); ++i) flag[i] = reach[i] == 0;
  return Groups(in.group, empty, in.rewards.size(0));
}

template <class T>
AdvantagesAndReturns baseline_of_groups(const TokenBaselineInputs& in,
                                        const TokenBaselineOptions& options,
                                        const ParallelCalls& parallel) {
  const AdvantagesAndReturns out{at::empty_like(in.rewards), at::empty_like(in.rewards)};
  const std::vector<std::int64_t> reach = reaches(in.mask, options.multi_turn);
  const std::int64_t tokens = in.rewards.size(1);
  for (std::size_t row = 0; row < reach.size(); ++row) {
    if (reach[row] > 0) continue;  // the others are written token by token
    for (const at::Tensor* const x : {&out.advantages, &out.returns}) {
      std::fill_n(row_of<T>(*x, static_cast<std::int64_t>(row)), tokens, T{0});
    }
  }
  const Groups groups = rows_with_tokens(in, reach);
  const std::vector<std::int64_t> tail = tails(groups, reach, in.rewards.size(1), options);
  const at::Tensor probabilities = in.log_probs.exp();
  const GroupBaseline<T> baseline(in, probabilities, out, options);
  const auto count = static_cast<std::int64_t>(groups.count());
  const std::int64_t width = in.rewards.numel() / std::max<std::int64_t>(1, count);
  for_rows(count, width, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t g = first; g < last; ++g) {
      baseline.run(groups.rows(static_cast<std::size_t>(g)), tail);
    }
  });
  return out;
}

/// The number of each row's group, [N] int64; rows in none: the number of groups.
at::Tensor numbers_of(const Groups& groups, std::int64_t rows) {
  at::Tensor out =
      at::full({rows}, static_cast<std::int64_t>(groups.count()), at::dtype(at::kLong));
  std::int64_t* const number = out.data_ptr<std::int64_t>();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    for (const std::int64_t row : groups.rows(g)) number[row] = static_cast<std::int64_t>(g);
  }
  return out;
}

}  // namespace

AdvantagesAndReturns token_baseline_by_operators(const TokenBaselineInputs& inputs,
                                                 const TokenBaselineOptions& options) {
  const TokenBaselineInputs in = Checked(inputs, at::kDouble).in;
  const std::int64_t rows = in.rewards.size(0), tokens = in.rewards.size(1);
  const at::Device device = in.rewards.device();
  const at::Tensor zero = at::zeros({}, in.rewards.options());
  const at::Tensor returns = discounted_returns_by_scan(in.rewards, in.mask, 1.0);
  at::Tensor step = 1 - 2 * in.log_probs.exp() + in.sum_pi_squared;
  if (in.weights.defined()) step = step * in.weights.square();
  const at::Tensor energy = at::where(in.mask, step, zero).cumsum(-1);

  const std::vector<std::int64_t> reach = reaches(in.mask, options.multi_turn);
  const Groups groups = rows_with_tokens(in, reach);
  const std::vector<std::int64_t> tail = tails(groups, reach, tokens, options);
  const auto places = static_cast<std::int64_t>(groups.count() + 1) * tokens;
  const at::Tensor place =
      options.multi_turn
          ? in.mask.cumsum(-1).sub(1).clamp_min(0)
          : at::arange(tokens, in.mask.options().dtype(at::kLong)).expand({rows, tokens});
  const at::Tensor at =
      (numbers_of(groups, rows).to(device).unsqueeze(1) * tokens + place).masked_select(in.mask);
  const at::Tensor value = returns.masked_select(in.mask);
  const at::Tensor weight = energy.masked_select(in.mask);
  const auto sum = [&](const at::Tensor& x) {
    return at::zeros({places}, x.options()).index_add(0, at, x).index_select(0, at);
  };
  const auto extreme = [&](const char* which) {
    return at::zeros({places}, value.options())
        .scatter_reduce(0, at, value, which, false)
        .index_select(0, at);
  };
  const at::Tensor low = extreme("amin");
  at::Tensor baseline = at::where(low.eq(extreme("amax")), low,
                                  sum(value * weight) / (sum(weight) + options.epsilon));
  const at::Tensor end =
      at::tensor(at::ArrayRef<std::int64_t>(tail), at::dtype(at::kLong)).to(device).unsqueeze(1);
  const at::Tensor based = place.lt(end).masked_select(in.mask);
  baseline = at::where(based, baseline, zero);
  const at::Tensor advantages = at::zeros_like(returns).masked_scatter(in.mask, value - baseline);
  const at::ScalarType given = inputs.rewards.scalar_type();
  return {advantages.to(given), returns.to(given)};
}

AdvantagesAndReturns token_baseline_advantages(const TokenBaselineInputs& inputs,
                                               const TokenBaselineOptions& options,
                                               const ParallelCalls& parallel) {
  if (!inputs.rewards.is_cpu()) return token_baseline_by_operators(inputs, options);
  const at::ScalarType type =
      working_type({inputs.rewards, inputs.log_probs, inputs.sum_pi_squared, inputs.weights});
  const TokenBaselineInputs in = Checked(inputs, type).in;
  const AdvantagesAndReturns out = type == at::kDouble
                                       ? baseline_of_groups<double>(in, options, parallel)
                                       : baseline_of_groups<float>(in, options, parallel);
  const at::ScalarType given = inputs.rewards.scalar_type();
  return {out.advantages.to(given), out.returns.to(given)};
}

struct OptimalTokenBaseline final : Node {
  Input<TokenRewards> rewards{this,
                              "rewards",
                              "one reward per token, with group ids",
                              {.needs = {{"group_size", {{"min", 2}}}}}};
  Input<LogProbs> log_probs{this, "log_probs", "of the policy that sampled"};
  Input<Values> sum_pi_squared{this,
                               "sum_pi_squared",
                               "sum over the vocabulary of the squared probabilities",
                               {.dims = "N,T"}};
  Optional<Values> weights{this, "weights", "importance weights", {.dims = "N,T"}};
  Optional<Completions> completions{this, "completions",
                                    "mask and groups, where rewards carry none"};
  Output<Advantages> advantages{
      this, "advantages", "return - baseline, 0 outside the mask", {.dims = "N,T"}};
  Output<Returns> returns{
      this, "returns", "sum of what follows, 0 outside the mask", {.dims = "N,T"}};
  Param<bool> multi_turn{this, "multi_turn", false,
                         "rows meet by their n-th action token instead of by position"};
  Param<bool> zero_tail{this, "handle_zero_tail", false,
                        "no baseline where only the longest completion is left"};
  Param<double> epsilon{this, "epsilon", 1e-8, "added to the sum of the weights", {.min = 0}};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one row that has tokens"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"OTB", "variance-optimal baseline", "realised energy"}};
  Doc doc{
      this,
      "A_t = G_t - sum W_t G_t / (sum W_t + epsilon) over the group, W_t = sum up to t of (1 - 2 "
      "pi + sum pi^2), times squared importance weights; [N,T].\n"
      "verl uses handle_zero_tail false for single turns and true for multi_turn."};

  void run(Step& step) const override {
    const TokenRewards& r = step[rewards];
    const LogProbs& p = step[log_probs];
    const Completions* const c = step[completions];
    require_same_rows("rewards", r.rewards.size(0), r.batch, "log_probs", p.log_probs.size(0),
                      p.batch);
    const Values* const w = step[weights];
    TokenRewards from = r;
    if (!from.group.defined() && c != nullptr) from.group = c->group;
    const at::Tensor own = r.mask.defined() ? r.mask : p.mask;
    const TokenBaselineInputs in{
        r.rewards,   needed_mask(own, c),         from.group,
        p.log_probs, step[sum_pi_squared].values, w != nullptr ? w->values : at::Tensor()};
    const AdvantagesAndReturns out = token_baseline_advantages(
        in, {multi_turn(), zero_tail(), epsilon(), singleton()}, calls_of(step));
    require_finite_tokens(out.advantages, {{"rewards", in.rewards, in.mask},
                                           {"log_probs", in.log_probs, in.mask},
                                           {"sum_pi_squared", in.sum_pi_squared, in.mask},
                                           {"weights", in.weights, in.mask}});
    step[advantages] = advantages_of(out.advantages, from);
    step[returns] = Returns{out.returns, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimalTokenBaseline, "Optimal token baseline (OTB)", "arXiv:2602.07078")
