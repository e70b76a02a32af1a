#include "nodes/shape/transform.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/host_rows.h"
#include "nodes/reward/rows.h"
#include "nodes/shape/squash.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

/// Odd coefficients (x, x^3, x^5) of the quintic that fits sigmoid(x) - 1/2 best in the least
/// squares on 100 equal steps of [-5,5]. The even ones vanish: sigmoid - 1/2 is odd, the points
/// symmetric.
std::array<double, 3> sigmoid_fit() {
  double a[3][4] = {};  // normal equations in t = x / 5, which keeps them well conditioned
  for (int i = 0; i < 100; ++i) {
    const double t = -1 + 2 * i / 99.0;
    const double basis[3] = {t, t * t * t, t * t * t * t * t};
    const double y = 1 / (1 + std::exp(-5 * t)) - 0.5;
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 3; ++c) a[r][c] += basis[r] * basis[c];
      a[r][3] += basis[r] * y;
    }
  }
  for (int pivot = 0; pivot < 3; ++pivot) {
    for (int r = 0; r < 3; ++r) {
      if (r == pivot) continue;
      const double factor = a[r][pivot] / a[pivot][pivot];
      for (int c = pivot; c < 4; ++c) a[r][c] -= factor * a[pivot][c];
    }
  }
  return {a[0][3] / a[0][0] / 5, a[1][3] / a[1][1] / 125, a[2][3] / a[2][2] / 3125};
}

double poly(double x) {
  static const std::array<double, 3> c = sigmoid_fit();
  if (x <= -5) return 0;
  if (x >= 5) return 1;
  const double square = x * x;
  return x * ((square * c[2] + c[1]) * square + c[0]) + 0.5;
}

/// The rewards of the reference answers of each row, on the host. Neighbours that share theirs, as
/// the rows of a group do, are one run.
class References {
 public:
  using Row = std::span<const double>;
  struct Run {
    std::size_t rows;
    Row numbers;
  };

  /// reference [N,M], counts [N] or undefined.
  References(const at::Tensor& reference, const at::Tensor& counts)
      : numbers_(reference.detach().to(at::kCPU, at::kDouble).contiguous()) {
    const double* const first = numbers_.data_ptr<double>();
    const std::int64_t width = numbers_.size(1);
    at::Tensor given;
    if (counts.defined()) given = counts.to(at::kCPU, at::kLong).contiguous();
    for (std::int64_t i = 0; i < numbers_.size(0); ++i) {
      const std::int64_t count = given.defined() ? given.data_ptr<std::int64_t>()[i] : width;
      runs_.push_back({1, {first + i * width, static_cast<std::size_t>(count)}});
    }
  }

