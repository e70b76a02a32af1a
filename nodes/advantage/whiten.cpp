#include "nodes/advantage/whiten.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

at::Tensor whiten(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions& options) {
  if (values.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str("values are ", values.sizes(), ", but the mask is ", mask.sizes()),
                  "values and mask must be of the same completions");
  }
  const at::Tensor where = mask.to(at::kBool);
  const at::Tensor zero = at::zeros({}, values.options().dtype(at::kDouble));
  const at::Tensor x = at::where(where, values.to(at::kDouble), zero);
  const double count = where.sum().item<double>();
  if (count == 0) return at::zeros_like(values);
  const at::Tensor valid = x.masked_select(where);
  const at::Tensor low = valid.min();
  const bool constant = low.equal(valid.max());
  const at::Tensor mean = constant ? low : valid.sum() / count;
  const at::Tensor centred = at::where(where, x - mean, zero);
  const double lost = options.variance == Divisor::sample && count > 1 ? 1 : 0;
  const at::Tensor variance = centred.square().sum() / (count - lost);
  const at::Tensor spread = options.epsilon_mode == EpsilonMode::add
                                ? (variance + options.epsilon).rsqrt()
                                : variance.clamp_min(options.epsilon).rsqrt();
  at::Tensor out = constant ? at::zeros_like(centred) : centred * spread;
  if (!options.shift_mean) out = at::where(where, out + mean, zero);
  return out.to(values.scalar_type());
}

namespace {

enum class WhitenPreset { none, verl, trl, openrlhf };
constexpr auto choices(WhitenPreset) {
  return std::to_array<Choice<WhitenPreset>>({
      {WhitenPreset::none, "none", "the parameters as given"},
      {WhitenPreset::verl, "verl", "sample variance, 1e-8 added"},
      {WhitenPreset::trl, "trl", "sample variance, 1e-8 added"},
      {WhitenPreset::openrlhf, "openrlhf", "population variance, floor 1e-8"},
  });
}

}  // namespace

struct Whiten final : Node {
  Input<Advantages> values{this, "values", "what is to be normalised", {.dims = "N,T"}};
  Input<Completions> completions{this, "completions", "whose action tokens count"};
  Output<Advantages> whitened{
      this, "whitened", "zero mean, unit spread; 0 outside the mask", {.dims = "N,T"}};
  Param<Divisor> variance{this, "variance", Divisor::sample, "divisor of the variance"};
  Param<double> epsilon{this, "epsilon", 1e-8, "keeps the spread from 0", {.min = 0}};
  Param<EpsilonMode> epsilon_mode{this, "epsilon_mode", EpsilonMode::add,
                                  "how epsilon enters the spread"};
  Param<bool> shift_mean{this, "shift_mean", true, "false: the mean is added back"};
  Param<WhitenPreset> preset{this, "preset", WhitenPreset::none,
                             "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this, "verl", {{"variance", "sample"}, {"epsilon", 1e-8}, {"epsilon_mode", "add"}}};
  Preset trl{this, "trl", {{"variance", "sample"}, {"epsilon", 1e-8}, {"epsilon_mode", "add"}}};
  Preset openrlhf{
      this, "openrlhf", {{"variance", "population"}, {"epsilon", 1e-8}, {"epsilon_mode", "floor"}}};
  Synonyms words{this, {"normalise", "standardise", "masked_whiten"}};
  Doc doc{
      this,
      "x -> (x - mean) * rsqrt(variance + epsilon) over all action tokens of the batch; [N,T].\n"
      "One token, or equal values, give 0 and an alarm: there is no spread to divide by."};

  void run(Step& step) const override {
    const Advantages& x = step[values];
    const at::Tensor mask = step[completions].mask();
    if (mask.sum().item<std::int64_t>() == 1) {
      step.alarm("whiten-one-token", "only one action token: its whitened value is 0");
    }
    Advantages out = x;
    out.advantages =
        whiten(x.advantages, mask, {variance(), epsilon(), epsilon_mode(), shift_mean()});
    step[whitened] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Whiten, "Whiten over action tokens", "arXiv:1707.06347")
