#include "engine/core/registry.h"
#include "nodes/code/fenced_blocks.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct CodeExtractProgram final : Node {
  Input<Completions> completions{this, "completions", "answers with fenced programs"};
  Output<TextRows> programs{this, "programs", "one program per row"};
  Output<Completions> out{this, "completions", "the same rows with the program as their text"};
  Param<std::string> language{this, "language", "python", "the word after the opening fence"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"code block", "markdown", "fence", "parse"}};
  Doc doc{
      this,
      "The last block fenced as `language` in each answer; later drafts replace earlier ones. An "
      "answer without a fence is taken to be the program itself. completions [N] -> programs "
      "[N]; what is between the fences is stripped of white space around it."};

  void run(Step& step) const override {
    Completions c = step[completions];
    TextRows texts;
    texts.batch = c.batch;
    for (const std::string& text : answers(c)) {
      texts.texts.push_back(extract_program(text, language()));
    }
    c.text = texts.texts;
    step[programs] = std::move(texts);
    step[out] = std::move(c);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeExtractProgram, "Program of a completion", "")
