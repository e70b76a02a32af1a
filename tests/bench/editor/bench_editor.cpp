// The editor's frame times in CPU milliseconds, offscreen: rewardloom-editor-bench [REPEATS]
#include <QApplication>
#include <QElapsedTimer>
#include <QPainter>
#include <QScrollBar>
#include <QTemporaryDir>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>

#include "editor/canvas/canvas_view.h"
#include "editor/document/graph_layout.h"
#include "editor/layout/auto_layout.h"
#include "editor/rewards/curve_plot.h"
#include "editor/rewards/heat_map.h"
#include "editor/rewards/samples_panel.h"
#include "editor/search/fuzzy.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

double cpuMs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

struct Figure {
  double median = 0, least = 0, most = 0;
};

/// CPU milliseconds of one call, over many.
Figure measure(int repeats, const std::function<void(int)>& frame) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpuMs();
    frame(i);
    times.push_back(cpuMs() - start);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

void print(const char* name, const Figure& f, double goal) {
  std::printf("%-52s %8.2f ms  (%.2f to %.2f)   goal %.1f  %s\n", name, f.median, f.least, f.most,
              goal, f.median <= goal ? "met" : "MISSED");
  std::fflush(stdout);
}

/// GRPO pipelines beside one another, as many as give that number of nodes; two wires a node.
Document largeGraph(int nodes) {
  Document d;
  d.name = "large";
  const auto add = [&](const std::string& name, const char* type, Json params,
                       std::vector<InputEdges> inputs) {
    GraphNode node;
    node.name = name;
    node.type = type;
    node.params = std::move(params);
    node.inputs = std::move(inputs);
    const int i = static_cast<int>(d.nodes.size());
    setPosition(d, {}, name, QPointF((i % 40) * 260, static_cast<double>(i / 40) * 200));
    d.nodes.push_back(std::move(node));
  };
  for (int k = 0; static_cast<int>(d.nodes.size()) < nodes; ++k) {
    const std::string n = "_" + std::to_string(k);
    const auto one = [&](const char* port, const std::string& node, const char* output) {
      return InputEdges{port, {{node + n, output}}, false};
    };
    add("tasks" + n, "data.arithmetic", {{"digits", 3}}, {});
    add("actor" + n, "text.policy", {{"model", "resources/models/arithmetic"}}, {});
    add("rollout" + n, "sample.generate", {{"group_size", 8}, {"max_tokens", 5}},
        {one("policy", "actor", "policy"), one("prompts", "tasks", "prompts")});
    add("check" + n, "reward.exact_match", Json::object(),
        {one("completions", "rollout", "completions")});
    add("length" + n, "reward.length", Json::object(),
        {one("completions", "rollout", "completions")});
    add("both" + n, "reward.combine", Json::object(),
        {{"rewards", {{"check" + n, "rewards"}, {"length" + n, "rewards"}}, true}});
    add("adv" + n, "advantage.group", {{"epsilon", 0.001}}, {one("rewards", "both", "rewards")});
    add("clip" + n, "loss.policy_clip", {{"high", 0.28}}, {});
    add("update" + n, "optimize.policy", {{"learning_rate", 0.0003}},
        {one("policy", "actor", "policy"),
         one("completions", "rollout", "completions"),
         one("advantages", "adv", "advantages"),
         {"terms", {{"clip" + n, "term"}}, true}});
    add("accuracy" + n, "eval.accuracy", Json::object(),
        {one("rewards", "check", "rewards"), one("completions", "rollout", "completions")});
  }
  return d;
}

struct Canvas {
  Canvas(std::shared_ptr<const Catalogue> catalogue, int nodes) : model(std::move(catalogue)) {
    model.adopt(largeGraph(nodes), {});
    scene = std::make_unique<GraphScene>(model, Theme::darkTheme());
    view = std::make_unique<CanvasView>(*scene);
    view->resize(1600, 1000);
    view->show();
    QApplication::processEvents();
  }
  void frame() {
    view->viewport()->repaint();
    QApplication::processEvents();
  }
  GraphModel model;
  std::unique_ptr<GraphScene> scene;
  std::unique_ptr<CanvasView> view;
};

