#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/reference_rows.h"

namespace rewardloom {

struct TextReferencePrompt final : Node {
  Optional<Completions> completions{this, "completions",
                                    "answers with their prompts and references"};
  Optional<TextRows> question{this, "question", "instead: the questions"};
  Optional<TextRows> answer{this, "answer", "the reference answers"};
  Optional<TextRows> completion{this, "completion", "the answers to be scored"};
  Output<Prompts> text{this, "text", "what the reward model reads", {.dims = "N"}};
  Param<std::int64_t> max_chars{
      this, "max_chars", 1500, "longer answers are cut", {.min = 1, .unit = "characters"}};
  Param<std::int64_t> head{
      this, "head", 500, "kept from the start", {.min = 0, .unit = "characters"}};
  Param<std::int64_t> tail{
      this, "tail", 1000, "kept from the end", {.min = 0, .unit = "characters"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"Cooper", "VerifyRM", "verifier", "reference-based reward model"}};
  Doc doc{
      this,
      "<question>q</question>, <reference_answer>a</reference_answer>, "
      "<completion>y</completion>, a line each. An answer, or reference, of more than max_chars "
      "characters keeps its first `head` and last `tail`. One text per completion; [N]."};

  void run(Step& step) const override {
    const Completions* const c = step[completions];
    const auto& asked = rows(step[question], c == nullptr ? nullptr : &c->prompt_text, "question");
    const auto& wanted = rows(step[answer], c == nullptr ? nullptr : &c->reference, "answer");
    const auto& given = rows(step[completion], c == nullptr ? nullptr : &c->text, "completion");
    if (asked.size() != wanted.size() || asked.size() != given.size()) {
      throw Failure("bad-shape",
                    fmt::format("there are {} questions, {} answers and {} completions",
                                asked.size(), wanted.size(), given.size()),
                    "give one of each per row");
    }
    const ReferenceTemplate form{ReferenceTemplate::official, {max_chars(), head(), tail()}};
    Prompts out;
    out.batch = c == nullptr ? step.new_batch() : c->batch;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      out.id.push_back(fmt::format("{}", i));
      out.text.push_back(form.prefix(asked[i], wanted[i]) + form.answer(given[i]));
    }
    step[text] = std::move(out);
  }

 private:
  static const std::vector<std::string>& rows(const TextRows* own,
                                              const std::vector<std::string>* of_completions,
                                              const char* what) {
    if (own != nullptr) return own->texts;
    if (of_completions != nullptr) return *of_completions;
    throw Failure("no-text", fmt::format("there is no {}", what),
                  "connect completions, or question, answer and completion");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextReferencePrompt, "Prompt of a reference-based reward model", "arXiv:2508.05613")
