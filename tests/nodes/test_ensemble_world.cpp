// The world of token sequences: its policy as tables, its grid of reward models, and ensembles of
// them.
#include <ATen/ATen.h>

#include <cmath>

#include "nodes/ensemble/members.h"
#include "nodes/ensemble/reduce.h"
#include "nodes/world/scorer_grid.h"
#include "nodes/world/table_policy.h"
#include "nodes/world/token_world.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using testing::Bench;
using testing::close;
using testing::code_of;
using testing::doubles;
using testing::ids;
using testing::normals;
using testing::problem_of;

Random stream(std::uint64_t seed) { return Random({seed, 1, 2}); }

at::Tensor some_logits() { return normals(3, {2, 3, 4}); }

/// Two encoders and two fine-tuning seeds over two tokens; model m says (m + 1) (share of token 0)
/// + offset[m].
std::shared_ptr<ScorerGrid> plain_grid(const std::vector<double>& offset) {
  ScorerWeights w;
  w.embedding = doubles({1, 0, 1, 0, 1, 0, 1, 0}, {4, 2, 1}).to(at::kFloat);
  w.hidden = at::ones({4, 1, 1}, at::kFloat);
  w.hidden_bias = at::zeros({4, 1, 1}, at::kFloat);
  w.out = doubles({1, 2, 3, 4}, {4, 1, 1}).to(at::kFloat);
  w.out_bias = doubles(offset, {4, 1, 1}).to(at::kFloat);
  auto grid = std::make_shared<ScorerGrid>();
  ScorerShape shape;
  shape.tokens = 2;
  shape.embedding = 1;
  shape.hidden = 1;
  grid->assign(w, shape, 2, 2, doubles(offset), at::ones({4}, at::kDouble));
  return grid;
}

/// Four rows of two tokens in two groups; shares of token 0: 1, 0.5, 0.5, 0.
Completions four_rows() {
  Completions c;
  c.tokens = ids({0, 0, 0, 1, 1, 0, 1, 1}).reshape({4, 2});
  c.kinds = at::full({4, 2}, 2, at::kChar);
  c.group = ids({0, 0, 1, 1});
  c.batch = 7;
  return c;
}

Bench ensemble(const Json& params, const std::vector<double>& offset = {0, 0, 0, 0}) {
  Bench bench("ensemble.score", params);
  bench.connect("models", {Value::of(RewardModel{{plain_grid(offset)}})});
  bench.connect("completions", {Value::of(four_rows())});
  return bench;
}

std::vector<double> scores_of(const Json& params) {
  Bench bench = ensemble(params);
  bench.fire();
  const at::Tensor t = bench.out<Rewards>("rewards").total.contiguous();
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

std::string refusal(const Json& params) {
  return code_of([&] { ensemble(params).fire(); });
}

}  // namespace

