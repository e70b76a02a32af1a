// Pools of programs and suites: what is kept, what leaves, who wrote it, and what a resumed run
// finds.
#include <algorithm>
#include <set>

#include "nodes/code/pool_params.h"
#include "nodes/code/row_pool.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Random pool_draws(std::uint64_t k) { return Random({4, hash_name("pool"), k}); }

std::vector<PooledRow> written(const std::vector<std::string>& texts,
                               const std::vector<double>& scores = {}, std::int64_t version = 0) {
  std::vector<PooledRow> out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    out.push_back(
        {texts[i], scores.empty() ? 0 : scores[i], version, 0, static_cast<std::int64_t>(i)});
  }
  return out;
}

std::vector<std::string> kept(const RowPool& pool, const std::string& task, std::int64_t count) {
  std::vector<std::string> out;
  for (const PooledRow& row : pool.draw(task, count, PoolOrder::newest, pool_draws(0))) {
    out.push_back(row.content.get<std::string>());
  }
  return out;
}

using Texts = std::vector<std::string>;

/// Two programs for each of two tasks, `word` in each.
Completions programs_by(const std::string& word, std::int64_t version, std::int64_t batch) {
  Completions c = answers_of({word + "1", word + "2", word + "3", word + "4"});
  c.prompt = ids({0, 0, 1, 1});
  c.prompt_text = {"a", "a", "b", "b"};
  c.weight_version = version;
  c.batch = batch;
  return c;
}

Prompts asked(const Texts& tasks) {
  Prompts out;
  out.text = tasks;
  return out;
}

void offer(Bench& bench, const Completions& c) {
  bench.connect("programs", {Value::of(TextRows{c.text, c.batch})});
  bench.connect("completions", {Value::of(c)});
}

Texts given(const Bench& bench) { return bench.out<TextRows>("programs").texts; }

}  // namespace

