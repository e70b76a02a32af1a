// What is no number is refused where it comes in: a NaN that passes through an advantage spoils
// every token of the batch, and a step later every weight.
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/nodes/golden_cases.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Problem refusal(const std::string& type, const Json& params, const Package& inputs) {
  try {
    evaluate(all_nodes(), type, params, inputs);
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {};
}

/// The names of outputs that hold a NaN, or "".
std::string spoiled(const Package& outputs) {
  std::string out;
  for (const auto& [name, tensor] : outputs.tensors) {
    if (tensor.isnan().any().item<bool>()) out += name + " ";
  }
  for (const auto& [name, json] : outputs.meta.items()) {
    if (json.is_number() && std::isnan(json.get<double>())) out += name + " ";
  }
  return out;
}

at::Tensor rows(std::initializer_list<double> numbers, std::int64_t width) {
  return at::tensor(at::ArrayRef<double>(numbers), at::dtype(at::kDouble)).reshape({-1, width});
}

}  // namespace

class TestNoNumbers : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void a_nan_is_refused_or_changes_nothing_data() {
    QTest::addColumn<QString>("file");
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    const QStringList names =
        QDir(golden_folder())
            .entryList({"advantage.*.json", "shape.*.json", "ensemble.*.json",
                        "reward.combine.json", "reward.kl_penalty.json", "reward.harmonic_mix.json",
                        "reward.iou.json", "reward.trust_weighted.json"},
                       QDir::Files, QDir::Name);
    for (const QString& name : names) {
      QTest::newRow(name.toLatin1()) << golden_folder() + "/" + name;
    }
  }

  /// A NaN in any place of any real input: refused, or (outside a mask, in an absent row) without
  /// effect.
  void a_nan_is_refused_or_changes_nothing() {
    QFETCH(QString, file);
    constexpr std::int64_t kPlaces = 12;
    int refused = 0;
    for (const GoldenCase& c : read_golden(file)) {
      for (const auto& [name, tensor] : c.inputs.tensors) {
        if (!at::isFloatingType(tensor.scalar_type()) || tensor.dim() == 0) continue;
        for (std::int64_t i = 0; i < std::min(tensor.numel(), kPlaces); ++i) {
          Package inputs = c.inputs;
          inputs.tensors[name] = tensor.clone();
          inputs.tensors[name].view({-1})[i] = kNan;
          try {
            const std::string out =
                spoiled(evaluate(all_nodes(), c.node, c.params, inputs).outputs);
            QVERIFY2(out.empty(),
                     fmt::format("{}: {} NaN at {} gives {}", c.name, name, i, out).c_str());
          } catch (const Failure& failure) {
            const std::string& code = failure.problem().code;
            QVERIFY2(code == "not-finite" || code == "row-failed", failure.what());
            ++refused;
          }
        }
      }
    }
    QVERIFY(refused > 0);
  }

  void the_message_names_port_row_and_token() {
    Package inputs;
    inputs.tensors["rewards"] = rows({0, 0, 1, 0, kNan, 1}, 3);
    inputs.tensors["values"] = at::zeros({2, 3}, at::kDouble);
    inputs.tensors["rewards.mask"] = at::ones({2, 3}, at::kBool);
    const Problem found = refusal("advantage.gae", {}, inputs);
    QCOMPARE(found.code, std::string("not-finite"));
    QCOMPARE(found.where.port, std::string("rewards"));
    QCOMPARE(found.text, std::string("row 1 is nan at token 1"));
  }

  void an_infinite_value_is_named_too() {
    Package inputs;
    inputs.tensors["rewards"] = at::zeros({1, 3}, at::kDouble);
    inputs.tensors["next_values"] = rows({0, std::numeric_limits<double>::infinity(), 0}, 3);
    const Problem found = refusal("advantage.td_lambda", {}, inputs);
    QCOMPARE(found.code, std::string("not-finite"));
    QCOMPARE(found.where.port, std::string("next_values"));
    QCOMPARE(found.text, std::string("row 0 is inf at token 1"));
  }

  void what_stands_outside_the_mask_or_behind_an_end_is_no_fault() {
    Package inputs;
    inputs.tensors["rewards"] = rows({0, 1, kNan}, 3);
    inputs.tensors["values"] = rows({0, 0, kNan}, 3);
    inputs.tensors["next_values"] = rows({0, kNan, kNan}, 3);
    inputs.tensors["terminated"] = rows({0, 1, 0}, 3);
    inputs.tensors["rewards.mask"] = rows({1, 1, 0}, 3).to(at::kBool);
    const EvaluateResult result = evaluate(all_nodes(), "advantage.gae", {}, inputs);
    QVERIFY(spoiled(result.outputs).empty());
    // The end's own value is not what is wrong, but the reward.
    inputs.tensors["rewards"] = rows({kNan, 1, kNan}, 3);
    inputs.tensors["values"] = rows({0, 0, kNan}, 3);
    QCOMPARE(refusal("advantage.gae", {}, inputs).where.port, std::string("rewards"));
  }

  void an_absent_row_is_no_fault() {
    Package inputs;
    inputs.tensors["rewards.0"] = at::tensor({1.0, kNan});
    inputs.tensors["rewards.0.absent"] = at::tensor({0, 1}).to(at::kBool);
    inputs.tensors["rewards.1"] = at::tensor({2.0, 3.0});
    const EvaluateResult result = evaluate(all_nodes(), "reward.combine", {}, inputs);
    QCOMPARE(result.outputs.tensors.at("rewards")[0].item<double>(), 3.0);
    inputs.tensors["rewards.0"] = at::tensor({kNan, kNan});
    const Problem found = refusal("reward.combine", {}, inputs);
    QCOMPARE(found.code, std::string("not-finite"));
    QCOMPARE(found.text, std::string("row 0 of reward 1 is nan"));
  }

  void what_only_overflows_in_a_sum_is_let_through() {
    Package inputs;
    inputs.tensors["rewards"] = rows({3e38, 3e38}, 1).to(at::kFloat);
    inputs.tensors["values"] = at::zeros({2, 1}, at::kFloat);
    const EvaluateResult result = evaluate(all_nodes(), "advantage.gae", {}, inputs);
    QVERIFY(result.outputs.tensors.at("advantages").isfinite().all().item<bool>());
  }

  void a_label_that_is_no_number_is_refused() {
    Package inputs;
    inputs.tensors["predictions"] = at::zeros({2, 2}, at::kFloat);
    inputs.tensors["labels"] = rows({1, -100, kNan, 2}, 2);
    const Problem found = refusal("loss.attribute_regression", {}, inputs);
    QCOMPARE(found.code, std::string("not-finite"));
    QCOMPARE(found.text, std::string("the label of row 1 for attribute 0 is nan"));
  }

  void a_negative_weight_has_no_geometric_mean() {
    Package inputs;
    for (const char* name : {"log_probs", "old_log_probs", "advantages"}) {
      inputs.tensors[name] = at::zeros({2, 2}, at::kFloat);
    }
    inputs.tensors["mask"] = rows({1, 1, 1, 0}, 2).to(at::kBool);
    inputs.tensors["weights"] = rows({1, 0, 1, -1}, 2);  // -1 stands outside the mask
    QCOMPARE(refusal("loss.geo_mean", {}, inputs).code, std::string());
    inputs.tensors["weights"] = rows({1, 0, -1, 1}, 2);
    const Problem found = refusal("loss.geo_mean", {}, inputs);
    QCOMPARE(found.code, std::string("bad-weights"));
    QCOMPARE(found.text, std::string("the weight of row 1 at token 0 is -1"));
  }
};

}  // namespace rewardloom

using rewardloom::TestNoNumbers;
REWARDLOOM_TEST(TestNoNumbers)
#include "test_no_numbers.moc"
