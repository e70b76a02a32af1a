// Losses in one pass over float32 rows against the operators, which compute them in double.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "engine/run/evaluate.h"
#include "nodes/loss/token_kernels.h"
#include "tests/nodes/loss_bench.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr std::int64_t kRows = 7, kTokens = 21;  // 147 tokens: nine vectors and three tokens

at::Tensor drawn(std::uint64_t seed, double scale) {
  Random random({seed, 5, 0});
  at::Tensor out = at::empty({kRows, kTokens}, at::kDouble);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<double>()[i] = scale * random.normal();
  // The same numbers in both precisions.
  return out.to(at::kFloat).to(at::kDouble);
}

at::Tensor some_mask() {
  Random random({9, 9, 0});
  at::Tensor mask = at::empty({kRows, kTokens}, at::kBool);
  for (std::int64_t i = 0; i < mask.numel(); ++i) mask.data_ptr<bool>()[i] = random.uniform() < 0.6;
  return mask;
}

constexpr std::int64_t kVocabulary = 19;

at::Tensor drawn_logits(std::uint64_t seed) {
  std::vector<at::Tensor> columns;
  for (std::int64_t v = 0; v < kVocabulary; ++v) columns.push_back(drawn(seed + 100 * v, 2.0));
  return at::stack(columns, 2);
}

std::map<std::string, at::Tensor> arguments_of(const QString& type) {
  const at::Tensor x = drawn(1, 1.0) - 2, old = x + drawn(2, 0.4);
  if (type == "loss.policy_gradient") {
    return {{"log_probs", x}, {"advantages", drawn(3, 1.0)}, {"mask", some_mask()}};
  }
  if (type == "loss.nll") return {{"log_probs", x}, {"mask", some_mask()}};
  if (type == "loss.entropy") return {{"logits", drawn_logits(4)}, {"mask", some_mask()}};
  if (type == "loss.align_distill") {
    return {{"logits", drawn_logits(4)},
            {"teacher_logits", drawn_logits(5)},
            {"ref_logits", drawn_logits(6)},
            {"mask", some_mask()}};
  }
  if (type == "loss.value_cross_entropy") {
    return {{"values", x + 2}, {"labels", drawn(3, 1.0).sigmoid()}, {"mask", some_mask()}};
  }
  if (type == "loss.implicit_process") {
    const at::Tensor outcome = drawn(3, 1.0).select(1, 0).gt(0).to(at::kDouble);
    return {{"log_ratio", x - old}, {"outcome", outcome}, {"mask", some_mask()}};
  }
  if (type == "loss.token_guided_dpo") {
    return {{"chosen_log_probs", x},
            {"rejected_log_probs", old},
            {"ref_chosen_log_probs", x + drawn(3, 0.4)},
            {"ref_rejected_log_probs", old + drawn(4, 0.4)},
            {"guide_chosen_log_probs", x + drawn(5, 0.4)},
            {"guide_rejected_log_probs", old + drawn(6, 0.4)},
            {"mask", at::ones({kRows, kTokens}, at::kBool)}};
  }
  if (type == "loss.kl") return {{"log_probs", x}, {"ref_log_probs", old}, {"mask", some_mask()}};
  if (type == "loss.value_clip") {
    return {{"values", x}, {"old_values", old}, {"returns", drawn(3, 1.0)}, {"mask", some_mask()}};
  }
  return {{"log_probs", x},
          {"old_log_probs", old},
          {"advantages", drawn(3, 1.0)},
          {"mask", some_mask()}};
}

EvaluateResult evaluated(const QString& type, const Json& params,
                         std::map<std::string, at::Tensor> given, at::ScalarType precision) {
  for (auto& [name, tensor] : given) {
    // The same numbers in both precisions: some losses choose tokens by their bits.
    if (tensor.is_floating_point()) tensor = tensor.to(at::kFloat).to(precision);
  }
  if (type == "loss.token_guided_dpo") given.erase("mask");
  return evaluate(all_nodes(), type.toStdString(), params, package(given));
}

bool agree(const at::Tensor& a, const at::Tensor& b) {
  return at::allclose(a.to(at::kDouble), b.to(at::kDouble), 2e-5, 2e-6);
}

std::string trained_input(const QString& type) {
  if (type == "loss.value_clip" || type == "loss.value_cross_entropy") return "values";
  if (type == "loss.entropy" || type == "loss.align_distill") return "logits";
  if (type == "loss.implicit_process") return "log_ratio";
  return type == "loss.token_guided_dpo" ? "chosen_log_probs" : "log_probs";
}

