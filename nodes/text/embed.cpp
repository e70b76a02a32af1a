#include <fmt/format.h>

#include <array>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/sentence_encoder.h"

namespace rewardloom {

namespace {

enum class EmbeddedText { answer, prompt, reference, conversation };
constexpr auto choices(EmbeddedText) {
  return std::to_array<Choice<EmbeddedText>>({
      {EmbeddedText::answer, "answer", "of completions: the answer"},
      {EmbeddedText::prompt, "prompt", "the prompt"},
      {EmbeddedText::reference, "reference", "the reference answer"},
      {EmbeddedText::conversation, "conversation", "of completions: the prompt and the answer"},
  });
}

}  // namespace

struct TextEmbed final : Node {
  Reads<Encoder> encoder{this, "encoder", "what embeds"};
  Optional<Completions> completions{this, "completions", "one vector for each"};
  Optional<Prompts> prompts{this, "prompts", "instead: one vector for each prompt"};
  Output<Features> features{this, "features", "one vector per text"};
  Param<EmbeddedText> text{this, "text", EmbeddedText::answer, "which text of a completion"};
  Rule one{this,
           {{{"completions", {{"connected", false}}}},
            {{"prompts", {{"connected", true}}}},
            "there is no text to embed",
            "connect completions or prompts"}};
  Synonyms words{this, {"embedding", "sentence vectors", "semantic similarity", "features"}};
  Doc doc{this, "features [N,D]: the pooled hidden states of each text."};

  void run(Step& step) const override {
    const Completions* const c = step[completions];
    const std::vector<std::string> texts =
        c != nullptr ? texts_of(step, *c) : texts_of(step, *step[prompts]);
    const SentenceEncoder& model = step.read<SentenceEncoder>(encoder);
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 32;
    step[features] = Features{
        model.embed(texts, chunk,
                    [&](std::size_t count, const auto& call) { step.parallel(count, call); }),
        c != nullptr ? c->batch : step[prompts]->batch};
  }

 private:
  static std::vector<std::string> require(const Step& step, const std::vector<std::string>& texts,
                                          std::size_t rows, const char* what) {
    if (texts.size() != rows) {
      step.fail("no-text",
                fmt::format("there are {} rows, but {} {} texts", rows, texts.size(), what),
                "take rows that carry their texts");
    }
    return texts;
  }

  std::vector<std::string> texts_of(const Step& step, const Completions& c) const {
    const std::size_t rows = static_cast<std::size_t>(c.rows());
    switch (text()) {
      case EmbeddedText::prompt: return require(step, c.prompt_text, rows, "prompt");
      case EmbeddedText::reference: return require(step, c.reference, rows, "reference");
      case EmbeddedText::answer: return require(step, c.text, rows, "answer");
      case EmbeddedText::conversation: break;
    }
    std::vector<std::string> texts = require(step, c.prompt_text, rows, "prompt");
    const std::vector<std::string> answers = require(step, c.text, rows, "answer");
    for (std::size_t i = 0; i < rows; ++i) texts[i] += answers[i];
    return texts;
  }

  std::vector<std::string> texts_of(const Step& step, const Prompts& p) const {
    if (text() == EmbeddedText::reference) {
      return require(step, p.reference, p.text.size(), "reference");
    }
    return p.text;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextEmbed, "Text embeddings", "arXiv:1908.10084")
