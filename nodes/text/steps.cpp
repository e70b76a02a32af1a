#include <fmt/format.h>
#include <torch/types.h>

#include <map>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/reward/pattern.h"
#include "nodes/text/language_model.h"
#include "nodes/text/step_boundaries.h"

namespace rewardloom {

namespace {

enum class StepDelimiter { newline, token, regex };
constexpr auto choices(StepDelimiter) {
  return std::to_array<Choice<StepDelimiter>>({
      {StepDelimiter::newline, "newline", "a token that holds a line break"},
      {StepDelimiter::token, "token", "the token token_id"},
      {StepDelimiter::regex, "regex", "the token with which a match of pattern ends"},
  });
}

/// The text of each token, decoded once.
class TokenTexts {
 public:
  explicit TokenTexts(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  const std::string& operator()(std::int64_t id) {
    const auto [at, fresh] = texts_.try_emplace(id);
    if (fresh) at->second = tokenizer_.decode({id});
    return at->second;
  }

 private:
  const Tokenizer& tokenizer_;
  std::map<std::int64_t, std::string> texts_;
};

}  // namespace

struct TextSteps final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Reads<Policy> policy{this, "policy", "whose tokenizer says what the tokens read", true};
  Output<Values> step_end{
      this, "step_end", "column of each step's last token, -1: no step", {.dims = "N,S"}};
  Output<Values> step_index{
      this, "step_index", "which step each token is in, -1: none", {.dims = "N,T"}};
  Param<StepDelimiter> delimiter{this, "delimiter", StepDelimiter::newline, "what ends a step"};
  Param<std::optional<std::int64_t>> token_id{
      this, "token_id", std::nullopt, "token: which one", {.min = 0}};
  Param<std::string> pattern{this, "pattern", "", "regex: a Perl-compatible regular expression"};
  Param<std::int64_t> min_tokens{this,
                                 "min_tokens",
                                 1,
                                 "a shorter step joins the next; at the end the one before",
                                 {.min = 1, .unit = "tokens"}};
  Param<double> most_without{this,
                             "most_without",
                             0.5,
                             "a larger share of answers in which nothing ends a step is an error",
                             {.min = 0, .max = 1}};
  Rule id{this,
          {{{"delimiter", "token"}},
           {{"token_id", {{"set", true}}}},
           "nothing says which token ends a step",
           "set token_id"}};
  Rule read{this,
            {{{"delimiter", {"newline", "regex"}}},
             {{"policy", {{"connected", true}}}},
             "what a token reads is known to a tokenizer alone",
             "connect policy, or set delimiter to token"}};
  Synonyms words{this, {"step splitter", "PRM", "process reward", "segment", "chain of thought"}};
  Doc doc{this,
          "The end token belongs to the last step. A pattern is matched against the texts of the "
          "tokens put together; special tokens have none. An answer in which nothing ends a step "
          "is one step: metric without_boundary counts these. Metric steps: mean steps of an "
          "answer."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const at::Tensor mask = c.mask().to(at::kCPU).contiguous();
    const StepBoundaries found = step_boundaries(mask, delimiters(step, c, mask), min_tokens());
    const auto rows = static_cast<double>(std::max<std::int64_t>(1, c.rows()));
    step.metric("without_boundary", static_cast<double>(found.without));
    step.metric("steps", found.end.ge(0).sum().to(at::kDouble).item<double>() / rows);
    if (static_cast<double>(found.without) > most_without() * rows) {
      step.fail("no-step-boundary",
                fmt::format("in {} of {} answers nothing ends a step", found.without, c.rows()),
                "choose another delimiter, or raise most_without");
    }
    step[step_end] = Values{found.end.to(c.tokens.device()), c.batch};
    step[step_index] = Values{found.index.to(c.tokens.device()), c.batch};
  }

 private:
  at::Tensor delimiters(const Step& step, const Completions& c, const at::Tensor& mask) const {
    const at::Tensor tokens = c.tokens.to(at::kCPU, at::kLong).contiguous();
    if (delimiter() == StepDelimiter::token) {
      if (!token_id()) step.fail("nothing says which token ends a step", "set token_id");
      return tokens.eq(*token_id());
    }
    if (!step.connected(policy)) {
      step.fail("what a token reads is known to a tokenizer alone",
                "connect policy, or set delimiter to token");
    }
    TokenTexts texts(step.read<LanguageModel>(policy).tokenizer());
    return delimiter() == StepDelimiter::newline ? line_breaks(tokens, mask, texts)
                                                 : matches_end(tokens, mask, texts);
  }

  static at::Tensor line_breaks(const at::Tensor& tokens, const at::Tensor& mask,
                                TokenTexts& texts) {
    at::Tensor out = at::zeros(tokens.sizes(), at::kBool);
    for (std::int64_t k = 0; k < tokens.numel(); ++k) {
      if (!mask.data_ptr<bool>()[k]) continue;
      const std::string& text = texts(tokens.data_ptr<std::int64_t>()[k]);
      out.data_ptr<bool>()[k] = text.find('\n') != std::string::npos;
    }
    return out;
  }

  at::Tensor matches_end(const at::Tensor& tokens, const at::Tensor& mask,
                         TokenTexts& texts) const {
    const Pattern compiled(pattern());
    at::Tensor out = at::zeros(tokens.sizes(), at::kBool);
    const std::int64_t width = tokens.size(1);
    for (std::int64_t i = 0; i < tokens.size(0); ++i) {
      std::string text;
      std::vector<std::int64_t> column;  // of the token that each byte belongs to
      for (std::int64_t t = 0; t < width; ++t) {
        if (!mask.data_ptr<bool>()[i * width + t]) continue;
        text += texts(tokens.data_ptr<std::int64_t>()[i * width + t]);
        column.resize(text.size(), t);
      }
      for (const std::size_t last : match_ends(compiled, text)) {
        out.data_ptr<bool>()[i * width + column[last]] = true;
      }
    }
    return out;
  }

  /// The last byte of each match; empty matches end nothing.
  static std::vector<std::size_t> match_ends(const Pattern& pattern, std::string_view text) {
    std::vector<std::size_t> out;
    for (std::size_t from = 0; from < text.size();) {
      std::optional<PatternMatch> match;
      try {
        match = pattern.search(text, from);
      } catch (const PatternLimit& limit) {
        throw Failure("pattern-limit",
                      fmt::format("the pattern needs more than {} steps", limit.steps),
                      "use a pattern that backtracks less");
      }
      if (!match) break;
      if (match->end > match->begin) out.push_back(match->end - 1);
      from = std::max(match->end, from + 1);
    }
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextSteps, "Steps of answers", "arXiv:2410.15115")
