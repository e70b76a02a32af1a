// Every saved graph checks and runs; threads change no bit; the schema file is what the registry
// says.
#include <fmt/format.h>

#include <QTemporaryDir>
#include <fstream>
#include <functional>
#include <set>

#include "engine/graph/checker.h"
#include "engine/graph/override.h"
#include "engine/graph/schema.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/run_reader.h"
#include "engine/io/safetensors.h"
#include "engine/run/run.h"
#include "nodes/all_nodes.h"
#include "nodes/image/encoder_net.h"
#include "nodes/image/flow_net.h"
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

/// IDX files of `count` random images, classes in turn.
void write_images(const fs::path& folder, std::uint32_t count, std::uint32_t height,
                  std::uint32_t width) {
  Random random(RandomKey{3, 1, 4});
  const auto write = [&](const char* name, const std::vector<std::uint32_t>& sizes,
                         const std::function<unsigned(std::uint32_t)>& byte) {
    std::ofstream file(folder / name, std::ios::binary);
    file.write("\0\0\x08", 3).put(static_cast<char>(sizes.size()));
    std::uint32_t total = 1;
    for (const std::uint32_t size : sizes) {
      for (const int shift : {24, 16, 8, 0}) file.put(static_cast<char>(size >> shift & 0xff));
      total *= size;
    }
    for (std::uint32_t i = 0; i < total; ++i) file.put(static_cast<char>(byte(i)));
  };
  write("images", {count, height, width}, [&](auto) { return random.below(256); });
  write("labels", {count}, [](std::uint32_t i) { return i % 10; });
}

void write_model(const fs::path& file, const TensorMap& weights) {
  Package package;
  package.tensors = weights;
  write_safetensors(file, package);
}

/// What the last checkpoint of a run keeps under this name.
TensorMap kept_state(const fs::path& folder, const std::string& name) {
  const CheckpointInfo last = list_checkpoints(folder / "checkpoints").back();
  for (const auto& [file, state] : last.meta.at("states").items()) {
    if (state == name) return load_checkpoint(last.path, file).tensors;
  }
  return {};
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
    Json short_graph = json_of(path);
    const std::int64_t phases = shorten_phases(short_graph);
    Document graph = Document::parse(short_graph.dump(), path);
    for (const QString& name : models) {
      const bool drawn = short_graph["nodes"][name.toStdString()]["params"].contains("init");
      std::vector<std::string> sets{"model=../resources/models/stories260k"};
      if (drawn) sets.insert(sets.end(), {"init=pretrained", "config=null", "characters="});
      for (const std::string& set : sets) {
        apply_override(graph, name.toStdString() + "." + set, &registry.catalogue());
      }
    }
    QTemporaryDir place;
    const Outcome outcome = run(registry, graph, place.path().toStdString(), phases, 2);
    QVERIFY(!outcome.checksums.empty());
  }

  /// Somebody's generator, classifiers and images of another size, as on the command line.
  void imageLoopTakesWeightsAndImages() {
    QTemporaryDir place;
    const fs::path folder = place.path().toStdString();
    write_images(folder, 400, 12, 10);
    const RandomKey key{5, 0, 0};
    FlowNetShape generator{.height = 12, .width = 10};
    TensorMap flow = draw_flow_weights(generator, Random(key));
    WeightDraws(Random(key)).layer(flow, "out", {120, generator.hidden});
    write_model(folder / "start.safetensors", flow);
    std::vector<std::string> sets{"images=" + (folder / "images").string(),
                                  "labels=" + (folder / "labels").string(),
                                  "white=255",
                                  "width=10",
                                  "prepare=0",
                                  "start.model=" + (folder / "start.safetensors").string()};
    TensorMap eyes;
    for (const auto& [name, filters, features] :
         {std::tuple{"eyes", 16, 64}, {"weak", 4, 16}, {"judge", 12, 64}, {"third", 16, 64}}) {
      eyes = draw_encoder_weights({1, 12, 10, 10, filters, features}, Random(key));
      write_model(folder / fmt::format("{}.safetensors", name), eyes);
      sets.push_back(fmt::format("{0}.model={1}/{0}.safetensors", name, folder.string()));
    }
    Document graph = Document::load(kGraphs / "39-adv-grpo.json");
    for (const std::string& set : sets) apply_override(graph, set, &registry.catalogue());
    try {
      run(registry, graph, folder / "wrong", 1, 2);
      QFAIL("a generator of 12 x 10 pixels was taken for one of 8 x 10");
    } catch (const Failure& failure) {
      const std::string& text = failure.problem().text;
      QVERIFY2(text.find(".safetensors: ") != std::string::npos, text.c_str());
      QVERIFY2(text.find(", but the node's sizes make it ") != std::string::npos, text.c_str());
    }
    apply_override(graph, "height=12", &registry.catalogue());
    const Outcome outcome = run(registry, graph, folder / "right", 2, 2);
    QVERIFY(!outcome.metrics.empty());
    const fs::path made = fs::directory_iterator(folder / "right")->path();
    for (const auto& [name, weights] :
         {std::pair{"start/weights", flow}, std::pair{"third/weights", eyes}}) {
      const TensorMap kept = kept_state(made, name);
      QCOMPARE(kept.size(), weights.size());
      for (const auto& [tensor, values] : weights) QVERIFY(kept.at(tensor).equal(values));
    }
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