  /// Those of the row's own group; none where `references` has no such group.
  References(const Rewards& rows, const Rewards& references) {
    const Groups groups(references.group, references.absent, references.total.size(0));
    if (!rows.group.defined()) {
      throw Failure("no-groups", "the rewards carry no group ids, so their references are unknown",
                    "take rewards from a node that scores sampled completions");
    }
    const at::Tensor totals = host_rows(references.total, references.absent, "references");
    const std::span<const std::int64_t> order = groups.rows();
    numbers_ = groups.in_order() ? totals : in_order(totals, order);
    const double* const number = numbers_.data_ptr<double>();
    const at::Tensor ids = references.group.to(at::kCPU, at::kLong).contiguous();
    const std::int64_t* const id = ids.data_ptr<std::int64_t>();
    const at::Tensor own = rows.group.to(at::kCPU, at::kLong).contiguous();
    const auto next_row = [&](std::size_t g, const double* first) {
      return Row(first, groups.rows(g).size());
    };
    if (groups.in_order() && same_ids(own, ids)) {
      runs_.reserve(groups.count());
      const double* first = number;
      for (std::size_t g = 0; g < groups.count(); ++g) {
        const Row row = next_row(g, first);
        runs_.push_back({row.size(), row});
        first += row.size();
      }
      return;
    }
    std::vector<Row> numbers;
    numbers.reserve(groups.count());
    for (std::size_t g = 0; g < groups.count(); ++g) {
      numbers.push_back(
          next_row(g, numbers.empty() ? number : numbers.back().data() + numbers.back().size()));
    }
    std::vector<Group> known;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      known.push_back({id[groups.rows(g).front()], numbers[g]});
    }
    assign(own, std::move(known));
  }

  const std::vector<Run>& runs() const { return runs_; }

 private:
  struct Group {
    std::int64_t id;
    Row numbers;
  };

  static bool same_ids(const at::Tensor& a, const at::Tensor& b) {
    const auto bytes = static_cast<std::size_t>(a.numel()) * sizeof(std::int64_t);
    return a.numel() == b.numel() &&
           (a.is_same(b) || std::memcmp(a.data_ptr(), b.data_ptr(), bytes) == 0);
  }

  static at::Tensor in_order(const at::Tensor& totals, std::span<const std::int64_t> order) {
    at::Tensor out = at::empty({static_cast<std::int64_t>(order.size())}, at::kDouble);
    double* const number = out.data_ptr<double>();
    const double* const total = totals.data_ptr<double>();
    for (std::size_t k = 0; k < order.size(); ++k) number[k] = total[order[k]];
    return out;
  }

  void assign(const at::Tensor& own, std::vector<Group> known) {
    const auto less = [](const Group& a, const Group& b) { return a.id < b.id; };
    if (!std::is_sorted(known.begin(), known.end(), less)) {
      std::sort(known.begin(), known.end(), less);
    }
    const std::int64_t* const id = own.data_ptr<std::int64_t>();
    const std::int64_t* const end = id + own.size(0);
    runs_.reserve(known.size());
    auto next = known.begin();  // mostly rows come in the order of their references
    for (const std::int64_t* here = id; here != end;) {
      const std::int64_t wanted = *here;
      const auto* const past = std::find_if(here, end, [=](auto other) { return other != wanted; });
      if (next == known.end() || next->id != wanted) {
        next = std::lower_bound(known.begin(), known.end(), Group{wanted, {}}, less);
      }
      const bool found = next != known.end() && next->id == wanted;
      runs_.push_back({static_cast<std::size_t>(past - here), found ? next++->numbers : Row()});
      here = past;
    }
  }

  at::Tensor numbers_;  // what the rows point into
  std::vector<Run> runs_;
};

/// f over many differences between a reward and a reference.
void shape_differences(double* x, std::int64_t count, TransformMode mode) {
  switch (mode) {
    case TransformMode::par_tanh: tanh_of(x, count); return;
    case TransformMode::par_poly: std::transform(x, x + count, x, poly); return;
    default: sigmoid_of(x, count); return;
  }
}

/// out = k (reward - shift - reference) for the references of each row, one row behind the other.
REWARDLOOM_VECTORISED
void differences_of(const double* reward, const References::Row* references, std::size_t rows,
                    double k, double shift, double* out) {
  for (std::size_t i = 0; i < rows; ++i) {
    const double moved = reward[i] - shift;
    const double* const reference = references[i].data();
    const std::size_t count = references[i].size();
    for (std::size_t m = 0; m < count; ++m) out[m] = k * (moved - reference[m]);
    out += count;
  }
}

/// In four lanes, so that no addition waits for the one before. NaN of none.
REWARDLOOM_INLINE double mean_of(References::Row numbers) {
  double lanes[4] = {};
  const std::size_t count = numbers.size();
  std::size_t m = 0;
  for (; m + 4 <= count; m += 4) {
    for (std::size_t j = 0; j < 4; ++j) lanes[j] += numbers[m + j];
  }
  for (; m < count; ++m) lanes[m % 4] += numbers[m];
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) / static_cast<double>(count);
}

/// The mean of each row's terms, one row behind the other.
REWARDLOOM_VECTORISED
void means_of(const double* term, const References::Row* references, std::size_t rows,
              double* out) {
  for (std::size_t i = 0; i < rows; ++i) {
    out[i] = mean_of({term, references[i].size()});
    term += references[i].size();
  }
}

/// Mean over a row's references of f(k (r - shift - reference)), block by block of rows whose
/// differences stay in the processor's cache. A row without references gives NaN.
class MeanOverReferences {
 public:
  MeanOverReferences(const double* reward, const TransformOptions& options, double* out)
      : reward_(reward), options_(options), out_(out) {
    const bool par = options.mode == TransformMode::par || options.mode == TransformMode::sgfc;
    if (par) k_ = options.k;
    if (options.mode == TransformMode::sgfc) shift_ = options.shift;
  }

