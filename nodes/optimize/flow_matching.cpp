#include "nodes/optimize/flow_matching.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/optimize/optimizer_params.h"

namespace rewardloom {

at::Tensor FlowMatching::loss(const TensorMap& weights, const NetworkBatch& batch,
                              Gathered&) const {
  const auto of = [&](const at::Tensor& all) { return all.index_select(0, batch.rows); };
  const at::Tensor v = flow_velocity(weights, shape_, of(pair_.sample), of(sigma_), of(labels_));
  return (v - of(pair_.velocity)).square().flatten(1).mean(-1).sum() / batch.total;
}

struct OptimizeFlowMatching final : Node {
  State<AdamW> adam{this, "adam"};
  Writes<Generator> generator{this, "generator", "the velocity field to train"};
  Input<Images> images{this, "images", "with their classes"};
  Output<Generator> trained{
      this, "generator", "the same after the update", {.same_as = "generator"}};
  Param<double> label_dropout{
      this,
      "label_dropout",
      0.0,
      "share of rows that are shown without their class, for classifier-free "
      "guidance",
      {.min = 0, .max = 1}};
  OptimizerParams optimizer{this, 1e-3};
  Rule end{this, OptimizerParams::needs_end()};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"rectified flow", "diffusion training", "SFT", "pre-training"}};
  Doc doc{
      this,
      "Mean of (v(x_sigma, sigma, class) - (n - x0))^2 with one sigma, uniform in 0 to 1, and "
      "one noise n per row, drawn from (seed, node, iteration, row). With label_dropout a share of "
      "the rows trains v(x) without a class. Metrics: loss, grad_norm."};

  void run(Step& step) const override {
    FlowNet& net = step.write<FlowNet>(generator);
    const Images& in = step[images];
    require_image_shape(in.images, net.shape.chw(), "the generator");
    const at::Tensor labels = shown_labels(
        step, require_labels(in.labels, in.images.size(0), net.shape.classes), net.shape);
    at::Tensor sigma = at::empty({labels.size(0)}, at::kFloat);
    for (std::int64_t row = 0; row < labels.size(0); ++row) {
      Random random = step.random(static_cast<std::uint64_t>(row), 1);
      sigma.data_ptr<float>()[row] = static_cast<float>(random.uniform());
    }
    const FlowMatching objective(
        net.shape, net.like_weights(in.images), labels,
        net.like_weights(row_normals(in.images.sizes().vec(), step.random(), 0)),
        net.like_weights(sigma));
    UpdateOptions options = optimizer(step);
    options.micro_batch = step.micro_batch() > 0 ? step.micro_batch() : 128;
    const DescentReport report = descend_network(step, net, step[adam], objective, options);
    report_network(step, "", report, objective.rows() * options.epochs);
    step[trained] = step.pass(generator);
  }

 private:
  /// The labels, a share of them replaced by that of no class.
  at::Tensor shown_labels(const Step& step, const at::Tensor& labels,
                          const FlowNetShape& shape) const {
    if (label_dropout() == 0) return labels;
    require_unconditional(shape, "label_dropout");
    at::Tensor out = labels.to(at::kCPU).clone();
    for (std::int64_t row = 0; row < out.size(0); ++row) {
      Random random = step.random(static_cast<std::uint64_t>(row), 2);
      if (random.uniform() < label_dropout()) out.data_ptr<std::int64_t>()[row] = shape.classes;
    }
    return out.to(labels.device());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeFlowMatching, "Flow matching", "arXiv:2210.02747")
