// Distances of reward functions: what must not matter does not, what must does. And linear
// regression.
#include <cmath>

#include "nodes/eval/bayes_linear.h"
#include "nodes/eval/reward_distance.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

constexpr double kGamma = 0.9;

/// A random MDP of 6 states and 3 actions.
struct World {
  at::Tensor transitions, reward;
  explicit World(std::uint64_t stream)
      : transitions((2 * normals(stream, {6, 3, 6})).softmax(-1)),
        reward(normals(stream + 1, {6, 3, 6})) {}

  at::Tensor shaped(std::uint64_t stream, double gamma = kGamma) const {
    const at::Tensor potential = normals(stream, {6});
    return reward + gamma * potential.view({1, 1, 6}) - potential.view({6, 1, 1});
  }
  /// Noise over next states whose expectation is 0.
  at::Tensor redistribution(std::uint64_t stream) const {
    const at::Tensor noise = normals(stream, {6, 3, 6});
    return noise - (transitions * noise).sum(-1, true);
  }
  double distance(const at::Tensor& other, const Json& params) const {
    return number(fire("eval.starc", params,
                       {{"reward", reward}, {"other", other}, {"transitions", transitions}}),
                  "distance");
  }
};

Json with(const char* canonical) { return {{"gamma", kGamma}, {"canonical", canonical}}; }

}  // namespace