  void over(const References& references) {
    constexpr std::size_t block = 2048;
    const auto limit = static_cast<std::size_t>(options_.max_refs);
    for (const auto& [rows, all] : references.runs()) {
      const References::Row used = all.first(std::min(all.size(), limit));
      for (std::size_t i = 0; i < rows; ++i) {
        used_.push_back(used);
        differences_ += used.size();
        if (differences_ >= block) finish_block();
      }
    }
    finish_block();
  }

 private:
  void finish_block() {
    terms_.resize(std::max(terms_.size(), differences_));
    differences_of(reward_, used_.data(), used_.size(), k_, shift_, terms_.data());
    shape_differences(terms_.data(), static_cast<std::int64_t>(differences_), options_.mode);
    means_of(terms_.data(), used_.data(), used_.size(), out_);
    reward_ += used_.size();
    out_ += used_.size();
    used_.clear();
    differences_ = 0;
  }

  const double* reward_;  // of the block that is being filled, as out_
  const TransformOptions& options_;
  double* out_;
  double k_ = 1, shift_ = 0;
  std::vector<References::Row> used_;
  std::size_t differences_ = 0;
  std::vector<double> terms_;
};

/// mean + z (spread + 1e-5) of the references: the percentile of the normal distribution that they
/// suggest. NaN without references.
double percentile_of(References::Row references, double z, Divisor divisor) {
  const double mean = mean_of(references);
  double squares = 0;
  for (const double number : references) squares += (number - mean) * (number - mean);
  const double lost = divisor == Divisor::sample ? 1 : 0;
  const double count = static_cast<double>(references.size()) - lost;
  return mean + z * (std::sqrt(squares / std::max(count, 1.0)) + 1e-5);
}

/// Shaped rewards and what shaping changed, both [N] double on the host. The change is finite
/// where both rewards are, and nowhere else.
struct Shaped {
  at::Tensor rewards;
  at::Tensor change;
  bool finite = true;

  static Shaped checked(at::Tensor rewards, at::Tensor change) {
    const bool finite = all_finite(change.data_ptr<double>(), change.numel());
    return {std::move(rewards), std::move(change), finite};
  }
};

/// Calls change_of(i), which returns a change, for all rows: whether all changes are finite.
template <class F>
REWARDLOOM_INLINE bool each_change(std::int64_t rows, const F& change_of) {
  constexpr std::int64_t side = 8;  // independent, so that the compiler vectorises
  double probe[side] = {};          // what is not finite is no number times 0
  std::int64_t i = 0;
  for (; i + side <= rows; i += side) {
    for (std::int64_t j = 0; j < side; ++j) probe[j] += change_of(i + j) * 0.0;
  }
  for (; i < rows; ++i) probe[0] += change_of(i) * 0.0;
  return std::accumulate(probe, probe + side, 0.0) == 0;
}

/// above = reward - level, and the level becomes above - reward.
REWARDLOOM_VECTORISED
bool subtract(const double* reward, double* __restrict level, std::int64_t rows,
              double* __restrict above) {
  return each_change(
      rows, [=](std::int64_t i) __attribute__((always_inline)) {
        const double difference = reward[i] - level[i];
        above[i] = difference;
        return level[i] = difference - reward[i];
      });
}

REWARDLOOM_VECTORISED
bool hold_below(const double* reward, double most, std::int64_t rows, double* __restrict shaped,
                double* __restrict change) {
  return each_change(
      rows, [=](std::int64_t i) __attribute__((always_inline)) {
        const double held = reward[i] > most ? most : reward[i];  // no number stays none
        shaped[i] = held;
        return change[i] = held - reward[i];
      });
}

/// reward - level of its references.
template <class Level>
Shaped above_level(const at::Tensor& rewards, const References& references, Level level) {
  Shaped out{at::empty_like(rewards), at::empty_like(rewards)};
  double* const change = out.change.data_ptr<double>();
  double* here = change;  // the levels, until they are used up
  for (const auto& [rows, numbers] : references.runs()) {
    here = std::fill_n(here, rows, level(numbers));
  }
  out.finite =
      subtract(rewards.data_ptr<double>(), change, rewards.numel(), out.rewards.data_ptr<double>());
  return out;
}

