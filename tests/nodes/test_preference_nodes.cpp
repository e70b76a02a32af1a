// Tournaments, brackets, selection of correct rows.
#include <algorithm>
#include <cmath>
#include <set>

#include "nodes/preference/select_positive.h"
#include "nodes/preference/tournament.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

/// A judge without noise: each player's own strength.
PairJudge fair(const std::vector<double>& strength) {
  return [strength](std::size_t i, std::size_t j) { return std::pair{strength[i], strength[j]}; };
}

std::vector<double> strengths(std::uint64_t stream, std::int64_t players) {
  const at::Tensor t = normals(stream, {players});
  return {t.data_ptr<double>(), t.data_ptr<double>() + players};
}

/// judge[i,j] = (s_i, s_j).
at::Tensor table_of(const std::vector<double>& s) {
  const auto n = static_cast<std::int64_t>(s.size());
  const at::Tensor row = doubles(s);
  return at::stack({row.unsqueeze(1).expand({n, n}), row.unsqueeze(0).expand({n, n})}, -1);
}

std::size_t best(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

constexpr Topology kAll[] = {Topology::anchor, Topology::round_robin, Topology::seeded_single};

}  // namespace

class TestPreferenceNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void a_fair_judge_finds_the_best_in_every_topology() {
    for (std::uint64_t round = 0; round < 30; ++round) {
      const auto players = static_cast<std::int64_t>(2 + round % 11);
      const std::vector<double> s = strengths(round, players);
      for (const Topology topology : kAll) {
        const TournamentResult out = play_tournament(s.size(), fair(s), {.topology = topology});
        QCOMPARE(best(out.rewards), best(s));
        QCOMPARE(*std::max_element(out.rewards.begin(), out.rewards.end()), 1.0);
        QCOMPARE(*std::min_element(out.rewards.begin(), out.rewards.end()), 0.0);
      }
    }
  }

  void comparisons_are_as_few_as_promised_and_no_pair_is_judged_twice_in_a_round_robin() {
    for (const std::size_t players : {2u, 3u, 8u, 13u}) {
      const auto n = static_cast<std::int64_t>(players);
      std::set<std::pair<std::size_t, std::size_t>> seen;
      std::int64_t calls = 0;
      const PairJudge judge = [&](std::size_t i, std::size_t j) {
        ++calls;
        seen.insert(std::minmax(i, j));
        return std::pair{static_cast<double>(i), static_cast<double>(j)};
      };
      const auto count = [&](Topology topology) {
        calls = 0;
        seen.clear();
        const std::int64_t said =
            play_tournament(players, judge, {.topology = topology}).comparisons;
        return said == calls ? said : -1;
      };
      QCOMPARE(count(Topology::anchor), n - 1);
      QCOMPARE(count(Topology::seeded_single), 2 * n - 2);
      QCOMPARE(count(Topology::round_robin), n * (n - 1) / 2);
      QCOMPARE(static_cast<std::int64_t>(seen.size()), calls);
    }
  }

  void advantages_without_ties_are_those_of_the_paper() {
    const auto most = [](std::size_t players) {
      const std::vector<double> s = strengths(3, static_cast<std::int64_t>(players));
      const TournamentResult out = play_tournament(players, fair(s), {});
      return *std::max_element(out.advantages.begin(), out.advantages.end());
    };
    QVERIFY(std::abs(most(8) - 1.4289) < 1e-4);
    QVERIFY(std::abs(most(16) - 1.5753) < 1e-4);
  }

  void renaming_players_renames_the_ranks_of_a_round_robin() {
    const std::vector<double> s = strengths(4, 9);
    const at::Tensor order = permutation(5, 9);
    std::vector<double> renamed;
    for (std::int64_t i = 0; i < 9; ++i) {
      renamed.push_back(s[static_cast<std::size_t>(order[i].item<std::int64_t>())]);
    }
    const TournamentOptions options{.topology = Topology::round_robin};
    const TournamentResult a = play_tournament(9, fair(s), options);
    const TournamentResult b = play_tournament(9, fair(renamed), options);
    QVERIFY(at::allclose(doubles(a.advantages).index_select(0, order), doubles(b.advantages)));
  }

  void a_draw_of_everybody_is_no_signal() {
    const PairJudge draw = [](std::size_t, std::size_t) { return std::pair{5.0, 5.0}; };
    for (const Topology topology : {Topology::anchor, Topology::round_robin}) {
      const TournamentResult out =
          play_tournament(6, draw, {.topology = topology, .epsilon = 1e-6});
      for (const double a : out.advantages) QCOMPARE(a, 0.0);
    }
  }

  void both_orders_cancel_a_judge_that_likes_the_first() {
    // 3 points for being shown first: alone, everybody beats whoever comes later.
    const std::vector<double> s = strengths(6, 7);
    const at::Tensor biased = table_of(s) + doubles({3, 0}, {1, 1, 2});
    const auto rewards = [&](bool both) {
      return tensor(
          fire("preference.tournament", {{"topology", "round_robin"}, {"bidirectional", both}},
               {{"judge", biased}}),
          "rewards");
    };
    const TournamentResult want = play_tournament(7, fair(s), {.topology = Topology::round_robin});
    QVERIFY(rewards(true).equal(doubles(want.rewards)));
    QVERIFY(!rewards(false).equal(doubles(want.rewards)));
  }

  void each_group_plays_its_own_tournament() {
    const std::vector<double> s{1, 9, 3, 8, 2, 7};
    at::Tensor judge = table_of(s);
    judge[0][1][0] = std::nan("");  // a pair of different groups: never judged
    Package in;
    in.tensors["judge"] = judge;
    in.tensors["completions"] = at::zeros({6, 1}, at::kLong);
    in.tensors["completions.group"] = ids({5, 2, 5, 2, 5, 2});
    const Json params = {{"topology", "round_robin"}};
    const EvaluateResult out = evaluate(all_nodes(), "preference.tournament", params, in);
    QVERIFY(tensor(out, "rewards").equal(doubles({0, 1, 1, 0.5, 0.5, 0})));
    QCOMPARE(number(out, "comparisons"), 6.0);
    QVERIFY(tensor(out, "advantages.group").equal(ids({5, 2, 5, 2, 5, 2})));
    in.tensors["completions.group"] = ids({5, 2, 5, 2, 5, 3});
    QCOMPARE(code_of([&] { evaluate(all_nodes(), "preference.tournament", {}, in); }), "too-few");
  }

  void the_seeded_bracket_keeps_the_best_two_for_the_final() {
    std::vector<double> falling;
    for (int i = 0; i < 8; ++i) falling.push_back(8 - i);
    QCOMPARE(seeded_bracket(falling), (std::vector<std::int64_t>{0, 7, 3, 4, 1, 6, 2, 5}));
    falling.resize(6);
    QCOMPARE(seeded_bracket(falling), (std::vector<std::int64_t>{0, 3, 4, 1, 2, 5}));
    QCOMPARE(seeded_bracket({4}), (std::vector<std::int64_t>{0}));
    QCOMPARE(seeded_bracket({4, 4, 4, 4}), (std::vector<std::int64_t>{0, 3, 1, 2}));
    for (std::int64_t players = 2; players <= 33; ++players) {
      const std::vector<double> s = strengths(9, players);
      std::vector<std::int64_t> order = seeded_bracket(s);
      QCOMPARE(static_cast<std::size_t>(order[0]), best(s));
      std::sort(order.begin(), order.end());
      for (std::int64_t i = 0; i < players; ++i) QCOMPARE(order[static_cast<std::size_t>(i)], i);
    }
    QCOMPARE(failure("preference.seeded_bracket", {}, {{"points", doubles({})}}),
             "nothing-to-measure");
    QCOMPARE(failure("preference.seeded_bracket", {}, {{"points", doubles({1, std::nan("")})}}),
             "not-finite");
  }

  void bad_tournaments_are_refused() {
    const auto code = [](const at::Tensor& judge, const Json& params = Json::object()) {
      return failure("preference.tournament", params, {{"judge", judge}});
    };
    QCOMPARE(code(normals(1, {1, 1, 2})), "too-few");
    QCOMPARE(code(normals(1, {4, 3, 2})), "bad-shape");
    QCOMPARE(code(normals(1, {4, 4, 3})), "bad-shape");
    QCOMPARE(code(normals(1, {4, 4})), "bad-shape");
    QCOMPARE(code(normals(1, {4, 4, 2}), {{"anchor_index", 4}}), "bad-anchor");
    at::Tensor hole = table_of({1, 2, 3});
    hole[2][0][1] = std::nan("");
    const Problem problem = problem_of([&] {
      fire("preference.tournament", {}, {{"judge", hole}});
    });
    QCOMPARE(problem.code, "not-finite");
    QVERIFY(problem.text.find("[2,0,1]") != std::string::npos);
  }

  void selection_gives_one_row_of_each_group() {
    const Tensors in{{"scores", doubles({0, 1, 0, 2, 1, 0.5})},
                     {"group", ids({9, 4, 9, 9, 4, -1})},
                     {"scores.absent", flags({0, 1, 0, 0, 0, 0})}};
    const EvaluateResult out = fire("preference.select_positive", {}, in);
    QVERIFY(tensor(out, "index").equal(ids({5, 4, 3})));
    QVERIFY(tensor(out, "has_positive").equal(flags({0, 1, 1})));
    QVERIFY(close(number(out, "has_positive_share"), 2.0 / 3));
    const Tensors none{{"scores", doubles({})}, {"group", ids({})}};
    QCOMPARE(failure("preference.select_positive", {}, none), "no-rows");
    QCOMPARE(failure("preference.select_positive", {}, {{"scores", doubles({1})}}), "no-groups");
    const Tensors nan{{"scores", doubles({std::nan("")})}, {"group", ids({1})}};
    QCOMPARE(failure("preference.select_positive", {}, nan), "not-finite");
  }

  void a_random_pick_is_even_and_comes_back_with_the_seed() {
    Package in;
    in.tensors["scores"] = at::ones({5}, at::kDouble);
    in.tensors["group"] = at::zeros({5}, at::kLong);
    std::vector<int> hits(5, 0);
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
      const auto pick = [&] {
        return evaluate(all_nodes(), "preference.select_positive", {{"pick", "random"}}, in,
                        {.seed = seed})
            .outputs.tensors.at("index")
            .item<std::int64_t>();
      };
      const std::int64_t row = pick();
      if (seed < 20) QCOMPARE(pick(), row);
      ++hits[static_cast<std::size_t>(row)];
    }
    for (const int count : hits) QVERIFY(std::abs(count - 400) < 90);
  }
};

}  // namespace rewardloom

using rewardloom::TestPreferenceNodes;
REWARDLOOM_TEST(TestPreferenceNodes)
#include "test_preference_nodes.moc"
