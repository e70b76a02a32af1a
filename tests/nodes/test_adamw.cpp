#include <ATen/ATen.h>

#include <cmath>

#include "engine/core/problem.h"
#include "engine/io/safetensors.h"
#include "nodes/optimize/adamw.h"
#include "nodes/text/decoder.h"
#include "nodes/text/token_statistics.h"
#include "tests/nodes/model_files.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

using Ids = std::vector<std::int64_t>;

/// The two sequences of the golden training run, each position but the last predicting the next
/// token.
struct GoldenBatch {
  TokenSequences sequences;
  at::Tensor targets;

  explicit GoldenBatch(const Json& golden) {
    Ids next;
    for (const Json& row : golden["ids"]) {
      Ids ids = row.get<Ids>();
      next.insert(next.end(), ids.begin() + 1, ids.end());
      ids.pop_back();
      Ids wanted(ids.size());
      for (std::size_t t = 0; t < ids.size(); ++t) wanted[t] = static_cast<std::int64_t>(t);
      sequences.tokens.push_back(ids);
      sequences.wanted.push_back(wanted);
    }
    targets = at::tensor(next, at::TensorOptions().dtype(at::kLong));
  }
};

bool near(double got, double want, double tolerance) {
  return std::abs(got - want) <= tolerance * (1 + std::abs(want));
}

}  // namespace

