#include "nodes/shape/transform.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

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

at::Tensor poly(const at::Tensor& x) {
  static const std::array<double, 3> c = sigmoid_fit();
  const at::Tensor square = x.square();
  at::Tensor y = (square * c[2] + c[1]).mul_(square).add_(c[0]).mul_(x).add_(0.5);
  y.masked_fill_(x <= -5, 0.0);
  return y.masked_fill_(x >= 5, 1.0);
}

struct References {
  at::Tensor values;   ///< [N,M]
  at::Tensor missing;  ///< [N,M] bool, or undefined

  References(const at::Tensor& all, const at::Tensor& counts, std::int64_t limit)
      : values(all.size(1) > limit ? all.narrow(1, 0, limit) : all) {
    if (!counts.defined()) return;
    const at::Tensor place = at::arange(values.size(1), counts.options());
    missing = place.unsqueeze(0) >= counts.unsqueeze(1);
  }
  std::int64_t width() const { return values.size(1); }
  /// Mean over the references that are there; [N,M] -> [N].
  at::Tensor mean(at::Tensor terms) const {
    if (!missing.defined()) return terms.mean(1);
    return terms.masked_fill_(missing, 0.0).sum(1) / missing.logical_not().sum(1);
  }
};

/// The percentile of the normal distribution that the references of each row suggest; [N].
at::Tensor percentile_of(const References& refs, const TransformOptions& options) {
  const at::Tensor mean = refs.mean(refs.values.clone()).to(at::kDouble);
  const at::Tensor centred = refs.values.to(at::kDouble) - mean.unsqueeze(1);
  const at::Tensor count = refs.missing.defined()
                               ? refs.missing.logical_not().sum(1).to(at::kDouble)
                               : at::full_like(mean, static_cast<double>(refs.width()));
  const double lost = options.std == Divisor::sample ? 1 : 0;
  const at::Tensor variance = refs.mean(centred.square()) * count / (count - lost).clamp_min(1);
  const double z = at::special_ndtri(at::full({}, options.percentile, at::kDouble)).item<double>();
  return mean + z * (variance.sqrt() + 1e-5);
}

at::Tensor relative(const at::Tensor& r, const References& refs, const TransformOptions& options) {
  switch (options.mode) {
    case TransformMode::lsc:
      return at::log_sigmoid(r.to(at::kDouble) - percentile_of(refs, options));
    case TransformMode::centered: return r - refs.mean(refs.values.clone());
    default: break;
  }
  at::Tensor gap = r.unsqueeze(1) - refs.values;
  switch (options.mode) {
    case TransformMode::par_tanh: return refs.mean(gap.tanh_());
    case TransformMode::par_poly: return refs.mean(poly(gap));
    case TransformMode::sgfc: gap.sub_(options.shift); break;
    default: break;
  }
  if (options.k != 1) gap.mul_(options.k);
  return refs.mean(gap.sigmoid_());
}

at::Tensor absolute(const at::Tensor& r, const TransformOptions& options) {
  switch (options.mode) {
    case TransformMode::sigmoid: return (r * options.k).sigmoid_();
    case TransformMode::tanh: return r.tanh();
    case TransformMode::ceil: return r.clamp_max(options.ceil);
    case TransformMode::poly: return poly(r);
    default: return r;
  }
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
  if (!is_relative(options.mode)) return absolute(rewards, options);
  require_references(rewards, reference);
  const std::int64_t limit =
      options.mode == TransformMode::lsc ? reference.size(1) : options.max_refs;
  // Blocks of rows whose differences stay in the processor's cache.
  const std::int64_t block = std::max<std::int64_t>(1, 32768 / std::min(limit, reference.size(1)));
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < rewards.size(0); i += block) {
    const std::int64_t rows = std::min(block, rewards.size(0) - i);
    const References refs(reference.narrow(0, i, rows).to(rewards.options()),
                          counts.defined() ? counts.narrow(0, i, rows) : counts, limit);
    parts.push_back(relative(rewards.narrow(0, i, rows), refs, options).to(rewards.scalar_type()));
  }
  return parts.empty() ? at::zeros_like(rewards) : at::cat(parts);
}

