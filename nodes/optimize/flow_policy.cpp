#include "nodes/optimize/flow_policy.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/reward/rows.h"
#include "nodes/sample/flow_params.h"

namespace rewardloom {

FlowPolicyObjective::FlowPolicyObjective(const FlowNetShape& shape, FlowPolicyRows rows,
                                         std::vector<UpdateTerm> terms,
                                         const FlowStepOptions& options, const FlowNet* reference,
                                         double kl, MeanPenalty penalty, double guidance)
    : shape_(shape),
      rows_(std::move(rows)),
      terms_(std::move(terms)),
      options_(options),
      reference_(reference),
      kl_(kl),
      penalty_(penalty),
      guidance_(guidance) {}

at::Tensor FlowPolicyObjective::penalty_of(const FlowStep& now, const FlowStep& then) const {
  const at::Tensor squared = (now.mean - then.mean).square().flatten(1).mean(-1);
  return penalty_ == MeanPenalty::squared ? squared : squared / (2 * now.scale.square());
}

at::Tensor FlowPolicyObjective::loss(const TensorMap& weights, const NetworkBatch& batch,
                                     Gathered& into) const {
  const auto of = [&](const at::Tensor& all) { return all.index_select(0, batch.rows); };
  const std::int64_t count = batch.rows.size(0), steps = rows_.before.size(1);
  const at::Tensor x = of(rows_.before).flatten(0, 1), next = of(rows_.after).flatten(0, 1);
  const at::Tensor labels = of(rows_.labels).repeat_interleave(steps);
  const at::Tensor index = at::arange(steps, at::TensorOptions().dtype(at::kLong)).repeat({count});
  const at::Tensor sigma = rows_.sigmas.index_select(0, index).to(x.options());
  const auto step_by = [&](const TensorMap& w) {
    return flow_step_at(x, guided_velocity(w, shape_, x, sigma, labels, guidance_), rows_.sigmas,
                        index, options_);
  };
  const FlowStep now = step_by(weights);
  LossBatch losses;
  const at::Tensor log_probs = flow_log_prob(now, next, options_.log_prob).view({count, steps});
  const at::Tensor old = of(rows_.old_log_probs);
  losses.set("log_probs", log_probs);
  losses.set("old_log_probs", old);
  losses.set("advantages", of(rows_.advantages).to(log_probs.scalar_type()));
  losses.set("mask", at::ones({count, steps}, at::kBool));
  losses.total_sequences = batch.total;
  losses.total_tokens = batch.total * static_cast<double>(steps);
  at::Tensor total = evaluate_terms(terms_, losses, batch.rows, into);
  const at::Tensor moved = (log_probs.detach() - old).to(at::kDouble);
  into.sums["mean:log_ratio"] += moved.mean(-1).sum().item<double>();
  if (batch.first) into.raise("mismatch", moved.abs().max().item<double>());
  if (reference_ == nullptr) return total;
  FlowStep then;
  {
    const c10::AutoGradMode without_gradients(false);
    then = step_by(reference_->weights);
  }
  const at::Tensor penalty = penalty_of(now, then);
  into.sums["mean:kl"] +=
      penalty.detach().to(at::kDouble).sum().item<double>() / static_cast<double>(steps);
  return total + kl_ * penalty.sum() / (batch.total * static_cast<double>(steps));
}

struct OptimizeFlowPolicy final : Node {
  State<AdamW> adam{this, "adam"};
  Writes<Generator> generator{this, "generator", "the velocity field to train"};
  Input<Images> images{this, "images", "what it drew: their classes"};
  Input<Trajectories> trajectories{this,
                                   "trajectories",
                                   "the stochastic steps",
                                   {.needs = {{"stochastic_steps", {{"min", 1}}}}}};
  Input<LogProbs> log_probs{this, "log_probs", "of those steps, when they were drawn"};
  Input<Advantages> advantages{this, "advantages", "one per image"};
  Reads<Generator> reference{this, "reference", "what its means are held to", true};
  Optional<Scalar> turn{this, "turn", "0: nothing is trained in this iteration"};
  Inputs<LossTerm> terms{this, "terms", "the losses on the steps, summed"};
  Output<Generator> trained{
      this, "generator", "the same after the update", {.same_as = "generator"}};
  OptimizerParams optimizer{this, 3e-4};
  FlowParams flow{this};
  Param<double> kl{this, "kl", 0.0, "factor of the penalty against the reference", {.min = 0}};
  Param<MeanPenalty> penalty{this, "penalty", MeanPenalty::squared, "what the penalty is"};
  Rule end{this, OptimizerParams::needs_end()};
  Rule level{this, FlowParams::cps_level()};
  Rule anchored{this,
                {{{"kl", {{"min", 1e-300}}}},
                 {{"reference", {{"connected", true}}}},
                 "a penalty needs a reference",
                 "connect reference, or set kl to 0"}};
  Supplies supplied{this, {"log_probs", "old_log_probs", "advantages", "mask"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"Flow-GRPO", "DDPO", "DPOK", "diffusion RL", "policy gradient"}};
  Doc doc{
      this,
      "The stochastic steps of a trajectory are the tokens of the losses (loss.policy_clip: "
      "Flow-GRPO; loss.policy_gradient: DDPO): log_probs [N,S] of the stored next samples under the "
      "current field, old_log_probs those of sampling. Plus kl * mean |mean - mean of the "
      "reference|^2. The clip range belongs to the log-probs: 1e-3 to 0.2 with gaussian, 1e-5 with "
      "no_constants. In the first optimizer step both must agree if the weights have not changed "
      "since: else steps, kind, noise_level, log_prob or guidance differ, and the run ends."};

