// Measuring nodes: definitions by brute force, what a measure must not depend on, and what is
// refused.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nodes/eval/best_of_n.h"
#include "nodes/eval/choice_scores.h"
#include "nodes/eval/pareto_fronts.h"
#include "nodes/eval/ranks.h"
#include "nodes/eval/tilted_policy.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor t = tensor.to(at::kDouble).contiguous();
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

/// Few different values, so that many are equal.
at::Tensor coarse(std::uint64_t stream, const std::vector<std::int64_t>& shape) {
  return (normals(stream, shape) * 2).round() / 2;
}

const double kNan = std::nan("");
const double kH10 = 2.9289682539682538;

}  // namespace

class TestEvalNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void auroc_is_the_share_of_pairs_in_the_right_order() {
    for (std::uint64_t round = 0; round < 20; ++round) {
      const at::Tensor low = coarse(round, {7}), high = coarse(round + 50, {11}) + 0.5;
      const at::Tensor gap = high.unsqueeze(1) - low.unsqueeze(0);
      const double pairs = (gap.gt(0).sum() + 0.5 * gap.eq(0).sum()).item<double>() / 77;
      QVERIFY(close(auroc(list(low), list(high)), pairs));
      QVERIFY(close(auroc(list(high), list(low)), 1 - pairs));
    }
    const EvaluateResult one = fire("eval.auroc", {},
                                    {{"negative", doubles({1, 2})},
                                     {"positive", doubles({3, kNan, 0})},
                                     {"positive.absent", flags({0, 1, 1})}});
    QCOMPARE(number(one, "auroc"), 1.0);
    QCOMPARE(failure("eval.auroc", {}, {{"negative", doubles({1})}, {"positive", doubles({kNan})}}),
             "not-finite");
    QCOMPARE(failure("eval.auroc", {}, {{"negative", doubles({})}, {"positive", doubles({1})}}),
             "nothing-to-measure");
  }

  void best_of_n_is_the_mean_over_all_subsets() {
    const std::vector<double> proxy = list(coarse(1, {8})), gold = list(normals(2, {8}));
    for (std::int64_t n = 1; n <= 8; ++n) {
      double sum_gold = 0, sum_proxy = 0, subsets = 0;
      for (unsigned set = 1; set < 256; ++set) {
        if (__builtin_popcount(set) != n) continue;
        double best = -1e9, gold_of_best = 0, equal = 0;
        for (unsigned i = 0; i < 8; ++i) {
          if ((set >> i & 1) == 0 || proxy[i] < best) continue;
          if (proxy[i] > best) best = proxy[i], gold_of_best = equal = 0;
          gold_of_best += gold[i];
          ++equal;
        }
        sum_gold += gold_of_best / equal, sum_proxy += best, ++subsets;
      }
      const BestOfN out = best_of_n(proxy, gold, n);
      QVERIFY(close(out.gold, sum_gold / subsets, 1e-9));
      QVERIFY(close(out.proxy, sum_proxy / subsets, 1e-9));
    }
  }

  void best_of_n_knows_no_row_order_and_does_not_overflow() {
    const at::Tensor proxy = coarse(3, {4, 9}), gold = normals(4, {4, 9});
    const at::Tensor order = permutation(5, 9);
    const auto gold_of = [](const at::Tensor& p, const at::Tensor& g) {
      return number(fire("eval.best_of_n", {{"n", 3}}, {{"proxy", p}, {"gold", g}}), "gold");
    };
    QVERIFY(close(gold_of(proxy.index_select(1, order), gold.index_select(1, order)),
                  gold_of(proxy, gold)));
    const auto many = list(normals(6, {2000}));
    const BestOfN half = best_of_n(many, many, 1000);
    QVERIFY(std::isfinite(half.gold) && half.gold > 2.5 && close(half.gold, half.proxy));
    QVERIFY(close(best_of_n(many, many, 2000).gold, *std::max_element(many.begin(), many.end())));
    QCOMPARE(best_of_n_kl(1), 0.0);
  }

  void rewards_with_groups_are_a_table() {
    const at::Tensor table = normals(7, {3, 4});
    // Members of three groups in turn.
    const at::Tensor flat = table.t().contiguous().flatten();
    const at::Tensor group = ids({30, 10, 20, 30, 10, 20, 30, 10, 20, 30, 10, 20});
    const EvaluateResult a = fire("eval.one_vs_many", {}, {{"scores", table}});
    const EvaluateResult b =
        fire("eval.one_vs_many", {}, {{"rewards", flat}, {"rewards.group", group}});
    QCOMPARE(number(a, "mrr"), number(b, "mrr"));
    QCOMPARE(number(a, "accuracy"), number(b, "accuracy"));
    const Tensors ragged{{"rewards", doubles({1, 2, 3, 4, 5})},
                         {"rewards.group", ids({1, 1, 2, 2, 2})}};
    const Problem problem = problem_of([&] { fire("eval.one_vs_many", {}, ragged); });
    QCOMPARE(problem.code, "ragged-groups");
    QVERIFY(problem.text.find("group 1 has 2") != std::string::npos);
    QVERIFY(problem.text.find("2 has 3") != std::string::npos);
    const Tensors gap{{"rewards", doubles({1, 2})},
                      {"rewards.group", ids({1, 1})},
                      {"rewards.absent", flags({0, 1})}};
    QCOMPARE(failure("eval.one_vs_many", {}, gap), "absent-rows");
    QCOMPARE(failure("eval.best_of_n", {{"n", 5}}, {{"proxy", table}, {"gold", table}}), "too-few");
    QCOMPARE(failure("eval.best_of_n", {{"n", 2}}, {{"proxy", table}, {"gold", table.t()}}),
             "bad-shape");
    QCOMPARE(failure("eval.best_of_n", {{"n", 2}}, {{"proxy", table}}), "nothing-to-measure");
  }

  void every_group_needs_one_right_solution() {
    const auto given = [](const std::vector<double>& right) {
      return Tensors{{"rewards", doubles({1, 9, 2, 4, 8, 7})},
                     {"rewards.group", ids({5, 5, 5, 6, 6, 6})},
                     {"correct", doubles(right)}};
    };
    const EvaluateResult second = fire("eval.one_vs_many", {}, given({0, 1, 0, 0, 0, 1}));
    QCOMPARE(number(second, "accuracy"), 0.5);
    QCOMPARE(number(second, "mrr"), 0.75);
    const Problem problem = problem_of([&] {
      fire("eval.one_vs_many", {}, given({0, 0, 0, 1, 1, 0}));
    });
    QCOMPARE(problem.code, "not-one-right");
    QVERIFY(problem.text.ends_with("group 5 has 0, group 6 has 2"));
  }

  void a_random_scorer_wins_one_in_ten_and_ranks_as_the_harmonic_mean() {
    const OneVsMany out = one_vs_many(normals(8, {40000, 10}), RankTies::rejected_first);
    QVERIFY(std::abs(out.accuracy - 0.1) < 0.006);
    QVERIFY(std::abs(out.mrr - kH10 / 10) < 0.006);
  }

  void ties_cost_what_the_rule_says() {
    const at::Tensor equal = at::ones({3, 10}, at::kDouble);
    const OneVsMany worst = one_vs_many(equal, RankTies::rejected_first);
    QCOMPARE(worst.accuracy, 0.0);
    QCOMPARE(worst.accuracy_with_ties, 1.0);
    QVERIFY(close(worst.mrr, 0.1));
    QVERIFY(close(one_vs_many(equal, RankTies::strict).mrr, 1));
    QVERIFY(close(one_vs_many(equal, RankTies::expected).mrr, kH10 / 10));
  }

  void one_vs_many_is_invariant_to_order_and_scale() {
    const at::Tensor table = coarse(9, {30, 6});
    const auto same = [&](const at::Tensor& other) {
      const OneVsMany a = one_vs_many(table, RankTies::rejected_first);
      const OneVsMany b = one_vs_many(other.contiguous(), RankTies::rejected_first);
      return a.accuracy == b.accuracy && a.accuracy_with_ties == b.accuracy_with_ties &&
             close(a.mrr, b.mrr);
    };
    QVERIFY(same(table.index_select(0, permutation(10, 30))));
    QVERIFY(same(table.index_select(1, ids({0, 5, 3, 1, 2, 4}))));
    QVERIFY(same(table * 8 - 3));
    QVERIFY(!same(table.index_select(1, ids({1, 0, 2, 3, 4, 5}))));
    QCOMPARE(failure("eval.one_vs_many", {}, {{"scores", normals(1, {4, 1})}}), "too-few");
    QCOMPARE(failure("eval.one_vs_many", {}, {{"scores", normals(1, {0, 4})}}),
             "nothing-to-measure");
    const Problem problem = problem_of([&] {
      fire("eval.one_vs_many", {}, {{"scores", doubles({1, 2, 3, kNan}, {2, 2})}});
    });
    QCOMPARE(problem.code, "not-finite");
    QVERIFY(problem.text.find("[1,1]") != std::string::npos);
    QCOMPARE(failure("eval.one_vs_many", {}, {}), "nothing-to-measure");
  }

  void best_of_4_gives_a_share_for_a_share_of_the_top() {
    const Tensors in{{"scores", doubles({2, 2, 1, 0, /**/ 1, 2, 0, 0, /**/ 3, 3, 3, 3})},
                     {"lengths", ids({4, 4, 4})}};
    QVERIFY(tensor(fire("eval.best_of_4", {}, in), "results").equal(doubles({0.5, 0, 0.25})));
    const Json strict = {{"tie_rule", "strict"}};
    QCOMPARE(number(fire("eval.best_of_4", strict, in), "accuracy"), 0.0);
    const Tensors grouped{{"scores", doubles({2, 1, 2, 3, 1})},
                          {"scores.group", ids({7, 3, 7, 3, 7})}};
    QVERIFY(tensor(fire("eval.best_of_4", {}, grouped), "results").equal(doubles({0.5, 0})));
    const auto lengths = [&](const at::Tensor& l) {
      return failure("eval.best_of_4", {}, {{"scores", doubles({1, 2, 3})}, {"lengths", l}});
    };
    QCOMPARE(lengths(ids({1, 1})), "bad-lengths");
    QCOMPARE(lengths(ids({3, 0})), "bad-lengths");
    QCOMPARE(lengths(doubles({3})), "bad-dtype");
    QCOMPARE(failure("eval.best_of_4", {}, {{"scores", doubles({1})}}), "no-groups");
    QCOMPARE(failure("eval.best_of_4", {}, {{"scores", doubles({kNan})}, {"lengths", ids({1})}}),
             "not-finite");
  }

  void the_ties_score_is_invariant_to_one_affine_rescale_and_prompt_order() {
    std::vector<TiesPrompt> prompts;
    for (std::int64_t pair = 0; pair < 5; ++pair) {
      const auto stream = static_cast<std::uint64_t>(pair);
      prompts.push_back({pair, false, 1, list(normals(20 + stream, {4}))});
      prompts.push_back({pair, true, 3, list(normals(30 + stream, {7}))});
    }
    const std::vector<double> weights{0.3, 0.3, 0.2, 0.2, 0.01};
    const double score = ties_score(prompts, weights, ZeroSpread::error).score;
    std::vector<TiesPrompt> other(prompts.rbegin(), prompts.rend());
    for (TiesPrompt& prompt : other) {
      for (double& s : prompt.scores) s = 5 * s - 100;
    }
    QVERIFY(close(ties_score(other, weights, ZeroSpread::error).score, score, 1e-9));
    const std::vector<TiesPrompt> perfect{{4, false, 1, {1e9, 0}}, {4, true, 2, {1e9, 1e9 - 1, 0}}};
    QVERIFY(close(ties_score(perfect, weights, ZeroSpread::error).score, 1.01));
    const std::vector<TiesPrompt> flat{{4, false, 1, {1, 0}}, {4, true, 2, {1, 1, 0}}};
    QCOMPARE(code_of([&] { ties_score(flat, weights, ZeroSpread::error); }), "zero-spread");
    QVERIFY(close(ties_score(flat, weights, ZeroSpread::nan_to_zero).margin, 1));
    const std::vector<TiesPrompt> level{{4, false, 1, {1, 1}}, {4, true, 2, {1, 1, 1}}};
    QCOMPARE(ties_score(level, weights, ZeroSpread::nan_to_zero).score, 0.0);
  }

  void ties_refuses_what_is_no_pair() {
    const std::vector<double> weights(5, 0.2);
    const auto code = [&](std::vector<TiesPrompt> prompts, const std::vector<double>& w) {
      return problem_of([&] { ties_score(prompts, w, ZeroSpread::nan_to_zero); });
    };
    const TiesPrompt ref{8, false, 1, {1, 0}}, tied{8, true, 2, {1, 0.5, 0}};
    const Problem alone = code({ref, tied, {9, false, 1, {1, 0}}}, weights);
    QCOMPARE(alone.code, "bad-pairs");
    QVERIFY(alone.text.find("9 (1 + 0)") != std::string::npos);
    QCOMPARE(code({ref, {8, true, 1, {1, 0}}}, weights).code, "bad-correct");
    QCOMPARE(code({ref, {8, true, 3, {1, 0, 1}}}, weights).code, "bad-correct");
    QCOMPARE(code({}, weights).code, "nothing-to-measure");
    QCOMPARE(code({ref, tied}, {1, 1}).code, "bad-weights");
    const Tensors in{{"scores", doubles({1, 0})},
                     {"lengths", ids({2})},
                     {"correct", ids({1, 1})},
                     {"pair", ids({0})},
                     {"tied", flags({0})}};
    QCOMPARE(failure("eval.ties", {}, in), "bad-shape");
  }

  void rank_correlation_sees_order_alone() {
    const at::Tensor x = coarse(40, {5, 12}), y = normals(41, {5, 12});
    const auto of = [](const at::Tensor& a, const at::Tensor& b) {
      return tensor(fire("eval.rank_correlation", {}, {{"x", a}, {"y", b}}), "correlation");
    };
    const at::Tensor straight = of(x, y), order = permutation(42, 12);
    QVERIFY(at::allclose(of(x.exp(), y.pow(3)), straight, 1e-12, 1e-12));
    QVERIFY(at::allclose(of(x.index_select(1, order), y.index_select(1, order)), straight, 1e-12,
                         1e-12));
    QVERIFY(at::allclose(of(y, x), straight, 1e-12, 1e-12));
    QVERIFY(at::allclose(of(x, -y), -straight, 1e-12, 1e-12));
    const Json index = {{"against", "index"}};
    const EvaluateResult voc =
        fire("eval.rank_correlation", index, {{"x", doubles({1, 5, 9, 9, 5, 1, 2, 2, 2}, {3, 3})}});
    QVERIFY(at::allclose(tensor(voc, "correlation"), doubles({1, -1, 0})));
    QCOMPARE(number(voc, "mean"), 0.0);
    QCOMPARE(number(voc, "constant_rows"), 1.0);
    const Json honest = {{"against", "index"}, {"nan_to_zero", false}};
    const Tensors in{{"x", doubles({1, 5, 9, 2, 2, 2}, {2, 3})}};
    const EvaluateResult left_out = fire("eval.rank_correlation", honest, in);
    QCOMPARE(number(left_out, "mean"), 1.0);
    QVERIFY(std::isnan(tensor(left_out, "correlation")[1].item<double>()));
  }

  void rank_correlation_refuses_too_little() {
    const at::Tensor x = normals(43, {2, 3});
    QVERIFY(!failure("eval.rank_correlation", {}, {{"x", x}}).empty());
    QCOMPARE(failure("eval.rank_correlation", {}, {{"x", x}, {"y", x.t()}}), "bad-shape");
    QCOMPARE(failure("eval.rank_correlation", {{"against", "index"}}, {{"x", doubles({1})}}),
             "too-few");
    QCOMPARE(failure("eval.rank_correlation", {{"against", "index"}}, {{"x", doubles({1, kNan})}}),
             "not-finite");
    const Json honest = {{"against", "index"}, {"nan_to_zero", false}};
    QVERIFY(!failure("eval.rank_correlation", honest, {{"x", doubles({2, 2})}}).empty());
  }

  void novelty_of_four_points_is_known() {
    const at::Tensor points = doubles({0, 0, 1, 0, 0, 2, 3, 3}, {4, 2});
    const auto of = [&](const at::Tensor& p, const at::Tensor& r, int k) {
      return fire("eval.novelty", {{"neighbours", k}}, {{"points", p}, {"reference", r}});
    };
    const at::Tensor want = doubles({1.5, 1.618033989, 2.118033989, 3.383914468});
    QVERIFY(at::allclose(tensor(of(points, points, 2), "novelty"), want, 1e-8, 1e-8));
    const at::Tensor order = ids({2, 0, 3, 1});
    QVERIFY(at::allclose(tensor(of(points, points.index_select(0, order), 2), "novelty"), want,
                         1e-8, 1e-8));
    QVERIFY(!alarmed(of(points, points, 3), "few-neighbours"));
    const EvaluateResult few = of(points, points, 15);
    QVERIFY(alarmed(few, "few-neighbours"));
    QVERIFY(tensor(few, "novelty").equal(tensor(of(points, points, 3), "novelty")));
    const auto code = [](const at::Tensor& p, const at::Tensor& r) {
      return failure("eval.novelty", {}, {{"points", p}, {"reference", r}});
    };
    QCOMPARE(code(points, points.slice(0, 0, 1)), "too-few");
    QCOMPARE(code(points, normals(1, {4, 3})), "bad-shape");
    QCOMPARE(code(doubles({1, kNan}, {1, 2}), points), "not-finite");
    QCOMPARE(code(normals(1, {0, 2}), points), "nothing-to-measure");
  }

  void pareto_fronts_follow_the_definition() {
    for (std::uint64_t round = 0; round < 40; ++round) {
      const std::vector<double> a = list(coarse(60 + round, {25}));
      const std::vector<double> b = list(coarse(160 + round, {25}));
      std::vector<std::int64_t> want(a.size(), -1);
      for (std::int64_t front = 0, left = 25; left > 0; ++front) {
        std::vector<std::size_t> now;
        for (std::size_t i = 0; i < a.size(); ++i) {
          bool free = want[i] < 0;
          for (std::size_t j = 0; j < a.size(); ++j) {
            const bool dominates = a[j] >= a[i] && b[j] >= b[i] && (a[j] > a[i] || b[j] > b[i]);
            free = free && !(want[j] < 0 && dominates);
          }
          if (free) now.push_back(i);
        }
        for (const std::size_t i : now) want[i] = front, --left;
      }
      QCOMPARE(pareto_fronts(a, b), want);
    }
    QCOMPARE(failure("eval.pareto_fronts", {}, {{"a", doubles({1, 2})}, {"b", doubles({1})}}),
             "bad-shape");
    QCOMPARE(failure("eval.pareto_fronts", {}, {{"a", doubles({kNan})}, {"b", doubles({1})}}),
             "not-finite");
    QCOMPARE(failure("eval.pareto_fronts", {}, {{"a", doubles({})}, {"b", doubles({})}}),
             "nothing-to-measure");
  }

  void coverage_counts_cells_and_uniformity_their_evenness() {
    const auto of = [](const at::Tensor& h) {
      return fire("eval.coverage", {}, {{"histogram", h}});
    };
    const EvaluateResult even = of(at::full({5, 4}, 3.0, at::kDouble));
    QCOMPARE(number(even, "coverage"), 1.0);
    QCOMPARE(number(even, "uniformity"), 1.0);
    const at::Tensor cells = doubles({4, 0, 1, 3, 0, 9});
    QVERIFY(close(number(of(cells.flip(0) * 7), "uniformity"), number(of(cells), "uniformity")));
    QCOMPARE(number(of(ids({4, 0, 1, 3})), "coverage"), 0.75);
    const auto code = [](const at::Tensor& h) {
      return failure("eval.coverage", {}, {{"histogram", h}});
    };
    QCOMPARE(code(doubles({0, 0})), "nothing-to-measure");
    QCOMPARE(code(doubles({1, -1})), "bad-value");
    QCOMPARE(code(doubles({1, kNan})), "not-finite");
    QCOMPARE(code(doubles({})), "nothing-to-measure");
  }

  void process_accuracy_compares_rows_of_a_group() {
    const at::Tensor mask = flags({1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 0}).reshape({4, 3});
    at::Tensor scores = doubles({1, 1, kNan, 0.5, 7, 7, 1, 1, 1, -2, 0, 9}, {4, 3});
    const auto of = [&](const at::Tensor& s, const at::Tensor& outcome, const at::Tensor& group) {
      return fire("eval.process_accuracy", {},
                  {{"scores", s}, {"scores.mask", mask}, {"outcome", outcome}, {"group", group}});
    };
    const at::Tensor rising = doubles({1, 0.5, 2, 0});  // the order of the sums
    QCOMPARE(number(of(scores, rising, ids({1, 1, 1, 1})), "accuracy"), 1.0);
    QCOMPARE(number(of(scores, -rising, ids({1, 1, 1, 1})), "accuracy"), 0.0);
    const EvaluateResult two = of(scores, doubles({0, 0, 1, 0}), ids({9, -4, -4, 9}));
    QCOMPARE(number(two, "accuracy"), 0.75);
    QCOMPARE(number(two, "undecided"), 0.5);
    // Pairs of rows weigh what their outcomes differ by: 1-2 right (3), 1-3 wrong (1), 2-3 right
    // (2).
    scores = doubles({3, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0}, {4, 3});
    QVERIFY(close(number(of(scores, doubles({3, 0, 2, 0}), ids({1, 1, 1, 2})), "accuracy"),
                  0.5 * (5.0 / 6) + 0.25));
    QCOMPARE(failure("eval.process_accuracy", {},
                     {{"scores", scores}, {"outcome", doubles({1})}, {"group", ids({1})}}),
             "bad-shape");
  }

  void the_tilted_policy_is_the_best_one() {
    const at::Tensor prior = normals(70, {4, 6}).softmax(-1), utility = normals(71, {4, 6});
    const double gamma = 0.7;
    const TiltedPolicy best = tilted_policy(prior, utility, gamma);
    const auto objective = [&](const at::Tensor& pi) {
      return (pi * (utility - gamma * (pi / prior).log())).sum(-1);
    };
    QVERIFY(at::allclose(objective(best.policy), gamma * best.log_z, 1e-12, 1e-12));
    for (std::uint64_t other = 0; other < 20; ++other) {
      const at::Tensor pi = (best.policy.log() + 0.2 * normals(80 + other, {4, 6})).softmax(-1);
      QVERIFY((objective(pi) < objective(best.policy)).all().item<bool>());
    }
    QVERIFY(
        at::allclose(best.kl, (best.policy * (best.policy / prior).log()).sum(-1), 1e-10, 1e-12));
    const TiltedPolicy sharp =
        tilted_policy(doubles({0.5, 0.5, 0}, {1, 3}), doubles({1e4, 0, 1e6}, {1, 3}), 0.01);
    QVERIFY(sharp.policy.equal(doubles({1, 0, 0}, {1, 3})));
    QVERIFY(close(sharp.kl.item<double>(), std::log(2), 1e-9));
    const auto code = [](const at::Tensor& p, const at::Tensor& u) {
      return failure("eval.tilted_policy", {}, {{"prior", p}, {"utility", u}});
    };
    QCOMPARE(code(doubles({0.5, 0.4}, {1, 2}), doubles({1, 2}, {1, 2})), "bad-prior");
    QCOMPARE(code(doubles({1.5, -0.5}, {1, 2}), doubles({1, 2}, {1, 2})), "bad-prior");
    QCOMPARE(code(doubles({0.5, 0.5}, {1, 2}), doubles({1, kNan}, {1, 2})), "not-finite");
    QCOMPARE(code(prior, utility.t()), "bad-shape");
    QVERIFY(!failure("eval.tilted_policy", {{"gamma", 0}}, {}).empty());
  }

  void correlation_of_benchmarks_pairs_branches_by_name() {
    const auto metrics = [](std::vector<std::string> names, std::vector<double> values) {
      return Value::of<Metrics>(Metrics{std::move(names), std::move(values)});
    };
    Bench bench("eval.metric_correlation", {{"metric_b", "mrr"}});
    bench.connect("a", {metrics({"m=1/accuracy", "m=1/mrr", "m=2/accuracy", "m=3/accuracy"},
                                {0.1, 9, 0.2, 0.9})});
    bench.connect("b", {metrics({"m=3/mrr", "m=1/mrr", "m=2/mrr"}, {0.7, 0.3, 0.2})});
    bench.fire();
    QVERIFY(close(bench.out<Scalar>("spearman").value, 0.5));
    bench.connect("b", {metrics({"m=3/mrr", "m=1/mrr", "m=4/mrr"}, {0.7, 0.3, 0.2})});
    QCOMPARE(code_of([&] { bench.fire(); }), "other-rows");
    bench.connect("a", {metrics({"m=1/accuracy"}, {0.1})});
    bench.connect("b", {metrics({"m=1/mrr"}, {0.1})});
    QCOMPARE(code_of([&] { bench.fire(); }), "too-few");
  }
};

}  // namespace rewardloom

using rewardloom::TestEvalNodes;
REWARDLOOM_TEST(TestEvalNodes)
#include "test_eval_nodes.moc"