void benchCanvas(const std::shared_ptr<const Catalogue>& catalogue, int nodes, int repeats) {
  const double start = cpuMs();
  Canvas canvas(catalogue, nodes);
  canvas.view->fitAll();
  canvas.frame();
  const double opened = cpuMs() - start;
  const std::string n = std::to_string(nodes) + " nodes: ";
  if (nodes <= 1000) print((n + "document to first frame").c_str(), {opened, opened, opened}, 300);
  const double frameGoal = nodes <= 1000 ? 8 : 16.6;
  const auto pan = [&](int i) {
    QScrollBar* bar = canvas.view->horizontalScrollBar();
    bar->setValue(bar->value() + (i % 2 ? 12 : -12));
    QApplication::processEvents();
  };
  const auto zoom = [&](int i) {
    canvas.view->zoomBy(i % 2 ? 1.05 : 1 / 1.05, QPointF(800, 500));
    QApplication::processEvents();
  };
  print((n + "pan at fit").c_str(), measure(repeats, pan), frameGoal);
  print((n + "zoom at fit").c_str(), measure(repeats, zoom), frameGoal);
  NodeItem* item = canvas.scene->nodeItem("rollout_" + std::to_string(nodes / 20));
  print((n + "drag a node at fit").c_str(),
        measure(repeats,
                [&](int i) {
                  item->moveBy(i % 2 ? 20 : -20, 0);
                  QApplication::processEvents();
                }),
        frameGoal);
  std::map<std::string, NodeActivity> activities;
  print((n + "10 % of the nodes change state").c_str(),
        measure(repeats,
                [&](int i) {
                  for (int k = 0; k < nodes / 10; ++k) {
                    NodeActivity& activity = activities["rollout_" + std::to_string(k)];
                    activity.state = i % 2 ? NodeState::running : NodeState::done;
                    ++activity.count;
                  }
                  canvas.scene->setActivities(activities);
                  QApplication::processEvents();
                }),
        16.6);
  if (nodes > 1000) return;
  canvas.view->setTransform(QTransform::fromScale(0.6, 0.6));
  canvas.view->centerOn(item);
  canvas.frame();
  print((n + "pan at 60 % with text").c_str(), measure(repeats, pan), 12);
  print((n + "zoom at 60 % with text").c_str(), measure(repeats, zoom), 12);
}

void benchSearch(const Catalogue& catalogue, int repeats) {
  const auto entries = nodeEntries(catalogue);
  print("search: results after a key",
        measure(repeats,
                [&](int i) {
                  fuzzySearch(entries,
                              i % 2 ? QStringLiteral("advgr") : QStringLiteral("clip loss"));
                }),
        16);
}

void benchLayout() {
  const Document d = largeGraph(500);
  std::vector<LayoutNode> nodes;
  for (const GraphNode& node : d.nodes) nodes.push_back({node.name, QSizeF(200, 120), {}});
  AutoLayout layout;
  bool done = false;
  QObject::connect(&layout, &AutoLayout::done, [&] { done = true; });
  QElapsedTimer wall;
  wall.start();
  layout.start(nodes, wiresOf(d, {}));
  while (!done && wall.elapsed() < 60000)
    QApplication::processEvents(QEventLoop::WaitForMoreEvents);
  const auto ms = static_cast<double>(wall.elapsed());
  print("layout of 500 nodes (wall, another process)", {ms, ms, ms}, 200);
}

void benchViews(int repeats) {
  std::mt19937 random(2);
  std::normal_distribution<double> noise;
  MetricSeries series;
  for (int i = 0; i < 1000000; ++i) series.append(i, noise(random));
  print("a curve of 1 000 000 points, 900 columns",
        measure(repeats, [&](int i) { series.columns(i * 10, 1000000 - i * 10, 900); }), 1);
  std::vector<HistogramRow> rows;
  for (int i = 0; i < 2000; ++i) {
    HistogramRow row;
    row.iteration = i;
    row.distribution = {
        64 * 8, 0, 0, 0.5, 0.1, -1.0, 2.0, {}, -1.0, 2.0, std::vector<std::uint64_t>(64, 8)};
    rows.push_back(std::move(row));
  }
  HeatMap heat(Theme::darkTheme());
  heat.resize(900, 300);
  heat.setRows(rows);
  QImage image(900, 300, QImage::Format_RGB32);
  print("heat map of 2000 iterations: a frame", measure(repeats, [&](int) { heat.render(&image); }),
        1);
  std::vector<Rollout> rollouts;
  for (int i = 0; i < 100000; ++i) {
    Rollout r;
    r.iteration = i / 16;
    r.prompt = QStringLiteral("prompt %1").arg(i % 512);
    r.completion = QStringLiteral("answer %1").arg(i);
    r.numbers["total"] = noise(random);
    rollouts.push_back(std::move(r));
  }
  RolloutModel model;
  model.set(std::move(rollouts));
  print("100 000 rollouts: filter",
        measure(std::min(repeats, 9),
                [&](int i) {
                  model.filter(i % 2 ? QStringLiteral("77") : QStringLiteral("answer 9"),
                               std::nullopt, "total");
                }),
        100);
}

}  // namespace
}  // namespace rewardloom

int main(int argc, char** argv) {
  qputenv("QT_QPA_PLATFORM", "offscreen");
  QApplication app(argc, argv);
  const int repeats = argc > 1 ? std::max(3, std::atoi(argv[1])) : 41;
  using namespace rewardloom;
  const auto catalogue = std::make_shared<const Catalogue>(
      Catalogue::from_json(Json::parse(read_file(REWARDLOOM_NODES_JSON))));
  std::printf("CPU milliseconds, median of %d (least to most), 1600x1000, offscreen raster\n",
              repeats);
  benchCanvas(catalogue, 1000, repeats);
  benchCanvas(catalogue, 5000, repeats);
  benchSearch(*catalogue, repeats);
  benchLayout();
  benchViews(repeats);
  return 0;
}