class TestEnsembleWorld : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void common_values_are_centred_and_rare_tokens_are_bad_and_rare() {
    TokenWorldOptions options;
    options.alphabet = {12, 8};
    const TokenWorld world = make_token_world(options, stream(1));
    QVERIFY(std::abs(world.value.narrow(0, 0, 12).sum().item<double>()) < 1e-12);
    QVERIFY(world.value.narrow(0, 12, 8).eq(-1).all().item<bool>());
    QVERIFY(close(world.prior[0].item<double>(), 1 / 12.32));
    QVERIFY(close(world.prior[19].item<double>(), 0.04 / 12.32));
    QVERIFY(make_token_world(options, stream(1)).value.equal(world.value));
    QVERIFY(!make_token_world(options, stream(2)).value.equal(world.value));
    options.marked = 2;
    const TokenWorld marked = make_token_world(options, stream(1));
    QVERIFY(marked.value.narrow(0, 0, 2).eq(0).all().item<bool>());
    QVERIFY(marked.value.narrow(0, 2, 18).equal(world.value.narrow(0, 2, 18)));
  }

  void letters_are_tokens() {
    const TokenAlphabet alphabet{3, 2};
    const at::Tensor tokens = ids({0, 2, 3, 4, 1, 0}).reshape({2, 3});
    const std::vector<std::string> texts = token_texts(tokens, alphabet);
    QCOMPARE(texts, (std::vector<std::string>{"acA", "Bba"}));
    QVERIFY(text_tokens(texts, alphabet).equal(tokens));
    const Problem unknown = problem_of([&] { text_tokens({"abd"}, alphabet); });
    QCOMPARE(unknown.code, std::string("unknown-token"));
    QVERIFY(unknown.text.find("\"d\"") != std::string::npos);
    QCOMPARE(code_of([&] { text_tokens({"ab", "abc"}, alphabet); }), std::string("ragged-texts"));
    QCOMPARE(code_of([&] { text_tokens({}, alphabet); }), std::string("nothing-to-read"));
    QCOMPARE(code_of([&] {
               token_texts(ids({5}).reshape({1, 1}), alphabet);
             }),
             std::string("unknown-token"));
  }

  void gold_is_the_sum_of_values_over_the_root_of_the_length() {
    const at::Tensor tokens = ids({0, 1, 1, 2, 2, 2, 2, 2}).reshape({2, 4});
    QVERIFY(token_value_reward(tokens, doubles({1, 2, -3})).equal(doubles({1, -6})));
    QVERIFY(token_counts(tokens, 3).equal(doubles({1, 2, 1, 0, 0, 4}, {2, 3})));
  }

  void draws_follow_the_table_and_no_row_depends_on_another() {
    const at::Tensor p = doubles({0.7, 0.2, 0.1, 0, 1, 0}, {1, 2, 3});
    const at::Tensor many = draw_tokens(p, 5000, stream(4));
    const at::Tensor share = token_counts(many.narrow(1, 0, 1), 3).mean(0);
    QVERIFY(at::allclose(share, doubles({0.7, 0.2, 0.1}), 0, 0.02));
    QVERIFY(many.select(1, 1).eq(1).all().item<bool>());
    QVERIFY(draw_tokens(p, 10, stream(4)).equal(many.narrow(0, 0, 10)));
  }

  void labels_follow_gold_or_the_cue() {
    TokenWorldOptions options;
    options.marked = 2;
    const TokenWorld world = make_token_world(options, stream(5));
    const TokenPairs sharp = draw_token_pairs(world, {300, 10, 1000.0, 0, 0}, stream(6));
    QVERIFY(token_value_reward(sharp.chosen, world.value)
                .ge(token_value_reward(sharp.rejected, world.value) - 1e-2)
                .all()
                .item<bool>());
    const TokenPairs cued = draw_token_pairs(world, {300, 10, 0, 60.0, 2}, stream(6));
    const at::Tensor better = cued.chosen.select(1, 0).lt(2),
                     worse = cued.rejected.select(1, 0).lt(2);
    QVERIFY(!worse.logical_and(better.logical_not()).any().item<bool>());
    QVERIFY(better.ne(worse).any().item<bool>());
  }

  void the_divergence_of_a_table_is_exact() {
    const at::Tensor prior = doubles({0.5, 0.5}).log();
    const at::Tensor logits = doubles({std::log(3.0), 0, 0, 0}, {1, 2, 2});
    const TableGradient g =
        table_gradient(logits, prior, ids({0, 1}).reshape({1, 2}), ids({0}), doubles({2}), 0.5);
    const double kl = 0.75 * std::log(1.5) + 0.25 * std::log(0.5);
    QVERIFY(close(g.kl[0].item<double>(), kl));
    QVERIFY(close(g.loss[0].item<double>(), 0.5 * kl - 2 * (std::log(0.75) + std::log(0.5))));
  }

  void the_gradient_is_that_of_the_loss() {
    const at::Tensor prior = doubles({0.1, 0.2, 0.3, 0.4}).log();
    const at::Tensor tokens = ids({0, 1, 2, 3, 3, 3, 0, 0, 1, 2, 2, 0}).reshape({4, 3});
    const at::Tensor copy = ids({0, 1, 0, 0}), advantages = doubles({1.5, -0.5, 0.25, -2});
    const at::Tensor logits = some_logits();
    const auto loss = [&](const at::Tensor& at) {
      return table_gradient(at, prior, tokens, copy, advantages, 0.3).loss.sum().item<double>();
    };
    const at::Tensor gradient =
        table_gradient(logits, prior, tokens, copy, advantages, 0.3).gradient;
    constexpr double step = 1e-6;
    for (std::int64_t i = 0; i < logits.numel(); ++i) {
      at::Tensor up = logits.clone(), down = logits.clone();
      up.flatten()[i] += step;
      down.flatten()[i] -= step;
      const double expected = (loss(up) - loss(down)) / (2 * step);
      QVERIFY2(std::abs(gradient.flatten()[i].item<double>() - expected) < 1e-7,
               qPrintable(QString::number(i)));
    }
  }

  void copies_do_not_touch_each_other() {
    const at::Tensor prior = doubles({0.25, 0.25, 0.25, 0.25}).log();
    const at::Tensor tokens = ids({0, 1, 2, 3, 3, 3}).reshape({2, 3});
    const auto gradient = [&](double second) {
      return table_gradient(some_logits(), prior, tokens, ids({0, 1}), doubles({1, second}), 0.1)
          .gradient;
    };
    QVERIFY(gradient(1)[0].equal(gradient(-5)[0]));
    QVERIFY(!gradient(1)[1].equal(gradient(-5)[1]));
  }

  void a_rewarded_letter_becomes_frequent() {
    Bench actor("world.token_policy", {{"copies", 2}, {"length", 4}});
    actor.connect("prior", {Value::of(Values{at::full({4}, 0.25, at::kDouble), 0})});
    Bench rollout("sample.token_policy", {{"rows", 32}, {"common", 3}, {"rare", 1}});
    Bench update("optimize.token_policy", {{"kl", 0.01}});
    for (std::int64_t i = 0; i < 40; ++i) {
      actor.fire(i);
      rollout.connect("policy", {actor.value("policy")});
      rollout.fire(i);
      const Completions& c = rollout.out<Completions>("completions");
      QVERIFY(c.group.equal(at::arange(2, at::kLong).repeat_interleave(32)));
      Advantages a;
      a.advantages = token_counts(c.tokens, 4).select(1, 3) - 2;
      a.batch = c.batch;
      update.connect("policy", {actor.value("policy")});
      update.connect("completions", {Value::of(c)});
      update.connect("advantages", {Value::of(a)});
      update.fire(i);
    }
    const Completions& last = rollout.out<Completions>("completions");
    QVERIFY(last.tokens.eq(3).to(at::kDouble).mean().item<double>() > 0.9);
    QCOMPARE(last.weight_version, std::int64_t{39});
    QVERIFY(update.context.metrics.at("kl") > 1);
    Bench wrong("sample.token_policy", {{"common", 5}, {"rare", 1}});
    wrong.connect("policy", {actor.value("policy")});
    QCOMPARE(code_of([&] { wrong.fire(); }), std::string("other-alphabet"));
  }

  void a_table_needs_a_prior_and_survives_a_checkpoint() {
    TablePolicy table;
    QCOMPARE(code_of([&] { table.start(doubles({0.5, 0.4}), 1, 2); }), std::string("bad-prior"));
    QCOMPARE(code_of([&] { table.start(doubles({1, 0}), 1, 2); }), std::string("bad-prior"));
    table.start(doubles({0.5, 0.5}), 3, 2);
    table.logits.add_(normals(1, {3, 2, 2}));
    Package package;
    table.save(package);
    TablePolicy other;
    other.load(package);
    QVERIFY(other.logits.equal(table.logits) && other.log_prior.equal(table.log_prior));
  }

  void a_scorer_is_what_its_formula_says() {
    // Embeddings 1 and -2, two hidden units with weights 1 and -1: relu(z), relu(-z + 0.5).
    ScorerWeights w{doubles({1, -2}, {1, 2, 1}), doubles({1, -1}, {1, 1, 2}),
                    doubles({0, 0.5}, {1, 1, 2}), doubles({2, 3}, {1, 2, 1}),
                    doubles({0.25}, {1, 1, 1})};
    // Shares (0.5, 0.5): z = -0.5; shares (1, 0): z = 1.
    const at::Tensor out = scorer_scores(w, doubles({0.5, 0.5, 1, 0}, {2, 2}));
    QVERIFY(at::allclose(out, doubles({3 * 1.0 + 0.25, 2 * 1.0 + 0.25}, {1, 2})));
  }

  void a_grid_scores_as_its_models_do_and_survives_a_checkpoint() {
    for (const bool opening : {false, true}) {
      ScorerShape shape{5, 3, 4, opening};
      const std::int64_t width = opening ? 6 : 3;
      const auto f = [](std::uint64_t s, const std::vector<std::int64_t>& sizes) {
        return normals(s, sizes).to(at::kFloat);
      };
      const ScorerWeights w{f(1, {6, 5, 3}), f(2, {6, width, 4}), f(3, {6, 1, 4}), f(4, {6, 4, 1}),
                            f(5, {6, 1, 1})};
      ScorerGrid grid;
      grid.assign(w, shape, 3, 2, at::zeros({6}, at::kDouble), at::ones({6}, at::kDouble));
      const at::Tensor tokens = ids({0, 1, 2, 3, 4, 4, 2, 2}).reshape({2, 4});
      const at::Tensor expected = scorer_scores(w, scorer_features(tokens, shape)).to(at::kDouble);
      QVERIFY(at::allclose(grid.score(tokens, {4, 1}), expected.index_select(0, ids({4, 1})), 1e-4,
                           1e-5));
      Package package;
      grid.save(package);
      ScorerGrid other;
      other.load(package);
      QVERIFY(other.score(tokens, {0, 5}).equal(grid.score(tokens, {0, 5})));
      QCOMPARE(other.fine_tunings(), std::int64_t{2});
      QCOMPARE(code_of([&] {
                 grid.score(ids({5}).reshape({1, 1}), {0});
               }),
               std::string("unknown-token"));
    }
  }

  void trained_models_tell_pairs_apart_and_none_depends_on_its_neighbours() {
    const TokenWorld world = make_token_world({}, stream(7));
    const TokenPairs pairs = draw_token_pairs(world, {.pairs = 80}, stream(8));
    const ScorerShape shape;
    const at::Tensor chosen = scorer_features(pairs.chosen, shape),
                     rejected = scorer_features(pairs.rejected, shape);
    const at::Tensor encoder = pretrain_embedding(world.prior, shape, {50, 0.01}, stream(9));
    QVERIFY(encoder.equal(pretrain_embedding(world.prior, shape, {50, 0.01}, stream(9))));
    QVERIFY(!encoder.equal(pretrain_embedding(world.prior, shape, {50, 0.01}, stream(10))));
    const auto train = [&](const std::vector<Random>& heads, double center) {
      FineTuneOptions options;
      options.center = center;
      return fine_tune(encoder, shape, chosen, rejected, options, heads);
    };
    const ScorerWeights two = train({stream(11), stream(12)}, 0.01);
    const ScorerWeights one = train({stream(12)}, 0.01);
    QVERIFY(at::allclose(two.out[1], one.out[0], 1e-3, 1e-4));
    QVERIFY(!two.out[0].equal(two.out[1]));
    QVERIFY(two.out.equal(train({stream(11), stream(12)}, 0.01).out));
    const at::Tensor gap = scorer_scores(two, chosen) - scorer_scores(two, rejected);
    QVERIFY(gap.gt(0).to(at::kDouble).mean().item<double>() > 0.7);
    // A strong centring keeps the sum of both scores near 0.
    const auto offset = [&](double center) {
      const ScorerWeights w = train({stream(11)}, center);
      return (scorer_scores(w, chosen) + scorer_scores(w, rejected)).square().mean().item<double>();
    };
    QVERIFY(offset(10) < 0.2 * offset(0));
  }

  void the_world_and_its_scorers_are_those_of_the_seed_in_every_iteration() {
    Bench world("world.token_bags", {{"pairs", 30}, {"held_out_pairs", 20}});
    world.fire(0, 5);
    const std::vector<std::string> first = world.out<Preferences>("pairs").chosen;
    QCOMPARE(first.size(), std::size_t{30});
    world.fire(9, 5);
    QCOMPARE(world.out<Preferences>("pairs").chosen, first);
    QVERIFY(world.out<Preferences>("held_out").chosen[0] != first[0]);
    const auto trained = [&](std::int64_t iteration, bool threads) {
      Bench scorers("world.token_scorers", {{"encoders", 2}, {"fine_tunings", 2}, {"steps", 5}});
      scorers.context.threads = threads;
      for (const char* port : {"prior", "pairs", "held_out"})
        scorers.connect(port, {world.value(port)});
      scorers.fire(iteration, 5);
      const auto state = scorers.out<RewardModel>("models").state;
      const auto* grid = dynamic_cast<const ScorerGrid*>(state.get());
      return grid->score(ids({0, 1, 19, 4}).reshape({2, 2}), {0, 1, 2, 3});
    };
    const at::Tensor scores = trained(0, false);
    QVERIFY(scores.equal(trained(3, true)));
    QVERIFY(!scores[0].equal(scores[1]) && !scores[0].equal(scores[2]));
    world.fire(0, 6);
    QVERIFY(world.out<Preferences>("pairs").chosen != first);
  }

  void the_same_models_are_grouped_by_row_or_by_column() {
    using enum EnsembleGroup;
    QCOMPARE(ensemble_members(single, 3, 4, 2), (std::vector<std::int64_t>{10}));
    QCOMPARE(ensemble_members(fine_tuning, 3, 4, 1), (std::vector<std::int64_t>{4, 5, 6, 7}));
    QCOMPARE(ensemble_members(pretraining, 3, 4, 1), (std::vector<std::int64_t>{1, 5, 9}));
    QCOMPARE(ensemble_members(pretraining, 3, 4, 5), ensemble_members(pretraining, 3, 4, 1));
  }

  void ensembles_score_the_rows_of_their_group() {
    // Models say 1, 2, 3, 4 times the share; group 0 has rows 1, 0.5 and group 1 rows 0.5, 0.
    QCOMPARE(scores_of({{"group_by", "single"}}), (std::vector<double>{1, 0.5, 2, 0}));
    QCOMPARE(scores_of({{"group_by", "fine_tuning"}}), (std::vector<double>{1.5, 0.75, 1.75, 0}));
    QCOMPARE(scores_of({{"group_by", "pretraining"}}), (std::vector<double>{2, 1, 1.5, 0}));
    QCOMPARE(scores_of({{"group_by", "pretraining"}, {"op", "min"}}),
             (std::vector<double>{1, 0.5, 1, 0}));
    // Members 1 and 3: mean 2, sample std sqrt 2.
    const double one =
        scores_of({{"group_by", "pretraining"}, {"op", "mean_minus_std"}, {"k", 0.5}})[0];
    QVERIFY(close(one, 2 - std::sqrt(2.0) / 2));
    Bench bench = ensemble({{"group_by", "pretraining"}});
    bench.fire();
    const Rewards& r = bench.out<Rewards>("rewards");
    QCOMPARE(r.components.size(), std::size_t{2});
    QVERIFY(r.components[1].second.equal(doubles({3, 1.5, 2, 0})));
    QVERIFY(r.group.equal(ids({0, 0, 1, 1})) && r.batch == 7);
    QVERIFY(bench.context.alarms.empty());
  }

  void members_on_other_scales_raise_an_alarm() {
    Bench bench = ensemble({{"group_by", "pretraining"}}, {0, 0, 5, 0});
    bench.fire();
    QCOMPARE(bench.context.alarms, std::vector<std::string>{"uncentred-members"});
    Bench other = ensemble({{"group_by", "fine_tuning"}}, {0, 0.5, 5, 5});
    other.fire();
    QVERIFY(other.context.alarms.empty());
  }

  void ensembles_refuse_what_says_nothing() {
    QCOMPARE(refusal({{"group_by", "single"}, {"op", "mean_minus_std"}}), std::string("too-few"));
    QCOMPARE(refusal({{"group_by", "single"}, {"op", "mean_minus_var"}}), std::string("too-few"));
    QCOMPARE(refusal({{"group_by", "single"}, {"op", "mean_minus_std"}, {"divisor", "population"}}),
             std::string());
    QCOMPARE(refusal({{"k", -1}}), std::string("param-range"));
    QCOMPARE(refusal({{"q", 1.5}}), std::string("param-range"));
    QCOMPARE(refusal({{"q", -0.1}}), std::string("param-range"));
    QCOMPARE(refusal({{"evaluator", {0}}}), std::string("no-model"));
    QCOMPARE(refusal({{"evaluator", {0, 2}}}), std::string("no-model"));
    const Problem inside = problem_of([] {
      ensemble({{"group_by", "single"}, {"evaluator", {1, 1}}}).fire();
    });
    QCOMPARE(inside.code, std::string("evaluator-inside"));
    QVERIFY(inside.text.find("held-out reward would be biased") != std::string::npos);
  }

  void an_evaluator_outside_scores_the_same_rows() {
    Bench bench = ensemble({{"group_by", "single"}, {"evaluator", {1, 0}}});
    bench.fire();
    QVERIFY(bench.out<Rewards>("unused").total.equal(doubles({3, 1.5, 1.5, 0})));
    QVERIFY(!ensemble({{"group_by", "single"}}).value("unused"));
  }

  void best_of_n_needs_n_samples() {
    Rewards r;
    r.total = doubles({1, 2, 3, 4});
    r.group = ids({0, 0, 1, 1});
    Bench bench("eval.best_of_n", {{"n", 3}});
    bench.connect("proxy_rewards", {Value::of(r)});
    bench.connect("gold_rewards", {Value::of(r)});
    const Problem problem = problem_of([&] { bench.fire(); });
    QCOMPARE(problem.code, std::string("too-few"));
    QVERIFY(problem.text.find('2') != std::string::npos &&
            problem.text.find('3') != std::string::npos);
  }
};

}  // namespace rewardloom

using rewardloom::TestEnsembleWorld;
REWARDLOOM_TEST(TestEnsembleWorld)
#include "test_ensemble_world.moc"
