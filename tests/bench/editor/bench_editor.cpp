// The editor's frame times in CPU milliseconds, offscreen: rewardloom-editor-bench [REPEATS]
#include <QApplication>
#include <QElapsedTimer>
#include <QPainter>
#include <QScrollBar>
#include <QTableView>
#include <QTemporaryDir>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <random>

#include "editor/canvas/canvas_view.h"
#include "editor/document/graph_diff.h"
#include "editor/document/graph_layout.h"
#include "editor/layout/auto_layout.h"
#include "editor/panels/search_popup.h"
#include "editor/rewards/curve_plot.h"
#include "editor/rewards/custom_plot.h"
#include "editor/rewards/heat_map.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/search/fuzzy.h"
#include "editor/window/gallery.h"
#include "editor/window/main_window.h"
#include "engine/io/durable_file.h"
#include "engine/io/run_store.h"

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

/// Counts what is painted: a change counts only once it is on the screen.
class PaintCounter final : public QObject {
 public:
  explicit PaintCounter(QWidget* widget) : QObject(widget) { widget->installEventFilter(this); }
  bool eventFilter(QObject*, QEvent* event) override {
    if (event->type() == QEvent::Paint) ++paints_;
    return false;
  }
  /// Lets events go until something more was painted; waiting costs no CPU time.
  void awaitPaint() {
    const int before = seen_;
    for (int i = 0; i < 50 && paints_ == before; ++i) {
      QApplication::processEvents(QEventLoop::WaitForMoreEvents);
    }
    seen_ = paints_;
  }

 private:
  int paints_ = 0;
  int seen_ = 0;
};

struct Canvas {
  Canvas(std::shared_ptr<const Catalogue> catalogue, int nodes, QSize size)
      : model(std::move(catalogue)) {
    model.adopt(largeGraph(nodes), {});
    scene = std::make_unique<GraphScene>(model, Theme::darkTheme());
    view = std::make_unique<CanvasView>(*scene);
    view->resize(size);
    view->show();
    QApplication::processEvents();
    painted = new PaintCounter(view->viewport());
  }
  void frame() {
    view->viewport()->repaint();
    QApplication::processEvents();
  }
  GraphModel model;
  std::unique_ptr<GraphScene> scene;
  std::unique_ptr<CanvasView> view;
  PaintCounter* painted = nullptr;  ///< the viewport owns it
};

/// Goals of a frame, in milliseconds.
struct FrameGoals {
  double pan, zoom, state, panText, zoomText;
};

void benchFrames(Canvas& canvas, const std::string& n, int nodes, int repeats,
                 const FrameGoals& goals) {
  const QPointF middle = canvas.view->rect().center();
  const auto pan = [&](int i) {
    QScrollBar* bar = canvas.view->horizontalScrollBar();
    bar->setValue(bar->value() + (i % 2 ? 12 : -12));
    canvas.painted->awaitPaint();
  };
  const auto zoom = [&](int i) {
    canvas.view->zoomBy(i % 2 ? 1.05 : 1 / 1.05, middle);
    canvas.painted->awaitPaint();
  };
  canvas.view->fitAll();
  canvas.frame();
  print((n + "pan at fit").c_str(), measure(repeats, pan), goals.pan);
  print((n + "zoom at fit").c_str(), measure(repeats, zoom), goals.zoom);
  NodeItem* item = canvas.scene->nodeItem("rollout_" + std::to_string(nodes / 20));
  print((n + "drag a node at fit").c_str(),
        measure(repeats,
                [&](int i) {
                  item->moveBy(i % 2 ? 20 : -20, 0);
                  canvas.painted->awaitPaint();
                }),
        goals.pan);
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
                  canvas.painted->awaitPaint();
                }),
        goals.state);
  if (nodes > 1000) return;
  canvas.view->setTransform(QTransform::fromScale(0.6, 0.6));
  canvas.view->centerOn(item);
  canvas.frame();
  print((n + "pan at 60 % with text").c_str(), measure(repeats, pan), goals.panText);
  print((n + "zoom at 60 % with text").c_str(), measure(repeats, zoom), goals.zoomText);
}

/// Every wire led around the nodes that it would run behind.
void routeWires(Canvas& canvas, const std::string& n, int nodes) {
  std::map<std::string, QPointF> places;
  for (const auto& [name, item] : canvas.scene->nodeItems()) places[name] = item->pos();
  std::vector<WireDots> dots;
  print((n + "ways of all wires around the nodes, once").c_str(),
        measure(3, [&](int) { dots = canvas.scene->dotsFor(places, {}); }),
        nodes <= 1000 ? 100 : 500);
  canvas.model.edit("route", [&](Document& d) { setWireDots(d, {}, dots); });
}

