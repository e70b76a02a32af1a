#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/image/flow_net.h"

namespace rewardloom {

struct ImageGenerator final : Node {
  State<FlowNet> weights{this, "weights"};
  Reads<Generator> of{
      this, "of", "another generator, which is copied when this first runs; else model or random",
      true};
  Output<Generator> generator{this, "generator", "the velocity field, to sample from and to train"};
  Param<std::string> model{
      this, "model", "", "safetensors file, or a folder with one; empty: random", {.path = true}};
  Param<std::int64_t> channels{this, "channels", 1, "of the images", {.min = 1}};
  Param<std::int64_t> height{this, "height", 8, "of the images", {.min = 1, .unit = "pixels"}};
  Param<std::int64_t> width{this, "width", 8, "of the images", {.min = 1, .unit = "pixels"}};
  Param<std::int64_t> classes{this, "classes", 10, "prompts are 0 to classes - 1", {.min = 1}};
  Param<std::int64_t> hidden{this, "hidden", 192, "width of the layers", {.min = 1}};
  Param<std::int64_t> blocks{this, "blocks", 3, "residual blocks", {.min = 1}};
  Param<bool> unconditional{this, "unconditional", false,
                            "also draws without a class, for classifier-free guidance"};
  Synonyms words{this, {"diffusion", "rectified flow", "text to image", "class-conditional"}};
  Doc doc{
      this,
      "A residual multilayer perceptron v(x, sigma, class) for rectified flow, x_sigma = (1 - "
      "sigma) x0 + sigma n, v = n - x0, of `blocks` blocks of 3 hidden^2 weights. Random weights "
      "come from (seed, node, tensor, index), and the field starts as 0: every start gives noise. "
      "With `unconditional` there is one more embedding, for no class (tensor class.none).\n"
      "Tensors of a `model` are those of torch.nn.Linear and Embedding: h0 = in(x), c = "
      "silu(sigma(sin and cos of sigma times 16 frequencies, exp of 0 to ln 100 in equal steps) + "
      "class(k)), then per block i h += blocks.i.down(gelu(blocks.i.up(norm(h)) + "
      "blocks.i.condition(c))) and v = out(norm(h)); norm is a layer norm without weights, gelu the "
      "exact one. So in.weight [hidden, C H W], sigma.weight [hidden, 32], class.weight [classes, "
      "hidden], blocks.0.up.weight [hidden, hidden], out.weight [C H W, hidden] and their biases."};

  void run(Step& step) const override {
    const auto state = step.shared(
        weights, [&] { return step.connected(of) ? step.read<FlowNet>(of).copy() : first(step); });
    step[generator] = Generator{{state}};
  }

 private:
  std::shared_ptr<FlowNet> first(const Step& step) const {
    auto out = std::make_shared<FlowNet>();
    out->shape = {channels(), height(), width(), classes(), hidden(), blocks(), unconditional()};
    out->weights = draw_flow_weights(out->shape, step.random());
    if (model().empty()) return out;
    read_weights(out->weights, step.path(model()));
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageGenerator, "Image generator (rectified flow)", "arXiv:2209.03003")
