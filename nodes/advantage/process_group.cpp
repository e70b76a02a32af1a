#include "nodes/advantage/process_group.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// The steps of all rows in host memory, row by row.
struct Steps {
  std::int64_t width = 0;
  at::Tensor rewards, ends, there;  ///< [N,S] double, int64, bool

  explicit Steps(const ProcessGroupInputs& in) {
    require_matrix("step rewards", in.step_rewards);
    const at::IntArrayRef sizes = in.step_rewards.sizes();
    if (!in.step_end.defined()) {
      throw Failure("no-boundaries", "nothing says where the steps end",
                    "take step rewards with boundaries, or connect step_end");
    }
    require_sizes("step ends", in.step_end, "step rewards", sizes);
    require_sizes("the step mask", in.step_mask, "step rewards", sizes);
    width = sizes[1];
    rewards = in.step_rewards.detach().to(at::kCPU, at::kDouble, false, true).contiguous();
    ends = in.step_end.to(at::kCPU, at::kLong).contiguous();
    there =
        (in.step_mask.defined() ? in.step_mask.to(at::kCPU, at::kBool) : ends.ge(0)).contiguous();
  }

  void check(std::int64_t tokens) const {
    for (std::int64_t row = 0; row < rewards.size(0); ++row) {
      std::int64_t before = -1;
      for (std::int64_t s = 0; s < width; ++s) {
        if (!row_of<const bool>(there, row)[s]) continue;
        const std::int64_t end = row_of<const std::int64_t>(ends, row)[s];
        if (end <= before || end >= tokens) {
          throw Failure("bad-step",
                        fmt::format("step {} of row {} ends at token {}, the step before at {}; "
                                    "there are {} tokens",
                                    s, row, end, before, tokens),
                        "ends of steps must rise and lie inside the completion");
        }
        before = end;
        const double reward = row_of<const double>(rewards, row)[s];
        if (std::isfinite(reward)) continue;
        throw Failure("not-finite",
                      fmt::format("the reward of step {} of row {} is {}", s, row, reward),
                      "take steps that could not be scored out of the step mask");
      }
    }
  }
};

/// Puts each step's normalised reward in the place of its reward; 0 for what is no step.
void normalise(Steps& steps, const Groups& groups, double epsilon) {
  std::vector<double> values;
  std::vector<std::int64_t> places;
  double* const reward = steps.rewards.data_ptr<double>();
  const bool* const there = steps.there.data_ptr<bool>();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    values.clear();
    places.clear();
    for (const std::int64_t row : groups.rows(g)) {
      for (std::int64_t at = row * steps.width; at < (row + 1) * steps.width; ++at) {
        if (!there[at]) continue;
        places.push_back(static_cast<std::int64_t>(values.size()));
        values.push_back(reward[at]);
      }
    }
    const Moments moments(values, places);
    const double divisor = moments.spread(true) + epsilon;
    for (const std::int64_t row : groups.rows(g)) {
      for (std::int64_t at = row * steps.width; at < (row + 1) * steps.width; ++at) {
        reward[at] = there[at] && !moments.constant ? (reward[at] - moments.mean) / divisor : 0.0;
      }
    }
  }
}

template <class T>
void spread_row(const Steps& steps, std::int64_t row, const bool* mask, std::int64_t tokens,
                T* out) {
  double sum = 0;
  std::int64_t from = tokens;
  for (std::int64_t s = steps.width; s-- > 0;) {
    if (!row_of<const bool>(steps.there, row)[s]) continue;
    const std::int64_t end = row_of<const std::int64_t>(steps.ends, row)[s];
    for (std::int64_t t = end + 1; t < from; ++t) out[t] = kept(static_cast<T>(sum), mask[t]);
    sum += row_of<const double>(steps.rewards, row)[s];
    from = end + 1;
  }
  for (std::int64_t t = 0; t < from; ++t) out[t] = kept(static_cast<T>(sum), mask[t]);
}

template <class T>
at::Tensor spread(const Steps& steps, const at::Tensor& mask, const ParallelCalls& parallel) {
  at::Tensor out = at::empty(mask.sizes(), at::dtype(c10::CppTypeToScalarType<T>::value));
  const std::int64_t tokens = mask.size(1);
  for_rows(mask.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      spread_row<T>(steps, row, row_of<const bool>(mask, row), tokens, row_of<T>(out, row));
    }
  });
  return out;
}

/// Each step's number at its last token, summed from behind: on the mask's device.
at::Tensor spread_by_operators(const Steps& steps, const at::Tensor& mask) {
  const at::Tensor at = steps.ends.clamp(0, mask.size(1) - 1).to(mask.device());
  const at::Tensor marks = at::zeros(mask.sizes(), mask.options().dtype(at::kDouble))
                               .scatter_add(1, at, steps.rewards.to(mask.device()));
  return marks.flip(-1).cumsum(-1).flip(-1).masked_fill(mask.logical_not(), 0);
}

}  // namespace

at::Tensor process_group_advantages(const ProcessGroupInputs& inputs, double epsilon,
                                    const ParallelCalls& parallel) {
  Steps steps(inputs);
  const auto rows = static_cast<std::size_t>(inputs.step_rewards.size(0));
  const at::Tensor mask = row_mask(inputs.mask, rows).contiguous();
  steps.check(mask.size(1));
  normalise(steps, Groups(inputs.group, {}, inputs.step_rewards.size(0)), epsilon);
  const at::ScalarType given = inputs.step_rewards.scalar_type();
  if (!mask.is_cpu()) return spread_by_operators(steps, mask).to(given);
  const at::Tensor out = given == at::kDouble ? spread<double>(steps, mask, parallel)
                                              : spread<float>(steps, mask, parallel);
  return out.to(given);
}

struct ProcessGroup final : Node {
  Input<StepRewards> step_rewards{
      this,
      "step_rewards",
      "one per step, with the steps' last tokens and group ids",
      {.needs = {{"group_size", {{"min", 2}}}, {"scale", {{"not", "normalised"}}}}}};
  Optional<Values> step_end{
      this, "step_end", "last token of each step, in place of the boundaries", {.dims = "N,S"}};
  Optional<Values> step_mask{
      this, "step_mask", "0 where there is no step; else ends below 0 are none", {.dims = "N,S"}};
  Input<Completions> completions{this, "completions", "whose action tokens get advantages"};
  Output<Advantages> advantages{
      this,
      "advantages",
      "sum of the steps that end at or after a token",
      {.dims = "N,T", .facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread", {.min = 0}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"process supervision", "process GRPO", "PRM", "step rewards"}};
  Doc doc{
      this,
      "z = (r - mean) / (sample spread + epsilon) over all step rewards of a group; A_t = sum of "
      "z over the steps that end at or after token t; [N,S] -> [N,T].\n"
      "With one step per completion this is group-relative advantage on every token."};

  void run(Step& step) const override {
    const StepRewards& r = step[step_rewards];
    const Completions& c = step[completions];
    require_same_rows("step_rewards", r.rewards.size(0), r.batch, "completions", c.rows(), c.batch);
    const Values* const ends = step[step_end];
    const Values* const there = step[step_mask];
    const at::Tensor& group = r.group.defined() ? r.group : c.group;
    Advantages out;
    out.advantages =
        process_group_advantages({r.rewards, ends != nullptr ? ends->values : r.boundaries,
                                  there != nullptr ? there->values : at::Tensor(), group, c.mask()},
                                 epsilon(), calls_of(step));
    out.group = group;
    out.batch = r.batch;
    step[advantages] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ProcessGroup, "Process-supervised group advantage", "arXiv:2402.03300")
