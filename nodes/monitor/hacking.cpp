#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/clip_delta.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {

struct Hacking final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Optional<StepRewards> step_rewards{this, "step_rewards", "what their steps earn"};
  Optional<Rewards> success{this, "success", "whether they are right"};
  Output<Metrics> metrics{this, "metrics", "lines, repeated, idle, and what they earn"};
  Param<std::string> idle{this, "idle", "", "a line that says nothing; empty: none is counted"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"reward hacking", "repetition", "steps per answer", "exploitation"}};
  Doc doc{
      this,
      "Signs of a policy that earns by writing more: lines (mean lines of an answer, blank ones "
      "not counted), repeated (share of lines that equal the one before), idle_rate (share of "
      "lines that say `idle`), step_reward (mean over answers of the sum of their steps'), "
      "success (mean over scored answers)."};

  void run(Step& step) const override {
    Metrics out;
    count_lines(answers(step[completions]), out);
    if (const StepRewards* const s = step[step_rewards]) {
      const at::Tensor kept = s->rewards.masked_fill(step_mask(*s).logical_not(), 0.0);
      out.add("step_reward", kept.sum(1).to(at::kDouble).mean().item<double>());
    }
    if (const Rewards* const r = step[success]) {
      const at::Tensor there =
          r->absent.defined() ? r->absent.logical_not() : at::ones_like(r->total, at::kBool);
      const double rows = there.sum().to(at::kDouble).item<double>();
      if (rows > 0) {
        out.add("success",
                r->total.to(at::kDouble).masked_select(there).sum().item<double>() / rows);
      }
    }
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }

 private:
  void count_lines(const std::vector<std::string>& texts, Metrics& out) const {
    double lines = 0, repeated = 0, nothing = 0;
    for (const std::string& text : texts) {
      std::string_view before;
      for (const std::string_view line : split_lines(text)) {
        const std::string_view words_of_line = stripped(line);
        if (words_of_line.empty()) continue;
        lines += 1;
        repeated += words_of_line == before;
        nothing += !idle().empty() && words_of_line == idle();
        before = words_of_line;
      }
    }
    out.add("lines", texts.empty() ? 0 : lines / static_cast<double>(texts.size()));
    out.add("repeated", lines == 0 ? 0 : repeated / lines);
    if (!idle().empty()) out.add("idle_rate", lines == 0 ? 0 : nothing / lines);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Hacking, "Signs of reward hacking", "arXiv:2410.15115")
