// Verdicts come as truths and whole numbers, boxes in pixels: nodes compute with them as with any
// number, and losses in half precision are computed in single.
#include <fmt/format.h>
#include <torch/types.h>

#include <set>

#include "engine/core/real_numbers.h"
#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/nodes/golden_cases.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

/// What came out: tensors, or why nothing did.
struct Outcome {
  std::map<std::string, at::Tensor> tensors;
  Json meta;
  std::string failure;
};

Outcome outcome_of(const GoldenCase& c, const Package& inputs) {
  Outcome out;
  try {
    Package outputs = evaluate(all_nodes(), c.node, c.params, inputs).outputs;
    out.tensors = std::move(outputs.tensors);
    out.meta = std::move(outputs.meta);
  } catch (const Failure& failure) {
    out.failure = failure.problem().code + ": " + failure.problem().text;
  }
  return out;
}

/// The case with its real inputs rounded, as double.
Package rounded(const GoldenCase& c, std::set<std::string>& real) {
  Package out = c.inputs;
  for (auto& [name, tensor] : out.tensors) {
    if (!at::isFloatingType(tensor.scalar_type()) || name.starts_with("total_")) continue;
    if (!tensor.isfinite().all().item<bool>()) continue;
    tensor = tensor.to(at::kDouble).round();
    real.insert(name);
  }
  return out;
}

Package as_type(Package inputs, const std::set<std::string>& names, at::ScalarType type) {
  for (const std::string& name : names) {
    at::Tensor& tensor = inputs.tensors[name];
    const bool fits = type != at::kBool || tensor.eq(0).logical_or(tensor.eq(1)).all().item<bool>();
    if (fits) tensor = tensor.to(type);
  }
  return inputs;
}

/// What differs between the two, or "".
std::string difference(const Outcome& got, const Outcome& want) {
  if (got.failure != want.failure) {
    return fmt::format("fails with \"{}\" instead of \"{}\"", got.failure, want.failure);
  }
  if (got.meta != want.meta) return "other texts or numbers: " + got.meta.dump();
  for (const auto& [name, tensor] : want.tensors) {
    const auto found = got.tensors.find(name);
    // Labels and the like have no gradient, whole or not.
    const bool none = name.ends_with(".grad") && tensor.count_nonzero().item<std::int64_t>() == 0;
    if (found == got.tensors.end() && none) continue;
    if (found == got.tensors.end()) return name + ": nothing came out";
    if (found->second.sizes() != tensor.sizes()) return name + ": another shape";
    const bool same = found->second.to(at::kDouble)
                          .allclose(tensor.to(at::kDouble), 1e-5, 1e-6,
                                    /*equal_nan=*/true);
    if (!same) return c10::str(name, ": ", found->second, " instead of ", tensor);
  }
  return "";
}

Json json_of(const at::Tensor& tensor) {
  Json out = Json::array();
  const at::Tensor flat = tensor.to(at::kDouble).flatten();
  for (std::int64_t i = 0; i < flat.numel(); ++i) out.push_back(flat[i].item<double>());
  return out;
}

}  // namespace

