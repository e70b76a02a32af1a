#include "nodes/data/step_sum.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

bool StepSumSpace::is_held_out(std::vector<std::int64_t> numbers) const {
  std::sort(numbers.begin(), numbers.end());
  std::uint64_t hash = hash_name("step_sum.held_out");
  for (const std::int64_t n : numbers) hash = mix(hash, static_cast<std::uint64_t>(n));
  return static_cast<double>(hash >> 11) * 0x1.0p-53 < held_out_share;
}

std::vector<std::int64_t> StepSumSpace::draw(Random random, bool held_out) const {
  for (;;) {
    const std::int64_t span = most - fewest + 1;
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(
        fewest + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(span)))));
    for (std::int64_t& n : numbers) {
      n = low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
    }
    if (is_held_out(numbers) == held_out) return numbers;
  }
}

std::string step_sum_solution(const std::vector<std::int64_t>& numbers,
                              const std::vector<std::int64_t>& idle) {
  std::string text;
  std::int64_t sum = numbers.front();
  for (std::size_t k = 0; k < numbers.size(); ++k) {
    for (std::int64_t i = 0; k < idle.size() && i < idle[k]; ++i) text += "ok\n";
    if (k + 1 == numbers.size()) break;
    sum += numbers[k + 1];
    text += fmt::format("{}\n", sum);
  }
  return text + fmt::format("={}", sum);
}

std::vector<std::int64_t> draw_idle_lines(std::int64_t lines, std::int64_t count, Random random) {
  std::vector<std::int64_t> idle(static_cast<std::size_t>(lines), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    ++idle[random.below(static_cast<std::uint64_t>(lines))];
  }
  return idle;
}

namespace {

enum class StepSumSplit { train, held_out };
constexpr auto choices(StepSumSplit) {
  return std::to_array<Choice<StepSumSplit>>({
      {StepSumSplit::train, "train", "random sums whose numbers are not held out"},
      {StepSumSplit::held_out, "held_out", "the same held-out sums in every iteration"},
  });
}

enum class StepSumReference { answer, solution };
constexpr auto choices(StepSumReference) {
  return std::to_array<Choice<StepSumReference>>({
      {StepSumReference::answer, "answer", "the sum, to grade with"},
      {StepSumReference::solution, "solution", "all lines, to learn from"},
  });
}

}  // namespace

struct StepSum final : Node {
  Output<Prompts> prompts{this, "prompts", "sums such as 3+5+9", {.dims = "P"}};
  Param<std::int64_t> low{this, "low", 1, "smallest number", {.min = 0, .max = 999}};
  Param<std::int64_t> high{this, "high", 9, "largest number", {.min = 0, .max = 999}};
  Param<std::int64_t> fewest{this, "fewest", 3, "fewest numbers in a sum", {.min = 2, .max = 16}};
  Param<std::int64_t> most{this, "most", 4, "most numbers in a sum", {.min = 2, .max = 16}};
  Param<std::int64_t> batch{this, "batch", 16, "prompts per iteration", {.min = 1, .unit = "rows"}};
  Param<StepSumSplit> split{this, "split", StepSumSplit::train, "which sums are given"};
  Param<double> held_out{
      this, "held_out", 0.2, "share of the sums kept for evaluation", {.min = 0, .max = 0.9}};
  Param<StepSumReference> reference{this, "reference", StepSumReference::answer,
                                    "what the references hold"};
  Param<std::int64_t> pool{
      this, "pool", 0, "train: this many fixed sums and no others; 0: any", {.min = 0}};
  Param<double> idle_share{this,
                           "idle_share",
                           0.05,
                           "share of the solutions with lines that say nothing (ok)",
                           {.min = 0, .max = 1}};
  Param<std::int64_t> idle_lines{
      this, "idle_lines", 3, "most such lines in one of them", {.min = 1, .max = 64}};
  Synonyms words{this, {"StepSum", "chain of thought", "math", "toy task", "process reward"}};
  Doc doc{this,
          "A solution writes one partial sum per line and ends with = and the sum (8, 17, =17). "
          "A line ok changes nothing: after it a right prefix is as right as before. Whether a sum "
          "is held out depends on its numbers alone, in any order, as long as held_out is the same "
          "in both nodes. Which sums are in the pool, and where their idle lines stand, depends on "
          "no seed. Texts hold only 0-9, +, =, o, k and line breaks."};

  void run(Step& step) const override {
    check(step);
    const StepSumSpace space{low(), high(), fewest(), most(), held_out()};
    const bool evaluation = split() == StepSumSplit::held_out;
    Prompts out;
    out.batch = step.new_batch();
    for (std::int64_t i = 0; i < batch(); ++i) {
      add(space.draw(stream(step, i, Draw::numbers), evaluation), stream(step, i, Draw::idle), out);
    }
    step[prompts] = std::move(out);
  }

 private:
  enum class Draw : std::uint64_t { numbers, idle };

  void check(const Step& step) const {
    if (low() > high()) {
      step.fail(fmt::format("low is {}, but high is {}", low(), high()), "raise high");
    }
    if (fewest() > most()) {
      step.fail(fmt::format("fewest is {}, but most is {}", fewest(), most()), "raise most");
    }
    if (split() == StepSumSplit::held_out && held_out() == 0) {
      step.fail("nothing is held out", "raise held_out in every node that gives these sums");
    }
  }

  Random stream(const Step& step, std::int64_t i, Draw draw) const {
    const auto row = static_cast<std::uint64_t>(i);
    const auto token = static_cast<std::uint64_t>(draw);
    const auto fixed = [&](const char* name, std::uint64_t sample) {
      return Random({0, hash_name(name), 0}, sample, token);
    };
    if (split() == StepSumSplit::held_out) return fixed("step_sum.held_out", row);
    if (pool() == 0) return step.random(row, token);
    const std::uint64_t member =
        step.random(row, 1u << 16).below(static_cast<std::uint64_t>(pool()));
    return fixed("step_sum.pool", member);
  }

  void add(const std::vector<std::int64_t>& numbers, Random idle, Prompts& out) const {
    const auto lines = static_cast<std::int64_t>(numbers.size());
    std::int64_t count = 0;
    if (idle.uniform() < idle_share()) {
      count = 1 + static_cast<std::int64_t>(idle.below(static_cast<std::uint64_t>(idle_lines())));
    }
    const std::string question = fmt::format("{}", fmt::join(numbers, "+"));
    const std::string solution = step_sum_solution(numbers, draw_idle_lines(lines, count, idle));
    const std::int64_t sum = std::accumulate(numbers.begin(), numbers.end(), std::int64_t{0});
    out.id.push_back(question);
    out.text.push_back(question);
    out.reference.push_back(reference() == StepSumReference::answer ? fmt::format("{}", sum)
                                                                    : solution);
    out.fields.push_back({{"numbers", numbers}, {"answer", sum}});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(StepSum, "Sums line by line", "arXiv:2410.15115")