  void run(Step& step) const override {
    FlowNet& net = step.write<FlowNet>(generator);
    if (has_turn(step, turn)) train(step, net);
    step[trained] = step.pass(generator);
  }

 private:
  void train(Step& step, FlowNet& net) const {
    const bool fresh = step[log_probs].weight_version == net.weight_version();
    const FlowPolicyObjective objective(
        net.shape, rows_of(step, net), update_terms(step[terms]), flow.step_options(),
        kl() > 0 && step.connected(reference) ? &step.read<FlowNet>(reference) : nullptr, kl(),
        penalty(), flow.guidance());
    UpdateOptions options = optimizer(step);
    options.micro_batch = step.micro_batch() > 0 ? step.micro_batch() : 64;
    const DescentReport report = descend_network(step, net, step[adam], objective, options);
    const double mismatch = report.largest.at("mismatch");
    if (fresh && mismatch > 1e-2) {
      step.fail("other-step",
                fmt::format("the same weights give log-probs that differ by {:.3g} from those of "
                            "sampling",
                            mismatch),
                "set steps, kind, noise_level, log_prob and guidance as in sample.flow");
    }
    if (fresh) step.metric("mismatch", mismatch);
    report_network(step, "", report, objective.rows() * options.epochs);
  }

  FlowPolicyRows rows_of(const Step& step, const FlowNet& net) const {
    const Trajectories& t = step[trajectories];
    const Images& in = step[images];
    const Advantages& a = step[advantages];
    const LogProbs& old = step[log_probs];
    if (!t.observations.defined() || t.observations.dim() != 5 || t.observations.size(1) == 0) {
      step.fail("no-trainable-step", "there is no trainable step: log-probs are constant",
                "set stochastic_steps of sample.flow to at least 1");
    }
    const std::int64_t rows = t.observations.size(0);
    if (t.observations.size(1) > flow.steps() || t.actions.sizes() != t.observations.sizes() ||
        old.log_probs.sizes() != t.observations.sizes().slice(0, 2)) {
      step.fail("bad-shape",
                c10::str("trajectories are ", t.observations.sizes(), " and ", t.actions.sizes(),
                         ", log_probs ", old.log_probs.sizes(), ", steps ", flow.steps()),
                "connect the outputs of one sample.flow, and set steps as there");
    }
    require_image_shape(t.observations.flatten(0, 1), net.shape.chw(), "the generator");
    require_same_rows("trajectories", rows, t.batch, "images", in.images.size(0), in.batch);
    require_same_rows("trajectories", rows, t.batch, "advantages", a.advantages.size(0), a.batch);
    return {net.like_weights(t.observations),
            net.like_weights(t.actions),
            require_labels(in.labels, rows, net.shape.classes),
            net.like_weights(old.log_probs),
            a.advantages,
            flow_sigmas(flow.steps())};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeFlowPolicy, "Policy update of a flow (Flow-GRPO)", "arXiv:2505.05470")
