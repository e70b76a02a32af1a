#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/sample/generation.h"
#include "nodes/text/language_model.h"
#include "nodes/text/loaded_tokenizer.h"

namespace rewardloom {

struct Generate final : Node {
  Reads<Policy> policy{this, "policy", "the model that writes"};
  Input<Prompts> prompts{this, "prompts", "what it answers"};
  Output<Completions> completions{this,
                                  "completions",
                                  "group_size answers to each prompt",
                                  {.facts = {{"group_size", "$group_size"}}}};
  Param<std::int64_t> group_size{this, "group_size", 1, "answers per prompt", {.min = 1}};
  Param<std::int64_t> max_tokens{
      this, "max_tokens", 64, "longest answer", {.min = 1, .unit = "tokens"}};
  Param<double> temperature{
      this, "temperature", 1.0, "divides the logits; 0 is greedy", {.min = 0}};
  Param<std::int64_t> top_k{this, "top_k", 0, "keeps the most likely tokens; 0: all", {.min = 0}};
  Param<double> top_p{this,
                      "top_p",
                      1.0,
                      "keeps the fewest tokens of this mass; 1: all",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<std::vector<std::string>> stop{this, "stop", std::vector<std::string>{},
                                       "texts that end an answer, besides the end token"};
  Synonyms words{this, {"rollout", "sampling", "generation", "decode", "actor rollout"}};
  Doc doc{
      this,
      "Row i * group_size + g answers prompt i; its group is i. Token t of a row is drawn with the "
      "uniform number of (seed, node, iteration, row, t) by the inverse distribution function, so "
      "that no row depends on another, on the batch or on the number of threads. log_probs are "
      "those "
      "of the distribution that was sampled: tempered, cut by top_k and top_p, renormalised "
      "(greedy: "
      "at temperature 1). The end token belongs to the answer. Prompts without tokens are encoded "
      "by the model's tokenizer."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const Prompts& given = step[prompts];
    const auto tokens = prompt_tokens(given, model.tokenizer());
    alarm_double_begin(step, model.tokenizer(), tokens);
    std::vector<std::int64_t> prompt_of_row;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      prompt_of_row.insert(prompt_of_row.end(), group_size(), static_cast<std::int64_t>(i));
    }
    const auto rows =
        generate(model.decoder(), tokens, prompt_of_row, options(step, model), step.random(),
                 [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    Completions out;
    lay_out(tokens, prompt_of_row, rows, model.padding_token(), out);
    std::vector<std::string> texts;
    for (const GeneratedRow& row : rows) {
      texts.push_back(cut_at(model.tokenizer().decode(row.tokens), stop()));
    }
    describe(given, prompt_of_row, std::move(texts), out);
    out.temperature = temperature();
    out.weight_version = model.weight_version();
    out.batch = step.new_batch();
    report(step, rows);
    step[completions] = std::move(out);
  }

 private:
  GenerationOptions options(const Step& step, const LanguageModel& model) const {
    GenerationOptions o;
    o.sampling = {temperature(), top_k(), top_p()};
    o.max_tokens = max_tokens();
    o.stop_tokens = model.end_tokens();
    if (step.micro_batch() > 0) o.chunk_rows = step.micro_batch();
    if (stop().empty()) return o;
    const Tokenizer& tokenizer = model.tokenizer();
    o.stops = [this, &tokenizer](const std::vector<std::int64_t>& written) {
      const std::string text = tokenizer.decode(written);
      return std::any_of(stop().begin(), stop().end(),
                         [&](const std::string& s) { return text.find(s) != std::string::npos; });
    };
    return o;
  }

  static void report(Step& step, const std::vector<GeneratedRow>& rows) {
    if (rows.empty()) return;
    double total = 0, entropy = 0;
    for (const GeneratedRow& row : rows) {
      total += static_cast<double>(row.tokens.size());
      for (const float h : row.entropy) entropy += h;
    }
    report_lengths(step, rows);
    step.metric("entropy", entropy / std::max(total, 1.0));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Generate, "Sample answers", "")
