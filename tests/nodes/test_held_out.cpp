// What held-out rows say of a model, against what its optimizer minimises.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "tests/nodes/trained_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

Prompts sums_of(std::int64_t count) {
  Prompts prompts;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t a = i % 5, b = (3 * i) % 40;
    prompts.id.push_back(std::to_string(i));
    prompts.text.push_back(std::to_string(a) + "+" + std::to_string(b) + "=");
    prompts.reference.push_back(std::to_string(a + b));
  }
  return prompts;
}

Bench measured(const std::string& type, const Json& params, const Bench& policy) {
  Bench bench(type, params, "grade");
  bench.connect("policy", {policy.value("policy")});
  return bench;
}

}  // namespace

class TestHeldOut : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void the_loss_on_answers_is_what_training_minimises() {
    const auto policy = fired("text.policy");
    const Value rows = Value::of(sums_of(21));
    Bench grade = measured("eval.answer_loss", Json::object(), *policy);
    grade.connect("prompts", {rows});
    grade.fire();
    Bench train("optimize.sft", {{"learning_rate", 1e-3}}, "train");
    train.connect("policy", {policy->value("policy")});
    train.connect("prompts", {rows});
    train.fire();
    const double loss = grade.context.metrics.at("loss");
    CLOSE(loss, train.context.metrics.at("actor/loss"), 1e-6);
    CLOSE(grade.context.metrics.at("perplexity"), std::exp(loss), 1e-12);
    QCOMPARE(grade.context.metrics.at("left_out"), 0.0);
    Bench after = measured("eval.answer_loss", Json::object(), *policy);
    after.connect("prompts", {rows});
    after.fire();
    QVERIFY(after.context.metrics.at("loss") < loss);
  }

  void rows_beyond_the_context_are_left_out() {
    const auto policy = fired("text.policy");
    Prompts rows = sums_of(4);
    rows.text[2] = std::string(70, '1');
    Bench grade = measured("eval.answer_loss", Json::object(), *policy);
    grade.connect("prompts", {Value::of(rows)});
    grade.fire();
    QCOMPARE(grade.context.metrics.at("left_out"), 1.0);
    Prompts without = rows;
    for (auto* list : {&without.id, &without.text, &without.reference}) {
      list->erase(list->begin() + 2);
    }
    std::vector<WeightMap> weights;
    for (const Prompts* given : {&rows, &without}) {
      const auto fresh = fired("text.policy");
      Bench train("optimize.sft", {{"learning_rate", 1e-3}}, "train");
      train.connect("policy", {fresh->value("policy")});
      train.connect("prompts", {Value::of(*given)});
      train.fire();
      QCOMPARE(train.context.metrics.at("rows/left_out"), given == &rows ? 1.0 : 0.0);
      weights.push_back(writer(*fresh).decoder().copy().weights());
    }
    QCOMPARE(largest_difference(weights[0], weights[1]), 0.0);
    Bench short_rows("optimize.sft", {{"max_length", 3}}, "train");
    short_rows.connect("policy", {policy->value("policy")});
    short_rows.connect("prompts", {Value::of(rows)});
    short_rows.fire();
    QCOMPARE(short_rows.context.metrics.at("rows/left_out"), 4.0);
    QCOMPARE(short_rows.context.alarms, std::vector<std::string>{"nothing-to-learn"});
    QCOMPARE(writer(*policy).weight_version(), 0);
  }

  void implicit_rewards_have_the_loss_of_dpo() {
    const Preferences pairs = right_and_wrong(13);
    const auto policy = fired("text.policy");
    const auto reference = fired("text.reference", {{"seed", 3}});
    Bench grade = measured("eval.implicit_rewards", {{"beta", 0.3}}, *policy);
    grade.connect("reference", {reference->value("reference")});
    grade.connect("preferences", {Value::of(pairs)});
    grade.fire();
    Bench train("optimize.preferences", careful, "train");
    train.connect("policy", {policy->value("policy")});
    train.connect("reference", {reference->value("reference")});
    train.connect("preferences", {Value::of(pairs)});
    train.connect("terms", {term("loss.dpo", {{"beta", 0.3}})});
    train.fire();
    const auto& metrics = grade.context.metrics;
    CLOSE(metrics.at("loss"), train.context.metrics.at("loss"), 1e-6);
    CLOSE(metrics.at("accuracy"), train.context.metrics.at("rewards/accuracies"), 1e-12);
    CLOSE(metrics.at("margin"), train.context.metrics.at("rewards/margins"), 1e-5);
    QCOMPARE(metrics.at("pairs"), 13.0);
  }

  void a_policy_equal_to_its_reference_has_the_loss_log_two() {
    const auto policy = fired("text.policy");
    const auto reference = fired("text.reference");
    Bench grade = measured("eval.implicit_rewards", Json::object(), *policy);
    grade.connect("reference", {reference->value("reference")});
    grade.connect("preferences", {Value::of(right_and_wrong(5))});
    grade.fire();
    CLOSE(grade.context.metrics.at("loss"), std::log(2.0), 1e-12);
    QCOMPARE(grade.context.metrics.at("accuracy"), 0.0);
    QCOMPARE(grade.context.metrics.at("margin"), 0.0);
  }
};

REWARDLOOM_TEST(TestHeldOut)
#include "test_held_out.moc"
