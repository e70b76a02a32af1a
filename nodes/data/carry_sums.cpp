#include "nodes/data/carry_sums.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

/// Takes one of the markers that are left, all equally likely.
std::string take_marker(std::vector<std::string>& left, Random& random) {
  std::swap(left[random.below(left.size())], left.back());
  std::string out = std::move(left.back());
  left.pop_back();
  return out;
}

enum class CarrySplit { train, held_out };
constexpr auto choices(CarrySplit) {
  return std::to_array<Choice<CarrySplit>>({
      {CarrySplit::train, "train", "random sums that are not held out"},
      {CarrySplit::held_out, "held_out", "the same held-out sums in every iteration"},
  });
}

enum class CarryReference { answer, demonstration };
constexpr auto choices(CarryReference) {
  return std::to_array<Choice<CarryReference>>({
      {CarryReference::answer, "answer", "the sum, to grade with"},
      {CarryReference::demonstration, "demonstration", "worked or direct, to learn from"},
  });
}

}  // namespace

std::vector<std::string> carry_steps(const PaddedSum& sum) {
  const std::int64_t ones = sum.first % 10, tens = sum.first / 10;
  const std::int64_t low = ones + sum.second, carry = low / 10;
  return {fmt::format("{}+{}={}", ones, sum.second, low),
          fmt::format("{}+{}={}", tens, carry, tens + carry)};
}

std::string draw_carry_answer(const PaddedSum& sum, const CarryAnswerSpread& spread,
                              Random random) {
  const bool worked = random.uniform() < spread.worked_share;
  const bool right = random.uniform() < (worked ? spread.worked_right : spread.direct_right);
  const std::string answer =
      fmt::format("{}", right ? sum.answer() : two_digits_beside(sum.answer(), random));
  if (!worked) return answer;
  std::vector<std::string> steps = carry_steps(sum);
  const std::uint64_t checks = random.below(static_cast<std::uint64_t>(spread.most_checks + 1));
  for (std::uint64_t k = 0; k < checks; ++k) steps.push_back(steps[random.below(2)]);
  steps.push_back(answer);
  std::vector<std::string> markers = spread.markers;
  std::string text;
  for (const std::string& step : steps) {
    if (!text.empty()) text += ' ';
    text += take_marker(markers, random) + ' ' + step;
  }
  return text;
}

struct CarrySums final : Node {
  Output<Prompts> prompts{this, "prompts", "sums such as 37+8=", {.dims = "P"}};
  Param<std::int64_t> batch{this, "batch", 16, "prompts per iteration", {.min = 1, .unit = "rows"}};
  Param<CarrySplit> split{this, "split", CarrySplit::train, "which sums are given"};
  Param<double> held_out{
      this, "held_out", 0.2, "share of the sums kept for evaluation", {.min = 0, .max = 0.9}};
  Param<CarryReference> reference{this, "reference", CarryReference::answer,
                                  "what the references hold"};
  Param<std::vector<std::string>> markers{
      this, "markers",
      std::vector<std::string>{"first", "then", "so", "hence", "wait", "check", "next", "thus"},
      "words of which another one opens each step, check and answer"};
  Param<std::int64_t> most_checks{
      this, "most_checks", 2, "most steps that are written again", {.min = 0, .max = 32}};
  Param<double> worked_share{this,
                             "worked_share",
                             0.2,
                             "share of the demonstrations that work out the carry",
                             {.min = 0, .max = 1}};
  Param<double> worked_right{
      this, "worked_right", 0.85, "share of these with the right answer", {.min = 0, .max = 1}};
  Param<double> direct_right{
      this, "direct_right", 0.25, "share of the others with it", {.min = 0, .max = 1}};
  Synonyms words{this,
                 {"addition", "toy task", "chain of thought", "reasoning pattern", "RPR",
                  "elicitation", "noisy demonstrations"}};
  Doc doc{this,
          "A two-digit plus a one-digit number, with a sum of two digits. A worked demonstration "
          "has a step for the ones, one for the tens with the carry, 0 to most_checks of these "
          "again and the answer, each behind another marker word: first 7+8=15 then 3+1=4 so 45. "
          "The others are the answer alone. A wrong answer misses the sum by 1 to 9. A policy that "
          "imitates the mixture can be more often right than it is: reward.phrases, which pays for "
          "the words alone, elicits that. Whether a sum is held out depends on its numbers alone."};

  void run(Step& step) const override {
    check(step);
    const bool evaluation = split() == CarrySplit::held_out;
    const CarryAnswerSpread spread{markers(), most_checks(), worked_share(), worked_right(),
                                   direct_right()};
    Prompts out;
    out.batch = step.new_batch();
    for (std::int64_t i = 0; i < batch(); ++i) {
      const PaddedSum sum = draw_padded_sum(stream(step, i, Draw::numbers), evaluation, held_out());
      out.id.push_back(sum.question());
      out.text.push_back(sum.question());
      out.reference.push_back(reference() == CarryReference::answer
                                  ? fmt::format("{}", sum.answer())
                                  : draw_carry_answer(sum, spread, stream(step, i, Draw::text)));
      out.fields.push_back({{"answer", sum.answer()}});
    }
    step[prompts] = std::move(out);
  }

 private:
  enum class Draw : std::uint64_t { numbers, text };

  void check(const Step& step) const {
    if (split() == CarrySplit::held_out && held_out() == 0) {
      step.fail("nothing is held out", "raise held_out in every node that gives these sums");
    }
    const std::set<std::string> different(markers().begin(), markers().end());
    const auto needed = static_cast<std::size_t>(3 + most_checks());
    if (different.size() != markers().size() || different.contains("")) {
      step.fail("a marker is empty or there twice", "give different words");
    }
    if (markers().size() < needed) {
      step.fail(fmt::format("there are {} markers, but a demonstration may need {}",
                            markers().size(), needed),
                "add words, or lower most_checks");
    }
  }

  Random stream(const Step& step, std::int64_t i, Draw draw) const {
    const auto row = static_cast<std::uint64_t>(i);
    const auto token = static_cast<std::uint64_t>(draw);
    if (split() == CarrySplit::train) return step.random(row, token);
    return Random({0, hash_name("carry_sums.held_out"), 0}, row, token);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CarrySums, "Sums with visible carries", "arXiv:2505.22653")
