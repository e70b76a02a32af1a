// UTRL's tasks, the suites that choose programs, and verdicts of several programs a suite.
#include <set>

#include "nodes/code/mini_language.h"
#include "nodes/data/mini_programs.h"
#include "nodes/eval/test_suites.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Random task_draws(std::uint64_t k) { return Random({6, hash_name("tasks"), k}, 0, 0); }

Value suites_of(const std::vector<std::string>& texts) {
  Bench parse("code.parse_tests", {{"format", "pairs"}});
  parse.connect("completions", {Value::of(answers_of(texts))});
  parse.fire();
  return parse.value("tests");
}

Bench ran(const std::vector<std::string>& programs, const Value& suites) {
  Bench bench("code.run_tests", {{"language", "mini"}});
  bench.connect("programs", {Value::of(TextRows{programs, 0})});
  bench.connect("tests", {suites});
  bench.fire();
  return bench;
}

}  // namespace

class TestProgramTasks : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void programs_compute_their_function_in_sixteen_tokens() {
    for (std::uint64_t k = 0; k < 200; ++k) {
      const MiniTask task = draw_mini_task(task_draws(k), k % 2 == 0, 0.3);
      QCOMPARE(task.is_held_out(0.3), k % 2 == 0);
      const MiniProgram program(task.program(), {16, 64});
      QVERIFY2(program.fault().empty(), program.fault().c_str());
      for (std::int64_t x = -6; x <= 6; ++x) QCOMPARE(program.run(x).value, task.value(x));
    }
  }

  void faulty_programs_are_programs_and_mostly_wrong() {
    int wrong = 0;
    std::set<std::string> kinds;
    for (std::uint64_t k = 0; k < 300; ++k) {
      const MiniTask task = draw_mini_task(task_draws(k), false, 0.2);
      const std::string text = draw_faulty_program(task, task_draws(1000 + k));
      const MiniProgram program(text, {16, 64});
      QVERIFY2(program.fault().empty(), text.c_str());
      bool differs = false;
      for (std::int64_t x = -6; x <= 6; ++x) differs |= program.run(x).value != task.value(x);
      wrong += differs;
    }
    // A fault can leave the function as it is, such as <= where both cases agree.
    QVERIFY(wrong > 240 && wrong < 300);
  }

  void suites_hold_right_pairs() {
    const MiniTask task{0, 1, 2, -1, 3, 5};
    const std::string suite = draw_mini_suite(task, 8, task_draws(3));
    const Bench bench = ran({task.program()}, suites_of({suite}));
    QCOMPARE(list(bench.out<Values>("pass_rate").values), std::vector<double>{1});
    QCOMPARE(all_mini_tests(task).size(), std::size_t{13});
  }

  void malformed_cases_are_dropped_or_fail_every_program() {
    const Value suites = suites_of({"1 = 2 , = 3 , 4 = , 5 , 1 = 2 = 3 , 6 7 = 1 , 0 = 0"});
    QCOMPARE(suites.get<Tests>().tests[0].size(), std::size_t{3});
    const Bench bench = ran({"x + x"}, suites);
    QCOMPARE(list(bench.out<Values>("matrix").values), (std::vector<double>{0, 2, 0}));
  }

  void programs_are_repeated_for_every_suite_of_their_task() {
    Bench bench("code.repeat_programs", {{"per_task", 2}, {"times", 3}});
    bench.connect("programs", {Value::of(TextRows{{"a", "b", "c", "d"}, 0})});
    bench.fire();
    QCOMPARE(
        bench.out<TextRows>("programs").texts,
        (std::vector<std::string>{"a", "b", "a", "b", "a", "b", "c", "d", "c", "d", "c", "d"}));
    bench.connect("programs", {Value::of(TextRows{{"a", "b", "c"}, 0})});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("bad-shape"));
  }

  void a_suite_is_paid_for_the_programs_of_its_list() {
    // Four programs for one suite; two fail its valid case, the invalid one counts for nobody.
    const Value suites = suites_of({"1 = 2 , 2 = 9"});
    const Bench right = ran({"x + x"}, suites);
    const Bench others = ran({"x + x", "x + 1", "3", "x"}, suites);
    Bench reward("reward.unit_test", {{"preset", "paper"}, {"tau", 2}});
    reward.connect("suites", {suites});
    reward.connect("references", {right.value("verdicts")});
    reward.connect("candidates", {others.value("verdicts")});
    reward.connect("completions", {Value::of(answers_of({"1 = 2 , 2 = 9"}))});
    reward.fire();
    QVERIFY(near(reward.out<Scalar>("discrimination").value, 0.5));
    QVERIFY(near(totals(reward)[0], 0.85 * 0.5 + 0.15 * 0.5));
    QVERIFY(reward.out<Rewards>("rewards").group.defined());
  }

  void programs_of_a_list_are_paid_by_the_valid_cases_of_their_suite() {
    const Value suites = suites_of({"1 = 2 , 2 = 4 , 3 = 0", "0 = 0"});
    const Bench right = ran({"x + x", "x"}, suites);
    const Bench given = ran({"x + x", "x + 1", "1", "0"}, suites);
    Bench reward("reward.code", {{"pass_weight", 1}, {"format_weight", 0}, {"epsilon", 0}});
    reward.connect("references", {right.value("verdicts")});
    reward.connect("programs", {given.value("verdicts")});
    reward.connect("completions", {Value::of(answers_of({"a", "b", "c", "d"}))});
    reward.fire();
    QCOMPARE(totals(reward), (std::vector<double>{1, 0.5, 0, 1}));
  }

  void the_last_of_equal_programs_is_chosen_as_in_the_official_code() {
    const at::Tensor scores = doubles({0.5, 1, 1, 0.2}, {1, 4});
    const at::Tensor truth = doubles({1, 1, 0.3, 0}, {1, 4});
    QCOMPARE(suite_quality(scores, truth, SuiteTie::last).best_of_n, 0.0);
    QCOMPARE(suite_quality(scores, truth, SuiteTie::first).best_of_n, 1.0);
    QCOMPARE(suite_quality(scores, truth, SuiteTie::expected).best_of_n, 0.5);
    QCOMPARE(suite_quality(scores, truth, SuiteTie::last).pass_at_1, 0.5);
    const at::Tensor constant = doubles({1, 1, 1, 1}, {1, 4});
    QCOMPARE(suite_quality(constant, truth, SuiteTie::last).fidelity, 0.0);
    QCOMPARE(code_of([&] { suite_quality(scores, truth.narrow(1, 0, 3), SuiteTie::last); }),
             std::string("bad-shape"));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestProgramTasks)
#include "test_program_tasks.moc"
