#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/io/safetensors.h"
#include "tests/nodes/trained_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

class TestOptimizeModels : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void a_reward_model_gets_the_gradient_of_the_bradley_terry_loss() {
    Preferences pairs = right_and_wrong(9);
    pairs.margin = at::linspace(0, 1, 9, at::kDouble);
    const auto model = fired("model.reward");
    const PairRows rows = pair_rows(scorer(*model), pairs, 0);
    const WeightMap leaves = double_leaves(scorer(*model).decoder());
    const at::Tensor scores = scores_of(scorer(*model).decoder(), leaves, rows.rows);
    const at::Tensor chosen = scores.narrow(0, 0, 9), rejected = scores.narrow(0, 9, 9);
    const at::Tensor loss =
        (-at::log_sigmoid(chosen - rejected - pairs.margin) + 0.01 * (chosen + rejected).square())
            .mean();
    loss.backward();
    const Trained got =
        train_scorer(careful, pairs, {term("loss.bradley_terry", {{"center", 0.01}})}, 4);
    CLOSE(got.metrics.at("loss"), loss.item<double>(), 1e-6);
    CLOSE(got.metrics.at("grad_norm"), gradient_norm(leaves), 1e-5);
    const at::Tensor gap = (chosen - rejected).detach();
    CLOSE(got.metrics.at("margin"), gap.mean().item<double>(), 1e-6);
    CLOSE(got.metrics.at("accuracy"), gap.gt(0).to(at::kDouble).mean().item<double>(), 1e-12);
    CLOSE(got.metrics.at("rewards/chosen"), chosen.mean().item<double>(), 1e-6);
    QVERIFY(got.alarms.empty());

