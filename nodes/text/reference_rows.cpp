#include "nodes/text/reference_rows.h"

#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "nodes/text/ngrams.h"

namespace rewardloom {

namespace {

constexpr const char* question_place = "{question}";
constexpr const char* reference_place = "{reference}";
constexpr const char* completion_place = "{completion}";

void put(std::string& text, const std::string& place, const std::string& value) {
  text.replace(text.find(place), place.size(), value);
}

}  // namespace

void ReferenceTemplate::check() const {
  for (const std::string place : {question_place, reference_place, completion_place}) {
    const std::size_t at = text.find(place);
    if (at != std::string::npos && text.find(place, at + 1) == std::string::npos) continue;
    throw Failure("bad-template", fmt::format("the template does not hold {} once", place),
                  fmt::format("write it as in {}", official));
  }
  const std::size_t last = text.find(completion_place);
  if (text.find(question_place) > last || text.find(reference_place) > last) {
    throw Failure("bad-template", "the completion does not stand last in the template",
                  "put {question} and {reference} before {completion}");
  }
}

std::string ReferenceTemplate::prefix(const std::string& question,
                                      const std::string& reference) const {
  std::string out = text.substr(0, text.find(completion_place));
  const bool question_first = out.find(question_place) < out.find(reference_place);
  const std::string cut = head_and_tail(reference, limit.most, limit.head, limit.tail);
  // The later place first: what is put in may itself look like a place.
  if (question_first) put(out, reference_place, cut);
  put(out, question_place, question);
  if (!question_first) put(out, reference_place, cut);
  return out;
}

std::string ReferenceTemplate::answer(const std::string& completion) const {
  const std::size_t at = text.find(completion_place) + std::string(completion_place).size();
  return head_and_tail(completion, limit.most, limit.head, limit.tail) + text.substr(at);
}

namespace {

enum class RowEnd { always, finished };
constexpr auto choices(RowEnd) {
  return std::to_array<Choice<RowEnd>>({
      {RowEnd::always, "always", "behind every answer"},
      {RowEnd::finished, "finished", "only behind answers that ended by themselves"},
  });
}

/// Rows of `tokens` whose answer was cut lose the end token behind it.
void drop_ends(TokenRows& tokens, const at::Tensor& finished) {
  const at::Tensor whole = finished.to(at::kCPU, at::kBool).contiguous();
  constexpr auto padding = static_cast<std::int8_t>(TokenKind::padding);
  for (std::int64_t i = 0; i < tokens.rows(); ++i) {
    if (whole.data_ptr<bool>()[i]) continue;
    std::int8_t* const kinds = tokens.kinds.data_ptr<std::int8_t>() + i * tokens.width();
    std::int64_t last = tokens.width();
    while (last > 0 && kinds[last - 1] == padding) --last;
    if (last > 0) kinds[last - 1] = padding;
  }
}

}  // namespace

struct TextReferenceRows final : Node {
  Reads<RewardModel> reward_model{this, "reward_model", "whose tokenizer writes the rows"};
  Input<Completions> completions{this, "completions", "answers with their references"};
  Output<Completions> rows{this, "completions", "the same answers, as the reward model reads them"};
  Param<std::string> form{this, "template", ReferenceTemplate::official,
                          "text with {question}, {reference} and, last, {completion}"};
  Param<std::int64_t> max_chars{
      this, "max_chars", 1500, "longer answers are cut", {.min = 1, .unit = "characters"}};
  Param<std::int64_t> head{
      this, "head", 500, "kept from the start", {.min = 0, .unit = "characters"}};
  Param<std::int64_t> tail{
      this, "tail", 1000, "kept from the end", {.min = 0, .unit = "characters"}};
  Param<RowEnd> end{this, "end", RowEnd::always, "where the reward model's end token stands"};
  Synonyms words{this, {"Cooper", "VerifyRM", "verifier", "reference-based reward model"}};
  Doc doc{
      this,
      "[N,T] -> [N,T']: question, reference answer and completion in one text, tokens of the "
      "reward model's tokenizer, its end token behind (`end`); to be scored by reward.model or learned "
      "from by optimize.reward_model. What stands before the completion is the prompt. Rows "
      "whose prompt has no reference are refused."};

  void run(Step& step) const override {
    const ReferenceTemplate reads{form(), {max_chars(), head(), tail()}};
    reads.check();
    const Completions& c = step[completions];
    const LanguageModel& model = step.read<LanguageModel>(reward_model);
    const std::vector<std::string>& given = answers(c);
    const std::vector<std::string>& wanted = references(c);
    Completions out = c;
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (wanted[i].empty()) {
        step.fail("no-references", fmt::format("the prompt of row {} has no reference answer", i),
                  "give the prompts references: this reward model compares with them");
      }
      out.prompt_text[i] = reads.prefix(c.prompt_text[i], wanted[i]);
      out.text[i] = reads.answer(given[i]);
    }
    const auto ends = model.end_tokens();
    TokenRows tokens = text_rows(model.tokenizer(), out.prompt_text, out.text,
                                 model.padding_token(), ends.empty() ? -1 : ends.front());
    if (end() == RowEnd::finished && !ends.empty()) drop_ends(tokens, finished_of(step, c));
    const c10::Device device = c.tokens.device();
    out.tokens = tokens.tokens.to(device);
    out.kinds = tokens.kinds.to(device);
    out.log_probs = at::zeros(tokens.tokens.sizes(), at::dtype(at::kFloat).device(device));
    out.entropy = at::Tensor();
    step[rows] = std::move(out);
  }

 private:
  static const at::Tensor& finished_of(const Step& step, const Completions& c) {
    if (!c.finished.defined()) {
      step.fail("the completions do not say which answers ended by themselves",
                "connect those of a sampler, or set end to always");
    }
    return c.finished;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextReferenceRows, "Rows of a reference-based reward model", "arXiv:2508.05613")
