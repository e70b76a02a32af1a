#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <QTemporaryDir>
#include <cmath>

#include "engine/core/problem.h"
#include "engine/io/safetensors.h"
#include "nodes/optimize/adamw.h"
#include "nodes/text/language_model.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using rewardloom::testing::Bench;

namespace {

const Json tiny_model = {{"init", "random"},
                         {"characters", "0123456789+="},
                         {"config",
                          {{"hidden_size", 32},
                           {"intermediate_size", 64},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 2},
                           {"num_key_value_heads", 2},
                           {"initializer_range", 0.15},
                           {"max_position_embeddings", 64}}}};

LanguageModel& model_of(const Bench& policy) {
  return dynamic_cast<LanguageModel&>(*policy.out<Policy>("policy").state);
}

std::shared_ptr<Bench> fired_policy(const Json& params = tiny_model) {
  auto bench = std::make_shared<Bench>("text.policy", params, "actor");
  bench->fire();
  return bench;
}

Prompts sums(std::int64_t count) {
  Prompts prompts;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t a = i % 5, b = (3 * i) % 4;
    prompts.id.push_back(std::to_string(i));
    prompts.text.push_back(std::to_string(a) + "+" + std::to_string(b) + "=");
    prompts.reference.push_back(std::to_string(a + b));
  }
  return prompts;
}

/// The policy's own answers, with made-up advantages.
struct Rollout {
  Value completions;
  Value advantages;

  Rollout(const Bench& policy, std::int64_t prompts, std::int64_t group) {
    Bench generate("sample.generate", {{"group_size", group}, {"max_tokens", 6}}, "rollout");
    generate.connect("policy", {policy.value("policy")});
    generate.connect("prompts", {Value::of(sums(prompts))});
    generate.fire();
    completions = generate.value("completions");
    const Completions& c = completions.get<Completions>();
    Advantages a;
    a.advantages = at::sin(at::arange(c.rows(), at::kFloat) * 2.3);
    a.batch = c.batch;
    advantages = Value::of(std::move(a));
  }
};

Value term(const std::string& type, const Json& params) {
  Bench bench(type, params, type);
  bench.fire();
  return bench.value("term");
}

Bench optimizer(const Bench& policy, const Rollout& rollout, Json params,
                std::vector<Value> terms) {
  Bench bench("optimize.policy", params, "update");
  bench.connect("policy", {policy.value("policy")});
  bench.connect("completions", {rollout.completions});
  bench.connect("advantages", {rollout.advantages});
  bench.connect("terms", std::move(terms));
  return bench;
}

WeightMap weights_after(const Json& params, std::int64_t micro_batch, bool threads,
                        std::map<std::string, double>* metrics = nullptr) {
  const auto policy = fired_policy();
  const Rollout rollout(*policy, 9, 4);
  Bench update = optimizer(
      *policy, rollout, params,
      {term("loss.policy_clip", Json::object()), term("loss.entropy", {{"coefficient", -0.01}})});
  update.settings().micro_batch = micro_batch;
  update.context.threads = threads;
  update.fire();
  if (metrics != nullptr) *metrics = update.context.metrics;
  return model_of(*policy).decoder().copy().weights();
}

double largest_difference(const WeightMap& a, const WeightMap& b) {
  double largest = 0;
  for (const auto& [name, tensor] : a)
    largest = std::max(largest, (tensor - b.at(name)).abs().max().item<double>());
  return largest;
}

}  // namespace

class TestOptimize : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void the_update_has_the_gradient_of_the_whole_loss() {
    const auto policy = fired_policy();
    const Rollout rollout(*policy, 5, 4);
    const Completions& c = rollout.completions.get<Completions>();
    const Decoder before = model_of(*policy).decoder().copy();
    Bench update = optimizer(
        *policy, rollout, {{"learning_rate", 1e-3}, {"max_grad_norm", 0.0}},
        {term("loss.policy_clip", Json::object()), term("loss.entropy", {{"coefficient", -0.1}})});
    update.settings().micro_batch = 3;
    update.fire();

