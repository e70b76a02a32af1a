// The symbolic world: what answers are worth, who is biased, and that the truth cannot be trained
// on.
#include <torch/types.h>

#include <algorithm>
#include <set>

#include "engine/graph/checker.h"
#include "nodes/world/symbols.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

Completions to_targets(const std::vector<std::string>& targets,
                       const std::vector<std::string>& texts,
                       const std::vector<std::int64_t>& group) {
  Completions c = answers_of(texts);
  c.prompt_text = targets;
  c.group = ids(group);
  return c;
}

Prompts tasks(const Json& params, std::int64_t iteration = 0, std::uint64_t seed = 0) {
  Bench bench("world.symbol_tasks", params);
  bench.fire(iteration, seed);
  return bench.out<Prompts>("prompts");
}

std::map<std::string, double> measures(const Completions& c, const Completions* against = nullptr) {
  Bench bench("world.symbol_measures", Json::object());
  bench.connect("completions", {Value::of(c)});
  if (against != nullptr) bench.connect("against", {Value::of(*against)});
  bench.fire();
  return bench.context.metrics;
}

/// Answers of 400 prompts, two each: the first is perfect, the second flatters and is worth less.
Completions honest_and_flattering() {
  std::vector<std::string> targets, texts;
  std::vector<std::int64_t> group;
  for (std::int64_t i = 0; i < 400; ++i) {
    for (const char* text : {"abcd", "apcp"}) {
      targets.emplace_back("abcd");
      texts.emplace_back(text);
      group.push_back(i);
    }
  }
  return to_targets(targets, texts, group);
}

Bench annotated(const Completions& c, const Json& params, std::uint64_t seed = 0) {
  Bench bench("world.symbol_annotator", params);
  bench.connect("completions", {Value::of(c)});
  bench.fire(0, seed);
  return bench;
}

/// GRPO on `reward`, an edge.
Json training_on(const std::string& reward) {
  Json graph = {{"rewardloom", 1}};
  Json& nodes = graph["nodes"];
  nodes["tasks"] = {{"type", "world.symbol_tasks"}};
  nodes["actor"] = {{"type", "text.policy"},
                    {"params", {{"init", "random"}, {"characters", "abcdefghijklmnop"}}}};
  nodes["rollout"] = {{"type", "sample.generate"},
                      {"inputs", {{"policy", "actor.policy"}, {"prompts", "tasks.prompts"}}},
                      {"params", {{"group_size", 4}}}};
  const Json answers = {{"completions", "rollout.completions"}};
  nodes["gold"] = {{"type", "world.symbol_gold"}, {"inputs", answers}};
  nodes["people"] = {{"type", "world.symbol_annotator"}, {"inputs", answers}};
  nodes["measure"] = {{"type", "world.symbol_measures"}, {"inputs", answers}};
  nodes["shaped"] = {{"type", "shape.transform"},
                     {"inputs", {{"rewards", reward}}},
                     {"params", {{"mode", "sigmoid"}}}};
  nodes["adv"] = {{"type", "advantage.group"}, {"inputs", {{"rewards", "shaped.rewards"}}}};
  nodes["clip"] = {{"type", "loss.policy_clip"}};
  nodes["update"] = {{"type", "optimize.policy"},
                     {"inputs",
                      {{"policy", "actor.policy"},
                       {"completions", "rollout.completions"},
                       {"advantages", "adv.advantages"},
                       {"terms", {"clip.term"}}}}};
  return graph;
}

std::set<std::string> errors(const Json& graph) {
  std::set<std::string> codes;
  for (const Problem& p : check(Document::parse(graph.dump()), all_nodes().catalogue()).problems) {
    if (p.severity == Severity::error) codes.insert(p.code);
  }
  return codes;
}

}  // namespace

