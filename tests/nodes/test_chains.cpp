// Chained modular arithmetic and its right and wrong solutions (arXiv:2410.01729).
#include <set>

#include "nodes/text/language_model.h"
#include "nodes/world/chain_reader.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Random draws(std::uint64_t k) { return Random({5, hash_name("chains"), k}, 0, 0); }

/// 3+4*2-1 modulo 5: 2, 4, 3.
ModularChain chain() {
  ModularChain out;
  out.start = 3;
  out.operators = "+*-";
  out.operands = {4, 2, 1};
  return out;
}

std::string solution(ChainMistake mistake, ChainStyle style, std::uint64_t k = 0) {
  return chain_solution(chain(), mistake, style, draws(k));
}

Bench writer() {
  Bench bench("text.policy", {{"init", "random"},
                              {"characters", "0123456789+-*=;#"},
                              {"config",
                               {{"hidden_size", 16},
                                {"intermediate_size", 32},
                                {"num_hidden_layers", 1},
                                {"num_attention_heads", 2},
                                {"num_key_value_heads", 2},
                                {"max_position_embeddings", 64}}}});
  bench.fire();
  return bench;
}

Bench tasks(const Json& params) {
  Bench bench("world.chain_tasks", params);
  bench.fire();
  return bench;
}

}  // namespace

