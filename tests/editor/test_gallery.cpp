// The welcome page, and how graphs without places are laid out.
#include <QDir>
#include <QLineEdit>
#include <QPushButton>
#include <QTemporaryDir>

#include "editor/layout/wire_ways.h"
#include "editor/window/gallery.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/editor/hands.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestGallery : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() {
    folder_ = std::make_unique<QTemporaryDir>();
    window_ = std::make_unique<MainWindow>(
        catalogue_, EditorPaths{QStringLiteral(REWARDLOOM_PROGRAM),
                                QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
                                folder_->path() + "/runs", folder_->path() + "/journals"});
    window_->setUnattended(true);
    window_->resize(1600, 1000);
  }
  void cleanup() {
    window_.reset();
    folder_.reset();
  }

  void every_graph_has_a_card_that_opens_with_one_click() {
    Hands hands(*window_);
    const auto graphs = QDir(QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs")).entryList({"*.json"});
    QCOMPARE(window_->gallery().shownCards(), static_cast<int>(graphs.size()));
    window_->gallery().readAll();
    auto* filter = window_->gallery().findChild<QLineEdit*>();
    hands.click(filter);
    hands.type("grpo arithmetic");
    QVERIFY(window_->gallery().shownCards() >= 1);
    QVERIFY(window_->gallery().shownCards() < graphs.size());
    QTest::qWait(50);
    QWidget* open = named(*window_, "Open grpo-arithmetic");
    QVERIFY(open);
    hands.click(open);
    QVERIFY(window_->currentTab());
    QVERIFY(window_->currentTab()->model().path().endsWith("grpo-arithmetic.json"));
    window_->actions().run("file.welcome");
    QVERIFY(!window_->currentTab());
    QVERIFY(named(*window_, "Open grpo-arithmetic"));
  }

  void one_click_runs() {
    Hands hands(*window_);
    window_->gallery().readAll();
    hands.click(window_->gallery().findChild<QLineEdit*>());
    hands.type("grpo-arithmetic");
    QTest::qWait(50);
    hands.click(named(*window_, "Run grpo-arithmetic"));
    QVERIFY(window_->currentTab());
    QTRY_VERIFY_WITH_TIMEOUT(window_->currentTab()->run().iteration() >= 1, 60000);
    window_->stopRun();
    QTRY_VERIFY_WITH_TIMEOUT(!window_->currentTab()->run().isActive(), 60000);
  }

  void frames_stay_apart_and_no_wire_runs_behind_a_node() {
    window_->show();
    QVERIFY(window_->openPath(graphFile("grpo-arithmetic.json")));
    GraphTab& tab = *window_->currentTab();
    tab.layOut(false);
    QTRY_COMPARE(tab.model().history().undoText(), QString("Lay out"));
    const auto frames = tab.scene().frameItems();
    QCOMPARE(frames.size(), 3U);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      for (std::size_t k = 0; k < i; ++k) QVERIFY(!frames[i]->rect().intersects(frames[k]->rect()));
    }
    for (const WireItem* wire : tab.scene().wireItems()) {
      for (const auto& [name, item] : tab.scene().nodeItems()) {
        if (name == wire->wire().node || name == wire->wire().from.node) continue;
        const QRectF box = item->view().rect().translated(item->pos()).adjusted(3, 3, -3, -3);
        QVERIFY2(!lineMeets(wire->path(), box),
                 (wire->wire().from.text() + " runs behind " + name).c_str());
      }
    }
    tab.model().history().undo();
    QCOMPARE(tab.model().document().text(),
             read_file(graphFile("grpo-arithmetic.json").toStdString()));
  }

  void the_first_placed_node_keeps_the_others_where_they_were_shown() {
    window_->show();
    QVERIFY(window_->openPath(graphFile("grpo-arithmetic.json")));
    GraphTab& tab = *window_->currentTab();
    tab.suggestLayout();
    QTRY_VERIFY(tab.scene().nodeItem("update")->pos().x() > 900);
    const QPointF shown = tab.scene().nodeItem("update")->pos();
    QVERIFY(!position(tab.model().document(), {}, "update"));
    tab.canvas().addNodeAt("reward.length", {0, 2000}, std::nullopt, {});
    QCOMPARE(*position(tab.model().document(), {}, "update"), shown);
    QCOMPARE(tab.scene().nodeItem("update")->pos(), shown);
    QVERIFY(!wireDots(tab.model().document(), {}).empty());
    tab.model().history().undo();
    QVERIFY(!position(tab.model().document(), {}, "update"));
  }

  void unconnected_parts_stand_beside_one_another() {
    std::vector<LayoutNode> nodes;
    std::vector<Wire> wires;
    for (int i = 0; i < 24; ++i) {
      const std::string a = "a" + std::to_string(i), b = "b" + std::to_string(i);
      nodes.push_back({a, QSizeF(200, 100), {}});
      nodes.push_back({b, QSizeF(200, 100), {}});
      wires.push_back({{a, "x"}, b, "y"});
    }
    AutoLayout layout;
    std::map<std::string, QPointF> places;
    connect(&layout, &AutoLayout::done, this,
            [&](const std::map<std::string, QPointF>& all) { places = all; });
    layout.start(nodes, wires);
    QTRY_COMPARE(places.size(), nodes.size());
    QRectF all;
    for (const auto& [name, at] : places) all |= QRectF(at, QSizeF(200, 100));
    QVERIFY2(all.width() > all.height() * 0.7 && all.width() < all.height() * 4,
             qPrintable(QString("%1 x %2").arg(all.width()).arg(all.height())));
    QVERIFY(!layout.ways().empty());
  }

  void a_wire_goes_around_what_stands_in_its_way() {
    const QRectF obstacle(300, -50, 200, 100);
    QVERIFY(dotsAround({0, 200}, {800, 200}, {}, {obstacle}, WireItem::curve).empty());
    const auto dots = dotsAround({0, 10}, {800, 10}, {}, {obstacle}, WireItem::curve);
    QCOMPARE(dots.size(), 2U);
    QVERIFY(!lineMeets(WireItem::curve({0, 10}, {800, 10}, dots), obstacle));
    QVERIFY(lineMeets(WireItem::curve({0, 10}, {800, 10}, {}), obstacle));
  }

 private:
  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<QTemporaryDir> folder_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace rewardloom

using rewardloom::TestGallery;
REWARDLOOM_TEST(TestGallery)
#include "test_gallery.moc"
