#include "nodes/advantage/gae.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/whiten.h"

namespace rewardloom {
namespace {

/// Without next_values the value behind a truncated step is unknown: that of the next step belongs
/// to another episode.
void require_next_values(const Episodes& e, const at::Tensor& next_values) {
  if (next_values.defined() || !e.done.defined() || e.done.is_same(e.terminated)) return;
  at::Tensor truncated = e.done.logical_and(e.terminated.logical_not());
  if (e.mask.defined()) truncated = truncated.logical_and(e.mask);
  if (!truncated.any().item<bool>()) return;
  const at::Tensor first = truncated.nonzero()[0];
  throw Failure("no-next-values",
                c10::str("row ", first[0].item<std::int64_t>(), " is truncated after step ",
                         first[1].item<std::int64_t>(),
                         ", but nothing says what its next state is "
                         "worth"),
                "connect next_values, or mark the step as terminated");
}

template <class T>
struct GaeRow {
  const T* rewards;
  const T* values;
  const T* next_values;    ///< or null
  const bool* mask;        ///< or null
  const bool* done;        ///< or null
  const bool* terminated;  ///< or null
  T* advantages;
  T* returns;
};

template <class T>
void gae_row(const GaeRow<T>& row, std::int64_t tokens, const GaeOptions& options) {
  const double gamma = options.gamma;
  const double decay = options.gamma * options.lambda;
  const bool zeros = options.mask_mode == MaskMode::zero;
  double advantage = 0;
  double next = 0;
  for (std::int64_t t = tokens; t-- > 0;) {
    if (row.mask != nullptr && !row.mask[t]) {
      if (zeros) {
        advantage = gamma * next + decay * advantage;
        next = 0;
      }
      row.advantages[t] = T{0};
      row.returns[t] = T{0};
      continue;
    }
    const double value = static_cast<double>(row.values[t]);
    if (row.next_values != nullptr) next = static_cast<double>(row.next_values[t]);
    if (row.done != nullptr && row.done[t]) {
      advantage = 0;
      if (row.terminated[t]) next = 0;
    }
    advantage = static_cast<double>(row.rewards[t]) + gamma * next - value + decay * advantage;
    row.advantages[t] = static_cast<T>(advantage);
    row.returns[t] = static_cast<T>(advantage + value);
    next = value;
  }
}

template <class T>
AdvantagesAndReturns gae_of_rows(const Episodes& e, const at::Tensor& values,
                                 const at::Tensor& next_values, const GaeOptions& options,
                                 const ParallelCalls& parallel) {
  AdvantagesAndReturns out{at::empty_like(e.rewards), at::empty_like(e.rewards)};
  const std::int64_t tokens = e.rewards.size(1);
  for_rows(e.rewards.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      gae_row<T>({row_of<const T>(e.rewards, i), row_of<const T>(values, i),
                  row_of<const T>(next_values, i), row_of<const bool>(e.mask, i),
                  row_of<const bool>(e.done, i), row_of<const bool>(e.terminated, i),
                  row_of<T>(out.advantages, i), row_of<T>(out.returns, i)},
                 tokens, options);
    }
  });
  return out;
}

Episodes checked_gae(const Episodes& episodes, const at::Tensor& values,
                     const at::Tensor& next_values) {
  const Episodes e = checked(episodes);
  require_sizes("values", values, "rewards", e.rewards.sizes());
  require_sizes("next_values", next_values, "rewards", e.rewards.sizes());
  require_next_values(e, next_values);
  return e;
}

}  // namespace

AdvantagesAndReturns gae_by_scan(const Episodes& episodes, const at::Tensor& values,
                                 const at::Tensor& next_values, const GaeOptions& options) {
  const Episodes e = checked_gae(episodes, values, next_values);
  const at::Tensor zero = at::zeros({}, e.rewards.options().dtype(at::kDouble));
  const at::Tensor mask = e.mask.defined() ? e.mask : at::ones_like(e.rewards, at::kBool);
  const bool zeros = options.mask_mode == MaskMode::zero;
  const at::Tensor v = at::where(mask, values.to(at::kDouble), zero);
  at::Tensor next = next_in_mask(v, zeros ? at::ones_like(mask) : mask);
  if (next_values.defined()) next = at::where(mask, next_values.to(at::kDouble), next);
  if (e.terminated.defined()) next = at::where(e.terminated.logical_and(mask), zero, next);
  const at::Tensor delta =
      at::where(mask, e.rewards.to(at::kDouble), zero) + options.gamma * next - v;
  at::Tensor factor = at::full_like(delta, options.gamma * options.lambda);
  if (e.done.defined()) factor = at::where(e.done.logical_and(mask), zero, factor);
  at::Tensor sum = delta;
  if (!zeros) {
    factor = at::where(mask, factor, zero + 1);
    sum = at::where(mask, delta, zero);
  }
  const at::Tensor advantages = at::where(mask, reverse_scan(factor, sum), zero);
  const at::ScalarType type = e.rewards.scalar_type();
  return {advantages.to(type), (advantages + v).to(type)};
}

