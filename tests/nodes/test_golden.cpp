// Every node type for which there are golden cases reproduces them, gradients included.
#include <fmt/format.h>
#include <torch/types.h>

#include <QStringList>

#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/nodes/golden_cases.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

class TestGolden : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void nodes_agree_with_reference_code_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<int>("index");
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    int rows = 0;
    for (const QString& name :
         QDir(golden_folder()).entryList({"*.json"}, QDir::Files, QDir::Name)) {
      const std::string type = name.chopped(5).toStdString();
      if (registry_.catalogue().node(type) == nullptr) continue;
      const QString path = golden_folder() + "/" + name;
      const auto cases = read_golden(path);
      for (std::size_t i = 0; i < cases.size(); ++i, ++rows) {
        QTest::addRow("%s/%s", type.c_str(), cases[i].name.c_str()) << path << static_cast<int>(i);
      }
    }
    QVERIFY(rows > 0);
  }

  void nodes_agree_with_reference_code() {
    QFETCH(QString, file);
    QFETCH(int, index);
    const GoldenCase c = read_golden(file).at(static_cast<std::size_t>(index));
    const EvaluateResult result = evaluate(registry_, c.node, c.params, c.inputs);
    for (const auto& [name, want] : c.outputs.tensors) {
      const std::string wrong = difference(found(result, name), want, c.tolerance);
      QVERIFY2(wrong.empty(), fmt::format("{}: {}", name, wrong).c_str());
    }
    for (const auto& [name, want] : c.outputs.meta.items()) {
      QVERIFY2(result.outputs.meta.contains(name), name.c_str());
      QCOMPARE(result.outputs.meta[name].dump(), want.dump());
    }
    if (c.gradient_of != "loss") return;
    for (const auto& [name, want] : c.gradients) {
      const std::string wrong = difference(found(result, name + ".grad"), want, c.tolerance);
      QVERIFY2(wrong.empty(), fmt::format("gradient of {}: {}", name, wrong).c_str());
    }
  }

  void float32_agrees_to_five_digits_data() { nodes_agree_with_reference_code_data(); }

  /// The same cases with float32 inputs: what a run on an accelerator computes.
  void float32_agrees_to_five_digits() {
    QFETCH(QString, file);
    QFETCH(int, index);
    GoldenCase c = read_golden(file).at(static_cast<std::size_t>(index));
    for (auto& [name, tensor] : c.inputs.tensors) {
      if (tensor.scalar_type() == at::kDouble && tensor.dim() > 0) tensor = tensor.to(at::kFloat);
    }
    const EvaluateResult result = evaluate(registry_, c.node, c.params, c.inputs);
    for (const auto& [name, want] : c.outputs.tensors) {
      const std::string wrong = difference(found(result, name), want, 2e-5);
      QVERIFY2(wrong.empty(), fmt::format("{}: {}", name, wrong).c_str());
    }
  }

 private:
  static at::Tensor found(const EvaluateResult& result, const std::string& name) {
    const auto it = result.outputs.tensors.find(name);
    if (it != result.outputs.tensors.end()) return it->second;
    if (!result.outputs.meta.contains(name)) return {};
    const Json& json = result.outputs.meta[name];
    return json.is_number() ? at::full({}, json.get<double>(), at::kDouble) : at::Tensor();
  }

  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestGolden;
REWARDLOOM_TEST(TestGolden)
#include "test_golden.moc"
