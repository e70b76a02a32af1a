// Ways of wires around nodes, in graphs of any size.
#include <QElapsedTimer>
#include <random>

#include "editor/canvas/graph_scene.h"
#include "editor/canvas/wire_item.h"
#include "editor/document/graph_layout.h"
#include "editor/layout/wire_ways.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestWireWays : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void a_group_in_the_way_is_passed_as_a_whole() {
    // Two nodes above one another with a gap too small for a wire, and a third behind them.
    const std::vector<QRectF> obstacles{
        {300, -110, 200, 100}, {300, -5, 200, 100}, {600, -200, 200, 60}};
    const auto dots = dotsAround({0, 0}, {1000, 0}, {}, obstacles, WireItem::curve);
    const QPainterPath way = WireItem::curve({0, 0}, {1000, 0}, dots);
    for (const QRectF& obstacle : obstacles) QVERIFY(!lineMeets(way, obstacle));
    QVERIFY(lineMeets(WireItem::curve({0, 0}, {1000, 0}, {}), obstacles[1]));
  }

  void the_grid_finds_what_a_search_of_all_finds() {
    std::mt19937 random(5);
    std::uniform_real_distribution<double> place(-2000, 2000);
    std::vector<QRectF> obstacles;
    for (int i = 0; i < 300; ++i) obstacles.emplace_back(place(random), place(random), 200, 90);
    const WireWays ways(obstacles, WireItem::curve);
    for (int k = 0; k < 100; ++k) {
      const QPainterPath line =
          WireItem::curve({place(random), place(random)}, {place(random), place(random)}, {});
      std::vector<std::size_t> all;
      for (std::size_t i = 0; i < obstacles.size(); ++i) {
        if (i != 7 && lineMeets(line, obstacles[i].adjusted(-2, -2, 2, 2))) all.push_back(i);
      }
      QCOMPARE(ways.met(line, {7, WireWays::kNone}), all);
    }
  }

  void no_wire_of_a_thousand_nodes_runs_behind_one() {
    // Columns of nodes; wires go on by one to six columns, past all that stands between.
    GraphModel model(catalogue_);
    Document d;
    std::mt19937 random(3);
    constexpr int kRows = 20, kColumns = 50;
    for (int i = 0; i < kRows * kColumns; ++i) {
      GraphNode node;
      node.name = "n" + std::to_string(i);
      node.type = "reward.length";
      const int column = i / kRows;
      for (int k = 0; k < 2 && column > 0; ++k) {
        const int back = std::min<int>(column, 1 + static_cast<int>(random() % 6));
        const int from = (column - back) * kRows + static_cast<int>(random() % kRows);
        node.inputs.push_back(
            {"in" + std::to_string(k), {{"n" + std::to_string(from), "rewards"}}, false});
      }
      setPosition(d, {}, node.name, QPointF(column * 420, (i % kRows) * 240));
      d.nodes.push_back(std::move(node));
    }
    model.adopt(d, {});
    GraphScene scene(model, Theme::darkTheme());
    std::map<std::string, QPointF> places;
    for (const auto& [name, item] : scene.nodeItems()) places[name] = item->pos();
    QVERIFY(places.size() == kRows * kColumns);
    const int before = wiresBehindNodes(scene);
    QVERIFY2(before > 500, qPrintable(QString::number(before)));
    QElapsedTimer clock;
    clock.start();
    const auto dots = scene.dotsFor(places, {});
    const auto spent = clock.elapsed();
    model.edit("route", [&](Document& document) { setWireDots(document, {}, dots); });
    const int after = wiresBehindNodes(scene);
    qInfo("%d of %d wires ran behind a node, %d do; %lld ms", before,
          static_cast<int>(scene.wireItems().size()), after, static_cast<long long>(spent));
    QCOMPARE(after, 0);
    QVERIFY2(spent < 2000, qPrintable(QString::number(spent)));
  }

 private:
  static int wiresBehindNodes(const GraphScene& scene) {
    std::vector<QRectF> boxes;
    std::map<std::string, std::size_t> index;
    for (const auto& [name, item] : scene.nodeItems()) {
      index[name] = boxes.size();
      boxes.push_back(item->view().rect().translated(item->pos()).adjusted(3, 3, -3, -3));
    }
    const WireWays ways(boxes, WireItem::curve);
    int count = 0;
    for (const WireItem* item : scene.wireItems()) {
      const Wire& wire = item->wire();
      if (!ways.met(item->path(), {index.at(wire.from.node), index.at(wire.node)}).empty()) ++count;
    }
    return count;
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestWireWays;
REWARDLOOM_TEST(TestWireWays)
#include "test_wire_ways.moc"