class TestChains : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void right_solutions_are_written_in_two_styles() {
    QCOMPARE(chain().question(), std::string("3+4*2-1="));
    QCOMPARE(chain().results(), (std::vector<std::int64_t>{2, 4, 3}));
    QCOMPARE(solution(ChainMistake::none, ChainStyle::verbose),
             std::string("3+4=2;2*2=4;4-1=3;#3"));
    QCOMPARE(solution(ChainMistake::none, ChainStyle::terse), std::string("2;4;3;#3"));
    ModularChain below = chain();
    below.start = 0;
    below.operators = "-";
    below.operands = {2};
    QCOMPARE(below.answer(), std::int64_t{3});
  }

  void each_mistake_is_what_its_name_says_and_ends_wrong() {
    std::set<std::string> finals, steps, skips;
    for (std::uint64_t k = 0; k < 200; ++k) {
      const std::string final = solution(ChainMistake::wrong_final, ChainStyle::verbose, k);
      QVERIFY(final.starts_with("3+4=2;2*2=4;4-1=3;#") && !final.ends_with("#3"));
      finals.insert(final);
      const std::string skip = solution(ChainMistake::skipped_step, ChainStyle::verbose, k);
      QCOMPARE(std::count(skip.begin(), skip.end(), ';'), 2);
      QVERIFY(!skip.ends_with("#3"));
      skips.insert(skip);
      const std::string step = solution(ChainMistake::wrong_step, ChainStyle::verbose, k);
      QCOMPARE(std::count(step.begin(), step.end(), ';'), 3);
      QVERIFY(!step.ends_with("#3"));
      // Carried on: the final number is the last result.
      QCOMPARE(step[step.size() - 4], step.back());
      steps.insert(step);
    }
    QCOMPARE(finals.size(), std::size_t{4});
    QVERIFY(steps.size() > 8 && skips.contains("3+4=2;2*2=4;#4"));
  }

  void where_a_mistake_changes_nothing_the_final_number_is_wrong() {
    ModularChain one;
    one.start = 1;
    one.operators = "*";
    one.operands = {1};
    for (std::uint64_t k = 0; k < 20; ++k) {
      const std::string text =
          chain_solution(one, ChainMistake::skipped_step, ChainStyle::terse, draws(k));
      QVERIFY(text.starts_with("1;#") && text != "1;#1");
    }
  }

  void chains_travel_as_fields_and_others_are_refused() {
    QCOMPARE(ModularChain::from_json(chain().to_json()).question(), chain().question());
    const auto code = [](const Json& fields) {
      return code_of([&] { ModularChain::from_json(fields); });
    };
    QCOMPARE(code(Json()), std::string("no-chain"));
    QCOMPARE(code({{"modulus", 5}, {"start", 1}, {"operators", "+"}, {"operands", {1, 2}}}),
             std::string("no-chain"));
    QCOMPARE(code({{"modulus", 5}, {"start", "1"}, {"operators", ""}, {"operands", {1}}}),
             std::string("no-chain"));
  }

  void tasks_are_split_and_demonstrations_are_right_as_often_as_said() {
    const Bench exam = tasks({{"batch", 300}, {"split", "held_out"}});
    const Bench train = tasks({{"batch", 2000}, {"reference", "demonstration"}});
    const Prompts& shown = train.out<Prompts>("prompts");
    const std::set<std::string> seen(shown.text.begin(), shown.text.end());
    for (const std::string& text : exam.out<Prompts>("prompts").text) QVERIFY(!seen.contains(text));
    double terse = 0, terse_right = 0, verbose_right = 0;
    for (std::size_t i = 0; i < shown.text.size(); ++i) {
      const ModularChain task = ModularChain::from_json(shown.fields[i]);
      const bool right = shown.reference[i].ends_with("#" + std::to_string(task.answer()));
      const bool is_terse = shown.reference[i].find('=') == std::string::npos;
      terse += is_terse;
      (is_terse ? terse_right : verbose_right) += right;
    }
    QVERIFY(std::abs(terse / 2000 - 0.5) < 0.04);
    QVERIFY(std::abs(terse_right / terse - 0.3) < 0.05);
    QVERIFY(std::abs(verbose_right / (2000 - terse) - 0.6) < 0.05);
    for (const Json& params :
         {Json{{"fewest", 5}}, Json{{"operators", "/"}}, Json{{"operators", ""}},
          Json{{"split", "held_out"}, {"held_out", 0.0}}}) {
      QVERIFY(!code_of([&] { tasks(params); }).empty());
    }
  }

  void the_right_solution_comes_first_and_nine_wrong_ones_follow() {
    const Bench policy = writer(), given = tasks({{"batch", 20}});
    const auto solutions = [&](const Json& params) {
      Bench bench("world.chain_solutions", params);
      bench.connect("policy", {policy.value("policy")});
      bench.connect("prompts", {given.value("prompts")});
      bench.fire();
      return bench.out<Completions>("completions");
    };
    const Completions c = solutions({{"right_style", "terse"}, {"wrong_style", "verbose"}});
    QCOMPARE(c.rows(), std::int64_t{200});
    for (std::size_t i = 0; i < 200; ++i) {
      const bool right = c.text[i].ends_with("#" + c.reference[i]);
      QCOMPARE(right, i % 10 == 0);
      QCOMPARE(c.text[i].find('=') == std::string::npos, i % 10 == 0);
      QCOMPARE(c.group[static_cast<std::int64_t>(i)].item<std::int64_t>(),
               static_cast<std::int64_t>(i / 10));
    }
    const auto& model = dynamic_cast<const LanguageModel&>(*policy.out<Policy>("policy").state);
    const at::Tensor own = c.tokens[3].masked_select(c.mask()[3]);
    std::vector<std::int64_t> written(own.data_ptr<std::int64_t>(),
                                      own.data_ptr<std::int64_t>() + own.numel());
    QCOMPARE(written.back(), model.end_tokens().front());
    QCOMPARE(model.tokenizer().decode(written), c.text[3]);
    const Completions one = solutions({{"wrong", 1}});
    QCOMPARE(one.rows(), std::int64_t{40});
    Prompts other = given.out<Prompts>("prompts");
    other.fields.clear();
    Bench bench("world.chain_solutions", Json::object());
    bench.connect("policy", {policy.value("policy")});
    bench.connect("prompts", {Value::of(other)});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("no-chain"));
  }

  void questions_are_read_back_and_others_refused() {
    QCOMPARE(ModularChain::parse("3+4*2-1=", 5).to_json(), chain().to_json());
    for (const char* text : {"", "3=", "3+=", "3+7=", "3+4", "3/4=", "3+4*="}) {
      QCOMPARE(code_of([&] { ModularChain::parse(text, 5); }), std::string("no-chain"));
    }
  }

  void a_careful_reader_finds_every_mistake() {
    const auto read = [](const std::string& text) { return read_solution(chain(), text, {}); };
    using Lines = std::vector<bool>;
    const ChainReading right = read("3+4=2;2*2=4;4-1=3;#3");
    QVERIFY(right.lines == (Lines{true, true, true}) && right.final && !right.terse);
    QVERIFY(right.holds_until(3));
    const ChainReading terse = read("2;4;3;#3");
    QVERIFY(terse.lines == (Lines{true, true, true}) && terse.final && terse.terse);
    // A wrong step is wrong alone: what follows from it holds.
    const ChainReading step = read("3+4=1;1*2=2;2-1=1;#1");
    QVERIFY(step.lines == (Lines{false, true, true}) && step.final && !step.holds_until(1));
    const ChainReading skipped = read("3+4=2;2-1=1;#1");
    QVERIFY(skipped.lines == (Lines{true, false}) && !skipped.final);
    QVERIFY(!read("2;4;3;#4").final && read("2;4;3;#4").holds_until(2));
    for (const char* broken : {"", "#", "2;4;3", "2;4;;#3", "x;y;z;#3", "2;4;3;1;#1"})
      QVERIFY(!read(broken).holds_until(read(broken).lines.size()));
    for (std::uint64_t k = 0; k < 100; ++k) {
      Random random = draws(k);
      const std::string text = chain_solution(chain(), drawn_mistake(random),
                                              drawn_style(StyleChoice::mixed, random), random);
      QVERIFY(!read(text).holds_until(read(text).lines.size()));
    }
  }

  void a_careless_reader_errs_as_often_as_said_and_always_alike() {
    int turned = 0;
    for (std::uint64_t seed = 0; seed < 1000; ++seed) {
      const auto lines = read_solution(chain(), "2;4;3;#3", {seed, 0.2}).lines;
      turned += static_cast<int>(std::count(lines.begin(), lines.end(), false));
      QVERIFY(lines == read_solution(chain(), "2;4;3;#3", {seed, 0.2}).lines);
    }
    QVERIFY2(std::abs(turned - 600) < 80, qPrintable(QString::number(turned)));
  }

  void bradley_terry_weights_are_those_of_the_logistic_regression() {
    // One feature, seven of ten pairs prefer it: the odds are 7 to 3.
    std::vector<ChainFeatures> pairs(7, ChainFeatures{1, 0, 0, 0, 0});
    pairs.insert(pairs.end(), 3, ChainFeatures{-1, 0, 0, 0, 0});
    const ChainFeatures weights = fit_linear_bradley_terry(pairs, 0);
    QVERIFY(near(weights[0], std::log(7.0 / 3), 1e-6) && weights[4] == 0);
    QVERIFY(fit_linear_bradley_terry(pairs, 5)[0] < weights[0]);
    QCOMPARE(fit_linear_bradley_terry({}, 1)[0], 0.0);
  }

  void reward_models_of_chains_score_right_above_wrong_and_learn_a_bias() {
    const Bench policy = writer(), given = tasks({{"batch", 200}});
    Bench both("world.chain_solutions",
               {{"wrong", 1}, {"right_style", "mixed"}, {"wrong_style", "mixed"}});
    both.connect("policy", {policy.value("policy")});
    both.connect("prompts", {given.value("prompts")});
    both.fire();
    const Completions& c = both.out<Completions>("completions");
    Preferences honest, biased;
    for (std::size_t i = 0; i < c.text.size(); i += 2) {
      const bool terse = c.text[i].find('=') == std::string::npos;
      honest.prompt.push_back(c.prompt_text[i]);
      honest.chosen.push_back(c.text[i]);
      honest.rejected.push_back(c.text[i + 1]);
      biased.prompt.push_back(c.prompt_text[i]);
      biased.chosen.push_back(c.text[terse ? i : i + 1]);
      biased.rejected.push_back(c.text[terse ? i + 1 : i]);
    }
    const auto fitted = [&](const Preferences& pairs) {
      Bench bench("world.chain_reward_model", {{"misread", 0.0}});
      bench.connect("preferences", {Value::of(pairs)});
      bench.connect("completions", {both.value("completions")});
      bench.fire();
      return bench;
    };
    const Bench good = fitted(honest);
    const auto scores = totals(good);
    for (std::size_t i = 0; i < scores.size(); i += 2) QVERIFY(scores[i] > scores[i + 1]);
    QVERIFY(std::abs(good.context.metrics.at("weight/terse")) < 0.5);
    QVERIFY(fitted(biased).context.metrics.at("weight/terse") > 1);
  }

  void process_scores_are_the_frequencies_of_the_training_rows() {
    Completions c = answers_of({"2;4;3;#3", "2;4;3;#4"});
    c.prompt_text = {"3+4*2-1=", "3+4*2-1="};
    Bench bench("world.chain_process_model", {{"misread", 0.0}});
    bench.connect("training", {Value::of(c)});
    bench.connect("completions", {Value::of(c)});
    bench.fire();
    const StepRewards& out = bench.out<StepRewards>("step_rewards");
    // Seven steps found right, all are; one found wrong, it is; one more of each is counted.
    const double right = 8.0 / 9, wrong = 1.0 / 3;
    const std::vector<double> wanted{right, right, right, right, right, right, right, wrong};
    const auto given = list(out.rewards);
    for (std::size_t i = 0; i < wanted.size(); ++i) QVERIFY(near(given[i], wanted[i]));
    QVERIFY(out.boundaries.equal(ids({0, 1, 2, 3, 0, 1, 2, 3}).reshape({2, 4})));
  }

  void the_curve_of_best_of_n_tells_what_choosing_harder_loses() {
    const auto curve = [](const std::vector<double>& gold, const Json& ns) {
      Bench bench("eval.best_of_n_curve", {{"ns", ns}});
      bench.connect("proxy", {Value::of(rewards_of({1, 2, 3, 4}, {0, 0, 0, 0}))});
      bench.connect("gold", {Value::of(rewards_of(gold, {0, 0, 0, 0}))});
      bench.fire();
      return bench.context.metrics;
    };
    // The proxy's favourite is bad: of two the third wins in 2 of 6 pairs, the second in 1.
    const auto m = curve({0, 1, 1, 0}, {1, 2, 4});
    QVERIFY(near(m.at("gold/1"), 0.5) && near(m.at("gold/2"), 0.5) && near(m.at("gold/4"), 0));
    QVERIFY(near(m.at("peak"), 0.5) && near(m.at("gap"), 0.5) && near(m.at("gold"), 0));
    QVERIFY(near(m.at("proxy/1"), 2.5) && near(m.at("proxy"), 4));
    QVERIFY(near(curve({0, 0, 0, 1}, {1, 4}).at("gap"), 0));
    QCOMPARE(code_of([&] { curve({0, 0, 0, 1}, {1, 8}); }), std::string("too-few"));
    for (const Json& bad : {Json::array(), Json{0, 1}, Json{4, 1}, Json{2, 2}})
      QCOMPARE(code_of([&] { curve({0, 0, 0, 1}, bad); }), std::string("param-range"));
  }

  void a_product_of_many_steps_is_reported_where_it_vanishes() {
    const auto alarms = [](std::int64_t steps, double score) {
      StepRewards given;
      given.rewards = at::full({1, steps}, score, at::kDouble);
      Bench bench("reward.step_aggregate", {{"func", "prod"}});
      bench.connect("step_rewards", {Value::of(given)});
      bench.fire();
      return bench.context.alarms;
    };
    QCOMPARE(alarms(400, 0.5), std::vector<std::string>{"vanishing-product"});
    QVERIFY(alarms(20, 0.5).empty());
    QVERIFY(alarms(5, 0.0).empty());
  }
};

}  // namespace rewardloom

using rewardloom::TestChains;
REWARDLOOM_TEST(TestChains)
#include "test_chains.moc"