AdvantagesAndReturns gae(const Episodes& episodes, const at::Tensor& values,
                         const at::Tensor& next_values, const GaeOptions& options,
                         const ParallelCalls& parallel) {
  if (!episodes.rewards.is_cpu()) return gae_by_scan(episodes, values, next_values, options);
  Episodes e = checked_gae(episodes, values, next_values);
  const at::ScalarType type = working_type({e.rewards, values, next_values});
  const at::ScalarType given = e.rewards.scalar_type();
  e.rewards = prepared(e.rewards, type);
  const at::Tensor v = prepared(values, type);
  const at::Tensor n = prepared(next_values, type);
  const AdvantagesAndReturns out = type == at::kDouble
                                       ? gae_of_rows<double>(e, v, n, options, parallel)
                                       : gae_of_rows<float>(e, v, n, options, parallel);
  return {out.advantages.to(given), out.returns.to(given)};
}

namespace {

enum class GaeWhiten { none, sample, population };
constexpr auto choices(GaeWhiten) {
  return std::to_array<Choice<GaeWhiten>>({
      {GaeWhiten::none, "none", "advantages as they are"},
      {GaeWhiten::sample, "sample", "over the batch, 1e-8 added to the sample variance (verl)"},
      {GaeWhiten::population, "population",
       "over the batch, population variance held above 1e-8 (OpenRLHF)"},
  });
}

enum class GaePreset { none, verl, openrlhf, torchrl };
constexpr auto choices(GaePreset) {
  return std::to_array<Choice<GaePreset>>({
      {GaePreset::none, "none", "the parameters as given"},
      {GaePreset::verl, "verl", "skip, whiten sample"},
      {GaePreset::openrlhf, "openrlhf", "zero, whiten population"},
      {GaePreset::torchrl, "torchrl", "skip, no whitening; connect done and terminated"},
  });
}

}  // namespace

struct Gae final : Node {
  EpisodePorts episodes{
      this,
      {.needs = {
           {"scale", {{"not", "normalised"}, {"when", {{"whiten", {"sample", "population"}}}}}}}}};
  Input<Values> values{this, "values", "the value of each step's state", {.dims = "N,T"}};
  Optional<Values> next_values{
      this, "next_values", "the value of each step's next state (environments)", {.dims = "N,T"}};
  Output<Advantages> advantages{
      this,
      "advantages",
      "one per step, 0 outside the mask",
      {.dims = "N,T",
       .facts = {{"scale", {{"normalised", {{"whiten", {"sample", "population"}}}}}}}}};
  Output<Returns> returns{
      this, "returns", "advantage before whitening + value, 0 outside", {.dims = "N,T"}};
  Param<double> gamma{this, "gamma", 1.0, "discount", {.min = 0, .max = 1}};
  Param<double> lambda{
      this, "lambda", 0.95, "0: one-step difference; 1: whole return", {.min = 0, .max = 1}};
  Param<MaskMode> mask_mode{this, "mask_mode", MaskMode::skip, "what steps outside the mask are"};
  Param<GaeWhiten> whitening{this, "whiten", GaeWhiten::none, "normalises the advantages"};
  Param<GaePreset> preset{this, "preset", GaePreset::none,
                          "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this, "verl", {{"mask_mode", "skip"}, {"whiten", "sample"}}};
  Preset openrlhf{this, "openrlhf", {{"mask_mode", "zero"}, {"whiten", "population"}}};
  Preset torchrl{this, "torchrl", {{"mask_mode", "skip"}, {"whiten", "none"}}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"GAE", "PPO", "actor-critic", "TD error"}};
  Doc doc{
      this,
      "A_t = delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t; returns = A + "
      "V; all [N,T].\n"
      "Steps outside the mask are stepped over, or count as zeros. With done the sum ends "
      "there; a terminated step has no next value, a truncated one needs next_values."};

  void run(Step& step) const override {
    const EpisodePorts::Read read = episodes(step);
    const Values* const next = step[next_values];
    const ParallelCalls parallel = calls_of(step);
    const at::Tensor after = next != nullptr ? next->values : at::Tensor();
    AdvantagesAndReturns out =
        gae(read.episodes, step[values].values, after, {gamma(), lambda(), mask_mode()}, parallel);
    const at::Tensor& in = read.episodes.mask;
    require_finite_tokens(faults_of_rows(out.advantages, read.episodes),
                          {{"rewards", read.episodes.rewards, in},
                           {"values", step[values].values, in},
                           {"next_values", after, in, ends_of(read.episodes)}});
    if (whitening() != GaeWhiten::none) {
      const at::Tensor& mask = read.episodes.mask;
      out.advantages = whiten(
          out.advantages, mask.defined() ? mask : at::ones_like(out.advantages, at::kBool),
          whitening_of(whitening() == GaeWhiten::sample ? Divisor::sample : Divisor::population),
          parallel);
    }
    step[advantages] = advantages_of(out.advantages, read.from);
    step[returns] = Returns{out.returns, read.from.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Gae, "Generalised advantage estimation (GAE)", "arXiv:1506.02438")
