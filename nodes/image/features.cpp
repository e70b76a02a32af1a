#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/image/encoder_net.h"

namespace rewardloom {

struct ImageFeatures final : Node {
  Reads<Encoder> encoder{this, "encoder", "what reads the images"};
  Input<Images> images{this, "images", "from -1 to 1"};
  Output<Features> global_features{this, "global_features", "one vector per image"};
  Output<Latents> patch_features{this, "patch_features", "one vector per patch", {.dims = "N,P,D"}};
  Synonyms words{this, {"embedding", "DINO", "CLIP", "patch tokens"}};
  Doc doc{this, "images [N,C,H,W] -> global [N,D] and patches [N,P,D], without gradients."};

  void run(Step& step) const override {
    const Images& in = step[images];
    const EncodedImages out = step.read<EncoderNet>(encoder).encode(in.images);
    step[global_features] = Features{out.global, in.batch};
    step[patch_features] = Latents{out.patches, in.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageFeatures, "Features of images", "")
