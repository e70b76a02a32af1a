#include "nodes/advantage/episodes.h"

#include <torch/types.h>

#include "nodes/reward/rows.h"

namespace rewardloom {

Episodes checked(const Episodes& episodes) {
  require_matrix("rewards", episodes.rewards);
  const at::IntArrayRef sizes = episodes.rewards.sizes();
  Episodes out = episodes;
  out.mask = checked_mask(episodes.mask, "rewards", sizes);
  require_sizes("done", episodes.done, "rewards", sizes);
  require_sizes("terminated", episodes.terminated, "rewards", sizes);
  const auto flags = [](const at::Tensor& x) { return x.to(at::kBool).contiguous(); };
  if (episodes.terminated.defined()) out.terminated = flags(episodes.terminated);
  if (episodes.done.defined()) out.done = flags(episodes.done);
  if (!out.terminated.defined()) out.terminated = out.done;
  out.done = out.done.defined() && out.terminated.defined() && !out.done.is_same(out.terminated)
                 ? out.done.logical_or(out.terminated)
                 : out.terminated;
  return out;
}

EpisodePorts::EpisodePorts(Node* node, const InputOptions& rewards)
    : rewards_(node, "rewards", "one reward per token", rewards),
      trajectories_(node, "trajectories", "instead: steps in environments, with their ends",
                    {.dims = "N,T"}),
      done_(node, "done", "not 0 where the episode ends after a step", {.dims = "N,T"}),
      terminated_(node, "terminated", "not 0 where it ends and no value follows", {.dims = "N,T"}),
      completions_(node, "completions", "the mask, where rewards carry none"),
      something_(node, {{{"rewards", {{"connected", false}}}},
                        {{"trajectories", {{"connected", true}}}},
                        "there are no rewards",
                        "connect rewards or trajectories"}) {}

EpisodePorts::Read EpisodePorts::operator()(const Step& step) const {
  const TokenRewards* const tokens = step[rewards_];
  const Trajectories* const steps = step[trajectories_];
  Read out;
  if (tokens != nullptr) {
    out.from = *tokens;
    if (const Completions* const c = step[completions_]) {
      require_same_rows("rewards", tokens->rewards.size(0), tokens->batch, "completions", c->rows(),
                        c->batch);
      if (!out.from.group.defined()) out.from.group = c->group;
    }
    out.episodes.rewards = tokens->rewards;
    out.episodes.mask = given_mask(tokens->mask, step[completions_]);
  } else if (steps != nullptr && steps->rewards.defined()) {
    out.from.batch = steps->batch;
    out.episodes.rewards = steps->rewards;
  } else {
    step.fail("missing-input", "there are no rewards", "connect rewards or trajectories");
  }
  if (steps != nullptr && steps->terminated.defined()) {
    out.episodes.terminated = steps->terminated;
    out.episodes.done = steps->truncated.defined() ? steps->terminated.logical_or(steps->truncated)
                                                   : steps->terminated;
  }
  if (const Values* const done = step[done_]) out.episodes.done = done->values;
  if (const Values* const ends = step[terminated_]) out.episodes.terminated = ends->values;
  return out;
}

}  // namespace rewardloom
