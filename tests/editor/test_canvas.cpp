// Gestures on the canvas, by real mouse and key events.
#include <QApplication>
#include <QClipboard>
#include <QElapsedTimer>
#include <QMouseEvent>
#include <QSignalSpy>

#include "editor/canvas/canvas_view.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestCanvas : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void init() {
    model_ = std::make_unique<GraphModel>(catalogue_);
    scene_ = std::make_unique<GraphScene>(*model_, Theme::darkTheme());
    view_ = std::make_unique<CanvasView>(*scene_);
    view_->resize(1200, 800);
    view_->show();
    QVERIFY(QTest::qWaitForWindowExposed(view_.get()));
    view_->centerOn(400, 200);
  }
  void cleanup() {
    view_.reset();
    scene_.reset();
    model_.reset();
  }

  void a_wire_is_drawn_from_port_to_port() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {400, 0});
    drag(portPoint({a, "rewards", true}), portPoint({b, "rewards", false}));
    QCOMPARE(wiresOf(model_->document(), {}).size(), 1U);
    QCOMPARE(wiresOf(model_->document(), {})[0], (Wire{{a, "rewards"}, b, "rewards"}));
    model_->history().undo();
    QVERIFY(wiresOf(model_->document(), {}).empty());
  }

  void a_wire_that_does_not_fit_says_why() {
    const std::string a = add("sample.generate", {0, 0});
    const std::string b = add("advantage.group", {400, 0});
    QSignalSpy spoken(view_.get(), &CanvasView::statusText);
    drag(portPoint({a, "completions", true}), portPoint({b, "rewards", false}));
    QVERIFY(wiresOf(model_->document(), {}).empty());
    QVERIFY2(spoken.last()[0].toString().contains("expects Rewards"),
             qPrintable(spoken.last()[0].toString()));
  }

  void while_a_wire_is_pulled_fitting_ports_glow() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {400, 0});
    const QImage before = view_->grab().toImage();
    press(portPoint({a, "rewards", true}));
    move(portPoint({a, "rewards", true}) + QPoint(60, 60));
    QVERIFY(view_->grab().toImage() != before);
    QTest::keyClick(view_.get(), Qt::Key_Escape);
    release(portPoint({a, "rewards", true}) + QPoint(60, 60));
    QVERIFY(wiresOf(model_->document(), {}).empty());
  }

  void a_wire_into_empty_space_asks_for_a_node() {
    const std::string a = add("reward.exact_match", {0, 0});
    QSignalSpy asked(view_.get(), &CanvasView::searchRequested);
    drag(portPoint({a, "rewards", true}), portPoint({a, "rewards", true}) + QPoint(200, 160));
    QCOMPARE(asked.count(), 1);
    const auto from = asked[0][2].value<std::optional<PortEnd>>();
    QVERIFY(from.has_value());
    QCOMPARE(from->port, std::string("rewards"));
  }

  void a_wired_input_gives_its_wire_away() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {400, 0});
    const std::string c = add("advantage.leave_one_out", {400, 200});
    connect(a, "rewards", b, "rewards");
    drag(portPoint({b, "rewards", false}), portPoint({c, "rewards", false}));
    QCOMPARE(wiresOf(model_->document(), {}).size(), 1U);
    QCOMPARE(wiresOf(model_->document(), {})[0].node, c);
  }

  void dragging_a_node_is_one_step() {
    const std::string a = add("advantage.group", {0, 0});
    const int steps = model_->history().count();
    const QPoint title = view_->mapFromScene(scene_->nodeItem(a)->pos() + QPointF(60, 18));
    drag(title, title + QPoint(100, 40));
    QCOMPARE(model_->history().count(), steps + 1);
    QVERIFY(position(model_->document(), {}, a)->x() >= 80);
    model_->history().undo();
    QCOMPARE(*position(model_->document(), {}, a), QPointF(0, 0));
    QCOMPARE(scene_->nodeItem(a)->pos(), QPointF(0, 0));
  }

  void a_node_dropped_on_a_wire_is_put_into_it() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {700, 0});
    const std::string p = add("reward.length_penalty", {350, 300});
    connect(a, "rewards", b, "rewards");
    const QPoint title = view_->mapFromScene(scene_->nodeItem(p)->pos() + QPointF(60, 18));
    const QPointF middle = (scene_->nodeItem(a)->portScenePoint({a, "rewards", true}) +
                            scene_->nodeItem(b)->portScenePoint({b, "rewards", false})) /
                           2;
    const QPointF to = middle - scene_->nodeItem(p)->view().rect().center() + QPointF(60, 18);
    drag(title, view_->mapFromScene(to));
    QCOMPARE(findNode(model_->document(), {}, b)->input("rewards")->from[0].node, p);
    QCOMPARE(findNode(model_->document(), {}, p)->input("rewards")->from[0].node, a);
  }

  void a_cut_takes_the_wires_it_crosses() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {500, 0});
    connect(a, "rewards", b, "rewards");
    const QPointF middle = (scene_->nodeItem(a)->portScenePoint({a, "rewards", true}) +
                            scene_->nodeItem(b)->portScenePoint({b, "rewards", false})) /
                           2;
    view_->setFocus();
    QTest::keyPress(view_.get(), Qt::Key_Y);
    drag(view_->mapFromScene(middle - QPointF(0, 60)),
         view_->mapFromScene(middle + QPointF(0, 60)));
    QTest::keyRelease(view_.get(), Qt::Key_Y);
    QVERIFY(wiresOf(model_->document(), {}).empty());
  }

  void alt_click_clears_a_port() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {500, 0});
    connect(a, "rewards", b, "rewards");
    QTest::mouseClick(view_->viewport(), Qt::LeftButton, Qt::AltModifier,
                      portPoint({a, "rewards", true}));
    QVERIFY(wiresOf(model_->document(), {}).empty());
  }

  void double_click_on_a_wire_adds_a_dot() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {500, 0});
    connect(a, "rewards", b, "rewards");
    const QPointF middle = (scene_->nodeItem(a)->portScenePoint({a, "rewards", true}) +
                            scene_->nodeItem(b)->portScenePoint({b, "rewards", false})) /
                           2;
    QTest::mouseDClick(view_->viewport(), Qt::LeftButton, Qt::NoModifier,
                       view_->mapFromScene(middle));
    QCOMPARE(wireDots(model_->document(), {}).size(), 1U);
  }

  void the_wheel_zooms_at_the_mouse() {
    add("advantage.group", {0, 0});
    const QPointF before = view_->mapToScene(300, 200);
    view_->zoomBy(1.5, QPointF(300, 200));
    const QPointF after = view_->mapToScene(300, 200);
    QVERIFY(QLineF(before, after).length() < 3);
    QVERIFY(qAbs(view_->zoom() - 1.5) < 1e-9);
  }

  void collapse_frame_note_and_subgraph_are_undoable() {
    const std::string a = add("reward.exact_match", {0, 0});
    const std::string b = add("advantage.group", {300, 0});
    connect(a, "rewards", b, "rewards");
    const std::string start = model_->document().text();
    const int steps = model_->history().count();
    scene_->selectNodes({a, b});
    view_->toggleCollapsed();
    QVERIFY(isCollapsed(model_->document(), {}, a));
    view_->frameSelection();
    QCOMPARE(scene_->frameItems().size(), 1U);
    view_->addNote();
    view_->groupSelection();
    QCOMPARE(model_->document().subgraphs.size(), 1U);
    view_->enter(model_->document().nodes[0].name);
    QVERIFY(!scene_->scope().empty());
    view_->leave();
    QVERIFY(scene_->scope().empty());
    while (model_->history().count() > 0 && model_->history().index() > steps)
      model_->history().undo();
    QCOMPARE(model_->document().text(), start);
  }

  void copy_and_paste_go_through_the_clipboard_as_text() {
    const std::string a = add("reward.exact_match", {0, 0});
    scene_->selectNodes({a});
    view_->copySelection();
    QVERIFY(QApplication::clipboard()->text().contains("reward.exact_match"));
    view_->paste();
    QCOMPARE(model_->document().nodes.size(), 2U);
  }

  void a_problem_shows_on_its_node_within_50_ms() {
    const std::string b = add("advantage.group", {500, 0});
    QElapsedTimer clock;
    clock.start();
    while (!scene_->nodeItem(b)->view().badge && clock.elapsed() < 1000)
      QCoreApplication::processEvents();
    QVERIFY(scene_->nodeItem(b)->view().badge == Severity::error);
    QVERIFY2(scene_->nodeItem(b)->view().badgeText.contains("missing-input"),
             qPrintable(scene_->nodeItem(b)->view().badgeText));
  }

  void an_unknown_type_is_kept_and_drawn() {
    Document document = Document::parse(
        Json{{"rewardloom", 1},
             {"name", "x"},
             {"nodes", {{"odd", {{"type", "future.node"}, {"params", {{"a", 1}}}}}}}}
            .dump());
    model_->adopt(document, {});
    QVERIFY(scene_->nodeItem("odd") && !scene_->nodeItem("odd")->view().known);
    const QImage image = view_->grab().toImage();
    QVERIFY(!image.isNull());
  }

 private:
  std::string add(const char* type, QPointF at) {
    std::string name;
    model_->edit("add", [&](Document& d) { name = addNode(d, {}, type, at); });
    return name;
  }
  void connect(const std::string& a, const char* out, const std::string& b, const char* in) {
    model_->edit("wire", [&](Document& d) { connectPorts(d, {}, {{a, out}, b, in}, *catalogue_); });
  }
  QPoint portPoint(const PortEnd& end) const {
    return view_->mapFromScene(scene_->nodeItem(end.node)->portScenePoint(end));
  }
  void press(QPoint at) {
    QTest::mousePress(view_->viewport(), Qt::LeftButton, Qt::NoModifier, at);
  }
  void move(QPoint at) {
    QMouseEvent event(QEvent::MouseMove, at, view_->viewport()->mapToGlobal(at), Qt::NoButton,
                      Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(view_->viewport(), &event);
  }
  void release(QPoint at) {
    QTest::mouseRelease(view_->viewport(), Qt::LeftButton, Qt::NoModifier, at);
  }
  void drag(QPoint from, QPoint to) {
    press(from);
    move(from + (to - from) / 2);
    move(to);
    release(to);
  }

  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<GraphModel> model_;
  std::unique_ptr<GraphScene> scene_;
  std::unique_ptr<CanvasView> view_;
};

}  // namespace rewardloom

Q_DECLARE_METATYPE(std::optional<rewardloom::PortEnd>)
using rewardloom::TestCanvas;
REWARDLOOM_TEST(TestCanvas)
#include "test_canvas.moc"
