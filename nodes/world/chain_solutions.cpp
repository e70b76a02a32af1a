#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/text/language_model.h"
#include "nodes/world/chains.h"

namespace rewardloom {

struct ChainSolutions final : Node {
  Reads<Policy> policy{this, "policy", "whose tokenizer writes the rows"};
  Input<Prompts> prompts{this, "prompts", "of world.chain_tasks"};
  Output<Completions> completions{this, "completions",
                                  "of each prompt: the right solution, then the wrong ones"};
  Param<std::int64_t> wrong{
      this, "wrong", 9, "wrong solutions to a prompt", {.min = 1, .max = 1000}};
  Param<StyleChoice> right_style{this, "right_style", StyleChoice::verbose,
                                 "how the right solution is written"};
  Param<StyleChoice> wrong_style{this, "wrong_style", StyleChoice::mixed,
                                 "how the wrong ones are written"};
  Synonyms words{this,
                 {"RewardMATH", "RewardBench", "one versus many", "best of n", "benchmark",
                  "step errors", "style bias"}};
  Doc doc{this,
          "Candidate solutions for a benchmark of reward models, [P*(1+wrong)] rows, a prompt's in "
          "one group, the right one first (as eval.one_vs_many reads them). A wrong one has a "
          "wrong step that is carried on, leaves a step out, or has right steps and another final "
          "number, equally likely. Draws come from (seed, node, iteration, prompt, solution)."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const Prompts& given = step[prompts];
    const auto questions = prompt_tokens(given, model.tokenizer());
    std::vector<std::int64_t> prompt_of_row;
    std::vector<GeneratedRow> rows;
    std::vector<std::string> texts;
    for (std::size_t p = 0; p < given.text.size(); ++p) {
      const ModularChain chain =
          ModularChain::from_json(p < given.fields.size() ? given.fields[p] : Json());
      for (std::int64_t k = 0; k <= wrong(); ++k) {
        Random random = step.random(p, static_cast<std::uint64_t>(k));
        const ChainStyle style = drawn_style(k == 0 ? right_style() : wrong_style(), random);
        const ChainMistake mistake = k == 0 ? ChainMistake::none : drawn_mistake(random);
        texts.push_back(chain_solution(chain, mistake, style, random));
        rows.push_back(as_row(model, given.text[p], texts.back()));
        prompt_of_row.push_back(static_cast<std::int64_t>(p));
      }
    }
    Completions out;
    lay_out(questions, prompt_of_row, rows, model.padding_token(), out);
    describe(given, prompt_of_row, std::move(texts), out);
    out.weight_version = model.weight_version();
    out.batch = step.new_batch();
    step[completions] = std::move(out);
  }

 private:
  static GeneratedRow as_row(const LanguageModel& model, const std::string& prompt,
                             const std::string& text) {
    GeneratedRow row;
    row.tokens = model.tokenizer().encode_answer(prompt, text);
    if (!model.end_tokens().empty()) row.tokens.push_back(model.end_tokens().front());
    row.log_probs.resize(row.tokens.size());
    row.entropy.resize(row.tokens.size());
    row.finished = true;
    return row;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ChainSolutions, "Right and wrong solutions to chains", "arXiv:2410.01729")
