// Every saved graph checks and runs; threads change no bit; the schema file is what the registry
// says.
#include <QTemporaryDir>
#include <fstream>
#include <set>

#include "engine/graph/checker.h"
#include "engine/graph/schema.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/run_reader.h"
#include "engine/run/run.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

using namespace rewardloom;
namespace fs = std::filesystem;

namespace {

const fs::path kGraphs = fs::path(REWARDLOOM_SOURCE_DIR) / "graphs";

Registry all_nodes() {
  Registry registry;
  register_all_nodes(registry);
  return registry;
}

struct Outcome {
  std::vector<MetricRow> metrics;
  std::vector<std::string> checksums;
};

Json json_of(const fs::path& graph) {
  std::ifstream file(graph);
  return Json::parse(file);
}

/// One iteration for each phase, so that a short run sees them all. The number of phases.
std::int64_t shorten_phases(Json& graph) {
  std::int64_t count = 0;
  for (Json& node : graph["nodes"]) {
    if (node["type"] != "flow.phases") continue;
    for (Json& phase : node["params"]["phases"]) {
      ++count;
      phase.erase("until");
      for (const char* length : {"iterations", "repeat"}) {
        if (phase.contains(length)) phase[length] = 1;
      }
    }
  }
  return count;
}

Outcome run(const Registry& registry, const Document& graph, const fs::path& parent,
            std::int64_t iterations, int threads) {
  RunOptions options;
  options.parent = parent;
  options.iterations = iterations;
  options.threads = threads;
  Run run(graph, registry, options);
  if (run.execute() != RunEnd::done) throw Failure(*run.failure());
  Outcome outcome;
  outcome.metrics = RunReader(run.folder()).metrics();
  const CheckpointInfo last = list_checkpoints(run.folder() / "checkpoints").back();
  for (const CheckpointFile& file : last.files) {
    outcome.checksums.push_back(file.name + " " + file.checksum);
  }
  return outcome;
}

}  // namespace

class TestGraphs : public QObject {
  Q_OBJECT
  const Registry registry = all_nodes();

 private Q_SLOTS:
  void initTestCase() { prepare_process(); }

  void everyGraphChecksAndRuns_data() {
    QTest::addColumn<QString>("file");
    for (const auto& entry : fs::directory_iterator(kGraphs)) {
      if (entry.path().extension() != ".json") continue;
      QTest::newRow(entry.path().stem().c_str()) << QString::fromStdString(entry.path().string());
    }
  }
  void everyGraphChecksAndRuns() {
    QFETCH(QString, file);
    const fs::path graph = file.toStdString();
    for (const Problem& problem : check_file(graph, registry.catalogue()).problems) {
      QFAIL(format(problem).c_str());
    }
    const Document document = Document::load(graph);
    std::ifstream stored(graph);
    QCOMPARE(document.text(), std::string(std::istreambuf_iterator<char>(stored), {}));
    QTemporaryDir place;
    const Outcome outcome = run(registry, document, place.path().toStdString(), 2, 2);
    QVERIFY(!outcome.metrics.empty());
  }

  void everyPhaseRuns_data() {
    QTest::addColumn<QString>("file");
    for (const auto& entry : fs::directory_iterator(kGraphs)) {
      if (entry.path().extension() != ".json") continue;
      Json graph = json_of(entry.path());
      if (shorten_phases(graph) == 0) continue;
      QTest::newRow(entry.path().stem().c_str()) << QString::fromStdString(entry.path().string());
    }
  }
  void everyPhaseRuns() {
    QFETCH(QString, file);
    Json graph = json_of(file.toStdString());
    const std::int64_t phases = shorten_phases(graph);
    QTemporaryDir place;
    const Outcome outcome = run(registry, Document::parse(graph.dump(), file.toStdString()),
                                place.path().toStdString(), phases, 2);
    std::set<double> seen;
    for (const MetricRow& row : outcome.metrics) {
      if (row.name.ends_with("/phase")) seen.insert(row.value);
    }
    QCOMPARE(static_cast<std::int64_t>(seen.size()), phases);
  }

  /// Somebody's checkpoint instead of the small models: parameters change, the graph does not.
  void loopsTakeARealCheckpoint_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<QStringList>("models");
    QTest::newRow("cooper") << "17-cooper.json" << QStringList{"start", "verifier"};
    QTest::newRow("utrl") << "01-utrl.json" << QStringList{"tester", "coder", "judge"};
  }
  void loopsTakeARealCheckpoint() {
    QFETCH(QString, file);
    QFETCH(QStringList, models);
    const fs::path path = kGraphs / file.toStdString();
    Json graph = json_of(path);
    const std::int64_t phases = shorten_phases(graph);
    for (const QString& name : models) {
      graph["nodes"][name.toStdString()]["params"] = {{"model", "../resources/models/stories260k"}};
    }
    QTemporaryDir place;
    const Outcome outcome =
        run(registry, Document::parse(graph.dump(), path), place.path().toStdString(), phases, 2);
    QVERIFY(!outcome.checksums.empty());
  }

  void threadsChangeNoBit() {
    QTemporaryDir place;
    const Document graph = Document::load(kGraphs / "grpo-arithmetic.json");
    const Outcome one = run(registry, graph, place.path().toStdString() + "/one", 3, 1);
    const Outcome two = run(registry, graph, place.path().toStdString() + "/two", 3, 2);
    QCOMPARE(one.metrics.size(), two.metrics.size());
    for (std::size_t i = 0; i < one.metrics.size(); ++i) {
      QCOMPARE(one.metrics[i].name, two.metrics[i].name);
      QVERIFY2(one.metrics[i].value == two.metrics[i].value, one.metrics[i].name.c_str());
    }
    QCOMPARE(one.checksums.size(), two.checksums.size());
    for (std::size_t i = 0; i < one.checksums.size(); ++i) {
      QCOMPARE(one.checksums[i], two.checksums[i]);
    }
  }

  void theSchemaFileIsWhatTheRegistrySays() {
    std::ifstream file(fs::path(REWARDLOOM_SOURCE_DIR) / "resources/graph.schema.json");
    QVERIFY2(file.good(), "resources/graph.schema.json is missing");
    QVERIFY2(Json::parse(file) == graph_schema(registry.catalogue()),
             "write it again: rewardloom nodes --schema > resources/graph.schema.json");
  }
};

REWARDLOOM_TEST(TestGraphs)
#include "test_graphs.moc"