Shaped absolute(const at::Tensor& rewards, const TransformOptions& options) {
  const double* const r = rewards.data_ptr<double>();
  const std::int64_t count = rewards.numel();
  Shaped out{at::empty_like(rewards), at::empty_like(rewards)};
  double* const shaped = out.rewards.data_ptr<double>();
  switch (options.mode) {
    case TransformMode::sigmoid:
      sigmoid_of_rewards(r, options.k, shaped, out.change.data_ptr<double>(), count);
      return Shaped::checked(out.rewards, out.change);
    case TransformMode::tanh:
      tanh_of_rewards(r, shaped, out.change.data_ptr<double>(), count);
      return Shaped::checked(out.rewards, out.change);
    case TransformMode::poly: std::transform(r, r + count, shaped, poly); break;
    case TransformMode::ceil:
      out.finite = hold_below(r, options.ceil, count, shaped, out.change.data_ptr<double>());
      return out;
    default: std::copy(r, r + count, shaped); break;
  }
  at::sub_out(out.change, out.rewards, rewards);
  return Shaped::checked(out.rewards, out.change);
}

/// rewards [N] double on the host; NaN for a row without references.
Shaped shaped_by(const at::Tensor& rewards, const References& references,
                 const TransformOptions& options) {
  if (options.mode == TransformMode::centered) {
    const auto limit = static_cast<std::size_t>(options.max_refs);
    return above_level(rewards, references, [limit](References::Row all) {
      return mean_of(all.first(std::min(all.size(), limit)));
    });
  }
  at::Tensor shaped = at::empty_like(rewards);
  if (options.mode == TransformMode::lsc) {
    const double z =
        at::special_ndtri(at::full({}, options.percentile, at::kDouble)).item<double>();
    const auto level = [&](References::Row all) { return percentile_of(all, z, options.std); };
    shaped = at::log_sigmoid(above_level(rewards, references, level).rewards);
  } else {
    MeanOverReferences(rewards.data_ptr<double>(), options, shaped.data_ptr<double>())
        .over(references);
  }
  return Shaped::checked(shaped, shaped - rewards);
}

void require_references(const at::Tensor& rewards, const at::Tensor& reference) {
  if (!reference.defined()) {
    throw Failure("no-reference-rewards", "this mode is relative to rewards of reference answers",
                  "connect reference, or references");
  }
  if (reference.dim() == 2 && reference.size(0) == rewards.size(0) && reference.size(1) > 0) return;
  throw Failure(
      "bad-shape",
      c10::str("there are ", rewards.size(0), " rewards, but reference is ", reference.sizes()),
      "give one row of reference rewards per reward: [N,M]");
}

at::Tensor like(const at::Tensor& numbers, const at::Tensor& rewards) {
  const bool floating = at::isFloatingType(rewards.scalar_type());
  return numbers.to(rewards.device(), floating ? rewards.scalar_type() : at::kFloat);
}

}  // namespace

bool is_relative(TransformMode mode) {
  switch (mode) {
    case TransformMode::raw:
    case TransformMode::sigmoid:
    case TransformMode::tanh:
    case TransformMode::ceil:
    case TransformMode::poly: return false;
    default: return true;
  }
}

at::Tensor transformed(const at::Tensor& rewards, const at::Tensor& reference,
                       const at::Tensor& counts, const TransformOptions& options) {
  const at::Tensor r = rewards.detach().to(at::kCPU, at::kDouble).contiguous();
  if (!is_relative(options.mode)) return like(absolute(r, options).rewards, rewards);
  require_references(rewards, reference);
  return like(shaped_by(r, References(reference, counts), options).rewards, rewards);
}

