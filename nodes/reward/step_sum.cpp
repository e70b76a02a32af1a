#include "nodes/reward/step_sum.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <numeric>
#include <string>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {

std::vector<double> right_so_far(const std::vector<std::int64_t>& numbers, std::string_view text) {
  const std::int64_t total = std::accumulate(numbers.begin(), numbers.end(), std::int64_t{0});
  std::vector<double> out;
  std::size_t next = 1;  // number that the next partial sum adds
  std::int64_t sum = numbers.empty() ? 0 : numbers.front();
  bool right = true;
  for (const std::string_view line : split_lines(text)) {
    if (line.empty()) continue;
    const bool answer = next >= numbers.size() && line == fmt::format("={}", total);
    if (right && line != "ok" && !answer) {
      right = next < numbers.size() && line == fmt::format("{}", sum + numbers[next]);
      if (right) sum += numbers[next++];
    }
    out.push_back(right ? 1 : 0);
  }
  return out;
}

struct StepSumVerdicts final : Node {
  Input<Completions> completions{this, "completions", "answers to sums of data.step_sum"};
  Input<Values> step_end{this, "step_end", "column of each step's last token", {.dims = "N,S"}};
  Output<StepRewards> step_rewards{this, "step_rewards", "1 while all lines are right, then 0"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"StepSum", "process reward", "verifier", "rule-based reward"}};
  Doc doc{this,
          "What a perfect process reward model would say: is every line so far a partial sum in "
          "order, the answer, or ok? Step k is the line k that is not blank; what is left over "
          "belongs to the last step."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const at::Tensor end = step[step_end].values.to(at::kCPU, at::kLong).contiguous();
    require_same_rows("step_end", end.size(0), step[step_end].batch, "completions", c.rows(),
                      c.batch);
    const std::vector<std::string>& texts = answers(c);
    at::Tensor score = at::zeros(end.sizes());
    for (std::int64_t i = 0; i < end.size(0); ++i) {
      const auto row = static_cast<std::size_t>(i);
      if (row >= c.fields.size() || !c.fields[row].contains("numbers")) {
        step.fail("no-numbers", fmt::format("answer {} comes without the numbers of its sum", i),
                  "sample from the prompts of data.step_sum");
      }
      const std::vector<double> right =
          right_so_far(c.fields[row]["numbers"].get<std::vector<std::int64_t>>(), texts[row]);
      const std::int64_t steps = end[i].ge(0).sum().item<std::int64_t>();
      for (std::int64_t s = 0; s < steps && !right.empty(); ++s) {
        const auto line = static_cast<std::size_t>(s);
        const bool last = s + 1 == steps;
        score.data_ptr<float>()[i * end.size(1) + s] =
            static_cast<float>(last || line >= right.size() ? right.back() : right[line]);
      }
    }
    StepRewards out;
    out.rewards = score.to(c.tokens.device());
    out.boundaries = end.to(c.tokens.device());
    out.group = c.group;
    out.batch = c.batch;
    step[step_rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(StepSumVerdicts, "Exact verdict on sums line by line", "arXiv:2410.15115")
