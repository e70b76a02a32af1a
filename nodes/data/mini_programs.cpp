#include "nodes/data/mini_programs.h"

#include <fmt/format.h>

#include <array>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

namespace {

constexpr std::int64_t kReach = 6;  ///< inputs lie within -6 .. 6

std::int64_t within(Random& random, std::int64_t reach) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * reach + 1))) - reach;
}

std::string line(std::int64_t slope, std::int64_t constant) {
  return fmt::format("{} x + {}", slope, constant);
}

std::string mini_cases(const MiniTask& t, const char* guard, const std::string& below,
                       const std::string& above) {
  return fmt::format("{} {} : {} = {} : {} else {}", guard, t.k, below, t.k, t.s, above);
}

/// The task with one of its numbers changed by 1 or 2.
MiniTask with_another_constant(MiniTask t, Random& random) {
  std::int64_t* const numbers[] = {&t.k, &t.a, &t.b, &t.c, &t.d, &t.s};
  std::int64_t& one = *numbers[random.below(6)];
  const std::int64_t by = 1 + static_cast<std::int64_t>(random.below(2));
  one += random.uniform() < 0.5 ? -by : by;
  return t;
}

enum class MiniSplit { train, held_out };
constexpr auto choices(MiniSplit) {
  return std::to_array<Choice<MiniSplit>>({
      {MiniSplit::train, "train", "random tasks that are not held out"},
      {MiniSplit::held_out, "held_out", "the same held-out tasks in every iteration"},
  });
}

enum class MiniReference { program, faulty, suite };
constexpr auto choices(MiniReference) {
  return std::to_array<Choice<MiniReference>>({
      {MiniReference::program, "program", "a right program"},
      {MiniReference::faulty, "faulty",
       "a program that is often faulty, for a coder to start from"},
      {MiniReference::suite, "suite", "a test suite of random inputs, for a tester to start from"},
  });
}

}  // namespace

std::string MiniTask::instruction() const {
  return fmt::format("{} {} {} {} {} {}", k, a, b, c, d, s);
}

std::string MiniTask::program() const { return mini_cases(*this, "<", line(a, b), line(c, d)); }

std::int64_t MiniTask::value(std::int64_t x) const {
  if (x == k) return s;
  return x < k ? a * x + b : c * x + d;
}

bool MiniTask::is_held_out(double share) const {
  std::uint64_t hash = hash_name("mini_programs.held_out");
  for (const std::int64_t n : {k, a, b, c, d, s}) hash = mix(hash, static_cast<std::uint64_t>(n));
  return static_cast<double>(hash >> 11) * 0x1.0p-53 < share;
}

MiniTask draw_mini_task(Random random, bool held_out, double held_out_share) {
  for (;;) {
    MiniTask t;
    t.k = within(random, kReach - 1);
    for (std::int64_t* n : {&t.a, &t.b, &t.c, &t.d, &t.s}) *n = within(random, 3);
    if (t.is_held_out(held_out_share) == held_out) return t;
  }
}

std::string draw_faulty_program(const MiniTask& t, Random random) {
  switch (random.below(5)) {
    case 0: return mini_cases(t, "<=", line(t.a, t.b), line(t.c, t.d));
    case 1: return fmt::format("< {} : {} else {}", t.k, line(t.a, t.b), line(t.c, t.d));
    case 2: return mini_cases(t, "<", line(t.c, t.d), line(t.a, t.b));
    case 3: return with_another_constant(t, random).program();
    default: return fmt::format("{}", t.s);
  }
}

std::string draw_mini_suite(const MiniTask& task, std::int64_t cases, Random random) {
  std::string text;
  for (std::int64_t i = 0; i < cases; ++i) {
    const std::int64_t x = within(random, kReach);
    text += fmt::format("{}{} = {}", i == 0 ? "" : " , ", x, task.value(x));
  }
  return text;
}