    WeightMap leaves;
    for (const auto& [name, tensor] : before.weights())
      leaves[name] = tensor.to(at::kDouble).requires_grad_();
    const at::Tensor there = c.kinds.ne(0);
    const at::Tensor log_p =
        before.forward(c.tokens, there, leaves).narrow(1, 0, c.tokens.size(1) - 1).log_softmax(-1);
    const at::Tensor mask = c.mask().narrow(1, 1, c.tokens.size(1) - 1).to(at::kDouble);
    const at::Tensor taken =
        log_p.gather(2, c.tokens.narrow(1, 1, c.tokens.size(1) - 1).unsqueeze(2)).squeeze(2);
    const at::Tensor advantages =
        rollout.advantages.get<Advantages>().advantages.to(at::kDouble).unsqueeze(1);
    // On the policy's own samples the clipped surrogate has the gradient of -A log pi.
    const at::Tensor entropy = -(log_p.exp() * log_p).sum(-1);
    const at::Tensor loss = ((-advantages * taken - 0.1 * entropy) * mask).sum() / mask.sum();
    loss.backward();
    TensorMap gradients;
    for (const auto& [name, leaf] : leaves) gradients[name] = leaf.grad();
    const double want = global_norm(gradients);
    const double got = update.context.metrics.at("actor/grad_norm");
    QVERIFY2(std::abs(got - want) < 1e-5 * want, qPrintable(QString("%1 %2").arg(got).arg(want)));
    const double mean_entropy = ((entropy * mask).sum() / mask.sum()).item<double>();
    QVERIFY(std::abs(update.context.metrics.at("actor/entropy") - mean_entropy) < 1e-5);