class TestWholeNumbers : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void whole_numbers_and_truths_give_what_real_numbers_give_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<int>("index");
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    for (const QString& name :
         QDir(golden_folder()).entryList({"*.json"}, QDir::Files, QDir::Name)) {
      const std::string type = name.chopped(5).toStdString();
      if (all_nodes().catalogue().node(type) == nullptr) continue;
      const QString path = golden_folder() + "/" + name;
      const auto cases = read_golden(path);
      for (std::size_t i = 0; i < cases.size(); ++i) {
        QTest::addRow("%s/%s", type.c_str(), cases[i].name.c_str()) << path << static_cast<int>(i);
      }
    }
  }

  void whole_numbers_and_truths_give_what_real_numbers_give() {
    QFETCH(QString, file);
    QFETCH(int, index);
    const GoldenCase c = read_golden(file).at(static_cast<std::size_t>(index));
    std::set<std::string> real;
    const Package inputs = rounded(c, real);
    if (real.empty()) return;
    const Outcome want = outcome_of(c, inputs);
    computed_ += want.failure.empty() ? 1 : 0;
    for (const at::ScalarType type : {at::kLong, at::kInt, at::kBool}) {
      const std::string wrong = difference(outcome_of(c, as_type(inputs, real, type)), want);
      QVERIFY2(wrong.empty(), fmt::format("{}: {}", c10::toString(type), wrong).c_str());
    }
  }

  void most_cases_were_computed() {
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    QVERIFY2(computed_ > 300, std::to_string(computed_).c_str());
  }

  void verdicts_and_pixels_from_json_data() {
    QTest::addColumn<QByteArray>("type");
    QTest::addColumn<QByteArray>("params");
    QTest::addColumn<QByteArray>("inputs");
    QTest::addColumn<QByteArray>("output");
    QTest::addColumn<QByteArray>("want");
    const auto row = [](const char* name, const char* type, const char* params, const char* inputs,
                        const char* output, const char* want) {
      QTest::newRow(name) << QByteArray(type) << QByteArray(params) << QByteArray(inputs)
                          << QByteArray(output) << QByteArray(want);
    };
    row("running", "shape.running", "{}", "{\"rewards\": [1, 2, 3, 4]}", "rewards",
        "[-1.3416408, -0.4472136, 0.4472136, 1.3416408]");
    row("running, truths", "shape.running", "{}", "{\"rewards\": [true, false]}", "rewards",
        "[1, -1]");
    row("min-max", "shape.running", "{\"mode\": \"minmax\"}", "{\"rewards\": [1, 2, 3, 5]}",
        "rewards", "[0, 0.25, 0.5, 1]");
    row("ensemble", "ensemble.reduce", "{}", "{\"rewards\": [[1, 0], [0, 0], [1, 1]]}", "rewards",
        "[0.6666667, 0.3333333]");
    row("spread", "ensemble.reduce", "{}", "{\"rewards\": [[1, 0], [0, 0], [1, 1]]}", "std",
        "[0.5773503, 0.5773503]");
    row("boxes", "reward.iou", "{}",
        "{\"boxes\": [[0, 0, 10, 10]], \"reference\": [[0, 0, 10, 5]]}", "rewards", "[0.5]");
    row("gae", "advantage.gae", "{\"gamma\": 0.9}",
        "{\"rewards\": [[0, 0, 1]], \"values\": [[0, 1, 0]], \"mask\": [[1, 1, 1]]}", "advantages",
        "[0.776025, -0.145, 1]");
    row("length", "reward.length_penalty", "{\"per_token\": 0.01}",
        "{\"lengths\": [100, 401], \"rewards\": [1, 0]}", "rewards", "[1, -1.01]");
    row("steps", "reward.step_aggregate", "{\"func\": \"mean\"}",
        "{\"step_rewards\": [[1, 0, 1]], \"step_rewards.boundaries\": [[0, 1, 2]]}", "rewards",
        "[0.6666667]");
    row("pairs", "loss.bradley_terry", "{}", "{\"chosen\": [2, 1], \"rejected\": [0, 1]}", "loss",
        "[0.4100376]");
  }

  void verdicts_and_pixels_from_json() {
    QFETCH(QByteArray, type);
    QFETCH(QByteArray, params);
    QFETCH(QByteArray, inputs);
    QFETCH(QByteArray, output);
    QFETCH(QByteArray, want);
    Package given;
    given.meta = Json::parse(inputs.toStdString());
    const EvaluateResult result =
        evaluate(all_nodes(), type.toStdString(), Json::parse(params.toStdString()), given);
    const at::Tensor got = result.outputs.tensors.at(output.toStdString());
    const auto numbers = Json::parse(want.toStdString()).get<std::vector<double>>();
    QVERIFY(at::isFloatingType(got.scalar_type()));
    QVERIFY2(got.to(at::kDouble)
                 .flatten()
                 .allclose(at::tensor(at::ArrayRef<double>(numbers), at::dtype(at::kDouble)), 1e-6,
                           1e-6),
             json_of(got).dump().c_str());
  }

  void a_loss_gives_gradients_of_whole_numbers() {
    Package given;
    given.meta = {{"chosen", {2, 1}}, {"rejected", {0, 1}}};
    const EvaluateResult result = evaluate(all_nodes(), "loss.bradley_terry", {}, given);
    const at::Tensor gradient = result.outputs.tensors.at("chosen.grad");
    QVERIFY(std::abs(gradient[1].item<double>() + 0.25) < 1e-9);
  }

  /// Whole numbers follow the precision of what stands beside them.
  void whole_numbers_beside_single_precision_stay_single() {
    Package given;
    given.tensors["chosen"] = at::tensor({0.5F, 1.0F});
    given.tensors["rejected"] = at::tensor({0, 1}, at::dtype(at::kLong));
    const EvaluateResult result = evaluate(all_nodes(), "loss.bradley_terry", {}, given);
    QCOMPARE(result.outputs.tensors.at("loss").scalar_type(), at::kFloat);
  }

  void ids_stay_whole() {
    Package given;
    given.meta = {{"rewards", {1, 0}}, {"group", {7, 7}}};
    const EvaluateResult result = evaluate(all_nodes(), "shape.running", {}, given);
    QCOMPARE(result.outputs.tensors.at("rewards.group").scalar_type(), at::kLong);
  }

  void a_node_that_makes_rewards_of_verdicts_gives_real_numbers() {
    Completions completions;
    const Rewards rewards = Rewards::of(completions, at::tensor({1, 0}, at::dtype(at::kLong)));
    QCOMPARE(rewards.total.scalar_type(), at::kFloat);
    QCOMPARE(Advantages(rewards.total.to(at::kBool), rewards).advantages.scalar_type(), at::kFloat);
  }

  void a_training_step_hands_truths_to_a_loss_as_numbers() {
    LossBatch batch;
    batch.set("weights", at::tensor({1, 0}).to(at::kBool));
    batch.set("mask", at::tensor({1, 0}).to(at::kBool));
    QCOMPARE(batch.at("weights").scalar_type(), at::kFloat);
    QCOMPARE(batch.at("mask").scalar_type(), at::kBool);
  }

  void half_precision_losses_are_computed_in_single_data() {
    QTest::addColumn<QString>("file");
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    for (const QString& name :
         QDir(golden_folder()).entryList({"loss.*.json"}, QDir::Files, QDir::Name)) {
      if (all_nodes().catalogue().node(name.chopped(5).toStdString()) == nullptr) continue;
      QTest::newRow(name.toLatin1()) << golden_folder() + "/" + name;
    }
  }

  void half_precision_losses_are_computed_in_single() {
    QFETCH(QString, file);
    const GoldenCase c = read_golden(file).front();
    Package half = c.inputs;
    Package single = c.inputs;
    for (auto& [name, tensor] : half.tensors) {
      if (!at::isFloatingType(tensor.scalar_type()) || tensor.dim() == 0) continue;
      tensor = tensor.to(at::kHalf);
      single.tensors[name] = tensor.to(at::kFloat);
    }
    const Outcome got = outcome_of(c, half);
    const Outcome want = outcome_of(c, single);
    QCOMPARE(got.failure, std::string());
    for (const auto& [name, tensor] : want.tensors) {
      const at::Tensor other = got.tensors.at(name);
      const bool gradient = name.ends_with(".grad");
      const at::Tensor expected = gradient ? tensor.to(other.scalar_type()) : tensor;
      QVERIFY2(other.allclose(expected, 1e-6, 1e-7, /*equal_nan=*/true),
               c10::str(name, ": ", other, " instead of ", expected).c_str());
      if (!gradient) continue;
      QCOMPARE(other.scalar_type(), half.tensors.at(name.substr(0, name.size() - 5)).scalar_type());
    }
  }

 private:
  int computed_ = 0;
};

}  // namespace rewardloom

using rewardloom::TestWholeNumbers;
REWARDLOOM_TEST(TestWholeNumbers)
#include "test_whole_numbers.moc"
