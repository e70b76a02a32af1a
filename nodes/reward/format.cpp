#include "nodes/reward/format.h"

#include <initializer_list>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";
constexpr std::string_view kAnswer = "<answer>", kAnswerEnd = "</answer>";

bool each_once_in_order(std::string_view text, std::initializer_list<std::string_view> tags) {
  std::size_t from = 0;
  for (const std::string_view tag : tags) {
    if (occurrences(text, tag) != 1) return false;
    const std::size_t at = text.find(tag, from);
    if (at == std::string_view::npos) return false;
    from = at + tag.size();
  }
  return true;
}

/// A line break at the very end is no text around the blocks: `$` allows it.
bool is_strict(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (!text.starts_with(kThink) || !text.ends_with(kAnswerEnd)) return false;
  if (occurrences(text, kThink) != 1 || occurrences(text, kAnswer) != 1) return false;
  const std::size_t answer = text.find(kAnswer);
  const std::string_view before = text.substr(0, answer);
  return before.size() >= kThink.size() + kThinkEnd.size() && before.ends_with(kThinkEnd);
}

/// The shortest block that is not blank: <reasoning> up to an end tag with something before it.
bool is_reasoning_code(std::string_view text) {
  constexpr std::string_view begin = "<reasoning>", end = "</reasoning>", fence = "```python";
  const std::size_t open = text.find(begin);
  if (open == std::string_view::npos) return false;
  std::string_view rest = text.substr(open + begin.size());
  const std::size_t close = rest.find(end);
  if (close == std::string_view::npos || stripped(rest.substr(0, close)).empty()) return false;
  rest.remove_prefix(close + end.size());
  for (std::size_t at = rest.find(fence); at != std::string_view::npos;
       at = rest.find(fence, at + 1)) {
    const std::string_view code = rest.substr(at + fence.size());
    const std::size_t line = code.find('\n');
    if (line == std::string_view::npos || !stripped(code.substr(0, line)).empty()) continue;
    const std::size_t last = code.find("\n```", line + 1);
    if (last == std::string_view::npos) continue;
    return !stripped(code.substr(line, last - line)).empty();
  }
  return false;
}

}  // namespace

bool has_layout(std::string_view text, Layout layout) {
  switch (layout) {
    case Layout::think_answer:
      return text.starts_with(kThink) &&
             each_once_in_order(text, {kThink, kThinkEnd, kAnswer, kAnswerEnd});
    case Layout::answer_only: return each_once_in_order(text, {kAnswer, kAnswerEnd});
    case Layout::reasoning_code: return is_reasoning_code(text);
    case Layout::think_answer_strict: break;
  }
  return is_strict(text);
}

struct Format final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Output<Rewards> rewards{this, "rewards", "1 where the answer has the layout, else 0"};
  Param<Layout> layout{this, "layout", Layout::think_answer_strict, "what is demanded"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"format reward", "tags", "think", "R1"}};
  Doc doc{this, "rewards [N]: 1 if the text of the answer has the layout."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    std::vector<double> scores;
    for (const std::string& text : answers(c)) scores.push_back(has_layout(text, layout()) ? 1 : 0);
    step[rewards] = scored(step, c, scores);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Format, "Answer format", "arXiv:2501.12948, arXiv:2505.02835")