    // And the weights move as AdamW moves them.
    WeightMap doubles;
    for (const auto& [name, leaf] : leaves) doubles[name] = leaf.detach().clone();
    AdamW adam;
    AdamWOptions options;
    options.learning_rate = 1e-3;
    adam.step(doubles, gradients, options);
    for (const auto& [name, tensor] : model_of(*policy).decoder().weights()) {
      // Where a gradient is rounding noise the sign decides the step: only clear ones are compared.
      const at::Tensor clear = gradients.at(name).abs().gt(1e-5);
      QVERIFY2(
          ((tensor.to(at::kDouble) - doubles.at(name)) * clear).abs().max().item<double>() < 2e-5,
          name.c_str());
    }
  }

  void sampling_and_training_agree_to_the_last_bit() {
    const auto policy = fired_policy();
    const Rollout rollout(*policy, 6, 4);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 1e-3}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    QCOMPARE(update.context.metrics.at("mismatch/max"), 0.0);
    QCOMPARE(update.context.metrics.at("mismatch/token_mult_prob_error"), 1.0);
    QCOMPARE(update.context.metrics.at("actor/ppo_kl"), 0.0);
    QCOMPARE(update.context.metrics.at("actor/pg_clipfrac"), 0.0);
    QVERIFY(update.context.alarms.empty());
    QCOMPARE(model_of(*policy).weight_version(), 1);
  }

  void log_probs_that_are_off_raise_an_alarm() {
    const auto policy = fired_policy();
    Rollout rollout(*policy, 4, 2);
    Completions c = rollout.completions.get<Completions>();
    c.log_probs = c.log_probs - 0.01;
    rollout.completions = Value::of(c);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 1e-3}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    QVERIFY(std::abs(update.context.metrics.at("mismatch/max") - 0.01) < 1e-5);
    QCOMPARE(update.context.alarms, std::vector<std::string>{"sampler-trainer-mismatch"});
  }

  void micro_batches_change_nothing_beyond_rounding() {
    const Json params = {{"learning_rate", 1e-4}, {"epsilon", 1e-4}};
    std::map<std::string, double> first, other;
    const WeightMap want = weights_after(params, 36, false, &first);
    for (const std::int64_t size : {1, 5, 16}) {
      QVERIFY(largest_difference(want, weights_after(params, size, false, &other)) < 1e-6);
      for (const char* name :
           {"actor/loss", "actor/grad_norm", "actor/entropy", "loss.policy_clip/clip_fraction"}) {
        QVERIFY2(std::abs(first.at(name) - other.at(name)) < 1e-6 * (1 + std::abs(first.at(name))),
                 name);
      }
    }
  }

  void threads_change_no_bit() {
    const Json params = {{"learning_rate", 1e-3}, {"mini_batch", 20}, {"epochs", 2}};
    const WeightMap want = weights_after(params, 3, false);
    QCOMPARE(largest_difference(want, weights_after(params, 3, true)), 0.0);
  }

  void a_learning_rate_of_zero_changes_no_bit() {
    const auto policy = fired_policy();
    const Decoder before = model_of(*policy).decoder().copy();
    const Rollout rollout(*policy, 4, 2);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 0.0}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    QCOMPARE(largest_difference(before.weights(), model_of(*policy).decoder().weights()), 0.0);
    QCOMPARE(model_of(*policy).weight_version(), 0);
    QVERIFY(update.context.alarms.empty());
  }

  void a_step_too_small_for_float32_is_reported() {
    const auto policy = fired_policy();
    const Rollout rollout(*policy, 4, 2);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 1e-20}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    QCOMPARE(update.context.alarms, std::vector<std::string>{"weights-unchanged"});
  }

  void a_gradient_that_is_not_finite_is_skipped_and_reported() {
    const auto policy = fired_policy();
    const Decoder before = model_of(*policy).decoder().copy();
    Rollout rollout(*policy, 4, 2);
    Advantages bad = rollout.advantages.get<Advantages>();
    bad.advantages = bad.advantages.clone();
    bad.advantages[3] = std::nan("");
    rollout.advantages = Value::of(bad);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 1e-3}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    QCOMPARE(largest_difference(before.weights(), model_of(*policy).decoder().weights()), 0.0);
    QCOMPARE(update.context.metrics.at("actor/skipped_steps"), 1.0);
    QCOMPARE(update.context.alarms, std::vector<std::string>{"non-finite-gradient"});
  }

  void rows_of_another_sampling_are_refused() {
    const auto policy = fired_policy();
    Rollout rollout(*policy, 4, 2);
    Advantages other = rollout.advantages.get<Advantages>();
    other.batch += 1;
    rollout.advantages = Value::of(other);
    Bench update =
        optimizer(*policy, rollout, Json::object(), {term("loss.policy_clip", Json::object())});
    QVERIFY_EXCEPTION_THROWN(update.fire(), Failure);
    other.batch -= 1;
    other.advantages = other.advantages.narrow(0, 0, 3);
    rollout.advantages = Value::of(other);
    Bench short_update =
        optimizer(*policy, rollout, Json::object(), {term("loss.policy_clip", Json::object())});
    QVERIFY_EXCEPTION_THROWN(short_update.fire(), Failure);
  }

  void greedy_answers_are_not_trained_on() {
    const auto policy = fired_policy();
    Rollout rollout(*policy, 4, 2);
    Completions c = rollout.completions.get<Completions>();
    c.temperature = 0;
    rollout.completions = Value::of(c);
    Bench update =
        optimizer(*policy, rollout, Json::object(), {term("loss.policy_clip", Json::object())});
    QVERIFY_EXCEPTION_THROWN(update.fire(), Failure);
  }

  void a_reference_stays_where_the_policy_began() {
    const auto policy = fired_policy();
    Bench reference("text.reference", Json::object(), "start");
    reference.connect("policy", {policy->value("policy")});
    reference.fire();
    const Rollout rollout(*policy, 4, 4);
    Bench update = optimizer(*policy, rollout, {{"learning_rate", 1e-2}, {"epochs", 3}},
                             {term("loss.policy_clip", Json::object())});
    update.fire();
    reference.fire(1);
    Bench now("text.log_probs", Json::object(), "now"),
        then("text.log_probs", Json::object(), "then");
    now.connect("policy", {update.value("policy")});
    then.connect("reference", {reference.value("reference")});
    for (Bench* bench : {&now, &then}) {
      bench->connect("completions", {rollout.completions});
      bench->fire();
    }
    const Completions& c = rollout.completions.get<Completions>();
    QVERIFY(then.out<LogProbs>("log_probs").log_probs.equal(c.log_probs));
    QVERIFY(!now.out<LogProbs>("log_probs").log_probs.equal(c.log_probs));
    QCOMPARE(now.out<LogProbs>("log_probs").weight_version, 1);
  }

  void policy_and_optimizer_resume_with_the_same_bits() {
    const auto play = [](bool interrupted) {
      auto policy = fired_policy();
      auto update =
          std::make_unique<Bench>("optimize.policy", Json{{"learning_rate", 1e-3}}, "update");
      for (std::int64_t iteration = 0; iteration < 4; ++iteration) {
        if (interrupted && iteration == 2) {
          Package weights, moments;
          policy->context.states.at("weights").save(weights);
          update->context.states.at("adam").save(moments);
          policy = fired_policy();
          policy->context.states.at("weights").load(
              safetensors_from_bytes(safetensors_bytes(weights)));
          update =
              std::make_unique<Bench>("optimize.policy", Json{{"learning_rate", 1e-3}}, "update");
          auto adam = std::make_shared<AdamW>();
          update->context.states["adam"] = rewardloom::detail::hold<AdamW>(adam);
          update->context.states["adam"].load(safetensors_from_bytes(safetensors_bytes(moments)));
        }
        const Rollout rollout(*policy, 3, 4);
        update->connect("policy", {policy->value("policy")});
        update->connect("completions", {rollout.completions});
        update->connect("advantages", {rollout.advantages});
        update->connect("terms", {term("loss.policy_clip", Json::object())});
        update->fire(iteration);
      }
      return model_of(*policy).decoder().copy();
    };
    QCOMPARE(largest_difference(play(false).weights(), play(true).weights()), 0.0);
  }

  void supervised_training_learns_the_answers() {
    const auto policy = fired_policy();
    Bench sft("optimize.sft", {{"learning_rate", 5e-3}}, "sft");
    sft.connect("policy", {policy->value("policy")});
    sft.connect("prompts", {Value::of(sums(20))});
    double first = 0;
    for (std::int64_t iteration = 0; iteration < 80; ++iteration) {
      sft.fire(iteration);
      if (iteration == 0) first = sft.context.metrics.at("actor/loss");
    }
    QVERIFY2(first > 2.0, qPrintable(QString::number(first)));
    QVERIFY2(sft.context.metrics.at("actor/loss") < 0.05,
             qPrintable(QString::number(sft.context.metrics.at("actor/loss"))));
    Bench generate("sample.generate", {{"max_tokens", 6}, {"temperature", 0.0}}, "check");
    generate.connect("policy", {policy->value("policy")});
    generate.connect("prompts", {Value::of(sums(20))});
    generate.fire();
    const Completions& c = generate.out<Completions>("completions");
    QCOMPARE(c.text, c.reference);
    QVERIFY(c.finished.all().item<bool>());
  }

  void saved_policies_write_the_same_answers() {
    QTemporaryDir folder;
    const auto policy = fired_policy();
    Bench save("model.save", {{"path", folder.path().toStdString() + "/model"}}, "save");
    save.connect("policy", {policy->value("policy")});
    save.fire();
    const auto again = fired_policy({{"model", folder.path().toStdString() + "/model"}});
    const Rollout a(*policy, 5, 3), b(*again, 5, 3);
    QVERIFY(a.completions.get<Completions>().tokens.equal(b.completions.get<Completions>().tokens));
    QVERIFY(a.completions.get<Completions>().log_probs.equal(
        b.completions.get<Completions>().log_probs));
  }

  void stop_texts_end_an_answer_and_are_cut() {
    const auto policy = fired_policy();
    Bench generate("sample.generate",
                   {{"group_size", 30}, {"max_tokens", 20}, {"stop", {"1", "22"}}}, "rollout");
    generate.connect("policy", {policy->value("policy")});
    generate.connect("prompts", {Value::of(sums(2))});
    generate.fire();
    const Completions& c = generate.out<Completions>("completions");
    for (const std::string& text : c.text)
      QVERIFY(text.find('1') == std::string::npos && text.find("22") == std::string::npos);
    QCOMPARE(c.group.eq(1).sum().item<std::int64_t>(), 30);
    QVERIFY(c.kinds.select(1, 0).le(1).all().item<bool>());
  }
};

REWARDLOOM_TEST(TestOptimize)
#include "test_optimize.moc"