class TestAdamw : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void five_steps_match_the_golden_run() {
    if (!model_files::available()) QSKIP("no golden numbers here");
    const Json golden = model_files::golden("stories260K-train");
    const GoldenBatch batch(golden);
    Decoder decoder = Decoder::load(model_files::folder("stories260K"));
    AdamW adam;
    AdamWOptions options;
    options.learning_rate = golden["optimizer"]["lr"];
    options.weight_decay = golden["optimizer"]["weight_decay"];
    options.decay_every_tensor = true;
    const auto forward = [&](WeightMap* gradients) {
      const auto pass = decoder.score(batch.sequences, gradients != nullptr);
      const TokenStatistics s = token_statistics(pass->logits(), batch.targets, {});
      const double count = static_cast<double>(batch.targets.numel());
      if (gradients != nullptr) {
        const at::Tensor d = at::full_like(s.log_probs, -1 / count);
        pass->backward(token_statistics_backward(pass->logits(), batch.targets, {}, d, {}),
                       *gradients);
      }
      return -s.log_probs.mean().item<double>();
    };
    for (const Json& step : golden["steps"]) {
      WeightMap gradients = decoder.zero_gradients();
      const double loss = forward(&gradients);
      QVERIFY2(near(loss, step["loss"], 1e-5), qPrintable(QString::number(loss)));
      if (step.contains("grad_norms")) {
        for (const auto& [name, norm] : step["grad_norms"].items()) {
          const double got = gradients.at(name).norm().item<double>();
          QVERIFY2(near(got, norm, 2e-5), name.c_str());
        }
      }
      WeightMap weights = decoder.weights();
      const AdamWStep done = adam.step(weights, gradients, options);
      decoder.weights_changed();
      if (step.contains("global_grad_norm")) {
        QVERIFY(near(done.gradient_norm, step["global_grad_norm"], 2e-5));
      }
    }
    QVERIFY(near(forward(nullptr), golden["loss_after_5_steps"], 2e-5));
    QCOMPARE(adam.steps(), 5);
  }

  void the_clipped_loss_has_the_golden_gradient() {
    if (!model_files::available()) QSKIP("no golden numbers here");
    const Json golden = model_files::golden("stories260K-train");
    const Json& check = golden["grpo_check"];
    const GoldenBatch batch(golden);
    const Decoder decoder = Decoder::load(model_files::folder("stories260K"));
    const auto pass = decoder.score(batch.sequences, true);
    const TokenStatistics s = token_statistics(pass->logits(), batch.targets, {});
    const at::Tensor log_probs = s.log_probs.view({2, 15}).clone().requires_grad_();
    const auto wanted = check["logprobs"].get<std::vector<std::vector<double>>>();
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t t = 0; t < 15; ++t)
        QVERIFY(near(log_probs[i][t].item<double>(), wanted[i][t], 2e-5));
    }
    const at::Tensor mask = at::arange(15).ge(4).to(at::kFloat);
    const at::Tensor advantages =
        at::tensor(check["advantages"].get<std::vector<double>>()).to(at::kFloat).unsqueeze(1);
    const at::Tensor old = log_probs.detach() + at::linspace(-0.3, 0.3, 15);
    const at::Tensor ratio = (log_probs - old).exp();
    const at::Tensor surrogate = at::min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages);
    const at::Tensor gap = log_probs.detach() - 0.1 - log_probs;
    const at::Tensor token_loss = -(surrogate - 0.04 * (gap.exp() - gap - 1));
    const at::Tensor loss = ((token_loss * mask).sum(1) / mask.sum()).mean();
    QVERIFY2(near(loss.item<double>(), check["loss"], 1e-5),
             qPrintable(QString::number(loss.item<double>(), 'g', 9)));
    loss.backward();
    WeightMap gradients = decoder.zero_gradients();
    pass->backward(token_statistics_backward(pass->logits(), batch.targets, {},
                                             log_probs.grad().reshape(-1), {}),
                   gradients);
    QVERIFY(near(global_norm(gradients), check["global_grad_norm"], 2e-5));
    for (const auto& [name, norm] : check["grad_norms"].items()) {
      QVERIFY2(near(gradients.at(name).norm().item<double>(), norm, 2e-5), name.c_str());
    }
  }

  void both_ways_of_updating_agree() {
    TensorMap floats{{"a", at::sin(at::arange(30, at::kFloat)).view({5, 6})}, {"b", at::ones({7})}};
    TensorMap doubles;
    for (const auto& [name, tensor] : floats) doubles[name] = tensor.to(at::kDouble);
    AdamW kernel, operators;
    AdamWOptions options;
    options.learning_rate = 0.05;
    options.weight_decay = 0.1;
    for (int step = 0; step < 10; ++step) {
      TensorMap g, h;
      for (const auto& [name, tensor] : floats) {
        g[name] = at::cos(at::arange(tensor.numel(), at::kFloat) * (step + 1))
                      .view(tensor.sizes())
                      .contiguous();
        h[name] = g[name].to(at::kDouble);
      }
      kernel.step(floats, g, options);
      operators.step(doubles, h, options);
    }
    for (const auto& [name, tensor] : floats)
      QVERIFY(at::allclose(tensor.to(at::kDouble), doubles.at(name), 1e-5, 1e-6));
  }

  void norms_and_biases_do_not_decay() {
    TensorMap weights{{"matrix", at::ones({2, 2})}, {"norm", at::ones({2})}};
    TensorMap gradients{{"matrix", at::zeros({2, 2})}, {"norm", at::zeros({2})}};
    AdamW adam;
    AdamWOptions options;
    options.learning_rate = 0.1;
    options.weight_decay = 0.5;
    adam.step(weights, gradients, options);
    QVERIFY(at::allclose(weights["matrix"], at::full({2, 2}, 0.95)));
    QVERIFY(weights["norm"].equal(at::ones({2})));
  }

  void gradients_are_clipped_by_their_global_norm() {
    TensorMap gradients{{"a", at::full({4}, 3.0)}, {"b", at::full({4}, 4.0)}};
    QVERIFY(near(global_norm(gradients), 10.0, 1e-12));
    TensorMap weights{{"a", at::zeros({4})}, {"b", at::zeros({4})}};
    AdamW adam;
    AdamWOptions options;
    options.max_grad_norm = 5.0;
    const AdamWStep done = adam.step(weights, gradients, options);
    QVERIFY(done.clipped);
    QVERIFY(near(global_norm(gradients), 5.0, 1e-6));
  }

  void a_gradient_that_is_not_finite_changes_nothing() {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      TensorMap weights{{"a", at::ones({3})}};
      TensorMap gradients{{"a", at::ones({3})}};
      gradients["a"][1].fill_(bad);
      AdamW adam;
      QVERIFY(adam.step(weights, gradients, {}).skipped);
      QVERIFY(weights["a"].equal(at::ones({3})));
      QCOMPARE(adam.steps(), 0);
      QCOMPARE(adam.skipped(), 1);
    }
  }

  void a_restored_optimizer_goes_on_with_the_same_bits() {
    const auto gradient = [](int step) {
      return TensorMap{{"a", at::sin(at::arange(9, at::kFloat) + step).contiguous()}};
    };
    TensorMap whole{{"a", at::ones({9})}}, split{{"a", at::ones({9})}};
    AdamW straight, first, second;
    for (int step = 0; step < 6; ++step) {
      TensorMap g = gradient(step);
      straight.step(whole, g, {});
    }
    for (int step = 0; step < 3; ++step) {
      TensorMap g = gradient(step);
      first.step(split, g, {});
    }
    Package saved;
    first.save(saved);
    second.load(safetensors_from_bytes(safetensors_bytes(saved)));
    for (int step = 3; step < 6; ++step) {
      TensorMap g = gradient(step);
      second.step(split, g, {});
    }
    QVERIFY(whole["a"].equal(split["a"]));
  }

  void state_of_another_model_is_refused() {
    AdamW adam;
    TensorMap weights{{"a", at::ones({3})}}, gradients{{"a", at::ones({3})}};
    adam.step(weights, gradients, {});
    TensorMap other{{"a", at::ones({4})}}, others{{"a", at::ones({4})}};
    QVERIFY_EXCEPTION_THROWN(adam.step(other, others, {}), Failure);
  }

  void schedules_rise_and_fall() {
    QCOMPARE(schedule_factor(Schedule::constant, 0, 4, 0), 0.25);
    QCOMPARE(schedule_factor(Schedule::constant, 3, 4, 0), 1.0);
    QCOMPARE(schedule_factor(Schedule::constant, 999, 4, 0), 1.0);
    QCOMPARE(schedule_factor(Schedule::linear, 55, 10, 100), 0.5);
    QCOMPARE(schedule_factor(Schedule::linear, 200, 10, 100), 0.0);
    QVERIFY(near(schedule_factor(Schedule::cosine, 55, 10, 100), 0.5, 1e-12));
    QVERIFY(near(schedule_factor(Schedule::cosine, 100, 10, 100, 0.1), 0.1, 1e-12));
  }
};

REWARDLOOM_TEST(TestAdamw)
#include "test_adamw.moc"