struct Transform final : Node {
  Input<Rewards> rewards{this, "rewards", "the rewards to be shaped"};
  Optional<Values> reference{
      this, "reference", "rewards of reference answers to the same prompt", {.dims = "N,M"}};
  Optional<Rewards> references{
      this,
      "references",
      "instead: rewards of reference answers, matched by group id",
      {.dims = "R", .needs = {{"scorer_of", "rewards"}, {"prompts_of", "rewards"}}}};
  Output<Rewards> out{
      this,
      "rewards",
      "the shaped reward; what shaping changed is a component",
      {.facts = {
           {"scale", {{"log-sigmoid utility", {{"mode", "lsc"}}}, {"shaped", Json::object()}}}}}};
  Param<TransformMode> mode{this, "mode", TransformMode::par, "the shape"};
  Param<double> k{this,
                  "k",
                  1.0,
                  "steepness of the sigmoid, 1 / temperature",
                  {.min = 0, .exclusive_min = true}};
  Param<std::int64_t> max_refs{
      this, "max_refs", 10, "references that are used, from the first; lsc uses all", {.min = 1}};
  Param<double> percentile{this,
                           "percentile",
                           0.85,
                           "lsc: of the normal distribution fitted to the references",
                           {.min = 0, .max = 1, .exclusive_min = true, .exclusive_max = true}};
  Param<Divisor> std{this, "std", Divisor::sample,
                     "lsc: divisor of the spread, to which 1e-5 is added"};
  Param<double> ceil{this, "ceil", 4.0, "ceil: the largest reward"};
  Param<double> shift{this, "shift", 3.0, "sgfc: subtracted from the reward first"};
  Rule relative_modes{this,
                      {{{"mode", {"par", "par_tanh", "centered", "lsc", "sgfc", "par_poly"}},
                        {"reference", {{"connected", false}}}},
                       {{"references", {{"connected", true}}}},
                       "this mode is relative to rewards of reference answers",
                       "connect reference, or references"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this,
                 {"PAR", "preference as reward", "reward hacking", "LSC", "sigmoid", "squash"}};
  Doc doc{
      this,
      "rewards [N] -> shaped [N]. par: mean_m sigmoid(k (r - reference_m)), the probability, under "
      "the reward model itself, that the answer beats a reference answer.\n"
      "Both inputs must answer the same prompts: ids of groups are compared, and they count the "
      "prompts of one sampling. A row whose references are missing or absent is absent."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const at::Tensor before = unchecked_host_rows(r.total, r.absent, "rewards");
    const TransformOptions options{mode(), k(), max_refs(), percentile(), std(), ceil(), shift()};
    Rewards result = r;
    Shaped shaped;
    if (is_relative(mode())) {
      const References given = references_of(step, r);
      if (mode() == TransformMode::lsc) warn_of_single_references(step, given, before.numel());
      shaped = shaped_by(before, given, options);
    } else {
      shaped = absolute(before, options);
    }
    if (!shaped.finite) {
      require_finite(before, "rewards");
      const at::Tensor lost = unscored(step, shaped.rewards, r.absent);
      result.absent = either_absent(r.absent, lost.defined() ? lost.to(r.total.device()) : lost);
    }
    if (result.absent.defined()) {
      const at::Tensor absent = result.absent.to(at::kCPU);
      shaped.rewards = shaped.rewards.masked_fill(absent, 0.0);
      shaped.change = shaped.change.masked_fill(absent, 0.0);
    }
    result.components.emplace_back(step.node(), like(shaped.change, r.total));
    result.total = like(shaped.rewards, r.total);
    step[out] = std::move(result);
  }

 private:
  References references_of(const Step& step, const Rewards& r) const {
    if (const Values* const matrix = step[reference]) {
      require_references(r.total, matrix->values);
      require_same_rows("rewards", r.total.size(0), r.batch, "reference", matrix->values.size(0),
                        matrix->batch);
      return References(matrix->values, {});
    }
    const Rewards* const other = step[references];
    if (other == nullptr) require_references(r.total, {});
    return References(r, *other);
  }

  /// A percentile needs a spread: of one reference it is that reference.
  static void warn_of_single_references(Step& step, const References& given, std::int64_t rows) {
    std::int64_t single = 0;
    for (const auto& [count, numbers] : given.runs()) {
      if (numbers.size() == 1) single += static_cast<std::int64_t>(count);
    }
    step.metric("one_reference", static_cast<double>(single));
    if (single == 0) return;
    step.alarm(
        "one-reference",
        fmt::format("{} of {} rows have one reference reward: a percentile needs two or more, "
                    "theirs is that reference",
                    single, rows));
  }

  /// Rows without a number: their references are missing or no numbers. Undefined if there are
  /// none.
  static at::Tensor unscored(Step& step, const at::Tensor& shaped, const at::Tensor& absent) {
    at::Tensor lost = shaped.isfinite().logical_not();
    if (absent.defined()) lost = lost.logical_and(absent.to(at::kCPU).logical_not());
    const at::Tensor rows = lost.nonzero().reshape({-1}).contiguous();
    for (std::int64_t i = 0; i < rows.numel(); ++i) {
      step.fail_row(rows.data_ptr<std::int64_t>()[i],
                    "there is no reference reward to compare with, or one that is no number");
    }
    return rows.numel() == 0 ? at::Tensor() : lost;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Transform, "Reward shaping (PAR, LSC, ...)", "arXiv:2502.18770")