void benchCanvas(const std::shared_ptr<const Catalogue>& catalogue, int nodes, int repeats) {
  const double start = cpuMs();
  Canvas canvas(catalogue, nodes, {1600, 1000});
  canvas.view->fitAll();
  canvas.frame();
  const double opened = cpuMs() - start;
  const std::string n = std::to_string(nodes) + " nodes: ";
  if (nodes <= 1000) print((n + "document to first frame").c_str(), {opened, opened, opened}, 300);
  const double fit = nodes <= 1000 ? 8 : 16.6;
  const FrameGoals goals{fit, fit, 16.6, 12, 12};
  benchFrames(canvas, n, nodes, repeats, goals);
  if (nodes <= 1000) {
    WireHistograms histograms;
    for (const WireItem* wire : canvas.scene->wireItems()) {
      WireHistogram& bars = histograms[{wire->wire().from.node, wire->wire().from.port}];
      for (std::size_t i = 0; i < WireHistogram::kBars; ++i) {
        bars.bars[i] = static_cast<float>(i % 5) / 4;
      }
    }
    canvas.scene->setWireHistograms(histograms);
    canvas.frame();
    const auto pan = [&](int i) {
      QScrollBar* bar = canvas.view->horizontalScrollBar();
      bar->setValue(bar->value() + (i % 2 ? 12 : -12));
      canvas.painted->awaitPaint();
    };
    print((n + "pan at 60 %, a histogram on every wire").c_str(), measure(repeats, pan), 12);
    canvas.scene->setWireHistograms({});
  }
  routeWires(canvas, n, nodes);
  benchFrames(canvas, n + "wires led around, ", nodes, repeats, goals);
}

/// A screen of 3840x2160, where text at 60 % is on six times as many nodes.
void bench4K(const std::shared_ptr<const Catalogue>& catalogue, int repeats) {
  Canvas canvas(catalogue, 1000, {3840, 2160});
  benchFrames(canvas, "4K, 1000 nodes: ", 1000, repeats, {8, 20, 16.6, 8, 20});
}

/// From the start of the process to the welcome page on the screen, pictures of the gallery later.
void benchStart() {
  QTemporaryDir folder;
  const auto catalogue = std::make_shared<const Catalogue>(
      Catalogue::from_json(Json::parse(read_file(REWARDLOOM_NODES_JSON))));
  MainWindow window(catalogue, EditorPaths{{},
                                           QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
                                           folder.path() + "/runs",
                                           folder.path() + "/journals"});
  window.setUnattended(true);
  window.show();
  window.repaint();
  const double ms = cpuMs();
  print("cold start to the welcome page (the whole process)", {ms, ms, ms}, 1000);
  const double before = cpuMs();
  window.gallery().readAll();
  const double cards = cpuMs() - before;
  print("pictures and texts of the whole gallery, after that", {cards, cards, cards}, 1000);
}

void benchDiff(int repeats) {
  const Document before = largeGraph(1000);
  Document after = before;
  for (std::size_t i = 0; i < after.nodes.size(); i += 3) after.nodes[i].params["epsilon"] = 0.5;
  for (std::size_t i = 1; i < after.nodes.size(); i += 7) {
    setPosition(after, {}, after.nodes[i].name, QPointF(1, 2));
  }
  print("differences of 1000 nodes", measure(repeats, [&](int) { differences(before, after); }),
        300);
}