Json all_mini_tests(const MiniTask& task) {
  Json tests = Json::array();
  for (std::int64_t x = -kReach; x <= kReach; ++x) {
    tests.push_back(
        {{"input", fmt::format("{}", x)}, {"output", fmt::format("{}", task.value(x))}});
  }
  return tests;
}

struct MiniPrograms final : Node {
  Output<Prompts> prompts{this, "prompts", "instructions: k a b c d s", {.dims = "P"}};
  Output<TextRows> programs{this, "programs", "a right program for each", {.dims = "P"}};
  Output<Tests> hidden_tests{this, "hidden_tests", "every input with its output", {.dims = "P"}};
  Param<std::int64_t> batch{this, "batch", 16, "tasks per iteration", {.min = 1, .unit = "rows"}};
  Param<MiniSplit> split{this, "split", MiniSplit::train, "which tasks are given"};
  Param<double> held_out{
      this, "held_out", 0.2, "share of the tasks kept for evaluation", {.min = 0, .max = 0.9}};
  Param<std::int64_t> pool{
      this, "pool", 400, "train: this many fixed tasks and no others; 0: any", {.min = 0}};
  Param<MiniReference> reference{this, "reference", MiniReference::program,
                                 "what the prompts' references hold"};
  Param<double> faulty_share{
      this, "faulty_share", 0.65, "share of the faulty ones with a fault", {.min = 0, .max = 1}};
  Param<std::int64_t> cases{
      this, "cases", 8, "test cases of a suite", {.min = 1, .max = 64, .unit = "cases"}};
  Synonyms words{this, {"UTRL", "MiniProg", "program synthesis", "unit tests", "toy task"}};
  Doc doc{this,
          "f(x) = a x + b for x < k, s for x = k, c x + d for x > k; programs are written in the "
          "mini-language that code.run_tests runs in process, e.g. < 2 : 3 x + 1 = 2 : 5 else -1 "
          "x + 4. hidden_tests are for measuring. Every token is a word between spaces."};

  void run(Step& step) const override {
    const bool evaluation = split() == MiniSplit::held_out;
    if (evaluation && held_out() == 0) {
      step.fail("nothing is held out", "raise held_out in every node that gives these tasks");
    }
    Prompts out;
    TextRows right;
    Tests hidden;
    out.batch = right.batch = hidden.batch = step.new_batch();
    for (std::int64_t i = 0; i < batch(); ++i) {
      const MiniTask task = draw_mini_task(stream(step, i), evaluation, held_out());
      out.id.push_back(task.instruction());
      out.text.push_back(task.instruction());
      out.reference.push_back(written(task, step.random(static_cast<std::uint64_t>(i), kText)));
      out.fields.push_back({{"program", task.program()}});
      right.texts.push_back(task.program());
      hidden.tests.push_back(all_mini_tests(task));
    }
    step[prompts] = std::move(out);
    step[programs] = std::move(right);
    step[hidden_tests] = std::move(hidden);
  }

 private:
  static constexpr std::uint64_t kTask = 0, kText = 1, kMember = 2;

  Random stream(const Step& step, std::int64_t i) const {
    const auto row = static_cast<std::uint64_t>(i);
    const auto fixed = [&](const char* name, std::uint64_t member) {
      return Random({0, hash_name(name), 0}, member, 0);
    };
    if (split() == MiniSplit::held_out) return fixed("mini_programs.held_out", row);
    if (pool() == 0) return step.random(row, kTask);
    return fixed("mini_programs.pool",
                 step.random(row, kMember).below(static_cast<std::uint64_t>(pool())));
  }

  std::string written(const MiniTask& task, Random random) const {
    if (reference() == MiniReference::program) return task.program();
    if (reference() == MiniReference::suite) return draw_mini_suite(task, cases(), random);
    const bool faulty = random.uniform() < faulty_share();
    return faulty ? draw_faulty_program(task, random) : task.program();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MiniPrograms, "Tasks for small programs", "arXiv:2508.21107")
