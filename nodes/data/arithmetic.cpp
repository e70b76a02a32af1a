#include "nodes/data/arithmetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

std::int64_t ArithmeticTask::answer() const {
  switch (operation) {
    case '-': return a - b;
    case '*': return a * b;
    default: return a + b;
  }
}

bool ArithmeticSpace::is_held_out(std::int64_t a, std::int64_t b) const {
  const auto low = static_cast<std::uint64_t>(std::min(a, b));
  const auto high = static_cast<std::uint64_t>(std::max(a, b));
  const std::uint64_t hash = mix(mix(hash_name("arithmetic.held_out"), low), high);
  return static_cast<double>(hash >> 11) * 0x1.0p-53 < held_out_share;
}

namespace {

ArithmeticTask ordered(std::int64_t a, std::int64_t b, char operation, bool negative_answers) {
  if (operation == '-' && !negative_answers && a < b) std::swap(a, b);
  return {a, b, operation};
}

std::int64_t power_of_ten(int digits) {
  std::int64_t value = 1;
  for (int i = 0; i < digits; ++i) value *= 10;
  return value;
}

}  // namespace

ArithmeticTask ArithmeticSpace::draw(Random random, bool train_only) const {
  for (;;) {
    const auto a = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(limit_a)));
    const auto b = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(limit_b)));
    const char operation = operations[random.below(operations.size())];
    if (train_only && is_held_out(a, b)) continue;
    return ordered(a, b, operation, negative_answers);
  }
}

std::vector<ArithmeticTask> ArithmeticSpace::held_out(std::size_t count) const {
  const std::int64_t size = limit_a * limit_b;
  // Steps of the golden ratio spread the walk evenly; coprime to the size, they meet every pair
  // once.
  auto stride = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(0.6180339887 * static_cast<double>(size)));
  while (std::gcd(stride, size) != 1) ++stride;
  std::vector<ArithmeticTask> out;
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < size && out.size() < count; ++i, at = (at + stride) % size) {
    const std::int64_t a = at / limit_b;
    const std::int64_t b = at % limit_b;
    if (!is_held_out(a, b)) continue;
    out.push_back(ordered(a, b, operations[out.size() % operations.size()], negative_answers));
  }
  return out;
}

namespace {

enum class ArithmeticSplit { train, held_out, all };
constexpr auto choices(ArithmeticSplit) {
  return std::to_array<Choice<ArithmeticSplit>>({
      {ArithmeticSplit::train, "train", "random tasks whose operand pair is not held out"},
      {ArithmeticSplit::held_out, "held_out", "the same held-out tasks in every iteration"},
      {ArithmeticSplit::all, "all", "random tasks of both"},
  });
}

enum class DigitOrder { plain, reversed };
constexpr auto choices(DigitOrder) {
  return std::to_array<Choice<DigitOrder>>({
      {DigitOrder::plain, "plain", "as people write it: 12+34=46"},
      {DigitOrder::reversed, "reversed",
       "lowest digit first, the order in which it is computed: 12+34=64 (arXiv:2307.03381)"},
  });
}

}  // namespace

struct Arithmetic final : Node {
  Output<Prompts> prompts{
      this, "prompts", "tasks such as 12+34= with their answers", {.dims = "P"}};
  Param<int> digits{this, "digits", 2, "most digits of an operand", {.min = 1, .max = 9}};
  Param<std::optional<int>> digits_a{this,
                                     "digits_a",
                                     std::nullopt,
                                     "most digits of the first operand; null: digits",
                                     {.min = 1, .max = 9}};
  Param<std::optional<int>> digits_b{this,
                                     "digits_b",
                                     std::nullopt,
                                     "most digits of the second operand; null: digits",
                                     {.min = 1, .max = 9}};
  Param<std::vector<std::string>> operations{this, "operations", std::vector<std::string>{"+"},
                                             "any of +, - and *"};
  Rule operators{this,
                 {Json::object(),
                  {{"operations", {{"set", true}, {"items", {"+", "-", "*"}}}}},
                  "operations is a list of at least one of \"+\", \"-\" and \"*\"",
                  "write for example [\"+\", \"-\"]"}};
  Param<std::int64_t> batch{this, "batch", 16, "prompts per iteration", {.min = 1, .unit = "rows"}};
  Param<ArithmeticSplit> split{this, "split", ArithmeticSplit::train, "which tasks are given"};
  Param<double> held_out{this,
                         "held_out",
                         0.1,
                         "share of the operand pairs kept for evaluation",
                         {.min = 0, .max = 0.9}};
  Param<bool> negative_answers{this, "negative_answers", false,
                               "false: the larger operand of a difference comes first"};
  Param<DigitOrder> answer{this, "answer", DigitOrder::plain, "order of the answer's digits"};
  Synonyms words{this, {"addition", "math", "toy task", "dataset"}};
  Doc doc{this,
          "Operands are uniform over 0 .. 10^digits - 1. Iteration i gives the same tasks whenever "
          "and wherever it runs. Whether a pair is held out depends on the pair alone (a hash of "
          "the unordered operands): no seed and no other node can bring a held-out pair into "
          "training, as long as held_out is the same in both nodes. Texts hold only 0-9, + - * and "
          "=."};

  void run(Step& step) const override {
    const std::vector<ArithmeticTask> tasks = tasks_of(step);
    Prompts out;
    out.batch = step.new_batch();
    for (const ArithmeticTask& task : tasks) {
      const std::string question = fmt::format("{}{}{}", task.a, task.operation, task.b);
      std::string right = fmt::format("{}", task.answer());
      if (answer() == DigitOrder::reversed) std::reverse(right.begin(), right.end());
      out.id.push_back(question);
      out.text.push_back(question + "=");
      out.reference.push_back(std::move(right));
      out.fields.push_back(
          {{"a", task.a}, {"b", task.b}, {"operation", std::string(1, task.operation)}});
    }
    step[prompts] = std::move(out);
  }

 private:
  ArithmeticSpace space(const Step& step) const {
    ArithmeticSpace out;
    out.limit_a = power_of_ten(digits_a().value_or(digits()));
    out.limit_b = power_of_ten(digits_b().value_or(digits()));
    out.negative_answers = negative_answers();
    out.held_out_share = held_out();
    out.operations.clear();
    for (const std::string& operation : operations()) {
      if (operation != "+" && operation != "-" && operation != "*") {
        step.fail(fmt::format("\"{}\" is no operation", operation), "use \"+\", \"-\" or \"*\"");
      }
      out.operations += operation;
    }
    if (out.operations.empty()) step.fail("there are no operations", "use \"+\", \"-\" or \"*\"");
    return out;
  }

  std::vector<ArithmeticTask> tasks_of(const Step& step) const {
    const ArithmeticSpace tasks = space(step);
    if (split() != ArithmeticSplit::held_out) {
      std::vector<ArithmeticTask> out;
      for (std::int64_t i = 0; i < batch(); ++i) {
        out.push_back(tasks.draw(step.random(static_cast<std::uint64_t>(i)),
                                 split() == ArithmeticSplit::train));
      }
      return out;
    }
    std::vector<ArithmeticTask> out = tasks.held_out(static_cast<std::size_t>(batch()));
    if (static_cast<std::int64_t>(out.size()) < batch()) {
      step.fail(fmt::format("only {} tasks are held out, but {} are wanted", out.size(), batch()),
                "lower batch, or raise held_out or digits");
    }
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Arithmetic, "Arithmetic tasks", "")