class TestSymbolWorld : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void the_overlap_of_multisets_by_hand() {
    QCOMPARE(multiset_f1("abcd", "dcba"), 1.0);
    QCOMPARE(multiset_f1("abcd", "abxy"), 0.5);
    QCOMPARE(multiset_f1("aabc", "aaaa"), 0.5);  // both a are asked for, no more
    QCOMPARE(multiset_f1("abcd", "abcdpppp"), 8.0 / 12);
    QCOMPARE(multiset_f1("abcd", "a"), 0.4);
    QCOMPARE(multiset_f1("abcd", ""), 0.0);
    QCOMPARE(multiset_f1("", "abcd"), 0.0);
    QCOMPARE(multiset_f1("abcd", "efgh"), 0.0);
  }

  void costs_of_repetition_and_length_by_hand() {
    QCOMPARE(repeated_symbols("aabbb"), std::int64_t{3});
    QCOMPARE(repeated_symbols("abab"), std::int64_t{0});
    QCOMPARE(repeated_symbols(""), std::int64_t{0});
    // 24 times p: no match, 23 repetitions, 12 symbols too many.
    const SymbolReward worst = symbol_reward("abcd", std::string(24, 'p'), {});
    QCOMPARE(worst.f1, 0.0);
    QVERIFY(near(worst.repetition, -1.15));
    QVERIFY(near(worst.length, -0.24));
    QVERIFY(near(worst.total(), -1.39));
    // 13 symbols, 4 of 4 matched, one repetition, one too many; twice the scale.
    const SymbolReward r = symbol_reward("abcd", "abcdefghijkll", {.scale = 2});
    QVERIFY(near(r.total(), 2 * (8.0 / 17 - 0.05 - 0.02)));
    QCOMPARE(symbol_reward("abcd", "dabc", {}).total(), 1.0);
    const SymbolReward free =
        symbol_reward("abcd", "aaaa", {.repetition_cost = 0, .length_cost = 1, .free_length = 3});
    QVERIFY(near(free.total(), 0.25 - 1));
  }

  void the_gold_node_shows_its_parts() {
    Bench bench("world.symbol_gold", {{"scale", 10}});
    const Completions c =
        to_targets({"abcd", "abcd", "aabc"}, {"dcba", "ppppabababcdpp", ""}, {3, 3, 8});
    bench.connect("completions", {Value::of(c)});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QVERIFY(r.group.equal(ids({3, 3, 8})));
    QCOMPARE(r.components.size(), std::size_t{3});
    const std::vector<double> got = list(r.total);
    QVERIFY(near(got[0], 10));
    // 14 symbols, four matched, ppp and pp repeat four times, two symbols too many.
    QVERIFY(near(got[1], 10 * (8.0 / 18 - 0.2 - 0.04)));
    QCOMPARE(got[2], 0.0);
    at::Tensor sum = at::zeros({3}, at::kDouble);
    for (const auto& [name, part] : r.components) sum = sum + part;
    QVERIFY(at::allclose(sum, r.total));
  }

  void gold_needs_targets_and_texts() {
    const auto code = [](const Completions& c) {
      return code_of([&] {
        Bench bench("world.symbol_gold", Json::object());
        bench.connect("completions", {Value::of(c)});
        bench.fire();
      });
    };
    QCOMPARE(code(answers_of({"ab", "cd"})), std::string("no-prompts"));
    Completions ids_only = answers_of({"ab", "cd"});
    ids_only.text.clear();
    QCOMPARE(code(ids_only), std::string("no-text"));
  }

  void targets_are_sorted_multisets_without_what_is_excluded() {
    const Prompts p = tasks({{"batch", 500}});
    QCOMPARE(p.text.size(), std::size_t{500});
    std::set<char> seen;
    for (const std::string& text : p.text) {
      QCOMPARE(text.size(), std::size_t{4});
      QVERIFY(std::is_sorted(text.begin(), text.end()));
      seen.insert(text.begin(), text.end());
    }
    QCOMPARE(std::string(seen.begin(), seen.end()), std::string("abcdefghijklmno"));
    QCOMPARE(p.reference, p.text);
    QVERIFY(tasks({{"alphabet", "ba"}, {"size", 30}, {"batch", 1}}).text[0].starts_with("bb"));
  }

  void the_same_place_gives_the_same_prompts() {
    const Prompts p = tasks({{"batch", 8}}, 5, 1);
    QCOMPARE(tasks({{"batch", 8}}, 5, 1).text, p.text);
    QVERIFY(tasks({{"batch", 8}}, 6, 1).text != p.text);
    QVERIFY(tasks({{"batch", 8}}, 5, 2).text != p.text);
    QVERIFY(p.id != tasks({{"batch", 8}}, 6, 1).id);
    // A larger batch begins with the smaller one.
    Prompts more = tasks({{"batch", 20}}, 5, 1);
    more.text.resize(8);
    QCOMPARE(more.text, p.text);
  }

  void alphabets_that_are_none_are_refused() {
    for (const char* alphabet : {"", "a", "aa", "a b", "a\xc3\xa4"}) {
      QCOMPARE(code_of([&] { tasks({{"alphabet", alphabet}}); }), std::string("bad-alphabet"));
    }
    QCOMPARE(code_of([] {
               tasks({{"alphabet", "ab"}, {"excluded", "ba"}});
             }),
             std::string("bad-alphabet"));
  }

  void writers_match_as_well_as_their_skill() {
    const auto mean = [](double skill, double spread) {
      const MediocreOptions options{.skill = skill, .spread = spread};
      double sum = 0;
      for (std::uint64_t i = 0; i < 4000; ++i) {
        const std::string answer = mediocre_answer("abcd", options, Random({7, 1, 2}, i));
        if (answer.size() < 4 || answer.size() > 12) return -1.0;
        sum += multiset_f1("abcd", answer);
      }
      return sum / 4000;
    };
    QVERIFY(mean(0, 0) > 0 && mean(0, 0) < mean(0.3, 0) && mean(0.3, 0) < mean(1, 0));
    QVERIFY(mean(0.3, 0.3) > mean(0, 0) && mean(0.3, 0.3) < 0.6);
    // A perfect writer of four symbols makes no mistake; one without skill meets the target by
    // chance: a symbol of the answer is one of the target with probability 4/16.
    const MediocreOptions four{.skill = 1, .spread = 0, .min_length = 4, .max_length = 4};
    for (std::uint64_t i = 0; i < 50; ++i) {
      QCOMPARE(multiset_f1("aabc", mediocre_answer("aabc", four, Random({7, 1, 2}, i))), 1.0);
    }
    const MediocreOptions one{.skill = 0, .spread = 0, .min_length = 1, .max_length = 1};
    double hits = 0;
    for (std::uint64_t i = 0; i < 8000; ++i) {
      hits += multiset_f1("abcd", mediocre_answer("abcd", one, Random({8, 1, 2}, i))) > 0;
    }
    QVERIFY(std::abs(hits / 8000 - 0.25) < 0.02);
  }

  void answers_replace_the_references_alone() {
    const Prompts p = tasks({{"batch", 6}});
    const auto answered = [&](const Json& params, std::int64_t iteration) {
      Bench bench("world.symbol_answers", params);
      bench.connect("prompts", {Value::of(p)});
      bench.fire(iteration);
      return bench.out<Prompts>("prompts");
    };
    const Prompts a = answered(Json::object(), 0);
    QCOMPARE(a.text, p.text);
    QCOMPARE(a.id, p.id);
    QVERIFY(a.reference != p.reference);
    QCOMPARE(answered(Json::object(), 0).reference, a.reference);
    QVERIFY(answered(Json::object(), 1).reference != a.reference);
    QCOMPARE(code_of([&] {
               answered({{"min_length", 5}, {"max_length", 4}}, 0);
             }),
             std::string("param-range"));
  }

  void without_bias_people_say_the_truth() {
    const Completions c = honest_and_flattering();
    const Bench bench = annotated(c, {{"bias", 0}});
    Bench gold("world.symbol_gold", Json::object());
    gold.connect("completions", {Value::of(c)});
    gold.fire();
    QVERIFY(bench.out<Rewards>("rewards").total.equal(gold.out<Rewards>("rewards").total));
    QCOMPARE(bench.context.metrics.at("biased"), 0.0);
  }

  void the_bias_is_the_share_of_turned_labels() {
    const Completions c = honest_and_flattering();
    for (const double bias : {0.15, 1.0}) {
      Bench people = annotated(c, {{"bias", bias}}, 3);
      const at::Tensor total = people.out<Rewards>("rewards").total.reshape({-1, 2});
      const at::Tensor falls = total.select(1, 1).gt(total.select(1, 0));
      const double share = falls.to(at::kDouble).mean().item<double>();
      QCOMPARE(people.context.metrics.at("biased"), share);
      QCOMPARE(people.context.metrics.at("swayed"), share);
      QVERIFY2(std::abs(share - bias) <= 0.05, qPrintable(QString::number(share)));
      Bench labels("preference.from_rewards", Json::object());
      labels.connect("completions", {Value::of(c)});
      labels.connect("rewards", {people.value("rewards")});
      labels.fire();
      const std::vector<std::string>& chosen = labels.out<Preferences>("preferences").chosen;
      QCOMPARE(chosen.size(), std::size_t{400});
      QCOMPARE(static_cast<double>(std::count(chosen.begin(), chosen.end(), "apcp")) / 400, share);
    }
  }

  void flattery_decides_only_where_answers_differ_in_it() {
    const Completions c =
        to_targets({"ab", "ab", "cd", "cd"}, {"pa", "bp", "c", "pc"}, {0, 0, 1, 1});
    const auto metrics = annotated(c, {{"bias", 1}}).context.metrics;
    QCOMPARE(metrics.at("biased"), 1.0);
    QCOMPARE(metrics.at("swayed"), 0.5);
  }

  void who_is_biased_depends_on_the_prompt_alone() {
    Completions c = honest_and_flattering();
    const at::Tensor want = annotated(c, Json::object(), 4).out<Rewards>("rewards").total;
    QVERIFY(annotated(c, Json::object(), 4).out<Rewards>("rewards").total.equal(want));
    QVERIFY(!annotated(c, Json::object(), 5).out<Rewards>("rewards").total.equal(want));
    // The same rows backwards.
    std::reverse(c.text.begin(), c.text.end());
    c.group = c.group.flip(0);
    QVERIFY(annotated(c, Json::object(), 4).out<Rewards>("rewards").total.flip(0).equal(want));
    QCOMPARE(code_of([&] { annotated(c, {{"flattery", "pp"}}); }), std::string("bad-symbol"));
  }

  void measures_by_hand() {
    const Completions c = to_targets({"abcd", "abcd", "abce"}, {"abcd", "pp", "abcep"}, {0, 0, 1});
    const Completions other =
        to_targets({"abcd", "abcd", "abce", "abce"}, {"dcba", "xyz", "abce", "pppp"}, {0, 0, 1, 1});
    const auto m = measures(c, &other);
    QVERIFY(near(m.at("gold"), (1 - 0.05 + 8.0 / 9) / 3));
    QVERIFY(near(m.at("repetition_cost"), 0.05 / 3));
    QVERIFY(near(m.at("length"), 11.0 / 3));
    QVERIFY(near(m.at("flattery"), 3.0 / 11));
    // abcd ties and wins, pp (-0.05) loses twice, abcep loses and wins.
    QVERIFY(near(m.at("win_rate"), (0.5 + 1 + 0 + 0 + 0 + 1) / 6));
    QVERIFY(!measures(c).contains("win_rate"));
    QVERIFY(!measures(c).contains("proxy"));
  }

  void the_proxy_is_averaged_over_scored_rows() {
    Bench bench("world.symbol_measures", Json::object());
    bench.connect("completions",
                  {Value::of(to_targets({"ab", "ab", "ab"}, {"a", "b", "c"}, {0, 0, 0}))});
    bench.connect("proxy", {Value::of(rewards_of({1, 100, 4}, {}, {0, 1, 0}))});
    bench.fire();
    QCOMPARE(bench.context.metrics.at("proxy"), 2.5);
    bench.connect("proxy", {Value::of(rewards_of({1, 2}))});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("bad-shape"));
  }

  void answers_to_other_prompts_are_refused_by_what_they_answer() {
    const Completions c = to_targets({"abcd", "abce"}, {"a", "b"}, {0, 1});
    const Completions same_shape = to_targets({"abcd", "aaaa"}, {"a", "b"}, {0, 1});
    const Completions elsewhere = to_targets({"abcd", "abce"}, {"a", "b"}, {7, 8});
    QCOMPARE(code_of([&] { measures(c, &same_shape); }), std::string("other-rows"));
    QCOMPARE(code_of([&] { measures(c, &elsewhere); }), std::string("other-rows"));
  }

  void the_truth_may_be_measured_but_not_trained_on() {
    QCOMPARE(errors(training_on("people.rewards")), std::set<std::string>{});
    QVERIFY(errors(training_on("gold.rewards")).contains("gold-to-loss"));
    // Nor may labels made from it.
    Json graph = training_on("people.rewards");
    graph["nodes"]["labels"] = {
        {"type", "preference.from_rewards"},
        {"inputs", {{"completions", "rollout.completions"}, {"rewards", "gold.rewards"}}}};
    graph["nodes"]["scorer"] = {{"type", "model.reward"}, {"inputs", {{"policy", "actor.policy"}}}};
    graph["nodes"]["fit"] = {
        {"type", "optimize.reward_model"},
        {"inputs",
         {{"reward_model", "scorer.reward_model"}, {"preferences", "labels.preferences"}}}};
    QVERIFY(errors(graph).contains("gold-to-loss"));
    graph["nodes"]["labels"]["inputs"]["rewards"] = "people.rewards";
    QVERIFY(!errors(graph).contains("gold-to-loss"));
  }

  void shaping_in_the_wrong_place_or_without_references_is_refused_while_wiring() {
    Json graph = training_on("people.rewards");
    graph["nodes"]["shaped"]["params"]["mode"] = "par";
    QVERIFY(errors(graph).contains("options"));
    graph["nodes"]["shaped"]["params"]["mode"] = "lsc";
    QVERIFY(errors(graph).contains("options"));
    // References of another sampling: their number need not be that of the answers.
    graph["nodes"]["before"] = {
        {"type", "sample.generate"},
        {"inputs", {{"policy", "actor.policy"}, {"prompts", "tasks.prompts"}}},
        {"params", {{"group_size", 10}}}};
    graph["nodes"]["levels"] = {{"type", "world.symbol_annotator"},
                                {"inputs", {{"completions", "before.completions"}}}};
    graph["nodes"]["shaped"]["inputs"]["references"] = "levels.rewards";
    QCOMPARE(errors(graph), std::set<std::string>{});
    Json late = training_on("people.rewards");
    late["nodes"]["adv"]["inputs"]["rewards"] = "people.rewards";
    late["nodes"]["shaped"]["inputs"]["rewards"] = "adv.advantages";
    QVERIFY(errors(late).contains("type-mismatch"));
  }
};

}  // namespace rewardloom

using rewardloom::TestSymbolWorld;
REWARDLOOM_TEST(TestSymbolWorld)
#include "test_symbol_world.moc"
