#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/image/encoder_net.h"

namespace rewardloom {

struct ImageEncoder final : Node {
  State<EncoderNet> weights{this, "weights"};
  Reads<Encoder> of{this, "of", "another encoder, which is copied when this first runs", true};
  Output<Encoder> encoder{this, "encoder", "classifier and features, to read and to train"};
  Param<std::string> model{
      this, "model", "", "safetensors file, or a folder with one; empty: random", {.path = true}};
  Param<std::int64_t> channels{this, "channels", 1, "of the images", {.min = 1}};
  Param<std::int64_t> height{
      this, "height", 8, "of the images, even", {.min = 2, .unit = "pixels"}};
  Param<std::int64_t> width{this, "width", 8, "of the images, even", {.min = 2, .unit = "pixels"}};
  Param<std::int64_t> classes{this, "classes", 10, "that it tells apart", {.min = 2}};
  Param<std::int64_t> filters{this, "filters", 16, "of the first convolution", {.min = 1}};
  Param<std::int64_t> features{this, "features", 64, "of images and patches", {.min = 1}};
  Synonyms words{this, {"DINO", "CLIP", "vision encoder", "classifier", "features"}};
  Doc doc{
      this,
      "A small convolutional classifier: 3x3 convolution, 2x2 patches of `features` numbers, a "
      "linear layer over all of them (the global feature), the classes. Random weights come "
      "from (seed, node, tensor, index); optimize.classifier trains it.\n"
      "Tensors of a `model` are those of torch.nn.Conv2d and Linear, with ReLU between: "
      "edges.weight [filters, C, 3, 3] (padding 1), patches.weight [features, filters, 2, 2] "
      "(stride 2), global.weight [features, features H/2 W/2] over the patches as [D, H/2, W/2], "
      "classes.weight [classes, features], and their biases."};

  void run(Step& step) const override {
    if (height() % 2 != 0 || width() % 2 != 0) {
      step.fail("param-range", "height and width must be even: patches are 2 x 2",
                "pad the images");
    }
    const auto state = step.shared(weights, [&] {
      if (step.connected(of)) return step.read<EncoderNet>(of).copy();
      auto out = std::make_shared<EncoderNet>();
      out->shape = {channels(), height(), width(), classes(), filters(), features()};
      out->weights = draw_encoder_weights(out->shape, step.random());
      if (!model().empty()) read_weights(out->weights, step.path(model()));
      return out;
    });
    step[encoder] = Encoder{{state}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageEncoder, "Image encoder", "")
