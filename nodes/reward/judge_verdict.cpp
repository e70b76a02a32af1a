#include "nodes/reward/judge_verdict.h"

#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {
constexpr std::string_view kFirst = "<answer>[[A]]</answer>", kSecond = "<answer>[[B]]</answer>";
}  // namespace

bool is_right_verdict(std::string_view text, std::string_view label, std::size_t tail) {
  const std::string_view end = tail_of(text, tail);
  const bool first = label == "model_a";
  return end.find(first ? kFirst : kSecond) != std::string_view::npos &&
         end.find(first ? kSecond : kFirst) == std::string_view::npos;
}

struct JudgeVerdict final : Node {
  Input<Completions> completions{this, "completions", "what the judge wrote"};
  Optional<TextRows> label{this, "label",
                           "model_a or model_b for each row; else the completions' references"};
  Output<Rewards> rewards{this, "rewards", "`right` or `wrong`"};
  Param<std::int64_t> tail{this,
                           "tail",
                           80,
                           "how much of the end is looked at",
                           {.min = static_cast<double>(kFirst.size()), .unit = "characters"}};
  Param<double> right{this, "right", 1.0, "reward of the right verdict"};
  Param<double> wrong{this, "wrong", -1.0, "reward of anything else"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RM-R1", "generative reward model", "LLM as judge"}};
  Doc doc{this,
          "rewards [N]: right if the tail holds the right one of <answer>[[A]]</answer> and "
          "<answer>[[B]]</answer>, and not both. A row with another label cannot be scored."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    const auto& labels = truths(c, step[label]);
    RowScores scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (labels[i] != "model_a" && labels[i] != "model_b") {
        scores.fail(step, i,
                    fmt::format("the label is \"{}\", but must be model_a or model_b", labels[i]));
        continue;
      }
      const bool is_right = is_right_verdict(texts[i], labels[i], static_cast<std::size_t>(tail()));
      scores.set(i, is_right ? right() : wrong());
    }
    step[rewards] = scored(step, c, scores.scores(), scores.absent());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(JudgeVerdict, "Judge verdict", "arXiv:2505.02387")
