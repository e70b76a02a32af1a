#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/image/class_scores.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct ImageClassReward final : Node {
  Reads<Encoder> encoder{this, "encoder", "the classifier"};
  Input<Images> images{this, "images", "with the classes that they should show"};
  Output<Rewards> rewards{this, "rewards", "what the classifier says of that class"};
  Output<Metrics> metrics{this, "metrics", "accuracy, confidence"};
  Param<ClassScore> read{this, "read", ClassScore::probability, "what is given"};
  Param<double> scale{this, "scale", 1.0, "factor of what is given"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"classifier", "CLIP score", "PickScore", "accuracy", "text alignment"}};
  Doc doc{this,
          "images [N,C,H,W] with labels [N] -> scale * score [N]. Metrics: accuracy (share of "
          "images whose likeliest class is theirs) and confidence (mean probability)."};

  void run(Step& step) const override {
    const EncoderNet& net = step.read<EncoderNet>(encoder);
    const Images& in = step[images];
    const at::Tensor& labels = require_labels(in.labels, in.images.size(0), net.shape.classes);
    const EncodedImages encoded = net.encode(in.images);
    const auto score = [&](ClassScore kind) {
      return class_scores(encoded, net.weights.at("classes.weight"), labels, kind);
    };
    Rewards rows;
    rows.total = scale() * score(read());
    rows.group = in.group;
    rows.batch = in.batch;
    step[rewards] = rescored(step, rows, rows.total);
    Metrics out;
    out.add("accuracy", score(ClassScore::correct).to(at::kDouble).mean().item<double>());
    out.add("confidence", score(ClassScore::probability).to(at::kDouble).mean().item<double>());
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageClassReward, "Classifier of images", "")