void benchSearch(const Catalogue& catalogue, int repeats) {
  SearchPopup popup;
  popup.open(QPoint(10, 10), "", nodeEntries(catalogue), [](const QString&) {});
  QApplication::processEvents();
  print("search: popup filled and painted after a key",
        measure(repeats,
                [&](int i) {
                  popup.setQuery(i % 2 ? QStringLiteral("advgr") : QStringLiteral("clip loss"));
                  QApplication::processEvents();
                }),
        16);
  popup.hide();
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

HistogramRow histogramAt(std::int64_t iteration, const char* node, const char* component) {
  HistogramRow row{iteration, node, "rewards", component, {}};
  const double shift = 0.2 * std::sin(static_cast<double>(iteration) / 90);
  row.distribution = {512, 0, 0, 0.5 + shift, 0.1, -1.0, 2.0, {}, -1.0, 2.0, {}};
  for (std::size_t q = 0; q < quantile_levels.size(); ++q) {
    row.distribution.quantiles[q] = shift + quantile_levels[q];
  }
  for (std::uint64_t b = 0; b < 64; ++b) {
    row.distribution.bins.push_back((b + static_cast<std::uint64_t>(iteration)) % 16);
  }
  return row;
}

std::vector<HistogramRow> histogramRows(int count) {
  std::vector<HistogramRow> rows;
  for (int i = 0; i < count; ++i) rows.push_back(histogramAt(i, "check", "total"));
  return rows;
}

SampleRow sampleAt(std::int64_t iteration, std::int64_t index, const char* node) {
  const Json data = {{"prompt", "What is " + std::to_string(index) + " + 17?"},
                     {"completion", "the answer is " + std::to_string(iteration * index % 977)},
                     {"batch", iteration},
                     {"group", index / 8},
                     {"total", static_cast<double>((iteration * 31 + index * 7) % 101) / 100},
                     {"format", 0.5}};
  return {iteration, node, "rewards", index, data.dump()};
}

/// What a frame of a plot costs: its points, layout, drawing, and the way onto the window.
void redraw(CurveView& view) { view.plot().replot(QCustomPlot::rpImmediateRefresh); }

void benchCurves(int repeats) {
  std::mt19937 random(2);
  std::normal_distribution<double> noise;
  MetricSeries series;
  for (int i = 0; i < 1000000; ++i) series.append(i, noise(random));
  print("a curve of 1 000 000 points: extremes of 900 columns",
        measure(repeats, [&](int i) { series.columns(i * 10, 1000000 - i * 10, 900); }), 1);
  CurvePlot plot(Theme::darkTheme());
  plot.resize(900, 300);
  plot.show();
  print("a curve of 1 000 000 points: drawn anew",
        measure(repeats,
                [&](int) {
                  plot.setCurves({{QStringLiteral("noise"), &series, Qt::red}});
                  redraw(plot);
                }),
        1);
  print("a curve of 1 000 000 points: the cursor moves",
        measure(repeats,
                [&](int i) {
                  plot.setCursorIteration(i * 1000);
                  redraw(plot);
                }),
        1);
}

void benchDistributions(int repeats) {
  QImage image(900, 300, QImage::Format_RGB32);
  for (const int count : {2000, 10000}) {
    std::vector<HistogramRow> rows = histogramRows(count);
    const std::string n = std::to_string(count) + " iterations: ";
    HeatMap heat(Theme::darkTheme());
    heat.resize(900, 300);
    heat.setRows(rows);
    heat.render(&image);
    print(("heat map of " + n + "a frame").c_str(),
          measure(repeats,
                  [&](int i) {
                    heat.setCursorIteration(i);
                    heat.render(&image);
                  }),
          1);
    print(("heat map of " + n + "a new column").c_str(),
          measure(repeats,
                  [&](int) {
                    rows.push_back(histogramAt(std::ssize(rows), "check", "total"));
                    heat.setRows(rows);
                  }),
          1);
    print(("heat map of " + n + "a new column and its frame").c_str(),
          measure(repeats,
                  [&](int) {
                    rows.push_back(histogramAt(std::ssize(rows), "check", "total"));
                    heat.setRows(rows);
                    heat.render(&image);
                  }),
          1);
    QuantileFan fan(Theme::darkTheme());
    fan.resize(900, 300);
    fan.show();
    print(("quantile fan of " + n + "drawn anew").c_str(),
          measure(repeats,
                  [&](int) {
                    fan.setRows(rows);
                    redraw(fan);
                  }),
          16.6);
    std::vector<std::pair<std::string, std::vector<HistogramRow>>> columns;
    for (int k = 0; k < 6; ++k) columns.emplace_back("part " + std::to_string(k), rows);
    const RewardParts parts = [&] {
      RewardParts made = rewardParts(rows, columns, nullptr);
      made.additive = true;
      return made;
    }();
    ComponentStack stack(Theme::darkTheme());
    stack.resize(900, 300);
    stack.show();
    print(("stack of 6 parts, " + n + "drawn anew").c_str(),
          measure(repeats,
                  [&](int) {
                    stack.setParts(parts);
                    redraw(stack);
                  }),
          21);
    ProxyGoldData two;
    two.names = {"proxy", "gold", "kl", 0};
    for (int i = 0; i < count; ++i) {
      two.proxy.push_back({i, 0.01 * i});
      two.gold.push_back({i, std::sin(i / 500.0)});
      two.kl.push_back({i, 0.001 * i});
    }
    ProxyGoldPlot plot(Theme::darkTheme());
    plot.resize(900, 300);
    plot.show();
    print(("proxy and gold of " + n + "drawn anew").c_str(),
          measure(repeats,
                  [&](int) {
                    plot.setData(two);
                    redraw(plot);
                  }),
          16.6);
  }
}

void benchRollouts(int repeats) {
  std::vector<SampleRow> rows;
  for (int i = 0; i < 100000; ++i) rows.push_back(sampleAt(i / 16, i % 16, "check"));
  RolloutModel model;
  const double start = cpuMs();
  model.add(rows);
  model.apply({});
  const double read = cpuMs() - start;
  std::printf("%-52s %8.2f ms  (in pieces of a few ms while the window answers)\n",
              "100 000 rollouts: read", read);
  QTableView table;
  table.setModel(&model);
  table.setWordWrap(false);
  table.resize(700, 400);
  table.show();
  QApplication::processEvents();
  print("100 000 rollouts: scroll by a page",
        measure(repeats,
                [&](int i) {
                  table.verticalScrollBar()->setValue(i * 2311 % 99000);
                  QApplication::processEvents();
                }),
        8);
  const int few = std::min(repeats, 15);
  RolloutFilter filter;
  print("100 000 rollouts: filter by text",
        measure(few,
                [&](int i) {
                  filter.text = i % 2 ? QStringLiteral("77") : QStringLiteral("answer is 9");
                  model.apply(filter);
                }),
        100);
  print("100 000 rollouts: filter by a condition",
        measure(few,
                [&](int i) {
                  model.apply(RolloutFilter::parse(QStringLiteral("total > 0.%1").arg(1 + i % 8)));
                }),
        100);
  print("100 000 rollouts: filter by a brushed region",
        measure(few,
                [&](int i) {
                  RolloutFilter brushed;
                  brushed.region = HeatRegion{100 * i, 100 * i + 2000, 0.2, 0.7};
                  brushed.component = "total";
                  model.apply(brushed);
                }),
        100);
  model.apply({});
  print(
      "100 000 rollouts: sort by reward",
      measure(few, [&](int i) { model.sort(1, i % 2 ? Qt::AscendingOrder : Qt::DescendingOrder); }),
      200);
}

void benchTokens(int repeats) {
  TokenTable tokens;
  TokenQuantity quantity{QStringLiteral("advantage"), {}, {}};
  for (int i = 0; i < 512; ++i) {
    tokens.tokens.push_back(QStringLiteral("tok%1").arg(i % 40));
    quantity.values.push_back(std::sin(i));
  }
  tokens.quantities.push_back(quantity);
  TokenStrip strip(Theme::darkTheme());
  strip.resize(600, 500);
  strip.setTable(tokens);
  QImage image(600, 500, QImage::Format_RGB32);
  print("token strip of 512 tokens", measure(repeats, [&](int) { strip.render(&image); }), 3);
}

/// 36 metrics, 12 recorded components and 32 samples an iteration.
void writeIteration(RunStore& store, std::int64_t iteration) {
  for (int m = 0; m < 36; ++m) {
    store.add(MetricRow{iteration, "update/metric_" + std::to_string(m),
                        std::sin(static_cast<double>(iteration * (m + 1)) / 300)});
  }
  for (const char* node : {"check", "length", "both", "adv"}) {
    for (const char* component : {"format", "length", "total"}) {
      store.add(histogramAt(iteration, node, component));
    }
  }
  for (const char* node : {"both", "check"}) {
    for (std::int64_t row = 0; row < 16; ++row) store.add(sampleAt(iteration, row, node));
  }
}

void benchRun() {
  constexpr std::int64_t iterations = 10000;
  const QTemporaryDir folder;
  RunStoreOptions options;
  options.fsync = Fsync::off;
  RunStore store(std::filesystem::path(folder.path().toStdString()) / "run.db", options);
  for (std::int64_t i = 0; i < iterations; ++i) writeIteration(store, i);
  store.checkpoint_log();
  const auto open = [&](RunData& data, RewardsDock& dock) {
    dock.resize(1600, 400);
    dock.show();
    dock.setData(&data);
    data.open(folder.path());
    QApplication::processEvents();
  };
  const auto once = [&] {
    RunData data;
    RewardsDock dock(Theme::darkTheme());
    QElapsedTimer wall;
    wall.start();
    const double start = cpuMs();
    open(data, dock);
    const double spent = cpuMs() - start;
    std::printf("  (wall %lld ms)\n", static_cast<long long>(wall.elapsed()));
    dock.setData(nullptr);
    return spent;
  };
  std::vector<double> times{once(), once(), once()};
  std::sort(times.begin(), times.end());
  print("a finished run of 10 000 iterations: first frame", {times[1], times[0], times[2]}, 500);
  RunData data;
  RewardsDock dock(Theme::darkTheme());
  open(data, dock);
  dock.samples().readAll();
  std::int64_t next = iterations;
  print("the same run live: an iteration more, all views",
        measure(9,
                [&](int) {
                  writeIteration(store, next++);
                  store.commit();
                  data.refresh();
                  QApplication::processEvents();
                }),
        100);
  dock.setData(nullptr);
}

void benchViews(int repeats) {
  benchCurves(repeats);
  benchDistributions(repeats);
  benchRollouts(repeats);
  benchTokens(repeats);
  benchRun();
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
  benchStart();
  benchCanvas(catalogue, 1000, repeats);
  benchCanvas(catalogue, 5000, repeats);
  bench4K(catalogue, repeats);
  benchSearch(*catalogue, repeats);
  benchDiff(repeats);
  benchLayout();
  benchViews(repeats);
  return 0;
}