class TestPools : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void the_oldest_row_leaves() {
    RowPool pool;
    const PoolOptions options{.per_task = 3};
    pool.offer("t", written({"a", "b"}), 0, options);
    const PoolChange change = pool.offer("t", written({"c", "d"}), 1, options);
    QCOMPARE(change.added, std::int64_t{2});
    QCOMPARE(change.replaced, std::int64_t{1});
    QCOMPARE(kept(pool, "t", 3), (Texts{"b", "c", "d"}));
    QCOMPARE(kept(pool, "t", 2), (Texts{"c", "d"}));
    QCOMPARE(pool.size(), std::int64_t{3});
  }

  void the_worst_row_leaves_unless_the_new_one_is_worse() {
    RowPool pool;
    const PoolOptions options{.per_task = 2, .replace = PoolReplace::worst};
    pool.offer("t", written({"good", "bad"}, {0.9, 0.1}), 0, options);
    QCOMPARE(pool.offer("t", written({"worse"}, {0.0}), 1, options).refused, std::int64_t{1});
    QCOMPARE(kept(pool, "t", 2), (Texts{"good", "bad"}));
    pool.offer("t", written({"better"}, {0.5}), 2, options);
    QCOMPARE(kept(pool, "t", 2), (Texts{"good", "better"}));
    // Of equally bad ones the older leaves.
    pool.offer("t", written({"equal"}, {0.5}), 3, options);
    QCOMPARE(kept(pool, "t", 2), (Texts{"good", "equal"}));
  }

  void rows_are_taken_in_when_the_old_ones_are_due() {
    RowPool pool;
    const PoolOptions options{.per_task = 1, .refresh = 3};
    for (std::int64_t i = 0; i < 7; ++i) {
      const PoolChange change = pool.offer("t", written({std::to_string(i)}), i, options);
      QCOMPARE(change.added, std::int64_t{i % 3 == 0});
    }
    QCOMPARE(kept(pool, "t", 1), (Texts{"6"}));
  }

  void without_refresh_only_free_places_are_filled() {
    RowPool pool;
    const PoolOptions options{.per_task = 3, .refresh = 0};
    pool.offer("t", written({"a", "b"}), 0, options);
    const PoolChange change = pool.offer("t", written({"c", "d"}), 5, options);
    QCOMPARE(change.added, std::int64_t{1});
    QCOMPARE(change.refused, std::int64_t{1});
    QCOMPARE(kept(pool, "t", 3), (Texts{"a", "b", "c"}));
  }

  void the_capacity_holds_over_all_tasks() {
    RowPool pool;
    const PoolOptions options{.per_task = 4, .capacity = 5};
    pool.offer("a", written({"1", "2", "3"}), 0, options);
    pool.offer("b", written({"4", "5", "6"}), 1, options);
    QCOMPARE(pool.size(), std::int64_t{5});
    QCOMPARE(kept(pool, "a", 2), (Texts{"2", "3"}));
    pool.offer("c", written({"7", "8", "9", "10"}), 2, options);
    QVERIFY(!pool.holds("a"));
    QCOMPARE(kept(pool, "b", 1), (Texts{"6"}));
  }

  void drawing_repeats_no_row_before_all_were_given_and_depends_on_the_key_alone() {
    RowPool pool;
    const PoolOptions options{.per_task = 8};
    pool.offer("t", written({"a", "b", "c", "d", "e"}), 0, options);
    std::set<Texts> orders;
    for (std::uint64_t k = 0; k < 40; ++k) {
      Texts five, again;
      for (const PooledRow& row : pool.draw("t", 5, PoolOrder::random, pool_draws(k))) {
        five.push_back(row.content.get<std::string>());
      }
      for (const PooledRow& row : pool.draw("t", 5, PoolOrder::random, pool_draws(k))) {
        again.push_back(row.content.get<std::string>());
      }
      QCOMPARE(five, again);
      orders.insert(five);
      std::sort(five.begin(), five.end());
      QCOMPARE(five, (Texts{"a", "b", "c", "d", "e"}));
    }
    QVERIFY(orders.size() > 20);
    QCOMPARE(kept(pool, "t", 7), (Texts{"a", "b", "c", "d", "e", "a", "b"}));
  }

  void an_empty_pool_names_the_task() {
    RowPool pool;
    pool.offer("known", written({"a"}), 0, {});
    try {
      pool.draw("other", 1, PoolOrder::newest, pool_draws(0));
      QFAIL("nothing was refused");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("pool-empty"));
      QCOMPARE(failure.problem().text,
               std::string("there is no row for the task \"other\"; the pool holds 1 rows of 1 "
                           "tasks"));
    }
  }

  void a_saved_pool_goes_on_as_if_nothing_had_happened() {
    RowPool first;
    const PoolOptions options{.per_task = 2, .capacity = 3};
    first.offer("a", written({"1", "2"}, {0.25, 0.5}, 7), 0, options);
    first.offer("b", written({"3"}), 1, options);
    Package package;
    first.save(package);
    RowPool second;
    second.load(package);
    first.offer("b", written({"4"}), 2, options);
    second.offer("b", written({"4"}), 2, options);
    Package a, b;
    first.save(a);
    second.save(b);
    QCOMPARE(a.meta.dump(), b.meta.dump());
    QCOMPARE(second.size(), std::int64_t{3});
    QCOMPARE(second.draw("a", 1, PoolOrder::newest, pool_draws(0))[0].weight_version,
             std::int64_t{7});
  }

  void with_refresh_one_the_node_gives_what_it_was_given() {
    Bench bench("code.solution_pool", {{"per_task", 2}, {"draw", 2}});
    bench.connect("prompts", {Value::of(asked({"a", "b"}))});
    for (std::int64_t i = 0; i < 3; ++i) {
      const Completions c = programs_by(std::to_string(i) + "-", i, 100 + i);
      offer(bench, c);
      bench.fire(i);
      QCOMPARE(given(bench), c.text);
      QCOMPARE(bench.context.metrics.at("age"), 0.0);
    }
    QCOMPARE(bench.context.metrics.at("replaced"), 4.0);
    const Table& origin = bench.out<Table>("provenance");
    QCOMPARE(origin.cells[3].dump(), std::string("[1,2,2,3,0.0]"));
  }

  /// The same task twice in one batch: each prompt is given its own new rows.
  void a_task_that_is_asked_for_twice_gets_its_own_rows() {
    Bench bench("code.solution_pool", {{"per_task", 2}, {"draw", 2}});
    Completions c = programs_by("p", 0, 1);
    c.prompt_text = {"a", "a", "a", "a"};
    bench.connect("prompts", {Value::of(asked({"a", "a"}))});
    offer(bench, c);
    bench.fire();
    QCOMPARE(given(bench), (Texts{"p1", "p2", "p3", "p4"}));
  }

  void programs_of_a_phase_stay_with_the_version_that_wrote_them() {
    Bench bench("code.solution_pool", {{"per_task", 2}, {"draw", 2}, {"refresh", 0}});
    bench.connect("prompts", {Value::of(asked({"b", "a"}))});
    offer(bench, programs_by("first", 5, 1));
    bench.fire(0);
    offer(bench, programs_by("second", 6, 2));
    bench.fire(4);
    QCOMPARE(given(bench), (Texts{"first3", "first4", "first1", "first2"}));
    QCOMPARE(bench.context.metrics.at("refused"), 4.0);
    QCOMPARE(bench.context.metrics.at("age"), 4.0);
    QCOMPARE(bench.out<Table>("provenance").cells[0].dump(), std::string("[0,5,0,2,0.0]"));
  }

  /// flow.every keeps giving the rows of its last firing.
  void rows_that_were_taken_in_are_not_new_again() {
    Bench bench("code.solution_pool", {{"per_task", 8}, {"draw", 2}});
    bench.connect("prompts", {Value::of(asked({"a"}))});
    offer(bench, programs_by("p", 0, 1));
    for (std::int64_t i = 0; i < 3; ++i) bench.fire(i);
    QCOMPARE(bench.context.metrics.at("rows"), 4.0);
    QCOMPARE(bench.context.metrics.at("added"), 0.0);
    QCOMPARE(given(bench), (Texts{"p1", "p2"}));
  }

  void suites_with_the_best_scores_stay() {
    Bench bench("code.test_pool", {{"per_task", 1}, {"draw", 1}, {"replace", "worst"}});
    bench.connect("prompts", {Value::of(asked({"a", "b"}))});
    const auto fire = [&](const Texts& inputs, const std::vector<double>& scores,
                          std::int64_t iteration) {
      Completions c = answers_of(inputs);
      c.prompt = ids({0, 1});
      c.prompt_text = {"a", "b"};
      c.batch = 10 + iteration;
      Tests suites;
      for (const std::string& input : inputs) {
        suites.tests.push_back(Json::array({{{"input", input}, {"output", "1"}}}));
      }
      bench.connect("tests", {Value::of(suites)});
      bench.connect("completions", {Value::of(c)});
      bench.connect("scores", {Value::of(Values{doubles(scores), 0})});
      bench.fire(iteration);
    };
    fire({"1", "2"}, {0.2, 0.8}, 0);
    fire({"3", "4"}, {0.6, 0.4}, 1);
    const Tests& out = bench.out<Tests>("tests");
    QCOMPARE(out.tests[0][0]["input"].get<std::string>(), std::string("3"));
    QCOMPARE(out.tests[1][0]["input"].get<std::string>(), std::string("2"));
  }

  void what_does_not_fit_is_refused() {
    Bench empty("code.solution_pool", Json::object());
    empty.connect("prompts", {Value::of(asked({"a"}))});
    QCOMPARE(code_of([&] { empty.fire(); }), std::string("pool-empty"));
    Bench worst("code.solution_pool", {{"replace", "worst"}});
    worst.connect("prompts", {Value::of(asked({"a"}))});
    offer(worst, programs_by("p", 0, 1));
    QCOMPARE(code_of([&] { worst.fire(); }), std::string("no-scores"));
    Bench shape("code.solution_pool", Json::object());
    shape.connect("prompts", {Value::of(asked({"a"}))});
    offer(shape, programs_by("p", 0, 1));
    shape.connect("programs", {Value::of(TextRows{{"one"}, 1})});
    QCOMPARE(code_of([&] { shape.fire(); }), std::string("bad-shape"));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestPools)
#include "test_pools.moc"