    WeightMap doubles;
    TensorMap gradients;
    for (const auto& [name, leaf] : leaves) {
      doubles[name] = leaf.detach().clone();
      if (leaf.grad().defined()) gradients[name] = leaf.grad();
    }
    AdamW adam;
    AdamWOptions options;
    options.learning_rate = 1e-3;
    options.epsilon = 1e-4;
    adam.step(doubles, gradients, options);
    QVERIFY(largest_difference(doubles, got.weights) < 1e-5);
  }

  void micro_batches_change_no_model_beyond_rounding() {
    const Preferences pairs = right_and_wrong(13);
    const Trained want = train_scorer(careful, pairs, {}, 100);
    // Sorts over all pairs of a step: cut into parts it would be another loss.
    const auto sorted = [] { return term("loss.dpo", {{"variant", "aot"}}); };
    const Trained policy = train_policy(careful, pairs, {sorted()}, 100);
    const Trained value = train_critic(100, false, Json::object()).trained;
    for (const std::int64_t size : {1, 4}) {
      const Trained got = train_scorer(careful, pairs, {}, size);
      QVERIFY(largest_difference(want.weights, got.weights) < 1e-6);
      CLOSE(got.metrics.at("loss"), want.metrics.at("loss"), 1e-6);
      CLOSE(got.metrics.at("grad_norm"), want.metrics.at("grad_norm"), 1e-6);
      const Trained other = train_policy(careful, pairs, {sorted()}, size);
      QVERIFY(largest_difference(policy.weights, other.weights) < 1e-6);
      CLOSE(other.metrics.at("loss"), policy.metrics.at("loss"), 1e-6);
      const Trained third = train_critic(size, false, Json::object()).trained;
      QVERIFY(largest_difference(value.weights, third.weights) < 1e-6);
    }
  }

  void threads_change_no_bit() {
    const Preferences pairs = right_and_wrong(13);
    const Json params = {{"learning_rate", 1e-3}, {"mini_batch", 7}, {"epochs", 2}};
    QCOMPARE(largest_difference(train_scorer(params, pairs, {}, 2).weights,
                                train_scorer(params, pairs, {}, 2, true).weights),
             0.0);
    QCOMPARE(largest_difference(train_policy(params, pairs, {term("loss.dpo")}, 2).weights,
                                train_policy(params, pairs, {term("loss.dpo")}, 2, true).weights),
             0.0);
    QCOMPARE(largest_difference(train_critic(2, false, Json::object()).trained.weights,
                                train_critic(2, true, Json::object()).trained.weights),
             0.0);
  }

  void rows_with_targets_are_regressed() {
    const Completions c = answers_to(4);
    Rewards r = Rewards::of(c, at::cos(at::arange(c.rows(), at::kFloat)));
    r.absent = at::zeros({c.rows()}, at::kBool);
    r.absent[2] = true;
    r.total[2] = std::nan("");
    const auto model = fired("model.reward");
    const WeightMap leaves = double_leaves(scorer(*model).decoder());
    const TokenRows rows = token_rows(c.tokens, c.kinds);
    const at::Tensor out = scorer(*model).decoder().forward(rows.tokens, rows.kinds.ne(0), leaves);
    const at::Tensor columns = at::arange(rows.width(), at::kLong);
    const at::Tensor last = (rows.kinds.ne(0) * columns).argmax(1);
    const at::Tensor score = out.select(2, 0).gather(1, last.unsqueeze(1)).squeeze(1);
    const at::Tensor kept = r.absent.logical_not();
    const at::Tensor loss =
        (score.masked_select(kept) - r.total.masked_select(kept).to(at::kDouble)).square().mean();
    loss.backward();
    Bench update("optimize.reward_model", careful, "update");
    update.connect("reward_model", {model->value("reward_model")});
    update.connect("completions", {Value::of(c)});
    update.connect("targets", {Value::of(r)});
    update.settings().micro_batch = 4;
    update.fire();
    CLOSE(update.context.metrics.at("loss"), loss.item<double>(), 1e-6);
    CLOSE(update.context.metrics.at("grad_norm"), gradient_norm(leaves), 1e-5);
  }

  void pairs_and_rows_can_be_learnt_together() {
    const Completions c = answers_to(3);
    for (const char* form : {"squared_error", "binary_cross_entropy"}) {
      const auto model = fired("model.reward");
      Json params = careful;
      params["row_loss"] = form;
      Bench update("optimize.reward_model", params, "update");
      update.connect("reward_model", {model->value("reward_model")});
      update.connect("preferences", {Value::of(right_and_wrong(5))});
      update.connect("completions", {Value::of(c)});
      update.connect("targets",
                     {Value::of(Rewards::of(c, at::arange(c.rows(), at::kFloat).fmod(2)))});
      update.settings().micro_batch = 3;
      update.fire();
      CLOSE(update.context.metrics.at("loss"),
            update.context.metrics.at("pairs/loss") + update.context.metrics.at("rows/loss"),
            1e-12);
    }
  }

  void classes_are_learnt() {
    const Completions c = answers_to(4);
    const at::Tensor wanted = at::arange(c.rows(), at::kLong).remainder(3);
    const auto model = fired("model.reward", {{"labels", 3}});
    Bench update("optimize.reward_model", {{"learning_rate", 5e-3}, {"row_loss", "cross_entropy"}},
                 "update");
    update.connect("reward_model", {model->value("reward_model")});
    update.connect("completions", {Value::of(c)});
    // Answers that are the same text have to have the same class.
    std::map<std::string, std::int64_t> seen;
    const at::Tensor target = at::zeros({c.rows()}, at::kFloat);
    for (std::int64_t i = 0; i < c.rows(); ++i) {
      const std::string key = c.prompt_text[i] + c.text[i];
      target[i] =
          static_cast<double>(seen.try_emplace(key, wanted[i].item<std::int64_t>()).first->second);
    }
    update.connect("targets", {Value::of(Rewards::of(c, target))});
    for (std::int64_t i = 0; i < 60; ++i) update.fire(i);
    QVERIFY(update.context.metrics.at("rows/loss") < 0.05);
    QCOMPARE(update.context.metrics.at("rows/accuracy"), 1.0);
  }

  void a_trained_reward_model_tells_its_pairs_apart() {
    const auto model = fired("model.reward");
    Bench update("optimize.reward_model", {{"learning_rate", 3e-3}}, "update");
    update.connect("reward_model", {model->value("reward_model")});
    update.connect("preferences", {Value::of(right_and_wrong(30))});
    update.fire();
    const double first = update.context.metrics.at("loss");
    for (std::int64_t i = 1; i < 40; ++i) update.fire(i);
    QVERIFY(update.context.metrics.at("loss") < 0.2 * first);
    Bench exam("eval.preferences", Json::object(), "exam");
    exam.connect("reward_model", {update.value("reward_model")});
    exam.connect("preferences", {Value::of(right_and_wrong(30))});
    exam.fire();
    QCOMPARE(exam.context.metrics.at("accuracy"), 1.0);
    QVERIFY(exam.context.metrics.at("margin") > 1.0);
    QCOMPARE(exam.context.metrics.at("pairs"), 30.0);
  }

  void models_and_optimizers_resume_with_the_same_bits() {
    const auto play = [](bool interrupted) {
      const auto fresh = [] {
        return std::make_unique<Bench>("optimize.reward_model", Json{{"learning_rate", 1e-3}},
                                       "update");
      };
      auto model = fired("model.reward");
      auto update = fresh();
      for (std::int64_t iteration = 0; iteration < 4; ++iteration) {
        if (interrupted && iteration == 2) {
          Package weights, moments;
          model->context.states.at("weights").save(weights);
          update->context.states.at("adam").save(moments);
          model = fired("model.reward");
          model->context.states.at("weights").load(
              safetensors_from_bytes(safetensors_bytes(weights)));
          update = fresh();
          update->context.states["adam"] =
              rewardloom::detail::hold<AdamW>(std::make_shared<AdamW>());
          update->context.states["adam"].load(safetensors_from_bytes(safetensors_bytes(moments)));
        }
        update->connect("reward_model", {model->value("reward_model")});
        update->connect("preferences", {Value::of(right_and_wrong(8 + iteration))});
        update->fire(iteration);
      }
      return scorer(*model).decoder().copy();
    };
    QCOMPARE(largest_difference(play(false).weights(), play(true).weights()), 0.0);
  }

  void a_critic_gets_the_gradient_of_the_squared_error() {
    const ValueRun run = train_critic(4, false, {{"clip", nullptr}});
    CLOSE(run.trained.metrics.at("loss"), run.want_loss, 1e-6);
    CLOSE(run.trained.metrics.at("grad_norm"), run.want_norm, 1e-5);
    QVERIFY(run.trained.alarms.empty());
    QVERIFY(run.trained.metrics.at("explained_variance") <= 1.0);
    // Before the first step nothing is clipped: the clipped loss is the same.
    CLOSE(train_critic(4, false, Json::object()).trained.metrics.at("loss"), run.want_loss, 1e-6);
  }

  void dpo_has_the_gradient_of_its_formula() {
    const Preferences pairs = right_and_wrong(7);
    const auto policy = fired("text.policy");
    const auto reference = fired("text.reference", {{"seed", 3}});
    const PairRows rows = pair_rows(writer(*policy), pairs, 0);
    const WeightMap leaves = double_leaves(writer(*policy).decoder());
    auto& fixed = model_of<ReferenceModel>(*reference, "reference");
    const at::Tensor now = token_log_probs_of(writer(*policy).decoder(), leaves, rows.rows).sum(1);
    const at::Tensor then =
        token_log_probs_of(fixed.decoder(), double_leaves(fixed.decoder()), rows.rows)
            .sum(1)
            .detach();
    const at::Tensor ratio = now - then;
    const at::Tensor d = ratio.narrow(0, 0, 7) - ratio.narrow(0, 7, 7);
    const at::Tensor loss = -at::log_sigmoid(0.3 * d).mean();
    loss.backward();
    const Trained got = train_policy(careful, pairs, {term("loss.dpo", {{"beta", 0.3}})}, 3);
    CLOSE(got.metrics.at("loss"), loss.item<double>(), 1e-5);
    CLOSE(got.metrics.at("grad_norm"), gradient_norm(leaves), 1e-4);
    CLOSE(got.metrics.at("rewards/margins"), 0.3 * d.detach().mean().item<double>(), 1e-4);
    CLOSE(got.metrics.at("rewards/chosen"),
          0.3 * ratio.detach().narrow(0, 0, 7).mean().item<double>(), 1e-4);
    CLOSE(got.metrics.at("rewards/accuracies"),
          d.detach().gt(0).to(at::kDouble).mean().item<double>(), 1e-9);
  }

  void simpo_and_orpo_get_means_and_cpo_sums() {
    const Preferences pairs = right_and_wrong(6);
    const auto policy = fired("text.policy");
    const PairRows rows = pair_rows(writer(*policy), pairs, 0);
    const WeightMap leaves = double_leaves(writer(*policy).decoder());
    const at::Tensor sums =
        token_log_probs_of(writer(*policy).decoder(), leaves, rows.rows).sum(1).detach();
    const at::Tensor means = sums / rows.rows.kinds.eq(2).sum(1);
    const auto gap = [](const at::Tensor& x) { return x.narrow(0, 0, 6) - x.narrow(0, 6, 6); };
    const at::Tensor odds = means - at::log1p(-means.exp());
    const double simpo = -at::log_sigmoid(2 * gap(means) - 0.5).mean().item<double>();
    const double cpo = -at::log_sigmoid(2 * gap(sums)).mean().item<double>();
    const double orpo = -0.1 * at::log_sigmoid(gap(odds)).mean().item<double>();
    const at::Tensor chosen = sums.narrow(0, 0, 6);
    const double nll = -(chosen.sum() / rows.rows.kinds.narrow(0, 0, 6).eq(2).sum()).item<double>();
    CLOSE(train_policy(careful, pairs, {term("loss.simpo")}, 4).metrics.at("loss"), simpo, 1e-5);
    CLOSE(train_policy(careful, pairs, {term("loss.simpo", {{"variant", "sigmoid"}})}, 4)
              .metrics.at("loss"),
          cpo, 1e-5);
    CLOSE(train_policy(careful, pairs, {term("loss.orpo"), term("loss.nll")}, 4).metrics.at("loss"),
          orpo + nll, 1e-5);
  }

  void kto_gets_every_answer_and_mismatched_ones() {
    const Preferences pairs = right_and_wrong(5);
    const auto policy = fired("text.policy");
    const auto reference = fired("text.reference", {{"seed", 3}});
    auto& now = writer(*policy);
    auto& fixed = model_of<ReferenceModel>(*reference, "reference");
    const auto ratio_of = [&](const TokenRows& rows) {
      return (token_log_probs_of(now.decoder(), double_leaves(now.decoder()), rows).sum(1) -
              token_log_probs_of(fixed.decoder(), double_leaves(fixed.decoder()), rows).sum(1))
          .detach();
    };
    Preferences shifted = pairs;
    std::rotate(shifted.chosen.begin(), shifted.chosen.begin() + 1, shifted.chosen.end());
    const at::Tensor x = ratio_of(pair_rows(now, pairs, 0).rows);
    const at::Tensor z =
        ratio_of(pair_rows(now, shifted, 0).rows).narrow(0, 0, 5).mean().clamp_min(0);
    const at::Tensor sign = at::cat({-at::ones({5}), at::ones({5})});
    const double want = (0.1 * sign * (x - z)).sigmoid().mean().item<double>();
    for (const std::int64_t size : {2, 100}) {
      const Trained got = train_policy(careful, pairs, {term("loss.kto")}, size);
      CLOSE(got.metrics.at("loss"), want, 1e-5);
      CLOSE(got.metrics.at("loss.kto/kl"), z.item<double>(), 1e-4);
    }
  }

  void long_pairs_are_left_out_and_counted() {
    Preferences pairs = right_and_wrong(6);
    pairs.rejected[2] = std::string(80, '1');
    pairs.rejected[4] = std::string(20, '1');
    Trained got = train_scorer(careful, pairs, {}, 3);
    QCOMPARE(got.metrics.at("pairs"), 5.0);
    QCOMPARE(got.metrics.at("pairs/left_out"), 1.0);
    Json params = careful;
    params["max_length"] = 12;
    got = train_scorer(params, pairs, {}, 3);
    QCOMPARE(got.metrics.at("pairs/left_out"), 2.0);
    params["max_length"] = 1;
    got = train_scorer(params, pairs, {}, 3);
    QCOMPARE(got.alarms, std::vector<std::string>{"nothing-to-learn"});
  }

  void what_does_not_fit_is_refused() {
    const auto two = fired("model.reward", {{"labels", 2}});
    Bench update("optimize.reward_model", Json::object(), "update");
    update.connect("reward_model", {two->value("reward_model")});
    update.connect("preferences", {Value::of(right_and_wrong(3))});
    QCOMPARE(refusal([&] { update.fire(); }), "model-head");
    Preferences torn = right_and_wrong(3);
    torn.rejected.pop_back();
    QCOMPARE(refusal([&] { train_scorer(careful, torn, {}, 2); }), "bad-shape");
    torn = right_and_wrong(3);
    torn.margin = at::ones({2});
    QCOMPARE(refusal([&] { train_scorer(careful, torn, {}, 2); }), "bad-shape");
    QCOMPARE(refusal([&] { train_scorer(careful, right_and_wrong(3), {term("loss.nll")}, 2); }),
             "loss-argument-missing");
    const Completions c = answers_to(2);
    Rewards other = Rewards::of(c, at::zeros({c.rows()}));
    other.batch += 1;
    Bench rows("optimize.reward_model", Json::object(), "update");
    rows.connect("reward_model", {fired("model.reward")->value("reward_model")});
    rows.connect("completions", {Value::of(c)});
    rows.connect("targets", {Value::of(other)});
    QCOMPARE(refusal([&] { rows.fire(); }), "other-rows");
    const auto policy = fired("text.policy");
    Bench alone("optimize.preferences", Json::object(), "update");
    alone.connect("policy", {policy->value("policy")});
    alone.connect("preferences", {Value::of(right_and_wrong(3))});
    alone.connect("terms", {term("loss.dpo")});
    QCOMPARE(refusal([&] { alone.fire(); }), "loss-argument-missing");
  }

  void a_zero_gradient_is_reported() {
    Preferences ignored = right_and_wrong(4);
    ignored.weight = at::zeros({4});
    const Value weighted = term("loss.bradley_terry", {{"reduce", "weighted_mean"}});
    const Trained got = train_scorer(careful, ignored, {weighted}, 2);
    QCOMPARE(got.alarms, std::vector<std::string>{"no-gradient"});
  }

  void old_completions_can_be_refused() {
    const auto policy = fired("text.policy");
    Completions c = answers_to(2);
    Advantages a;
    a.advantages = at::ones({c.rows()});
    a.batch = c.batch;
    writer(*policy).set_weight_version(3);
    for (const std::int64_t most : {2, 3}) {
      Bench update("optimize.policy", {{"max_staleness", most}}, "update");
      update.connect("policy", {policy->value("policy")});
      update.connect("completions", {Value::of(c)});
      update.connect("advantages", {Value::of(a)});
      update.connect("terms", {term("loss.policy_clip")});
      QCOMPARE(refusal([&] { update.fire(); }), most == 2 ? "stale-completions" : "");
    }
  }

  void a_moving_average_follows_the_policy() {
    const auto policy = fired("text.policy");
    Bench ema("model.ema", {{"decay", 0.75}}, "average");
    ema.connect("policy", {policy->value("policy")});
    ema.fire();
    WeightMap weights = writer(*policy).decoder().weights();
    const WeightMap start = writer(*policy).decoder().copy().weights();
    for (auto& [name, tensor] : weights) tensor.add_(1.0);
    ema.fire(1);
    ema.fire(2);
    const double want = 1 - 0.75 * 0.75;
    for (const char* port : {"policy", "reference"}) {
      const auto state = std::string(port) == "policy" ? ema.out<Policy>("policy").state
                                                       : ema.out<ReferenceModel>(port).state;
      const auto& average = dynamic_cast<LanguageModel&>(*state).decoder().weights();
      for (const auto& [name, tensor] : start) {
        QVERIFY((average.at(name) - tensor - want).abs().max().item<double>() < 1e-5);
      }
    }
    CLOSE(ema.context.metrics.at("distance"), 1 - want, 1e-5);
  }
};

REWARDLOOM_TEST(TestOptimizeModels)
#include "test_optimize_models.moc"