class TestRewardDistance : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void shaping_and_scale_are_no_distance() {
    for (const std::uint64_t seed : {1u, 20u, 300u}) {
      const World world(seed);
      const at::Tensor same = 3.5 * world.shaped(seed + 5);
      for (const char* canonical : {"epic", "dard", "val", "val_potential"}) {
        QVERIFY(world.distance(same, with(canonical)) < 1e-9);
      }
      QVERIFY(world.distance(same, with("none")) > 0.1);
    }
  }

  void only_the_value_forgives_redistribution_over_next_states() {
    double last = 0;
    const World world(2);
    for (const double strength : {0.5, 2.0, 8.0}) {
      const at::Tensor other = 2 * world.shaped(3) + strength * world.redistribution(4);
      QVERIFY(world.distance(other, with("val")) < 1e-9);
      const double epic = world.distance(other, with("epic"));
      QVERIFY(epic > last);
      last = epic;
    }
    QVERIFY(last > 0.5);
  }

  void the_opposite_reward_is_as_far_as_can_be() {
    const World world(5);
    QVERIFY(close(world.distance(-world.reward, with("val")), 2, 1e-9));
    const auto epic = [&](const at::Tensor& other, const Json& params) {
      return number(fire("eval.epic", params, {{"reward", world.reward}, {"other", other}}),
                    "distance");
    };
    for (const Json& form : {Json{{"gamma", kGamma}}, Json{{"gamma", kGamma}, {"form", "lp"}},
                             Json{{"gamma", kGamma}, {"form", "lp"}, {"p", 2}}}) {
      QVERIFY(close(epic(-2 * world.reward, form), 1, 1e-7));
      QVERIFY(epic(7 * world.shaped(9), form) < 1e-7);
      const at::Tensor far = normals(77, {6, 3, 6});
      QVERIFY(close(
          epic(far, form),
          number(fire("eval.epic", form, {{"reward", far}, {"other", world.reward}}), "distance")));
    }
  }

  void the_uniform_value_solves_its_equation() {
    const World world(6);
    const at::Tensor v = uniform_value(world.reward, world.transitions, kGamma);
    const at::Tensor backed =
        (world.transitions * (world.reward + kGamma * v.view({1, 1, 6}))).sum(-1).mean(-1);
    QVERIFY(at::allclose(v, backed, 1e-12, 1e-12));
    const at::Tensor canonical =
        canonical_reward(world.reward, world.transitions, kGamma, Canonical::val);
    QVERIFY(canonical.mean({1, 2}).abs().max().item<double>() < 1e-12);
  }

  void renaming_states_changes_no_distance() {
    const World world(7);
    const at::Tensor order = permutation(8, 6), other = normals(9, {6, 3, 6});
    const auto renamed = [&](const at::Tensor& t) {
      return t.index_select(0, order).index_select(2, order);
    };
    for (const char* canonical : {"none", "epic", "dard", "val", "val_potential"}) {
      for (const char* norm : {"l1", "l2", "linf", "weighted_l1", "weighted_l2", "weighted_linf"}) {
        Json params = with(canonical);
        params["norm"] = norm;
        params["metric"] = "l1";
        const EvaluateResult there = fire("eval.starc", params,
                                          {{"reward", renamed(world.reward)},
                                           {"other", renamed(other)},
                                           {"transitions", renamed(world.transitions)}});
        QVERIFY(close(number(there, "distance"), world.distance(other, params), 1e-9));
      }
    }
  }

  void a_reward_under_which_all_policies_are_equal_is_not_divided() {
    const World world(10);
    const at::Tensor nothing = at::zeros({6, 3, 6}, at::kDouble);
    const EvaluateResult out =
        fire("eval.starc", with("val"),
             {{"reward", world.reward}, {"other", nothing}, {"transitions", world.transitions}});
    QVERIFY(alarmed(out, "trivial-reward"));
    QVERIFY(close(number(out, "distance"), 1, 1e-9));
    QCOMPARE(failure("eval.epic", {{"gamma", 0.5}}, {{"reward", world.reward}, {"other", nothing}}),
             "constant-reward");
    // Tiny is not trivial.
    QVERIFY(world.distance(1e-8 * world.reward, with("val")) < 1e-7);
  }

  void wrong_tables_are_refused() {
    const World world(11);
    const auto code = [&](const at::Tensor& reward, const at::Tensor& transitions) {
      return failure("eval.starc", with("val"), {{"reward", reward}, {"transitions", transitions}});
    };
    QCOMPARE(code(normals(1, {5, 3, 5}), world.transitions), "bad-shape");
    QCOMPARE(code(world.reward, normals(1, {6, 3, 5})), "bad-shape");
    at::Tensor hole = world.reward.clone();
    hole[1][2][3] = std::nan("");
    QCOMPARE(code(hole, world.transitions), "not-finite");
    at::Tensor leaky = world.transitions.clone();
    leaky[4][2] *= 0.5;
    const Problem problem = problem_of([&] {
      fire("eval.starc", with("val"), {{"reward", world.reward}, {"transitions", leaky}});
    });
    QCOMPARE(problem.code, "bad-transitions");
    QVERIFY(problem.text.find("T(4,2,.)") != std::string::npos);
    const Tensors in{{"reward", world.reward}, {"transitions", world.transitions}};
    QCOMPARE(failure("eval.starc", {{"gamma", 1.0}}, in), "diverges");
    QVERIFY(failure("eval.starc", {{"gamma", 1.0}, {"canonical", "epic"}}, in).empty());
  }

  void regression_finds_the_line_and_shrinks_to_the_prior() {
    const at::Tensor x = normals(30, {40, 3}), w = doubles({1, -2, 0.5});
    const at::Tensor y = x.matmul(w);
    const LinearPosterior sure = fit_bayes_linear(x, y, 1e-6, 1e6);
    QVERIFY(at::allclose(sure.mean, w, 1e-8, 1e-8));
    const LinearPosterior shy = fit_bayes_linear(x, y, 1e9, 1);
    QVERIFY(shy.mean.abs().max().item<double>() < 1e-5);
    const LinearPosterior some = fit_bayes_linear(x, y, 2, 3);
    const at::Tensor order = permutation(31, 40);
    const LinearPosterior again =
        fit_bayes_linear(x.index_select(0, order), y.index_select(0, order), 2, 3);
    QVERIFY(at::allclose(again.mean, some.mean, 1e-10, 1e-12));
    // One input: the textbook's numbers.
    const LinearPosterior one = fit_bayes_linear(doubles({1, 2}, {2, 1}), doubles({3, 5}), 2, 4);
    QVERIFY(close(one.covariance.item<double>(), 1.0 / 22));
    QVERIFY(close(one.mean.item<double>(), 4 * 13 / 22.0));
    const LinearPrediction at = predict_bayes_linear(one, doubles({3}, {1, 1}), 4);
    QVERIFY(close(at.std.item<double>(), std::sqrt(9.0 / 22 + 0.25)));
    const auto code = [&](const at::Tensor& targets, const at::Tensor& queries) {
      return failure("eval.bayes_linear", {},
                     {{"inputs", x}, {"targets", targets}, {"queries", queries}});
    };
    QCOMPARE(code(normals(1, {39}), x), "bad-shape");
    QCOMPARE(code(y, normals(1, {2, 4})), "bad-shape");
    QCOMPARE(code(y * std::nan(""), x), "not-finite");
  }
};

}  // namespace rewardloom

using rewardloom::TestRewardDistance;
REWARDLOOM_TEST(TestRewardDistance)
#include "test_reward_distance.moc"
