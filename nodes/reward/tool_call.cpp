#include "nodes/reward/tool_call.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

constexpr std::string_view kCall = "<tool_call>", kCallEnd = "</tool_call>";
constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";
constexpr std::string_view kReply = "<response>", kReplyEnd = "</response>";

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Equal as JSON values: the order of keys does not count, 1 and 1.0 are the same.
bool same_json(const Json& a, const Json& b) { return nlohmann::json(a) == nlohmann::json(b); }

std::string name_of(const Json& call) {
  const Json& name = call.at("name");
  return name.is_string() ? name.get<std::string>() : name.dump();
}

bool has_name(const Json& call) { return call.is_object() && call.contains("name"); }
bool has_parameters(const Json& call) {
  return call.contains("parameters") && call["parameters"].is_object();
}

std::vector<std::string> names_of(const ToolCalls& calls) {
  std::vector<std::string> names;
  for (const Json& call : calls) names.push_back(name_of(call));
  return names;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

double overlap(const std::vector<std::string>& a, const std::vector<std::string>& b,
               ToolMatch match) {
  if (match == ToolMatch::refined) return a == b ? 1 : 0;
  return list_overlap(a, b);
}

double parameter_score(const Json& truth, const Json& predicted, ToolMatch match) {
  double score = overlap(keys_of(truth), keys_of(predicted), match);
  for (const auto& [key, value] : truth.items()) {
    if (predicted.contains(key) && same_json(predicted[key], value)) score += 1;
  }
  return score;
}

}  // namespace

ToolRanges tool_ranges(ToolScale scale, std::int64_t step) {
  const auto at = static_cast<double>(step);
  switch (scale) {
    case ToolScale::max1: return {{0, 1}, {-1, 1}};
    case ToolScale::two_stage:
      return step < 30 ? ToolRanges{{0, 1}, {-1, 1}} : ToolRanges{{0, 0.5}, {-3, 3}};
    case ToolScale::schedule:
      return {{std::min(-1.0, -2 + 2 * at / 150), std::max(1.0, 2 - at / 150)},
              {std::max(-3.0, -2 - at / 150), std::min(3.0, 2 + at / 150)}};
    case ToolScale::fixed: break;
  }
  return {{0, 1}, {-3, 3}};
}

std::optional<ToolCalls> tool_calls(std::string_view text) {
  if (!holds(text, kCall) || !holds(text, kCallEnd)) return std::nullopt;
  text.remove_prefix(text.find(kCall) + kCall.size());
  text = text.substr(0, std::min(text.find(kCallEnd), text.find(kCall)));
  ToolCalls calls;
  for (const std::string_view line : split_lines(stripped(text))) {
    Json call = Json::parse(line, nullptr, false);
    if (call.is_discarded()) return std::nullopt;
    calls.push_back(std::move(call));
  }
  return calls;
}

double list_overlap(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a == b) return 1;
  std::map<std::string_view, std::int64_t> counts;
  for (const std::string& item : a) ++counts[item];
  double shared = 0;
  for (const std::string& item : b) {
    if (counts[item]-- > 0) ++shared;
  }
  return shared / (static_cast<double>(a.size() + b.size()) - shared);
}

std::optional<double> tool_correctness(const ToolCalls& truth, const ToolCalls& predicted,
                                       ToolMatch match, const RewardRange& range) {
  if (same_json(truth, predicted)) return range.high;
  if (match == ToolMatch::coarse) return range.low;
  if (!std::all_of(predicted.begin(), predicted.end(), has_name)) return std::nullopt;
  double score = overlap(names_of(truth), names_of(predicted), match);
  double most = 1;
  std::vector<bool> used(predicted.size());
  for (const Json& call : truth) {
    const bool whole = match == ToolMatch::intermediate;
    most += whole ? 1 : 1 + static_cast<double>(call["parameters"].size());
    double best = 0;
    std::size_t chosen = predicted.size();
    for (std::size_t i = 0; i < predicted.size(); ++i) {
      if (used[i] || name_of(predicted[i]) != name_of(call)) continue;
      if (!whole && !has_parameters(predicted[i])) return std::nullopt;
      const double value =
          whole ? (same_json(call, predicted[i]) ? 1 : 0)
                : parameter_score(call["parameters"], predicted[i]["parameters"], match);
      if (value <= best) continue;
      best = value;
      chosen = i;
    }
    if (chosen == predicted.size()) continue;
    used[chosen] = true;
    score += best;
  }
  return (range.high - range.low) * score / most + range.low;
}

