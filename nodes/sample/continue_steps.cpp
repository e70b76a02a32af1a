#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/sample/generation.h"
#include "nodes/text/language_model.h"
#include "nodes/text/step_boundaries.h"

namespace rewardloom {

namespace {

/// The beginnings of answers, each up to the state in which a step is judged.
struct Prefixes {
  std::vector<std::vector<std::int64_t>> tokens;  ///< prompt and beginning
  std::vector<std::vector<std::int64_t>> answer;  ///< the beginning alone
  std::vector<std::int64_t> row;                  ///< of the completions
};

Prefixes prefixes_of(const Completions& c, const at::Tensor& end) {
  const at::Tensor state = step_states(end, c.mask().to(end.device())).contiguous();
  const at::Tensor tokens = c.tokens.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor kinds = c.kinds.to(at::kCPU).contiguous();
  Prefixes out;
  for (std::int64_t i = 0; i < state.size(0); ++i) {
    for (std::int64_t s = 0; s < state.size(1); ++s) {
      const std::int64_t until = state.data_ptr<std::int64_t>()[i * state.size(1) + s];
      if (until < 0) continue;
      out.row.push_back(i);
      out.tokens.emplace_back();
      out.answer.emplace_back();
      for (std::int64_t t = 0; t < until; ++t) {
        const auto kind =
            static_cast<TokenKind>(kinds.data_ptr<std::int8_t>()[i * kinds.size(1) + t]);
        if (kind == TokenKind::padding) continue;
        const std::int64_t token = tokens.data_ptr<std::int64_t>()[i * tokens.size(1) + t];
        out.tokens.back().push_back(token);
        if (kind != TokenKind::prompt) out.answer.back().push_back(token);
      }
    }
  }
  return out;
}

}  // namespace

struct ContinueSteps final : Node {
  Reads<Policy> policy{this, "policy", "the model that completes the answers"};
  Input<Completions> completions{this, "completions", "answers, as far as each of their steps"};
  Input<Values> step_end{this, "step_end", "column of each step's last token", {.dims = "N,S"}};
  Output<Completions> out{this,
                          "completions",
                          "n_completions whole answers per step",
                          {.facts = {{"group_size", "$n_completions"}}}};
  Param<std::int64_t> n_completions{this, "n_completions", 8, "per step", {.min = 1}};
  Param<std::int64_t> max_tokens{
      this, "max_tokens", 64, "longest continuation", {.min = 1, .unit = "tokens"}};
  Param<double> temperature{
      this, "temperature", 1.0, "divides the logits; 0 is greedy", {.min = 0}};
  Synonyms words{this, {"Monte Carlo", "Math-Shepherd", "rollout", "completer", "PRM labels"}};
  Doc doc{this,
          "Each answer is cut behind each of its steps (the last step: before its last token) and "
          "completed anew. Texts are whole answers, beginning included, so that any reward of "
          "answers grades them; group = number of the step, counted row by row."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const Completions& c = step[completions];
    const Prefixes prefixes = prefixes_of(c, step[step_end].values.to(at::kCPU, at::kLong));
    std::vector<std::int64_t> prefix_of_row;
    for (std::size_t p = 0; p < prefixes.row.size(); ++p) {
      prefix_of_row.insert(prefix_of_row.end(), n_completions(), static_cast<std::int64_t>(p));
    }
    GenerationOptions options;
    options.sampling = {temperature(), 0, 1.0};
    options.max_tokens = max_tokens();
    options.stop_tokens = model.end_tokens();
    if (step.micro_batch() > 0) options.batch_rows = step.micro_batch();
    const auto rows =
        generate(model.decoder(), prefixes.tokens, prefix_of_row, options, step.random(),
                 [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    Completions whole;
    lay_out(prefixes.tokens, prefix_of_row, rows, model.padding_token(), whole);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::vector<std::int64_t> ids = prefixes.answer[static_cast<std::size_t>(prefix_of_row[i])];
      ids.insert(ids.end(), rows[i].tokens.begin(), rows[i].tokens.end());
      texts.push_back(model.tokenizer().decode(ids));
    }
    describe(sources(c, prefixes), prefix_of_row, std::move(texts), whole);
    whole.temperature = temperature();
    whole.weight_version = model.weight_version();
    whole.batch = step.new_batch();
    report_lengths(step, rows);
    step[out] = std::move(whole);
  }

 private:
  /// What the rows that were cut say of their prompts, once per prefix.
  static Prompts sources(const Completions& c, const Prefixes& prefixes) {
    Prompts given;
    for (const std::int64_t row : prefixes.row) {
      const auto i = static_cast<std::size_t>(row);
      if (!c.prompt_text.empty()) given.text.push_back(c.prompt_text[i]);
      if (!c.reference.empty()) given.reference.push_back(c.reference[i]);
      if (!c.fields.empty()) given.fields.push_back(c.fields[i]);
    }
    return given;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ContinueSteps, "Continue from each step", "arXiv:2312.08935")
