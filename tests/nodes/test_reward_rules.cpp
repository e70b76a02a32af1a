// Rule rewards on texts: what earns what, rows that cannot be scored, what is refused.
#include <fmt/format.h>
#include <torch/types.h>

#include <chrono>
#include <fstream>

#include "engine/core/random.h"
#include "nodes/reward/boxed_answer.h"
#include "nodes/reward/format.h"
#include "nodes/reward/length_and_repetition.h"
#include "nodes/reward/numeric_equal.h"
#include "nodes/reward/pattern.h"
#include "nodes/reward/repetition.h"
#include "nodes/reward/tool_call.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

double read(const char* text) {
  const auto number = read_number(text);
  return number ? number->value : NAN;
}

bool holds_number(const char* text) { return read_number(text).has_value(); }

std::string box(std::string inside) { return "so \\boxed{" + std::move(inside) + "}."; }

constexpr const char* kCalls =
    "<think>a b c</think>\n<tool_call>\n{\"name\": \"add\", \"parameters\": {\"a\": 1, \"b\": 2}}\n"
    "{\"name\": \"neg\", \"parameters\": {\"x\": 5}}\n</tool_call>";

}  // namespace

class TestRewardRules : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- numbers ----

  void numbers_are_read_as_they_are_written() {
    QCOMPARE(read("42"), 42.0);
    QCOMPARE(read(" -3.50 "), -3.5);
    QCOMPARE(read("+7"), 7.0);
    QCOMPARE(read(".5"), 0.5);
    QCOMPARE(read("1,234,567.25"), 1234567.25);
    QCOMPARE(read("1 234 567"), 1234567.0);
    QCOMPARE(read("3/4"), 0.75);
    QCOMPARE(read("-3 / 4"), -0.75);
    QCOMPARE(read("1 1/2"), 1.5);
    QCOMPARE(read("-2 1/4"), -2.25);
    QCOMPARE(read("\\frac{3}{4}"), 0.75);
    QCOMPARE(read("-\\dfrac{1}{8}"), -0.125);
    QCOMPARE(read("\\frac12"), 0.5);
    QCOMPARE(read("2\\frac{1}{2}"), 2.5);
    QCOMPARE(read("6.02e23"), 6.02e23);
    QCOMPARE(read("1e-3"), 1e-3);
    QCOMPARE(read("$1,000"), 1000.0);
    QCOMPARE(read("-$5"), -5.0);
    QCOMPARE(read("$7$"), 7.0);
    QCOMPARE(read("\u22128"), -8.0);
    QCOMPARE(read("12."), 12.0);
    QVERIFY(read_number("50%")->percent && read("50%") == 50);
    QVERIFY(read_number("12.5 \\%")->percent);
    for (const char* text :
         {"", " ", "x", "1,00", "12,34", "1.2.3", "7x", "1/0", "\\frac{1}{0}", "--", "%", "$",
          "1e999", "3/", "\\frac{1}", "nan", "inf", "1-2", "0x10"}) {
      QVERIFY2(!holds_number(text), text);
    }
  }

  void the_last_number_of_a_text() {
    const auto last = [](const char* text) { return std::string(last_number_in(text)); };
    QCOMPARE(last("12 + 34 makes 46."), std::string("46"));
    QCOMPARE(last("so x = -3"), std::string("-3"));
    QCOMPARE(last("10-3"), std::string("3"));
    QCOMPARE(last("F-16 has 2"), std::string("2"));
    QCOMPARE(last("it is F-16"), std::string("16"));
    QCOMPARE(last("about $1,234.50 in all"), std::string("1,234.50"));
    QCOMPARE(last("that is 3/4 of it"), std::string("3/4"));
    QCOMPARE(last("it rose by 12%!"), std::string("12%"));
    QCOMPARE(last("no number"), std::string(""));
    QCOMPARE(last("7 in version 1.2.3"), std::string("7"));
  }

  void numbers_are_equal_within_the_tolerance() {
    const auto rewards = [](const Json& params, std::vector<std::string> text, std::string truth) {
      const std::size_t rows = text.size();
      return totals(judged("reward.numeric_equal", params, text, std::vector(rows, truth)));
    };
    QCOMPARE(rewards(Json::object(), {"0.333333333", "1/3", "0.33", "I think 1/3", "none"}, "1/3"),
             (std::vector<double>{1, 1, 0, 1, 0}));
    QCOMPARE(rewards({{"relative_tolerance", 0.05}}, {"0.33", "0.31"}, "1/3"),
             (std::vector<double>{1, 0}));
    QCOMPARE(rewards({{"absolute_tolerance", 0.5}}, {"0.4", "-0.6"}, "0"),
             (std::vector<double>{1, 0}));
    QCOMPARE(rewards(Json::object(), {"50%", "0.5", "50"}, "1/2"), (std::vector<double>{1, 1, 0}));
    QCOMPARE(rewards({{"percent", "plain"}}, {"50%", "0.5"}, "50"), (std::vector<double>{1, 0}));
    QCOMPARE(rewards({{"percent", "either"}}, {"50%", "0.5", "50"}, "50%"),
             (std::vector<double>{1, 1, 1}));
    QCOMPARE(rewards({{"extract", "whole"}}, {"1,000", "it is 1000"}, "1000"),
             (std::vector<double>{1, 0}));
    QCOMPARE(rewards({{"extract", "first_line"}}, {"5\n6", "6\n5"}, "5"),
             (std::vector<double>{1, 0}));
    QCOMPARE(rewards({{"right", 3.0}, {"wrong", -1.0}}, {"5", "6"}, "#### 5"),
             (std::vector<double>{3, -1}));
  }

  void a_truth_without_number_makes_the_row_absent() {
    const Bench bench = judged("reward.numeric_equal", Json::object(), {"5", "5"}, {"five", "5"});
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({1, 0})));
    QCOMPARE(totals(bench), (std::vector<double>{0, 1}));
    QVERIFY(bench.context.failed_rows.at(0).find("five") != std::string::npos);
    Bench strict("reward.numeric_equal", Json::object());
    strict.connect("completions", {Value::of(answers_of({"5"}, {"five"}))});
    QCOMPARE(problem_of([&] { strict.fire(); }).code, std::string("row-failed"));
  }

  // ---- boxes ----

  void the_last_box_counts_and_braces_nest() {
    const auto inside = [](const char* text) {
      return std::string(last_boxed(text).value_or("(none)"));
    };
    QCOMPARE(inside("\\boxed{1} then \\boxed{2}"), std::string("2"));
    QCOMPARE(inside("\\boxed{\\frac{1}{\\sqrt{2}}} done"), std::string("\\frac{1}{\\sqrt{2}}"));
    QCOMPARE(inside("\\boxed{\\{1, 2\\}}"), std::string("\\{1, 2\\}"));
    QCOMPARE(inside("\\boxed{a\\}b}"), std::string("a\\}b"));
    QCOMPARE(inside("\\fbox{7}"), std::string("7"));
    QCOMPARE(inside("\\boxed {8}"), std::string("8"));
    QCOMPARE(inside("$\\boxed 9$"), std::string("9"));
    QCOMPARE(inside("\\boxed{}"), std::string(""));
    QCOMPARE(inside("\\boxed{1} then \\boxed{2"), std::string("(none)"));
    QCOMPARE(inside("\\boxed"), std::string("(none)"));
    QCOMPARE(inside("no box"), std::string("(none)"));
  }

  void boxes_are_compared_as_formulas_and_as_numbers() {
    const auto reward = [](const Json& params, const std::string& text, const std::string& truth) {
      return totals(judged("reward.boxed_answer", params, {text}, {truth}))[0];
    };
    const Json any = Json::object();
    QCOMPARE(reward(any, box("\\dfrac{1}{2}"), "\\frac{1}{2}"), 1.0);
    QCOMPARE(reward(any, box("0.5"), "\\frac{1}{2}"), 1.0);
    QCOMPARE(reward(any, box("1,000"), "1000"), 1.0);
    QCOMPARE(reward(any, box("50\\%"), "50"), 1.0);
    QCOMPARE(reward(any, box("12 \\text{ cm}"), "12\\text{cm}"), 1.0);
    QCOMPARE(reward(any, box("\\left(1, 2\\right)"), "(1,2)"), 1.0);
    QCOMPARE(reward(any, box("x \\leftarrow 2"), "x \\larrow 2"), 0.0);
    QCOMPARE(reward(any, box("90^\\circ"), "90"), 1.0);
    QCOMPARE(reward(any, box("3"), "the answer is \\boxed{3}"), 1.0);
    QCOMPARE(reward(any, box("3"), "4"), 0.0);
    QCOMPARE(reward({{"compare", "text"}}, box("0.5"), "\\frac{1}{2}"), 0.0);
    QCOMPARE(reward({{"missing", -1.0}}, "3", "3"), -1.0);
    QCOMPARE(reward({{"missing", -1.0}}, "\\boxed{3", "3"), -1.0);
    const Bench none = judged("reward.boxed_answer", any, {box("")}, {""});
    QVERIFY(none.out<Rewards>("rewards").absent.equal(flags({1})));
  }

  // ---- patterns ----

  void patterns_match_extract_and_compare() {
    const std::vector<std::string> text{"a: 4 b: 5", "a: 5", "none"};
    const std::vector<std::string> truth{"5", "5", "5"};
    const auto rewards = [&](Json params) {
      return totals(judged("reward.regex", params, text, truth));
    };
    QCOMPARE(rewards({{"pattern", "\\d"}}), (std::vector<double>{1, 1, 0}));
    QCOMPARE(rewards({{"pattern", "(\\d)"}, {"compare", "text"}}), (std::vector<double>{1, 1, 0}));
    QCOMPARE(
        rewards({{"pattern", "(\\d)"}, {"compare", "text"}, {"match", "first"}, {"missing", -1.0}}),
        (std::vector<double>{0, 1, -1}));
    QCOMPARE(
        rewards(
            {{"pattern", "(?<key>a): (?<value>\\d)"}, {"compare", "number"}, {"group", "value"}}),
        (std::vector<double>{0, 1, 0}));
    QCOMPARE(rewards({{"pattern", "NONE"}, {"ignore_case", true}}), (std::vector<double>{0, 0, 1}));
    QCOMPARE(rewards({{"pattern", "(x)?\\d"}}), (std::vector<double>{1, 1, 0}));
  }

  void a_wrong_pattern_names_its_position() {
    const auto problem = [](const Json& params) {
      return problem_of([&] { judged("reward.regex", params, {"x"}, {"x"}); });
    };
    const Problem open = problem({{"pattern", "ab(c"}});
    QCOMPARE(open.code, std::string("bad-pattern"));
    QVERIFY2(open.text.find("character 4") != std::string::npos, open.text.c_str());
    const Problem star = problem({{"pattern", "x**"}});
    QVERIFY2(star.text.find("character") != std::string::npos || star.code.empty(),
             star.text.c_str());
    QCOMPARE(problem({{"pattern", "(a)"}, {"group", "2"}, {"compare", "text"}}).code,
             std::string("bad-group"));
    QCOMPARE(problem({{"pattern", "(a)"}, {"group", "name"}, {"compare", "text"}}).code,
             std::string("bad-group"));
    QVERIFY(!problem(Json::object()).code.empty());
  }

  void a_catastrophic_pattern_is_given_up() {
    const auto begin = std::chrono::steady_clock::now();
    const Bench bench = judged("reward.regex", {{"pattern", "^(a+)+$"}},
                               {std::string(4000, 'a') + "b", "aaa"}, {"", ""});
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    QVERIFY2(seconds < 5, fmt::format("{} s", seconds).c_str());
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({1, 0})));
    QCOMPARE(totals(bench), (std::vector<double>{0, 1}));
    QVERIFY(bench.context.failed_rows.at(0).find("1000000 steps") != std::string::npos);
  }

  void broken_utf8_and_empty_matches_do_no_harm() {
    const Bench broken = judged("reward.regex", {{"pattern", "\\d+"}}, {"\xff\xfe 12 \xc3"}, {""});
    QCOMPARE(totals(broken), (std::vector<double>{1}));
    const Pattern empty("\\d*");
    const auto last = empty.last("\u00e41\u00e4");
    QVERIFY(last.has_value());
    QCOMPARE(last->begin, std::size_t{5});
    QCOMPARE(Pattern("a").last("").has_value(), false);
  }

  // ---- layouts and verdicts ----

  void layouts() {
    const auto is = [](const char* text, Layout layout) { return has_layout(text, layout); };
    const Layout strict = Layout::think_answer_strict;
    QVERIFY(is("<think>a</think><answer>b</answer>", strict));
    QVERIFY(!is("<think>a</think> <answer>b</answer>", strict));
    QVERIFY(!is("<think>a<think></think><answer>b</answer>", strict));
    QVERIFY(!is("<answer>b</answer><think>a</think>", strict));
    QVERIFY(!is("<think>a</think><answer>b", strict));
    QVERIFY(!is("", strict));
    QVERIFY(is("<think>a</think> so <answer>b</answer> end", Layout::think_answer));
    QVERIFY(!is(" <think>a</think><answer>b</answer>", Layout::think_answer));
    QVERIFY(!is("<think>a</think><answer>b</answer><answer>", Layout::think_answer));
    QVERIFY(is("x <answer>b</answer> y", Layout::answer_only));
    QVERIFY(!is("</answer><answer>", Layout::answer_only));
    const Layout code = Layout::reasoning_code;
    QVERIFY(is("<reasoning>w</reasoning>\n```python\nx = 1\n```", code));
    QVERIFY(!is("<reasoning>w</reasoning>\n```python\n\n```", code));
    QVERIFY(!is("<reasoning>w</reasoning>\n```cpp\nx\n```", code));
    QVERIFY(!is("<reasoning>w</reasoning>\n```python\nx", code));
  }

  void verdicts_are_looked_for_at_the_end() {
    const std::string a = "<answer>[[A]]</answer>";
    const std::string far = a + std::string(90, '.');
    const Bench bench =
        judged("reward.judge_verdict", Json::object(), {a, a, far, a + "\u00e4\u00e4"},
               {"model_a", "model_b", "model_a", "tie"});
    QCOMPARE(totals(bench), (std::vector<double>{1, -1, -1, 0}));
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({0, 0, 0, 1})));
    const Bench wide = judged("reward.judge_verdict", {{"tail", 200}}, {far}, {"model_a"});
    QCOMPARE(totals(wide), (std::vector<double>{1}));
    // 58 characters of two bytes each: counted in characters the verdict is still in the last 80.
    std::string umlauts = a;
    for (int i = 0; i < 58; ++i) umlauts += "\u00e4";
    QCOMPARE(totals(judged("reward.judge_verdict", Json::object(), {umlauts}, {"model_a"})),
             (std::vector<double>{1}));
    QVERIFY(!problem_of([] { Bench("reward.judge_verdict", {{"tail", 5}}); }).code.empty());
  }

  // ---- repetition and length ----

  void repetition_agrees_with_counting() {
    for (std::int64_t n = 1; n <= 4; ++n) {
      for (std::uint64_t seed = 0; seed < 20; ++seed) {
        std::vector<std::int64_t> tokens;
        for (std::uint64_t i = 0; i < 3 * seed; ++i) {
          tokens.push_back(static_cast<std::int64_t>(mix(seed, i) % 4) - 2);
        }
        std::vector<std::vector<std::int64_t>> grams;
        for (std::size_t i = 0; i + static_cast<std::size_t>(n) <= tokens.size(); ++i) {
          grams.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                             tokens.begin() + static_cast<std::ptrdiff_t>(i) + n);
        }
        const auto all = static_cast<double>(grams.size());
        std::sort(grams.begin(), grams.end());
        grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
        const double want = all == 0 ? 0 : 1 - static_cast<double>(grams.size()) / all;
        QVERIFY(near(repeated_share(tokens, n), want));
      }
    }
  }

  void repetition_looks_at_action_tokens_alone() {
    Completions c;
    c.tokens = ids({5, 5, 5, 7, 7, 7, 5, 5, 1, 2, 3, 0}).reshape({2, 6});
    c.kinds = ids({1, 1, 1, 2, 2, 2, 1, 1, 2, 2, 2, 0}).reshape({2, 6}).to(at::kChar);
    c.group = ids({0, 0});
    for (const bool threads : {false, true}) {
      Bench bench("reward.repetition", {{"ngram", 1}});
      bench.context.threads = threads;
      bench.connect("completions", {Value::of(c)});
      bench.fire();
      QVERIFY(near(totals(bench)[0], -2.0 / 3));
      QCOMPARE(totals(bench)[1], 0.0);
    }
    Bench wrong("reward.repetition", Json::object());
    wrong.connect("tokens", {Value::of(Values{ids({1, 2, 3})})});
    wrong.connect("lengths", {Value::of(Values{ids({1, 1})})});
    QCOMPARE(problem_of([&] { wrong.fire(); }).code, std::string("bad-shape"));
    QVERIFY(!problem_of([] { Bench("reward.repetition", {{"max_penalty", 1.0}}); }).code.empty());
  }

  void words_and_punctuation_are_counted_in_any_script() {
    const Pattern token = word_punctuation();
    QVERIFY(near(length_and_repetition("\u00e4\u00f6 \u4f60\u597d, na?!", token).length, 0.05));
    QCOMPARE(length_and_repetition("", token).distinct, 1.0);
    QCOMPARE(length_and_repetition("\xff", token).distinct, 1.0);
  }

  void wrong_answers_pay_for_being_short() {
    const auto penalty = [](std::vector<std::int64_t> order) {
      const std::vector<double> reward{1, 0, 1, 0, 0, 0};
      const std::vector<std::int64_t> length{10, 6, 8, 2, 1, 3}, group{7, 7, 7, 7, -1, -1};
      Bench bench("reward.length_harmony", Json::object());
      const at::Tensor at = ids(order);
      Rewards r;
      r.total = doubles(reward).index_select(0, at);
      r.group = ids(group).index_select(0, at);
      bench.connect("rewards", {Value::of(r)});
      bench.connect("lengths", {Value::of(Values{ids(length).index_select(0, at)})});
      bench.fire();
      return totals(bench, "penalty");
    };
    const std::vector<double> want = penalty({0, 1, 2, 3, 4, 5});
    QVERIFY(near(want[1], -1.0 / 12) && near(want[3], -13.0 / 36));
    QCOMPARE(want[4], 0.0);
    const std::vector<std::int64_t> order{5, 3, 1, 0, 4, 2};
    const std::vector<double> got = penalty(order);
    for (std::size_t i = 0; i < order.size(); ++i) {
      QCOMPARE(got[i], want[static_cast<std::size_t>(order[i])]);
    }
  }

  // ---- tool calls ----

  /// Values of ToolRL's own compute_score for "one value wrong", under its switches.
  void known_numbers_of_tool_calls() {
    std::string text = kCalls;
    text.replace(text.find("\"b\": 2"), 6, "\"b\": 3");
    const auto reward = [&](const Json& params) {
      return totals(judged("reward.tool_call", params, {text}, {kCalls}))[0];
    };
    QVERIFY(near(reward(Json::object()), 3));
    QVERIFY(near(reward({{"scale", "max1"}}), 5.0 / 3));
    QVERIFY(near(reward({{"match", "refined"}}), 3));
    QVERIFY(near(reward({{"match", "intermediate"}}), 2));
    QVERIFY(near(reward({{"match", "coarse"}}), -2));
    QVERIFY(near(reward({{"scale", "schedule"}}), 10.0 / 3));
    QVERIFY(near(reward({{"scale", "schedule"}, {"step", 150}}), 3));
    QVERIFY(near(reward({{"scale", "schedule"}, {"step", 5000}}), 3));
    QVERIFY(near(reward({{"scale", "two_stage"}, {"step", 29}}), 5.0 / 3));
    QVERIFY(near(reward({{"scale", "two_stage"}, {"step", 30}}), 2.5));
    QVERIFY(near(list_overlap({"a", "a", "b"}, {"a", "b", "c"}), 0.5));
    QVERIFY(near(list_overlap({}, {}), 1));
    QVERIFY(near(list_overlap({"a"}, {}), 0));
  }

  void schedules_follow_the_iteration() {
    Bench bench("reward.tool_call", {{"scale", "two_stage"}, {"step", 20}});
    bench.connect("completions", {Value::of(answers_of({kCalls}, {kCalls}))});
    bench.fire(9);
    QCOMPARE(totals(bench)[0], 2.0);
    bench.fire(10);
    QCOMPARE(totals(bench)[0], 3.5);
  }

  void values_compare_as_json() {
    const ToolCalls truth{
        Json::parse(R"({"name":"f","parameters":{"a":{"x":1,"y":[2]},"b":1.0}})")};
    const ToolCalls same{Json::parse(R"({"parameters":{"b":1,"a":{"y":[2],"x":1}},"name":"f"})")};
    const ToolCalls text{Json::parse(R"({"name":"f","parameters":{"a":{"x":1,"y":[2]},"b":"1"}})")};
    const RewardRange range{-3, 3};
    QCOMPARE(tool_correctness(truth, same, ToolMatch::partial, range).value(), 3.0);
    QVERIFY(near(tool_correctness(truth, text, ToolMatch::partial, range).value(), 1.5));
  }

  void what_a_model_writes_never_ends_the_run() {
    const std::string head = "<think>t</think>\n<tool_call>\n", tail = "\n</tool_call>";
    std::vector<std::string> bad{"[1, 2]",
                                 "\"text\"",
                                 "null",
                                 "{}",
                                 "{\"name\": \"add\"}",
                                 "{\"name\": \"add\", \"parameters\": 3}",
                                 "{\"name\": null, \"parameters\": {}}",
                                 "",
                                 "{\"name\": \"add\", \"parameters\": {\"a\": 1}",
                                 "\xff"};
    std::vector<std::string> texts;
    for (const std::string& call : bad) texts.push_back(head + call + tail);
    texts.push_back("</tool_call><tool_call>");
    const Bench bench = judged("reward.tool_call", Json::object(), texts,
                               std::vector<std::string>(texts.size(), kCalls));
    QVERIFY(bench.context.failed_rows.empty());
    for (const double score : totals(bench, "correctness")) QCOMPARE(score, -3.0);
  }

  void a_broken_true_call_makes_the_row_absent() {
    const Bench bench = judged(
        "reward.tool_call", Json::object(), {kCalls, kCalls},
        {"<tool_call>\n{broken\n</tool_call>", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>"});
    for (const char* port : {"rewards", "format", "correctness", "length"}) {
      QVERIFY(bench.out<Rewards>(port).absent.equal(flags({1, 1})));
    }
  }

  void the_length_of_the_thought_is_rounded_as_the_reference_does() {
    QCOMPARE(think_length("<think>" + std::string(2000, 'a') + " b</think>", 512), 0.0);
    std::string words;
    for (int i = 0; i < 64; ++i) words += "w ";
    QCOMPARE(think_length("<think>" + words + "</think>", 512), 0.12);  // 0.125 to even
    for (int i = 0; i < 600; ++i) words += "w ";
    QCOMPARE(think_length("<think>" + words + "</think>", 512), 1.0);
    QCOMPARE(think_length("no tags", 512), 0.0);
  }

  /// Every true answer of ToolRL's test set is a perfect answer to itself.
  void real_answers_are_right_answers_to_themselves() {
    std::ifstream file(REWARDLOOM_SOURCE_DIR "/../shared/data/toolrl/test.jsonl");
    if (!file) QSKIP("the data is not there");
    std::vector<std::string> truths;
    for (std::string line; std::getline(file, line);) {
      truths.push_back(Json::parse(line).at("reward_model").at("ground_truth").get<std::string>());
    }
    const Bench bench = judged("reward.tool_call", Json::object(), truths, truths);
    QVERIFY(truths.size() > 50);
    for (std::size_t i = 0; i < truths.size(); ++i) {
      if (bench.context.failed_rows.contains(static_cast<std::int64_t>(i))) continue;
      const bool calls = truths[i].find("<tool_call>") != std::string::npos;
      QVERIFY2(totals(bench, "correctness")[i] == (calls ? 3.0 : 0.0), truths[i].c_str());
    }
    QVERIFY2(
        bench.context.failed_rows.size() * 20 < truths.size(),
        fmt::format("{} of {} failed", bench.context.failed_rows.size(), truths.size()).c_str());
  }

  // ---- all of them ----

  void text_rules_keep_groups_and_order() {
    const std::vector<std::string> text{"7", "\\boxed{7}", "<answer>7</answer>", "eight"};
    const std::vector<std::size_t> order{2, 0, 3, 1};
    for (const auto& [type, params] :
         {std::pair{"reward.numeric_equal", Json::object()},
          {"reward.boxed_answer", Json::object()},
          {"reward.regex", Json{{"pattern", "(\\d)"}, {"compare", "number"}}},
          {"reward.format", Json{{"layout", "answer_only"}}}}) {
      const Bench plain = judged(type, params, text, {"7", "7", "7", "7"});
      std::vector<std::string> shuffled;
      for (const std::size_t i : order) shuffled.push_back(text[i]);
      const Bench moved = judged(type, params, shuffled, {"7", "7", "7", "7"});
      for (std::size_t i = 0; i < order.size(); ++i) {
        QCOMPARE(totals(moved)[i], totals(plain)[order[i]]);
      }
      QVERIFY(plain.out<Rewards>("rewards").group.equal(ids({0, 0, 1, 1})));
      QCOMPARE(plain.out<Rewards>("rewards").components[0].first, std::string(type));
    }
  }

  void true_answers_may_come_by_an_edge_of_their_own() {
    TextRows truth;
    truth.texts = {"7", "9"};
    Bench bench("reward.numeric_equal", Json::object());
    bench.connect("completions", {Value::of(answers_of({"7", "7"}))});
    bench.connect("truth", {Value::of(truth)});
    bench.fire();
    QCOMPARE(totals(bench), (std::vector<double>{1, 0}));
    truth.texts.pop_back();
    bench.connect("truth", {Value::of(truth)});
    QCOMPARE(problem_of([&] { bench.fire(); }).code, std::string("bad-shape"));
    Bench none("reward.numeric_equal", Json::object());
    none.connect("completions", {Value::of(answers_of({"7", "7"}))});
    QCOMPARE(problem_of([&] { none.fire(); }).code, std::string("no-references"));
  }
};

}  // namespace rewardloom

using rewardloom::TestRewardRules;
REWARDLOOM_TEST(TestRewardRules)
#include "test_reward_rules.moc"
