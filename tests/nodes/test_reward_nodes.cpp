// Process, judge and image rewards: what earns what, rows that cannot be scored, what is refused.
#include <fmt/format.h>
#include <torch/types.h>

#include "nodes/reward/bmas.h"
#include "nodes/reward/clip_delta.h"
#include "nodes/reward/clip_score.h"
#include "nodes/reward/hop_label.h"
#include "nodes/reward/iou.h"
#include "nodes/reward/likelihood.h"
#include "nodes/reward/potential_shaping.h"
#include "nodes/reward/progress.h"
#include "nodes/reward/ranking_agreement.h"
#include "nodes/reward/step_aggregate.h"
#include "nodes/reward/test_suites.h"
#include "nodes/reward/tree_values.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

StepRewards steps_of(const at::Tensor& rewards, const at::Tensor& mask) {
  StepRewards s;
  s.rewards = rewards;
  const at::Tensor place = at::arange(mask.size(1), at::kLong).expand_as(mask);
  s.boundaries = place.masked_fill(mask.logical_not(), -1);
  return s;
}

}  // namespace

class TestRewardNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- steps ----

  void bounded_step_rewards_bound_the_return() {
    const at::Tensor q = doubles({.9, .8, .3, .6, .2, .7, 0, 0}).reshape({2, 4});
    const at::Tensor mask = flags({1, 1, 1, 1, 1, 1, 0, 0}).reshape({2, 4});
    const at::Tensor delta = clip_delta(q, mask, ClipDeltaMode::delta, 0.7, 1);
    QVERIFY(near(delta[0].sum().item<double>(), 0.9) && near(delta[1].sum().item<double>(), 0.2));
    const at::Tensor clip = clip_delta(q, mask, ClipDeltaMode::clip, 0.7, 2);
    QVERIFY(clip.le(0).all().item<bool>());
    QVERIFY(near(clip[0][2].item<double>(), -0.8));
    const at::Tensor spoiled = q.masked_fill(mask.logical_not(), NAN);
    for (const auto& choice : choices(ClipDeltaMode{})) {
      QVERIFY2(clip_delta(spoiled, mask, choice.value, 0.7, 1)
                   .equal(clip_delta(q, mask, choice.value, 0.7, 1)),
               choice.name);
    }
    const at::Tensor one = clip_delta(doubles({0.4}).reshape({1, 1}), flags({1}).reshape({1, 1}),
                                      ClipDeltaMode::clip_delta, 0.7, 1);
    QCOMPARE(one.item<double>(), 0.0);
  }

  void step_scores_outside_their_range_cannot_be_aggregated() {
    const std::vector<double> p{0.5, 0.8};
    QVERIFY(near(*aggregated(p, StepFunc::mean_odd), 2.5));
    QVERIFY(near(*aggregated(p, StepFunc::mean_logit), 2.0 / 3));
    QCOMPARE(*aggregated(p, StepFunc::last), 0.8);
    QVERIFY(near(*aggregated(p, StepFunc::geometric_mean), std::sqrt(0.4)));
    QVERIFY(!aggregated(std::vector<double>{0.5, 1.0}, StepFunc::mean_odd));
    QVERIFY(!aggregated(std::vector<double>{-0.5, 0.5}, StepFunc::mean_logit));
    QVERIFY(!aggregated(std::vector<double>{0.0, 1.0}, StepFunc::mean_logit));
    QVERIFY(!aggregated(std::vector<double>{0.5, NAN}, StepFunc::min));
    Bench bench("reward.step_aggregate", {{"func", "mean_odd"}, {"empty_value", -2.0}});
    bench.context.skip_rows = true;
    bench.connect("step_rewards",
                  {Value::of(steps_of(doubles({1, .5, .5, .5, 0, 0}).reshape({3, 2}),
                                      flags({1, 1, 1, 0, 0, 0}).reshape({3, 2})))});
    bench.fire();
    QCOMPARE(totals(bench), (std::vector<double>{0, 1, -2}));
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({1, 0, 0})));
  }

  // ---- likelihood ----

  void answer_weights_are_the_derivative() {
    const at::Tensor mask = flags({1, 1, 0, 0, 1, 1}).reshape({2, 3});
    const at::Tensor x = doubles({-.5, -1.5, 7, 7, -.1, -2}).reshape({2, 3});
    for (const auto& choice : choices(LikelihoodMode{})) {
      const at::Tensor weights = answer_likelihood(x, mask, choice.value).weights;
      for (std::int64_t k = 0; k < 6; ++k) {
        const double h = 1e-6;
        at::Tensor up = x.clone(), down = x.clone();
        up.view(-1)[k] += h;
        down.view(-1)[k] -= h;
        const at::Tensor slope = (answer_likelihood(up, mask, choice.value).rewards -
                                  answer_likelihood(down, mask, choice.value).rewards) /
                                 (2 * h);
        QVERIFY2(near(weights.view(-1)[k].item<double>(), slope[k / 3].item<double>(), 1e-7),
                 choice.name);
      }
    }
  }

  void an_empty_answer_is_no_zero() {
    LogProbs given;
    given.log_probs = doubles({-1, -1, -1, NAN}).reshape({2, 2});
    given.mask = flags({0, 0, 1, 0}).reshape({2, 2});
    Bench bench("reward.likelihood", {{"mode", "prob"}});
    bench.context.skip_rows = true;
    bench.connect("log_probs", {Value::of(given)});
    bench.fire();
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({1, 0})));
    QVERIFY(near(totals(bench)[1], std::exp(-1)));
    QVERIFY(bench.out<Values>("answer_weights").values[0].eq(0).all().item<bool>());
    bench.context.skip_rows = false;
    QCOMPARE(problem_of([&] { bench.fire(); }).code, std::string("row-failed"));
  }

  void what_the_answer_scores_without_reasoning_is_subtracted() {
    LogProbs with, without;
    with.log_probs = doubles({-1, -2}).reshape({1, 2});
    without.log_probs = doubles({-3}).reshape({1, 1});
    Bench bench("reward.likelihood", {{"mode", "avg_logprob"}, {"subtract_no_cot", true}});
    bench.connect("log_probs", {Value::of(with)});
    QVERIFY(!problem_of([&] { bench.fire(); }).code.empty());
    bench.connect("no_cot_log_probs", {Value::of(without)});
    bench.fire();
    QVERIFY(near(totals(bench)[0], 1.5));
  }

  // ---- groups and judges ----

  void trust_falls_where_wrong_answers_think_better() {
    const auto run = [](const std::vector<std::int64_t>& order) {
      const at::Tensor at = ids(order);
      Rewards outcome = rewards_of({1, 1, 0, 0, 1, 0}, {9, 9, 9, 9, 2, 2}, {0, 0, 0, 0, 0, 1});
      Rewards thinking = rewards_of({.2, .2, .8, .8, .1, NAN}, {}, {0, 0, 0, 0, 0, 1});
      for (Rewards* r : {&outcome, &thinking}) {
        r->total = r->total.index_select(0, at);
        r->absent = r->absent.index_select(0, at);
      }
      outcome.group = outcome.group.index_select(0, at);
      Bench bench("reward.trust_weighted", {{"horizon", 100.0}});
      bench.connect("outcome", {Value::of(outcome)});
      bench.connect("thinking", {Value::of(thinking)});
      bench.fire(100);
      return std::pair(bench.out<Rewards>("rewards"), bench.out<Values>("trust").values);
    };
    const auto [rewards, trust] = run({0, 1, 2, 3, 4, 5});
    QVERIFY(near(list(rewards.total)[0], 1.012114, 1e-6));
    QVERIFY(near(list(rewards.total)[2], 0.048455, 1e-5));
    QCOMPARE(list(trust)[4], 1.0);
    QVERIFY(rewards.absent.equal(flags({0, 0, 0, 0, 0, 1})));
    const std::vector<std::int64_t> order{5, 2, 4, 0, 3, 1};
    QVERIFY(at::allclose(run(order).first.total, rewards.total.index_select(0, ids(order)), 1e-12));
  }

  void agreement_is_one_only_for_the_same_order() {
    const std::vector<double> consensus{5, 3, 1, 4};
    const std::vector<std::int64_t> all{0, 1, 2, 3};
    QCOMPARE(ranking_agreement({9, 2, 1, 3}, consensus, all, 0), 1.0);
    QCOMPARE(ranking_agreement({1, 3, 5, 2}, consensus, all, 0), 0.0);
    QCOMPARE(ranking_agreement({1, 1, 1, 1}, consensus, all, 0), 0.5);
    QCOMPARE(ranking_agreement({1, 2, 1, 1}, {3, 3, 3, 3}, all, 0), 1.0);
    QCOMPARE(ranking_agreement({1}, {1}, std::vector<std::int64_t>{0}, 0.25), 0.25);
    Bench bench("reward.ranking_agreement", Json::object());
    bench.connect("predicted",
                  {Value::of(rewards_of({1, 5, 2, 5, NAN}, {8, 3, 8, 3, 3}, {0, 0, 0, 0, 1}))});
    bench.connect("consensus", {Value::of(rewards_of({2, 4, 1, 3, 9}))});
    bench.fire();
    QCOMPARE(totals(bench), (std::vector<double>{0, 0.5}));
    QCOMPARE(bench.out<Scalar>("reward").value, 0.25);
  }

  void judge_rewards_need_the_same_rows() {
    const auto code = [](std::size_t rows, double value) {
      return problem_of([&] {
               Bench b("reward.consistency", Json::object());
               b.connect("accuracy", {Value::of(rewards_of({1, 0}))});
               b.connect("format", {Value::of(rewards_of({1, 1}))});
               b.connect("consistency", {Value::of(rewards_of(std::vector<double>(rows, value)))});
               b.fire();
             })
          .code;
    };
    QCOMPARE(code(2, 1), std::string(""));
    QCOMPARE(code(3, 1), std::string("bad-shape"));
    QCOMPARE(code(2, NAN), std::string("not-finite"));
  }

  void a_similarity_that_is_no_cosine_is_not_scored() {
    Bench bench("reward.harmonic_mix", Json::object());
    bench.context.skip_rows = true;
    bench.connect("image_similarity", {Value::of(rewards_of({0.2, 30, 1}))});
    bench.connect("text_similarity", {Value::of(rewards_of({0.2, 0.1, -1}))});
    bench.fire();
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({0, 1, 0})));
    QVERIFY(near(totals(bench)[0], 0.6, 1e-6));
    QVERIFY(totals(bench)[2] < 1e-6);
    QVERIFY(!problem_of([] { Bench("reward.harmonic_mix", {{"lambda", 1.5}}); }).code.empty());
  }

  // ---- images, boxes, embeddings ----

  void boxes_overlap() {
    const auto iou = [](std::vector<double> a, std::vector<double> b,
                        BoxConvention c = BoxConvention::continuous) {
      return box_overlap(doubles(a).reshape({1, 4}), doubles(b).reshape({1, 4}), c).item<double>();
    };
    QCOMPARE(iou({0, 0, 2, 2}, {0, 0, 2, 2}), 1.0);
    QVERIFY(near(iou({0, 0, 2, 2}, {1, 1, 3, 3}), 1.0 / 7));
    QCOMPARE(iou({0, 0, 1, 1}, {2, 2, 3, 3}), 0.0);
    QCOMPARE(iou({3, 3, 1, 1}, {0, 0, 4, 4}), 0.0);
    QCOMPARE(iou({1, 1, 1, 1}, {1, 1, 1, 1}), 0.0);
    Bench bench("reward.iou", Json::object());
    bench.context.skip_rows = true;
    bench.connect("boxes",
                  {Value::of(Values{doubles({0, 0, 1, NAN, 0, 0, 1, 1}).reshape({2, 4})})});
    bench.connect("reference",
                  {Value::of(Values{doubles({0, 0, 1, 1, 0, 0, 0, 1}).reshape({2, 4})})});
    bench.fire();
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({1, 1})));
    QCOMPARE(problem_of([&] {
               box_overlap(doubles({1, 2, 3}).reshape({1, 3}), doubles({1, 2, 3}).reshape({1, 3}),
                           BoxConvention::continuous);
             }).code,
             std::string("bad-shape"));
  }

  void clip_scores_are_centred_per_image() {
    const at::Tensor scores = doubles({1, 2, 3, 5, 5, 5}).reshape({1, 2, 3});
    QVERIFY(pooled_clip_scores(scores, {}, ClipBaseline::mean)
                .equal(doubles({-1, 0, 1, 0, 0, 0}).reshape({2, 3})));
    QVERIFY(pooled_clip_scores(scores, {}, ClipBaseline::mean_std)[1].eq(0).all().item<bool>());
    for (const std::vector<double>& weights : {std::vector<double>{0}, {1, 1}, {-1}}) {
      QCOMPARE(problem_of([&] { pooled_clip_scores(scores, weights, ClipBaseline::none); }).code,
               std::string("bad-weights"));
    }
    QCOMPARE(problem_of([] {
               clip_scores(at::ones({1, 2}), at::ones({3, 2}), ids({3}).reshape({1, 1}), 2.5);
             }).code,
             std::string("bad-class"));
    QCOMPARE(problem_of([] {
               clip_scores(at::ones({1, 2}), at::ones({3, 4}), ids({0}).reshape({1, 1}), 2.5);
             }).code,
             std::string("bad-shape"));
  }

  /// Encoders of different widths; candidates of an image are a group of their own.
  void encoders_may_have_different_widths() {
    Features wide, narrow, wide_text, narrow_text;
    wide.features = at::eye(2, 3, at::kDouble);
    narrow.features = at::ones({2, 1}, at::kDouble);
    wide_text.features = at::eye(2, 3, at::kDouble);
    narrow_text.features = doubles({1, -1}).reshape({2, 1});
    Bench bench("reward.clip_score", {{"scale", 1.0}});
    bench.connect("image_features", {Value::of(wide), Value::of(narrow)});
    bench.connect("text_features", {Value::of(wide_text), Value::of(narrow_text)});
    bench.connect("classes", {Value::of(Values{ids({0, 1, 1, 0}).reshape({2, 2})})});
    bench.fire();
    QCOMPARE(list(bench.out<Values>("rewards").values), (std::vector<double>{1, 0, .5, .5}));
    QVERIFY(bench.out<Rewards>("candidates").group.equal(ids({0, 0, 1, 1})));
  }

  void token_similarity_knows_no_order_and_no_length() {
    const at::Tensor x = doubles({1, 0, 0, 2, 3, 3}).reshape({3, 2});
    const at::Tensor y = doubles({5, 0, 0, .1}).reshape({2, 2});
    const double want = max_average_similarity(x, y);
    QVERIFY(near(max_average_similarity(y, x), want));
    QVERIFY(near(max_average_similarity(x.flip(0) * 7, y), want));
    QVERIFY(near(max_average_similarity(x, x), 1));
    QCOMPARE(problem_of([&] {
               max_average_similarity(x, at::ones({0, 2}, at::kDouble));
             }).code,
             std::string("bad-shape"));
    Bench bench("reward.bmas", Json::object());
    bench.context.skip_rows = true;
    Features tokens, reference;
    tokens.features = at::cat({x, y});
    reference.features = at::cat({y, x});
    bench.connect("embeddings", {Value::of(tokens)});
    bench.connect("reference", {Value::of(reference)});
    bench.connect("rows", {Value::of(Values{ids({0, 0, 0, 2, 2})})});
    bench.connect("reference_rows", {Value::of(Values{ids({0, 0, 1, 1, 1})})});
    bench.fire();
    QVERIFY(near(totals(bench)[0], want));
    QVERIFY(bench.out<Rewards>("rewards").absent.equal(flags({0, 1, 1})));
  }

  // ---- progress, potentials, trees ----

  void hops_are_relative_to_the_way_that_is_left() {
    QVERIFY(near(hop_percent(2, 5, 0, 10), 37.5));
    QVERIFY(near(hop_percent(5, 2, 0, 10), -60));
    QCOMPARE(hop_bin(-100, 25), std::int64_t{0});
    QCOMPARE(hop_bin(100, 25), std::int64_t{24});
    QCOMPARE(hop_bin(0, 2), std::int64_t{1});
    QCOMPARE(hop_bin(-1e-9, 2), std::int64_t{0});
    Bench bench("reward.hop_label", Json::object());
    for (const auto& [port, frame] :
         {std::pair{"before", 2}, {"after", 11}, {"first", 0}, {"last", 10}}) {
      bench.connect(port, {Value::of(Values{ids({frame})})});
    }
    QCOMPARE(problem_of([&] { bench.fire(); }).code, std::string("bad-value"));
  }

  void progress_adds_up() {
    const at::Tensor readings = doubles({.3, -.2, .5}).reshape({1, 3});
    const at::Tensor p = progress_of(readings, ProgressMode::incremental, false).progress;
    QVERIFY(at::allclose(p, doubles({.3, .24, .62}).reshape({1, 3})));
    const at::Tensor held =
        progress_of(doubles({-.5, .5}).reshape({1, 2}), ProgressMode::incremental, true).progress;
    QVERIFY(at::allclose(held, doubles({0, .5}).reshape({1, 2})));
  }

  /// Shaping adds up to the potential of the end minus that of the start, whatever lies between.
  void potentials_telescope() {
    const double gamma = 0.9;
    const at::Tensor rewards = doubles({1, 0, 2, 0, 0, 3}).reshape({2, 3});
    const at::Tensor phi = doubles({.1, .9, .4, .7, .2, .3, .8, .5}).reshape({2, 4});
    const at::Tensor shaped = potential_shaped(rewards, phi, {}, gamma, TerminalPotential::keep);
    const at::Tensor discount = doubles({1, gamma, gamma * gamma});
    const at::Tensor difference = ((shaped - rewards) * discount).sum(1);
    const at::Tensor want = std::pow(gamma, 3) * phi.select(1, 3) - phi.select(1, 0);
    QVERIFY(at::allclose(difference, want));
    const at::Tensor ends = flags({0, 0, 1, 0, 0, 0}).reshape({2, 3});
    const at::Tensor zero = potential_shaped(rewards, phi, ends, gamma, TerminalPotential::zero);
    QVERIFY(near(zero[0][2].item<double>(), 2 - .4));
    QVERIFY(zero[1].equal(shaped[1]));
    QCOMPARE(problem_of([&] {
               potential_shaped(rewards, rewards, {}, gamma, TerminalPotential::keep);
             }).code,
             std::string("bad-shape"));
    QVERIFY(!problem_of([] { Bench("reward.potential_shaping", Json::object()); }).code.empty());
    QVERIFY(!problem_of([] { Bench("reward.potential_shaping", {{"gamma", 1.5}}); }).code.empty());
  }

  void step_rewards_and_trajectories_are_shaped_as_values_are() {
    const at::Tensor r = doubles({1, 2}).reshape({1, 2});
    const at::Tensor phi = doubles({0, 1, 3}).reshape({1, 3});
    Bench steps("reward.potential_shaping", {{"gamma", 1.0}});
    steps.connect("step_rewards", {Value::of(steps_of(r, flags({1, 0}).reshape({1, 2})))});
    steps.connect("potential", {Value::of(Values{phi})});
    steps.fire();
    QCOMPARE(list(steps.out<StepRewards>("step_rewards").rewards), (std::vector<double>{2, 0}));
    Trajectories path;
    path.observations = at::zeros({1, 2, 1});
    path.rewards = r;
    path.terminated = flags({0, 1}).reshape({1, 2});
    Bench paths("reward.potential_shaping", {{"gamma", 1.0}, {"terminal", "zero"}});
    paths.connect("trajectories", {Value::of(path)});
    paths.connect("potential", {Value::of(Values{phi})});
    paths.fire();
    QCOMPARE(list(paths.out<Trajectories>("trajectories").rewards), (std::vector<double>{2, 1}));
    QCOMPARE(list(paths.out<StepRewards>("step_rewards").rewards), (std::vector<double>{2, 1}));
  }

  void search_trees_get_values() {
    const TreeValues tree = tree_values({-1, 0, 1, 1, 3, 3, 0, 6}, {0, 0, 1, 0, 0, 1, 0, 0});
    QCOMPARE(tree.values, (std::vector<double>{0, .5, 1, .75, .625, 1, 0, 0}));
    const TreeValues none = tree_values({-1, 0, 0}, {0, 0, 0});
    QCOMPARE(none.labelled, (std::vector<std::uint8_t>{0, 0, 0}));
    QCOMPARE(none.steps_to_correct[1], kUnlabelled);
    const auto code = [](std::vector<std::int64_t> parent, std::vector<std::uint8_t> correct) {
      return problem_of([&] { tree_values(parent, correct); }).code;
    };
    QCOMPARE(code({-1, 2, 0}, {0, 0, 0}), std::string("bad-tree"));
    QCOMPARE(code({-1, 0, 1}, {0, 1, 0}), std::string("bad-tree"));
    QCOMPARE(code({-1, 0}, {0}), std::string("bad-shape"));
  }

  // ---- test suites ----

  void suites_are_paid_for_what_they_catch() {
    using V = Verdict;
    const SuiteOptions paper{.validity_weight = 0.15, .format_weight = 0, .tau = 2};
    const SuiteScore score = score_suite({4, 9, 4}, {V::pass, V::wrong, V::pass},
                                         {{V::pass, V::wrong, V::wrong}}, 1, paper);
    QCOMPARE(score.unique, std::int64_t{2});
    QCOMPARE(score.discrimination,
             0.0);  // the case that catches is a duplicate, the other not valid
    QVERIFY(near(score.reward, 0.15 * 0.5));
    QCOMPARE(score_suite({1}, {V::pass}, {{V::fault}, {V::timeout}}, 0, paper).discrimination, 0.5);
    QCOMPARE(problem_of([&] { score_suite({1}, {V::pass}, {}, 0, paper); }).code,
             std::string("bad-shape"));
    QCOMPARE(problem_of([&] {
               score_suite({1, 2}, {V::pass}, {{V::pass}}, 0, paper);
             }).code,
             std::string("bad-shape"));
    QCOMPARE(problem_of([] { verdict_of("maybe"); }).code, std::string("bad-verdict"));
    QCOMPARE(problem_of([] { verdict_of(6); }).code, std::string("bad-verdict"));
  }

  void suites_of_many_rows_are_scored_like_one() {
    Tests suites;
    suites.tests = {Json::parse(R"([{"input":"1","output":"2"},{"input":"1","output":"2"}])"),
                    Json::parse(R"([{"input":"3","output":"4"}])"), Json::array()};
    Verdicts reference, first, second;
    reference.verdicts = {Json{"pass", "pass"}, Json::array({"error"}), Json::array()};
    first.verdicts = {Json{"wrong", "wrong"}, Json::array({"pass"}), Json::array()};
    second.verdicts = {Json{"pass", "pass"}, Json::array({"pass", "pass"}), Json::array()};
    Bench bench("reward.unit_test", {{"preset", "paper"}, {"tau", 1.0}});
    bench.context.skip_rows = true;
    bench.connect("suites", {Value::of(suites)});
    bench.connect("references", {Value::of(reference)});
    bench.connect("candidates", {Value::of(first), Value::of(second)});
    bench.connect("formats", {Value::of(rewards_of({1, 1, 0}, {5, 5, 6}))});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QVERIFY(near(list(r.total)[0], 0.85 * 0.5 + 0.15));
    QVERIFY(r.absent.equal(flags({0, 1, 0})));
    QVERIFY(r.group.equal(ids({5, 5, 6})));
  }

  void a_harness_fault_is_no_failure_of_the_program() {
    Verdicts reference, program;
    reference.verdicts = {Json{"pass", "pass"}, Json{"pass", "wrong"}, Json{"error", "wrong"},
                          Json{"pass", "pass"}};
    program.verdicts = {Json{"pass", "fault"}, Json{"pass", "fault"}, Json{"pass", "pass"},
                        Json{"pass", "timeout"}};
    for (const bool skip : {false, true}) {
      Bench bench("reward.code", {{"epsilon", 0.0}, {"empty_valid", skip ? "skip_group" : "zero"}});
      bench.context.skip_rows = true;
      bench.connect("references", {Value::of(reference)});
      bench.connect("programs", {Value::of(program)});
      bench.connect("formats", {Value::of(rewards_of({1, 0, 1, 0}, {3, 4, 8, 8}))});
      bench.fire();
      const Rewards& r = bench.out<Rewards>("rewards");
      QVERIFY(r.absent.equal(skip ? flags({1, 0, 1, 1}) : flags({1, 0, 0, 0})));
      QVERIFY(near(list(r.total)[1], 0.9));
      QVERIFY(near(list(r.total)[3], skip ? 0 : 0.45));
    }
  }

  // ---- relevance ----

  void constrained_rows_earn_by_agreement() {
    Bench bench("reward.relevance", {{"max_length", 512}});
    bench.connect("relevance", {Value::of(rewards_of({1.75, 0.7, 2}, {1, 1, 2}, {0, 0, 1}))});
    bench.connect("length", {Value::of(rewards_of({9, 9, 9}))});
    bench.connect("distinct", {Value::of(rewards_of({1, 0.5, 1}))});
    bench.connect("constrained", {Value::of(Values{flags({1, 0, 1})})});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QVERIFY(near(list(r.total)[0], 2.56) && near(list(r.total)[1], 0.7 * 9 * 0.5));
    QVERIFY(r.absent.equal(flags({0, 0, 1})));
    QCOMPARE(r.components.size(), std::size_t{3});
  }

  /// Rewards that were made in single and in double precision still combine.
  void rewards_of_both_precisions_combine() {
    Rewards single = rewards_of({1, 2});
    single.total = single.total.to(at::kFloat);
    Bench bench("reward.combine", Json::object());
    bench.connect("rewards", {Value::of(single), Value::of(rewards_of({0.5, 0.25}))});
    bench.fire();
    QCOMPARE(totals(bench), (std::vector<double>{1.5, 2.25}));
  }
};

}  // namespace rewardloom

using rewardloom::TestRewardNodes;
REWARDLOOM_TEST(TestRewardNodes)
#include "test_reward_nodes.moc"