bool has_tool_layout(std::string_view text, std::string_view truth) {
  const bool call = holds(truth, kCall);
  const bool reply = holds(truth, kReply);
  if (!text.starts_with(kThink)) return false;
  for (const std::string_view tag : {kCall, kCallEnd}) {
    if (call && occurrences(text, tag) != 1) return false;
  }
  for (const std::string_view tag : {kReply, kReplyEnd}) {
    if (reply && occurrences(text, tag) != 1) return false;
  }
  if (!call && !reply) return text.ends_with(kThinkEnd);
  if (!text.ends_with(reply ? kReplyEnd : kCallEnd)) return false;
  if (!call) return holds(text, "</think>\n<response>");
  // Between the calls' own lines there is at least one of JSON: "<tool_call>\n" ...
  // "\n</tool_call>".
  const std::size_t begin = text.find("</think>\n<tool_call>\n");
  if (begin == std::string_view::npos) return false;
  const std::size_t body = begin + std::string_view("</think>\n<tool_call>\n").size();
  return text.find(reply ? "\n</tool_call>\n<response>" : "\n</tool_call>", body) !=
         std::string_view::npos;
}

double think_length(std::string_view text, double target) {
  if (!holds(text, kThink) || !holds(text, kThinkEnd)) return 0;
  text.remove_prefix(text.rfind(kThink) + kThink.size());
  const auto words = static_cast<double>(word_count(text.substr(0, text.find(kThinkEnd))));
  return std::min(1.0, std::nearbyint(100 * words / target) / 100);
}

struct ToolCall final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Optional<TextRows> truth{this, "truth", "the true answers; else the completions' references"};
  Output<Rewards> rewards{this, "rewards", "format + correctness + length"};
  Output<Rewards> format{this, "format", "whether the blocks of the true answer are there"};
  Output<Rewards> correctness{this, "correctness", "how well the calls agree with the true ones"};
  Output<Rewards> length{this, "length", "length of the thought, where it is rewarded"};
  Param<ToolScale> scale{this, "scale", ToolScale::fixed, "ranges of format and correctness"};
  Param<ToolMatch> match{this, "match", ToolMatch::partial, "what of a call is compared"};
  Param<bool> length_reward{this, "length_reward", false, "adds min(1, words of thought / target)"};
  Param<bool> length_schedule{this, "length_schedule", false,
                              "the target grows from 384 to 640 words over 105 steps; else 512"};
  Param<std::int64_t> step_offset{
      this, "step", 0, "for schedules: added to the iteration", {.min = 0}};
  Synonyms words{this, {"ToolRL", "function calling", "agent"}};
  Doc doc{
      this,
      "Answers are <think>..</think>, then <tool_call> with one JSON object {\"name\", "
      "\"parameters\"} "
      "a line and/or <response>..</response>, as the true answer has them; all outputs [N].\n"
      "Correctness: names and parameter names by multiset overlap, values by equality, true calls "
      "matched greedily. Tags missing or broken JSON: the lowest. A true answer without calls "
      "gives 0. "
      "A row whose true calls are no JSON cannot be scored."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    const auto& wanted = truths(c, step[truth]);
    const std::int64_t now = step_offset() + step.iteration();
    const ToolRanges ranges = tool_ranges(scale(), now);
    const double target = length_schedule() ? 384 + 256 * static_cast<double>(now) / 105 : 512;
    RowScores calls(texts.size());
    std::vector<double> formats(texts.size());
    std::vector<double> lengths(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string_view text = stripped(texts[i]);
      formats[i] = has_tool_layout(text, wanted[i]) ? ranges.format.high : ranges.format.low;
      lengths[i] = length_reward() ? think_length(text, target) : 0;
      score_calls(step, text, wanted[i], ranges.correctness, i, calls);
    }
    give(step, c, formats, lengths, calls);
  }

 private:
  void score_calls(Step& step, std::string_view text, std::string_view wanted,
                   const RewardRange& range, std::size_t row, RowScores& scores) const {
    if (!holds(wanted, kCall)) return;
    const std::optional<ToolCalls> right = tool_calls(wanted);
    const auto complete = [](const Json& call) { return has_name(call) && has_parameters(call); };
    if (!right || !std::all_of(right->begin(), right->end(), complete)) {
      return scores.fail(
          step, row, "the true calls are not JSON objects with a name and parameters, one a line");
    }
    const std::optional<ToolCalls> given = tool_calls(text);
    const std::optional<double> score =
        given ? tool_correctness(*right, *given, match(), range) : std::nullopt;
    scores.set(row, score.value_or(range.low));
  }

  void give(Step& step, const Completions& c, const std::vector<double>& formats,
            const std::vector<double>& lengths, const RowScores& calls) const {
    const at::Tensor absent = calls.absent();
    const auto tensor = [](const std::vector<double>& v) {
      return at::tensor(at::ArrayRef<double>(v), at::dtype(at::kDouble));
    };
    const Rewards layout = scored(step, c, tensor(formats), absent);
    const Rewards right = scored(step, c, calls.scores(), absent);
    const Rewards longer = scored(step, c, tensor(lengths), absent);
    Rewards sum = scored(step, c, layout.total + right.total + longer.total, absent);
    sum.components = {{"format", layout.total}, {"correctness", right.total}};
    if (length_reward()) sum.components.emplace_back("length", longer.total);
    step[rewards] = std::move(sum);
    step[format] = layout;
    step[correctness] = right;
    step[length] = longer;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ToolCall, "Tool calls (ToolRL)", "arXiv:2504.13958")