void cases() {
  QTest::addColumn<QString>("type");
  QTest::addColumn<QString>("params");
  const auto add = [](const char* type, const char* params) {
    QTest::addRow("%s %s", type, params) << QString(type) << QString(params);
  };
  add("loss.policy_clip", "{}");
  add("loss.policy_clip", "{\"low\": 0.1, \"high\": 0.3, \"dual\": 1.2}");
  add("loss.policy_clip", "{\"preset\": \"verl\", \"aggregate\": \"seq_mean_token_mean\"}");
  add("loss.policy_clip", "{\"preset\": \"trl_dapo\"}");
  add("loss.cispo", "{}");
  add("loss.cispo", "{\"preset\": \"trl\"}");
  for (const char* estimator : {"k1", "abs", "k2", "k3"}) {
    add("loss.kl", qPrintable(QString("{\"estimator\": \"%1\"}").arg(estimator)));
    add("loss.kl", qPrintable(QString("{\"estimator\": \"%1\", \"input_clamp\": 0.3, "
                                      "\"output_clamp\": 0.2}")
                                  .arg(estimator)));
  }
  add("loss.value_clip", "{}");
  add("loss.value_clip", "{\"clip\": 0.05, \"scale\": 1}");
  for (const char* type : {"loss.nll", "loss.policy_gradient", "loss.entropy", "loss.sapo",
                           "loss.value_cross_entropy", "loss.clip_cov", "loss.kl_cov"}) {
    add(type, "{}");
    add(type, "{\"aggregate\": \"seq_mean_token_mean\"}");
  }
  add("loss.nll", "{\"coefficient\": 0.3}");
  add("loss.entropy", "{\"coefficient\": 0.3}");
  add("loss.sapo", "{\"tau_positive\": 0.7, \"tau_negative\": 1.5, \"log_ratio_clamp\": 0.3}");
  add("loss.clip_cov", "{\"ratio\": 0.1, \"cov_low\": 0.1}");
  add("loss.kl_cov", "{\"ratio\": 0.1, \"coefficient\": 0.5}");
  add("loss.gspo", "{}");
  add("loss.gspo", "{\"low\": 0.05, \"high\": 0.1}");
  add("loss.gspo", "{\"low\": 0.02, \"high\": 0.02, \"log_ratio_max\": 0.01}");
  add("loss.gspo", "{\"low\": 0.05, \"high\": 0.1, \"length_weighted\": true}");
  add("loss.gspo", "{\"low\": 0.05, \"high\": 0.1, \"aggregate\": \"seq_mean_token_mean\"}");
  add("loss.vespo", "{}");
  add("loss.implicit_process", "{}");
  add("loss.token_guided_dpo", "{}");
  for (const char* form : {"aligndistil", "theorem1_adaptive"}) {
    add("loss.align_distill", qPrintable(QString("{\"form\": \"%1\"}").arg(form)));
  }
}

}  // namespace

class TestTokenKernels : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void losses_and_gradients_are_those_of_the_operators_data() { cases(); }
  void losses_and_gradients_are_those_of_the_operators() {
    QFETCH(QString, type);
    QFETCH(QString, params);
    const Json given = Json::parse(params.toStdString());
    auto arguments = arguments_of(type);
    // What stands outside the mask is nothing to either.
    const at::Tensor outside = arguments.at("mask").logical_not();
    for (auto& [name, tensor] : arguments) {
      if (!tensor.is_floating_point() || tensor.dim() < 2) continue;
      const at::Tensor gone = tensor.dim() == 3 ? outside.unsqueeze(2) : outside;
      tensor = tensor.masked_fill(gone, std::numeric_limits<double>::quiet_NaN());
    }
    const EvaluateResult exact = evaluated(type, given, arguments, at::kDouble);
    const EvaluateResult fast = evaluated(type, given, arguments, at::kFloat);
    QVERIFY(std::isfinite(loss_of(exact)));
    for (const auto& [name, tensor] : exact.outputs.tensors) {
      const std::string input = trained_input(type);
      if (name.ends_with(".grad") && name != input + ".grad") continue;
      QVERIFY2(agree(fast.outputs.tensors.at(name), tensor), name.c_str());
    }
    QVERIFY(gradient_of(fast, trained_input(type)).abs().max().item<double>() > 0);
  }

  void what_is_no_number_is_not_hidden_data() { cases(); }
  void what_is_no_number_is_not_hidden() {
    QFETCH(QString, type);
    QFETCH(QString, params);
    auto arguments = arguments_of(type);
    arguments.at("mask").fill_(true);
    arguments.at(trained_input(type)).data_ptr<double>()[40] =
        std::numeric_limits<double>::quiet_NaN();
    const EvaluateResult fast =
        evaluated(type, Json::parse(params.toStdString()), arguments, at::kFloat);
    QVERIFY(std::isnan(loss_of(fast)));
    // The gradient of these does not depend on what is trained.
    if (type == "loss.nll" || type == "loss.policy_gradient") return;
    QVERIFY(!gradient_of(fast, trained_input(type)).isfinite().all().item<bool>());
  }

  void the_low_variance_estimate_keeps_its_digits_near_0() {
    const at::Tensor x = at::logspace(-6, -0.3, kTokens, 10, at::kDouble).to(at::kFloat);
    const at::Tensor rows = at::stack({x, -x});
    const at::Tensor mask = at::ones(rows.sizes(), at::kBool);
    const TokenPass pass =
        kl_pass(mask, rows, at::zeros_like(rows), {KlEstimator::k3, std::nullopt, std::nullopt});
    const at::Tensor wide = rows.to(at::kDouble);
    const at::Tensor exact = (-wide).expm1() + wide;
    // Double loses digits below 1e-5 too: there x^2 / 2 - x^3 / 6 is exact enough.
    const at::Tensor series = wide.square() * (0.5 - wide / 6);
    const at::Tensor want = at::where(wide.abs() < 1e-4, series, exact);
    const double off = ((pass.value.to(at::kDouble) - want) / want).abs().max().item<double>();
    QVERIFY2(off < 1e-5, qPrintable(QString::number(off)));
  }
};

REWARDLOOM_TEST(TestTokenKernels)
#include "test_token_kernels.moc"
