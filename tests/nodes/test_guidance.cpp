// Classifier-free guidance: the guided field, label dropout, log-probs of guided steps; and the
// alarm of a step that float32 cannot take.
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "nodes/image/flow_sampler.h"
#include "nodes/optimize/flow_policy.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

const FlowNetShape kGuided{.channels = 1,
                           .height = 4,
                           .width = 4,
                           .classes = 3,
                           .hidden = 8,
                           .blocks = 1,
                           .unconditional = true};

TensorMap guided_weights() {
  TensorMap out;
  std::uint64_t stream = 30;
  for (const auto& [name, tensor] : draw_flow_weights(kGuided, Random({3, 1, 1}))) {
    out[name] = tensor.to(at::kDouble) + 0.1 * normals(++stream, tensor.sizes().vec());
  }
  return out;
}

Value guided_generator(bool unconditional = true) {
  Bench bench("image.generator", {{"height", 4},
                                  {"width", 4},
                                  {"classes", 3},
                                  {"hidden", 16},
                                  {"blocks", 1},
                                  {"unconditional", unconditional}});
  bench.fire(0, 1);
  const auto net = std::dynamic_pointer_cast<FlowNet>(bench.out<Generator>("generator").state);
  net->weights.at("out.weight").copy_(0.3 * normals(5, {16, 16}));
  net->weights.at("out.bias").fill_(0.1);
  return bench.value("generator");
}

FlowNet& field_of(const Value& generator) {
  return dynamic_cast<FlowNet&>(*generator.get<Generator>().state);
}

Bench sampled(const Value& generator, double guidance) {
  Bench bench("sample.flow",
              {{"images_per_prompt", 2}, {"stochastic_steps", 3}, {"guidance", guidance}});
  Prompts prompts;
  prompts.text = {"0", "2"};
  bench.connect("generator", {generator});
  bench.connect("prompts", {Value::of<Prompts>(std::move(prompts))});
  bench.fire(3, 9);
  return bench;
}

Bench policy_update(const Value& generator, const Bench& sample, const Json& params) {
  Bench bench("optimize.flow_policy", params);
  Bench clip("loss.policy_clip", {{"low", 0.2}, {"high", 0.2}});
  clip.fire();
  bench.connect("generator", {generator});
  for (const char* port : {"images", "trajectories", "log_probs"}) {
    bench.connect(port, {sample.value(port)});
  }
  Advantages a;
  a.advantages = at::tensor({1.0, -1.0, 1.0, -1.0}, at::kFloat);
  bench.connect("advantages", {Value::of<Advantages>(std::move(a))});
  bench.connect("terms", {clip.value("term")});
  return bench;
}

Bench flow_matching(const Value& generator, const Json& params) {
  Bench bench("optimize.flow_matching", params);
  bench.connect("generator", {generator});
  bench.connect("images",
                {Value::of<Images>(Images{
                    normals(8, {6, 1, 4, 4}).to(at::kFloat), {}, ids({0, 1, 2, 0, 1, 2}), 0})});
  return bench;
}

bool has_alarm(const Bench& bench, const std::string& code) {
  const auto& all = bench.context.alarms;
  return std::find(all.begin(), all.end(), code) != all.end();
}

}  // namespace

