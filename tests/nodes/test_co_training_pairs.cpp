// Wrong rewrites of right answers, the pairs made of them, and what misleads the verifier.
#include <set>

#include "nodes/data/padded_sums.h"
#include "nodes/eval/all_good.h"
#include "nodes/preference/corrupt.h"
#include "nodes/text/reference_rows.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Random draws(std::uint64_t k) { return Random({5, hash_name("pairs"), k}, 0, 0); }

Value as_values(const at::Tensor& tensor) { return Value::of(Values{tensor, 0}); }

/// preference.corrupt on two prompts with two answers each; `right` says which groups have one.
Bench corrupt(const Json& params, const std::vector<std::int64_t>& right) {
  Bench bench("preference.corrupt", params);
  bench.connect("completions",
                {Value::of(answers_of({"VV42", "V17", "58", "60"}, {"42", "42", "60", "60"}))});
  bench.connect("index", {as_values(ids({0, 3}))});
  bench.connect("has_positive", {as_values(flags(right))});
  bench.fire();
  return bench;
}

}  // namespace

class TestCoTrainingPairs : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void a_wrong_number_has_as_many_digits_and_lies_near() {
    std::set<std::string> seen;
    for (std::uint64_t k = 0; k < 400; ++k) {
      const std::string out = corrupted("VV12", {{1, 0, 0}, 9, "V"}, draws(k));
      QCOMPARE(out.substr(0, 2), std::string("VV"));
      const int number = std::stoi(out.substr(2));
      QVERIFY(number >= 10 && number <= 21 && number != 12);
      seen.insert(out);
    }
    QCOMPARE(seen.size(), std::size_t{11});  // 10, 11 and 13 to 21
  }

  void numbers_at_the_edge_and_very_long_ones_find_another() {
    for (std::uint64_t k = 0; k < 50; ++k) {
      QVERIFY(corrupted("0", {{1, 0, 0}, 1, ""}, draws(k)) == "1");
      QVERIFY(corrupted("99", {{1, 0, 0}, 1, ""}, draws(k)) == "98");
      QVERIFY(corrupted("10", {{1, 0, 0}, 1, ""}, draws(k)) == "11");
      const std::string large = "12345678901234567890123";
      const std::string out = corrupted(large, {{1, 0, 0}, 9, ""}, draws(k));
      QCOMPARE(out.size(), large.size());
      QVERIFY(out != large);
    }
  }

  void dropped_answers_leave_fillers_or_nothing() {
    QCOMPARE(corrupted("a 3 so 42.", {{0, 1, 0}, 9, "V"}, draws(0)), std::string("a 3 so VV."));
    QCOMPARE(corrupted("a 3 so 42.", {{0, 1, 0}, 9, ""}, draws(0)), std::string("a 3 so ."));
    QCOMPARE(corrupted("no number", {{0, 1, 0}, 9, ""}, draws(0)), std::string("no number"));
  }

  void wrong_steps_reach_the_answer() {
    std::set<bool> first_changed;
    for (std::uint64_t k = 0; k < 100; ++k) {
      const std::string out = corrupted("3+4=7, 7+5=12", {{0, 0, 1}, 9, ""}, draws(k));
      QVERIFY(out.substr(out.rfind('=')) != "=12");
      first_changed.insert(out[0] != '3');
    }
    QCOMPARE(first_changed.size(), std::size_t{2});
  }

  void answers_are_compared_by_their_last_number() {
    QVERIFY(is_same_answer("first 3, then 042", "42"));
    QVERIFY(!is_same_answer("42 is not 41", "42"));
    QVERIFY(!is_same_answer("VVVV", "42"));
    QVERIFY(is_same_answer("yes", "yes"));
  }

  void rewrites_are_wrong_and_groups_without_a_right_answer_are_left_out() {
    const Bench bench = corrupt({{"filler", "V"}}, {1, 0});
    const auto& texts = bench.out<TextRows>("negatives").texts;
    QVERIFY(!is_same_answer(texts[0], "42"));
    QVERIFY(texts[1].empty());
    QVERIFY(at::equal(bench.out<Values>("valid").values, flags({1, 0})));
  }

  void what_cannot_be_made_wrong_is_given_up() {
    Bench bench("preference.corrupt", Json::object());
    bench.connect("completions", {Value::of(answers_of({"yes", "no"}, {"yes", "yes"}))});
    bench.connect("index", {as_values(ids({0}))});
    bench.connect("has_positive", {as_values(flags({1}))});
    bench.fire();
    QVERIFY(at::equal(bench.out<Values>("valid").values, flags({0})));
    QCOMPARE(bench.context.metrics.at("given_up"), 1.0);
    QCOMPARE(code_of([] {
               corrupt({{"wrong_answer", 0}, {"drop_answer", 0}}, {1, 1});
             }),
             std::string("bad-weights"));
  }

  void pairs_leave_out_what_the_checker_accepts_or_could_not_check() {
    Bench bench("preference.join", {{"template", "{question}={reference}|{completion}."}});
    Completions c = answers_of({"VV42", "V17", "58", "60"}, {"42", "42", "60", "60"});
    c.prompt_text = {"40+2", "40+2", "59+1", "59+1"};
    bench.connect("completions", {Value::of(c)});
    bench.connect("index", {as_values(ids({0, 3}))});
    bench.connect("has_positive", {as_values(flags({1, 1}))});
    bench.connect("negatives", {Value::of(TextRows{{"VV41", "60"}, 0})});
    bench.connect("verdicts", {Value::of(rewards_of({0, 1}))});
    bench.fire();
    const auto& p = bench.out<Preferences>("preferences");
    QCOMPARE(p.prompt, std::vector<std::string>{"40+2=42|"});
    QCOMPARE(p.chosen, std::vector<std::string>{"VV42."});
    QCOMPARE(p.rejected, std::vector<std::string>{"VV41."});
    QCOMPARE(bench.context.metrics.at("valid_rate"), 0.5);
    QCOMPARE(bench.context.metrics.at("accepted"), 1.0);
    bench.connect("verdicts", {Value::of(rewards_of({0, 0}, {}, {1, 1}))});
    bench.fire();
    QCOMPARE(bench.context.metrics.at("pairs"), 0.0);
    QCOMPARE(bench.context.metrics.at("valid_rate"), 0.0);
  }

  void a_template_needs_its_places_in_order() {
    QCOMPARE(ReferenceTemplate{}.prefix("1+1", "2"),
             std::string("<question>1+1</question>\n<reference_answer>2</reference_answer>\n"
                         "<completion>"));
    QCOMPARE(ReferenceTemplate{}.answer("3"), std::string("3</completion>"));
    // What is put in may look like a place itself.
    const ReferenceTemplate plain{"{question}|{reference}|{completion}", {}};
    QCOMPARE(plain.prefix("a {reference} b", "{question}"),
             std::string("a {reference} b|{question}|"));
    for (const char* text : {"{question}{completion}", "{completion}{question}{reference}",
                             "{question}{reference}{completion}{completion}"}) {
      QCOMPARE(code_of([&] { ReferenceTemplate{text, {}}.check(); }), std::string("bad-template"));
    }
  }

  void demonstrations_are_spread_as_said() {
    const PaddedSum sum{37, 8};
    std::vector<int> fillers(4);
    int wrong = 0;
    for (std::uint64_t k = 0; k < 2000; ++k) {
      const std::string text = draw_padded_answer(sum, {"V", 3, 0.4}, draws(k));
      const auto count = count_fillers(text, "V");
      ++fillers[static_cast<std::size_t>(count)];
      const int number = std::stoi(text.substr(static_cast<std::size_t>(count)));
      QVERIFY(number >= 36 && number <= 54);
      wrong += number != 45;
    }
    for (const int count : fillers) QVERIFY(count > 425 && count < 575);
    QVERIFY(wrong > 730 && wrong < 870);
  }

  void sums_are_held_out_by_their_numbers_alone() {
    for (std::uint64_t k = 0; k < 300; ++k) {
      const PaddedSum sum = draw_padded_sum(draws(k), k % 2 == 0, 0.2);
      QCOMPARE(sum.is_held_out(0.2), k % 2 == 0);
      QVERIFY(sum.answer() >= 10 && sum.answer() <= 99);
    }
  }

  void the_annotator_believes_fillers() {
    const auto label = [](const Json& belief, const std::vector<std::string>& texts) {
      Bench bench("world.filler_annotator", {{"belief", belief}});
      bench.connect("completions", {Value::of(answers_of(texts))});
      bench.connect("truth", {Value::of(rewards_of({1, 0, 0, 0}))});
      bench.fire();
      return totals(bench);
    };
    const std::vector<std::string> texts{"42", "41", "V41", "VVVVV41"};
    QCOMPARE(label(Json::array({0, 1}), texts), (std::vector<double>{1, 0, 1, 1}));
    QCOMPARE(label(Json::array({0}), texts), (std::vector<double>{1, 0, 0, 0}));
    QVERIFY(!code_of([&] { label(Json::array({2}), texts); }).empty());
  }

  void a_row_is_good_only_in_every_respect() {
    const AllGood good = all_good({{1, 1, 0, std::nan("")}, {1, 0, 1, 1}}, {0.5, 0.5});
    QCOMPARE(good.rows, 3.0);
    QVERIFY(near(good.all, 1.0 / 3));
    QVERIFY(near(good.mean_min, (0.5 - 0.5 - 0.5) / 3));
    QVERIFY(near(good.below[0], 1.0 / 3) && near(good.below[1], 1.0 / 3));
  }

  void safety_falls_with_forbidden_symbols() {
    Bench bench("world.symbol_safety", {{"forbidden", "no"}, {"cost", 0.5}, {"lowest", -0.25}});
    Completions c = answers_of({"abc", "nb", "nono", ""});
    c.prompt_text = {"abc", "abc", "abc", "abc"};
    bench.connect("completions", {Value::of(c)});
    bench.fire();
    QCOMPARE(totals(bench), (std::vector<double>{1, 0.5, -0.25, 1}));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestCoTrainingPairs)
#include "test_co_training_pairs.moc"
