// Noisy verdicts, phrase rewards, worlds of known rewards and the policies that are ideal in them.
#include <ATen/ATen.h>

#include <cmath>
#include <set>

#include "nodes/eval/matched_kl.h"
#include "nodes/reward/flip.h"
#include "nodes/reward/phrases.h"
#include "nodes/world/reward_tables.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

Random stream(std::uint64_t seed) { return Random({seed, 1, 2}); }

at::Tensor doubles(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
}

}  // namespace

class TestWorlds : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void flips_come_for_whole_prompts() {
    const std::int64_t prompts = 2000;
    const at::Tensor group = at::arange(prompts, at::kLong).repeat_interleave(4);
    const at::Tensor rewards =
        at::arange(prompts * 4, at::kLong).remainder(3).eq(0).to(at::kDouble);
    const Flipped out = flip_rewards(rewards, group, {}, {.p = 0.3}, stream(1));
    const at::Tensor byPrompt = out.flipped.reshape({prompts, 4});
    QVERIFY(byPrompt.all(1).logical_or(byPrompt.logical_not().all(1)).all().item<bool>());
    const double share = out.flipped.to(at::kDouble).mean().item<double>();
    QVERIFY2(std::abs(share - 0.3) < 0.04, qPrintable(QString::number(share)));
    QVERIFY(out.total.equal(at::where(out.flipped, 1 - rewards, rewards)));
  }

  void what_is_flipped_at_p_is_flipped_at_every_larger_p() {
    const at::Tensor group = at::arange(500, at::kLong);
    const at::Tensor rewards = at::zeros({500}, at::kDouble);
    const at::Tensor few = flip_rewards(rewards, group, {}, {.p = 0.1}, stream(2)).flipped;
    const at::Tensor many = flip_rewards(rewards, group, {}, {.p = 0.4}, stream(2)).flipped;
    QVERIFY(many.logical_or(few.logical_not()).all().item<bool>());
    QVERIFY(!flip_rewards(rewards, group, {}, {.p = 0}, stream(2)).flipped.any().item<bool>());
    QVERIFY(flip_rewards(rewards, group, {}, {.p = 1}, stream(2)).flipped.all().item<bool>());
  }

  void unreadable_answers_are_never_flipped_and_one_sided_noise_is_one_sided() {
    const at::Tensor group = at::arange(1000, at::kLong);
    const at::Tensor rewards = group.remainder(2).to(at::kDouble);
    const at::Tensor kept = group.remainder(5).eq(0);
    const Flipped out = flip_rewards(rewards, group, kept, {.p = 1}, stream(3));
    QVERIFY(out.flipped.equal(kept.logical_not()));
    const Flipped blind = flip_rewards(rewards, group, {}, {.false_negatives = 1.0}, stream(3));
    QVERIFY(blind.total.eq(0).all().item<bool>());
  }

  void flips_need_verdicts_and_groups() {
    QVERIFY_EXCEPTION_THROWN(
        flip_rewards(doubles({0.5, 1.5}), at::arange(2, at::kLong), {}, {.p = 0.1}, stream(1)),
        Failure);
    QVERIFY_EXCEPTION_THROWN(flip_rewards(doubles({0.0}), {}, {}, {.p = 0.1}, stream(1)), Failure);
  }

  void phrases_count_once_and_repetition_costs() {
    const PhraseOptions options{{"wait", "so "}, {"user: "}, 4, 1, 3};
    QCOMPARE(phrase_reward("Wait, wait. So it is.", options), 0.5);
    QCOMPARE(phrase_reward("nothing here", options), 0.0);
    // a b c a b c: four 3-grams, of which "a b c" occurs twice.
    QCOMPARE(repeated_ngrams("a b c a b c", 3), 0.25);
    QCOMPARE(repeated_ngrams("a b", 3), 0.0);
    QCOMPARE(phrase_reward("wait so a b c a b c", options), 0.5 - 1.0 / 6);
    QCOMPARE(phrase_reward("wait user: so x", options), 0.0);
  }

  void the_ideal_policy_has_the_closed_form() {
    // arXiv:2402.00742: prior (.4 .3 .2 .1), utility the sum of two log-sigmoids, gamma 1.
    const at::Tensor prior = doubles({.4, .3, .2, .1});
    const at::Tensor utility = doubles({-1.902827, -1.448154, -1.448154, -2.657779});
    const MatchedPolicy out = policy_at_kl(prior, utility, at::zeros({4}, at::kLong), 0.0504115);
    QVERIFY(at::allclose(out.policy, doubles({.323931, .382803, .255202, .038065}), 1e-4, 1e-5));
    QVERIFY(std::abs(out.gamma - 1) < 1e-3);
    QVERIFY_EXCEPTION_THROWN(policy_at_kl(prior, utility, at::zeros({4}, at::kLong), 0), Failure);
  }

  void any_monotone_scale_gives_the_same_policy_at_the_same_divergence() {
    const TableWorld world = make_table_world({.prompts = 20, .candidates = 16}, stream(4));
    const at::Tensor group = at::arange(20, at::kLong).repeat_interleave(16);
    const at::Tensor prior = world.prior.flatten();
    const at::Tensor u = world.proxy[0].flatten();
    const MatchedPolicy a = policy_at_kl(prior, u, group, 1.0);
    const MatchedPolicy b = policy_at_kl(prior, u * 7 + 3, group, 1.0);
    QVERIFY(at::allclose(a.policy, b.policy, 1e-6, 1e-9));
    QVERIFY(std::abs(a.kl - 1.0) < 1e-6);
  }

  void reward_models_of_a_world_are_right_only_where_they_were_trained() {
    const TableWorld world = make_table_world({.prompts = 300, .noise = 0}, stream(5));
    const at::Tensor truth = world.truth[0], proxy = world.proxy[0];
    const at::Tensor inside = truth.le(1.0);
    QVERIFY(proxy.masked_select(inside).equal(truth.masked_select(inside)));
    QVERIFY((proxy - truth).masked_select(inside.logical_not()).gt(0).all().item<bool>());
    QVERIFY(at::allclose(world.prior.sum(1), at::ones({300}, at::kDouble)));
    const double r =
        ((truth - truth.mean()) * (world.truth[1] - world.truth[1].mean())).mean().item<double>();
    QVERIFY2(std::abs(r + 0.3) < 0.03, qPrintable(QString::number(r)));
  }
};

}  // namespace rewardloom

using rewardloom::TestWorlds;
REWARDLOOM_TEST(TestWorlds)
#include "test_worlds.moc"