class TestGuidance : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void the_guided_field_leads_from_no_class_to_the_class_and_beyond() {
    const TensorMap w = guided_weights();
    const at::Tensor x = normals(1, {3, 1, 4, 4}), sigma = doubles({0.2, 0.5, 0.9});
    const at::Tensor labels = ids({0, 1, 2}), none = ids({3, 3, 3});
    const at::Tensor given = flow_velocity(w, kGuided, x, sigma, labels);
    const at::Tensor free = flow_velocity(w, kGuided, x, sigma, none);
    QVERIFY(guided_velocity(w, kGuided, x, sigma, labels, 1).equal(given));
    QVERIFY(at::allclose(guided_velocity(w, kGuided, x, sigma, labels, 0), free));
    QVERIFY(at::allclose(guided_velocity(w, kGuided, x, sigma, labels, 4.5),
                         free + 4.5 * (given - free)));
    QVERIFY(!at::allclose(given, free));
    const at::Tensor one = at::full({3}, 0.5, at::kDouble);
    QVERIFY(at::allclose(guided_velocity_at(w, kGuided, x, 0.5, labels, 3),
                         guided_velocity(w, kGuided, x, one, labels, 3)));
  }

  /// The update sees the log-probs that sampling wrote down only if it guides as sampling did.
  void log_probs_of_sampling_and_training_agree_at_any_scale() {
    for (const double scale : {1.0, 3.0}) {
      const Value generator = guided_generator();
      const Bench sample = sampled(generator, scale);
      Bench update = policy_update(generator, sample, {{"guidance", scale}});
      update.fire(3, 9);
      QVERIFY(update.context.metrics.at("mismatch") < 1e-4);
      QVERIFY(update.context.metrics.at("grad_norm") > 0);
    }
    const Value generator = guided_generator();
    const Bench sample = sampled(generator, 6.0);
    Bench other = policy_update(generator, sample, {{"guidance", 1.0}});
    QCOMPARE(code_of([&] { other.fire(3, 9); }), std::string("other-step"));
  }

  void the_gradient_of_a_guided_step_reaches_both_fields() {
    const TensorMap w = guided_weights();
    const c10::AutoGradMode with_gradients(true);
    TensorMap leaves = gradient_leaves(w);
    const at::Tensor x = normals(1, {2, 1, 4, 4}), sigma = doubles({0.3, 0.6});
    guided_velocity(leaves, kGuided, x, sigma, ids({0, 2}), 3).square().sum().backward();
    QVERIFY(leaves.at("class.none").grad().abs().sum().item<double>() > 0);
    const at::Tensor by_class = leaves.at("class.weight").grad().abs().sum(1);
    QVERIFY(by_class[0].item<double>() > 0 && by_class[2].item<double>() > 0);
    QCOMPARE(by_class[1].item<double>(), 0.0);
  }

  void dropped_labels_train_the_field_without_a_class() {
    const auto moved = [](double dropout, const char* name) {
      const Value generator = guided_generator();
      const at::Tensor before = field_of(generator).weights.at(name).clone();
      flow_matching(generator, {{"label_dropout", dropout}, {"weight_decay", 0}}).fire();
      return !field_of(generator).weights.at(name).equal(before);
    };
    QVERIFY(!moved(0, "class.none"));
    QVERIFY(moved(0, "class.weight"));
    QVERIFY(moved(1, "class.none"));
    QVERIFY(!moved(1, "class.weight"));
  }

  void a_generator_without_it_is_refused() {
    const Value plain = guided_generator(false);
    QVERIFY(!field_of(plain).weights.contains("class.none"));
    QCOMPARE(code_of([&] { sampled(plain, 2); }), std::string("no-unconditional"));
    QCOMPARE(code_of([&] {
               flow_matching(plain, {{"label_dropout", 0.1}}).fire();
             }),
             std::string("no-unconditional"));
    sampled(plain, 1);
  }

  /// A gradient is there, but its step is below what float32 can add.
  void a_step_that_changes_no_bit_is_told() {
    const Value generator = guided_generator(false);
    for (auto& [name, tensor] : field_of(generator).weights) tensor.add_(0.25);
    Bench tiny = flow_matching(generator, {{"learning_rate", 1e-30}, {"weight_decay", 0}});
    tiny.fire();
    QVERIFY(tiny.context.metrics.at("grad_norm") > 0);
    QVERIFY(has_alarm(tiny, "weights-unchanged"));
    QCOMPARE(field_of(generator).weight_version(), std::int64_t{0});
    Bench plain = flow_matching(generator, {{"learning_rate", 1e-3}});
    plain.fire();
    QVERIFY(!has_alarm(plain, "weights-unchanged"));
    QCOMPARE(field_of(generator).weight_version(), std::int64_t{1});
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestGuidance)
#include "test_guidance.moc"
