#include <array>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/sentence_encoder.h"

namespace rewardloom {

namespace {

enum class PoolingChoice { folder, mean, cls, max };
constexpr auto choices(PoolingChoice) {
  return std::to_array<Choice<PoolingChoice>>({
      {PoolingChoice::folder, "folder", "as the folder's modules.json says, else the mean"},
      {PoolingChoice::mean, "mean", "of the hidden states of all tokens that are no padding"},
      {PoolingChoice::cls, "cls", "the hidden state of the first token"},
      {PoolingChoice::max, "max", "in each dimension, over all tokens that are no padding"},
  });
}

}  // namespace

struct TextEncoder final : Node {
  State<SentenceEncoder> weights{this, "weights"};
  Output<Encoder> encoder{this, "encoder", "a frozen network that turns texts into vectors"};
  Param<std::string> model{this,
                           "model",
                           required,
                           "Hugging Face folder of a BertModel, e.g. all-MiniLM-L6-v2",
                           {.path = true}};
  Param<PoolingChoice> pooling{this, "pooling", PoolingChoice::folder, "from tokens to one vector"};
  Param<std::optional<bool>> normalise{this, "normalise", std::nullopt,
                                       "vectors of length 1; null: as the folder says"};
  Param<std::int64_t> max_tokens{this,
                                 "max_tokens",
                                 0,
                                 "longer texts are cut; 0: as the folder says",
                                 {.min = 0, .unit = "tokens"}};
  Synonyms words{this, {"sentence embedding", "sentence-transformers", "BERT", "MiniLM", "SBERT"}};
  Doc doc{this,
          "A BERT encoder as sentence-transformers lays it out: config.json, model.safetensors, "
          "tokenizer.json, and modules.json with the pooling and "
          "whether vectors are normalised."};

  void run(Step& step) const override {
    const auto state = step.shared(weights, [&] {
      auto made = SentenceEncoder::load(step.path(model()));
      made->set_options(options(step, *made));
      made->to(step.device());
      return made;
    });
    step[encoder] = Encoder{{state}};
  }

 private:
  EmbeddingOptions options(const Step& step, const SentenceEncoder& made) const {
    EmbeddingOptions o = made.options();
    switch (pooling()) {
      case PoolingChoice::mean: o.pooling = Pooling::mean; break;
      case PoolingChoice::cls: o.pooling = Pooling::cls; break;
      case PoolingChoice::max: o.pooling = Pooling::max; break;
      case PoolingChoice::folder: break;
    }
    if (normalise()) o.normalise = *normalise();
    if (max_tokens() == 0) return o;
    if (max_tokens() < 3 || max_tokens() > made.config().max_positions) {
      step.fail("context-length",
                "max_tokens is " + std::to_string(max_tokens()) + ", the encoder reads 3 to " +
                    std::to_string(made.config().max_positions) + " tokens",
                "two of them are [CLS] and [SEP]");
    }
    o.max_tokens = max_tokens();
    return o;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextEncoder, "Sentence encoder", "arXiv:1908.10084")