namespace {

/// Rewards of reference answers by group as a matrix: row i holds those of row i's group.
struct ByGroup {
  at::Tensor values;  ///< [N,M] double
  at::Tensor counts;  ///< [N] int64
};

ByGroup by_group(const Rewards& rows, const Rewards& references) {
  const Groups groups(references.group, references.absent, references.total.size(0));
  const std::vector<double> totals = numbers_of(references.total);
  if (!rows.group.defined()) {
    throw Failure("no-groups", "the rewards carry no group ids, so their references are unknown",
                  "take rewards from a node that scores sampled completions");
  }
  const at::Tensor ids = references.group.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor own = rows.group.to(at::kCPU, at::kLong).contiguous();
  std::unordered_map<std::int64_t, std::size_t> index;
  std::int64_t width = 1;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    index.emplace(ids.data_ptr<std::int64_t>()[groups.rows(g).front()], g);
    width = std::max(width, static_cast<std::int64_t>(groups.rows(g).size()));
  }
  ByGroup out{at::zeros({own.size(0), width}, at::kDouble), at::zeros({own.size(0)}, at::kLong)};
  const std::int64_t* const id_of = own.data_ptr<std::int64_t>();
  double* const values = out.values.data_ptr<double>();
  std::int64_t* const counts = out.counts.data_ptr<std::int64_t>();
  auto found = index.end();
  for (std::int64_t i = 0; i < own.size(0); ++i) {
    const std::int64_t id = id_of[i];
    if (found == index.end() || found->first != id) found = index.find(id);  // neighbours agree
    if (found == index.end()) continue;
    double* const row = values + i * width;
    std::int64_t count = 0;
    for (const std::int64_t j : groups.rows(found->second)) {
      row[count++] = totals[static_cast<std::size_t>(j)];
    }
    counts[i] = count;
  }
  return out;
}

}  // namespace

struct Transform final : Node {
  Input<Rewards> rewards{this, "rewards", "the rewards to be shaped"};
  Optional<Values> reference{
      this, "reference", "rewards of reference answers to the same prompt", {.dims = "N,M"}};
  Optional<Rewards> references{this,
                               "references",
                               "instead: rewards of reference answers, matched by group id",
                               {.dims = "R"}};
  Output<Rewards> out{this, "rewards", "the shaped reward; what shaping changed is a component"};
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
      "A row whose references are missing or absent is absent."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    finite_rows(r.total, r.absent, "rewards");
    ByGroup given;
    if (const Values* matrix = step[reference]) {
      given.values = matrix->values;
    } else if (const Rewards* other = step[references]; other != nullptr && is_relative(mode())) {
      given = by_group(r, *other);
      given.counts = given.counts.to(r.total.device());
    }
    if (mode() == TransformMode::lsc) warn_of_single_references(step, given);
    at::Tensor shaped =
        transformed(r.total, given.values, given.counts,
                    {mode(), k(), max_refs(), percentile(), std(), ceil(), shift()});
    Rewards result = r;
    const at::Tensor lost = unscored(step, shaped, r.absent);
    result.absent = either_absent(r.absent, lost);
    if (result.absent.defined()) shaped = shaped.masked_fill(result.absent, 0.0);
    const at::Tensor before =
        result.absent.defined() ? r.total.masked_fill(result.absent, 0.0) : r.total;
    result.components.emplace_back(step.node(), shaped - before);
    result.total = std::move(shaped);
    step[out] = std::move(result);
  }

 private:
  /// A percentile needs a spread: of one reference it is that reference.
  static void warn_of_single_references(Step& step, const ByGroup& given) {
    if (!given.values.defined() || given.values.dim() != 2) return;
    const std::int64_t rows = given.values.size(0);
    const std::int64_t single = given.counts.defined()
                                    ? given.counts.eq(1).sum().item<std::int64_t>()
                                : given.values.size(1) == 1 ? rows
                                                            : 0;
    step.metric("one_reference", static_cast<double>(single));
    if (single == 0) return;
    step.alarm(
        "one-reference",
        fmt::format("{} of {} rows have one reference reward: a percentile needs two or more, "
                    "theirs is that reference",
                    single, rows));
  }

  /// Rows without a number: their references are missing or no numbers.
  static at::Tensor unscored(Step& step, const at::Tensor& shaped, const at::Tensor& absent) {
    at::Tensor lost = shaped.isfinite().logical_not();
    if (absent.defined()) lost = lost.logical_and(absent.logical_not());
    const at::Tensor rows = lost.nonzero().to(at::kCPU).reshape({-1}).contiguous();
    for (std::int64_t i = 0; i < rows.numel(); ++i) {
      step.fail_row(rows.data_ptr<std::int64_t>()[i],
                    "there is no reference reward to compare with");
    }
    return rows.numel() == 0 ? at::Tensor() : lost;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Transform, "Reward shaping (PAR, LSC, ...)", "arXiv:2502.18770")
