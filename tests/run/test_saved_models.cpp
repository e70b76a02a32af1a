// The graphs that train language models: what they save loads again, bit for bit.
#include <QTemporaryDir>
#include <algorithm>
#include <cmath>
#include <map>

#include "engine/graph/override.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/run_reader.h"
#include "engine/run/run.h"
#include "nodes/all_nodes.h"
#include "nodes/text/language_model.h"
#include "tests/qt_test.h"

using namespace rewardloom;
namespace fs = std::filesystem;

namespace {

/// Whether the package holds these weights, and the same bits.
bool holds(const Package& package, const WeightMap& weights) {
  return std::all_of(weights.begin(), weights.end(), [&](const auto& entry) {
    const auto found = package.tensors.find(entry.first);
    return found != package.tensors.end() && found->second.equal(entry.second);
  });
}

std::map<std::string, double> last_values(const fs::path& folder) {
  std::map<std::string, double> last;
  for (const MetricRow& row : RunReader(folder).metrics()) last[row.name] = row.value;
  return last;
}

}  // namespace

class TestSavedModels : public QObject {
  Q_OBJECT
  Registry registry;

 private Q_SLOTS:
  void initTestCase() {
    prepare_process();
    register_all_nodes(registry);
  }

  void trainedModelsLoadBitEqual_data() {
    QTest::addColumn<QString>("graph");
    QTest::addColumn<QString>("saved");
    QTest::addColumn<QString>("held_out");
    QTest::newRow("sft") << "sft-gsm8k"
                         << "policy"
                         << "held_out/grade/loss";
    QTest::newRow("reward model") << "reward-model-hh"
                                  << "reward"
                                  << "held_out/grade/loss";
    QTest::newRow("dpo") << "dpo-hh"
                         << "policy"
                         << "held_out/grade/loss";
  }
  void trainedModelsLoadBitEqual() {
    QFETCH(QString, graph);
    QFETCH(QString, saved);
    QFETCH(QString, held_out);
    const fs::path graphs = fs::path(REWARDLOOM_SOURCE_DIR) / "graphs";
    Document document = Document::load(graphs / (graph.toStdString() + ".json"));
    for (const char* change : {"save.every=2", "held_out.offset=1"}) {
      apply_override(document, change, &registry.catalogue());
    }
    QTemporaryDir place;
    RunOptions options;
    options.parent = place.path().toStdString();
    options.iterations = 2;
    options.threads = 1;
    Run run(std::move(document), registry, options);
    QVERIFY(run.execute() == RunEnd::done);

    ModelSource source;
    source.folder = (run.folder() / "models" / saved.toStdString()).string();
    if (saved == "reward") source.head = ScoreHead{HeadKind::sequence, 1, false};
    const auto again = make_language_model(source);
    const CheckpointInfo last = newest_checkpoint(run.folder() / "checkpoints");
    int found = 0;
    for (const CheckpointFile& file : last.files) {
      if (!file.name.ends_with(".safetensors")) continue;
      const std::string name = file.name.substr(0, file.name.size() - 12);
      found += holds(load_checkpoint(last.path, name), again->decoder().weights());
    }
    QCOMPARE(found, 1);

    const auto values = last_values(run.folder());
    QVERIFY(values.contains(held_out.toStdString()));
    QVERIFY(std::isfinite(values.at(held_out.toStdString())));
  }
};

REWARDLOOM_TEST(TestSavedModels)
#include "test_saved_models.moc"
