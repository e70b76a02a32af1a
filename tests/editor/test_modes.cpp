// Muted and bypassed nodes in the editor; the inside of containers; subgraph ports on the boundary.
#include <QApplication>
#include <QMouseEvent>

#include "editor/canvas/canvas_view.h"
#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestModes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() {
    model_ = std::make_unique<GraphModel>(catalogue_);
    model_->load(graphFile("grpo-arithmetic.json"));
    scene_ = std::make_unique<GraphScene>(*model_, Theme::darkTheme());
    view_ = std::make_unique<CanvasView>(*scene_);
    view_->resize(1400, 900);
    view_->show();
    QVERIFY(QTest::qWaitForWindowExposed(view_.get()));
    view_->fitAll();
  }
  void cleanup() {
    view_.reset();
    scene_.reset();
    model_.reset();
  }

  void muting_is_drawn_checked_and_undone() {
    const std::string start = model_->document().text();
    const QImage before = view_->grab().toImage();
    scene_->selectNodes({"rollout"});
    view_->toggleMode(NodeMode::mute);
    QVERIFY(scene_->nodeItem("rollout")->view().mode == NodeMode::mute);
    scene_->clearSelection();
    QVERIFY(view_->grab().toImage() != before);
    model_->checkNow();
    QVERIFY(model_->problems().ok());
    // Why a node does not run stands on it.
    QVERIFY(scene_->nodeItem("adv")->view().badge == Severity::note);
    QVERIFY(scene_->nodeItem("adv")->view().badgeText.contains("does not run"));
    QVERIFY(!scene_->nodeItem("actor")->view().badge);
    scene_->selectNodes({"rollout"});
    view_->toggleMode(NodeMode::mute);
    QVERIFY(scene_->nodeItem("rollout")->view().mode == NodeMode::normal);
    while (model_->history().canUndo()) model_->history().undo();
    QCOMPARE(model_->document().text(), start);
  }

  void a_frame_is_muted_as_a_block() {
    scene_->clearSelection();
    for (FrameItem* frame : scene_->frameItems())
      frame->setSelected(frame->frame().title == "Reward");
    view_->toggleMode(NodeMode::mute);
    for (const char* name : {"check", "adv", "reward"}) {
      QVERIFY(findNode(model_->document(), {}, name)->mode == NodeMode::mute);
    }
    QVERIFY(findNode(model_->document(), {}, "clip")->mode == NodeMode::normal);
  }

  void a_bypass_that_cannot_be_is_an_error_on_the_node() {
    scene_->selectNodes({"adv"});
    view_->toggleMode(NodeMode::bypass);
    model_->checkNow();
    QVERIFY(!model_->problems().ok());
    QVERIFY(scene_->nodeItem("adv")->view().badge == Severity::error);
    QVERIFY(scene_->nodeItem("adv")->view().badgeText.contains("bypass-no-input"));
  }

  void a_note_inside_a_subgraph_shows_there() {
    scene_->setScope("exam");
    scene_->selectNodes({"grade"});
    view_->toggleMode(NodeMode::mute);
    model_->checkNow();
    QVERIFY(scene_->nodeItem("grade")->view().badge == Severity::note);
  }

  void a_container_shows_and_opens_its_inside() {
    const NodeView& node = scene_->nodeItem("held_out")->view();
    QCOMPARE(node.bodies.size(), 1U);
    QCOMPARE(node.bodies[0].name, QString("exam"));
    QCOMPARE(node.bodies[0].boxes.size(), 3U);
    QVERIFY(node.rect().contains(node.bodiesRect()));
    const QPointF middle = scene_->nodeItem("held_out")->pos() + node.bodyRect(0).center();
    QTest::mouseDClick(view_->viewport(), Qt::LeftButton, Qt::NoModifier,
                       view_->mapFromScene(middle));
    QCOMPARE(scene_->scope(), Scope("exam"));
    QVERIFY(scene_->nodeItem("inputs") && scene_->nodeItem("outputs"));
    QVERIFY(scene_->wireItem({{"inputs", "policy"}, "answers", "policy"}));
    QVERIFY(scene_->wireItem({{"grade", "metrics"}, "outputs", "metrics"}));
    view_->leave();
    QCOMPARE(scene_->scope(), Scope());
  }

  void a_container_without_a_body_gets_one() {
    std::string name;
    model_->edit("add", [&](Document& d) { name = addNode(d, {}, "flow.repeat", {0, 900}); });
    view_->enter(name);
    QVERIFY(model_->document().subgraph(name + "_body"));
    QCOMPARE(scene_->scope(), Scope(name + "_body"));
    model_->history().undo();
    QCOMPARE(scene_->scope(), Scope());
  }

  void ports_of_a_subgraph_are_made_renamed_and_removed() {
    Document d = model_->document();
    connectPorts(d, "exam", {{"inputs", "+"}, "grade", "rewards"}, *catalogue_);
    QCOMPARE(d.subgraph("exam")->inputs.size(), 2U);
    QCOMPARE(d.subgraph("exam")->inputs[1],
             (std::pair<std::string, std::string>("rewards", "Rewards")));
    connectPorts(d, "exam", {{"answers", "completions"}, "outputs", "+"}, *catalogue_);
    QCOMPARE(d.subgraph("exam")->outputs[1].first, std::string("completions"));
    renameSubgraphPort(d, "exam", false, "policy", "actor", *catalogue_);
    QVERIFY(d.node("held_out")->input("actor"));
    QCOMPARE(findNode(std::as_const(d), "exam", "answers")->input("policy")->from[0].text(),
             std::string("inputs.actor"));
    removeSubgraphPort(d, "exam", false, "actor", *catalogue_);
    QVERIFY(!d.node("held_out")->input("actor"));
    QVERIFY(!findNode(std::as_const(d), "exam", "answers")->input("policy"));
    removeSubgraphPort(d, "exam", true, "completions", *catalogue_);
    QCOMPARE(d.subgraph("exam")->outputs.size(), 1U);
    disconnectPorts(d, "exam", {{"grade", "metrics"}, "outputs", "metrics"});
    QVERIFY(d.subgraph("exam")->outputs.empty());
  }

  void a_subgraph_is_renamed_everywhere() {
    Document d = model_->document();
    setPosition(d, "exam", "grade", {40, 60});
    renameSubgraph(d, "exam", "test", *catalogue_);
    QCOMPARE(d.node("held_out")->params["body"].get<std::string>(), std::string("test"));
    QCOMPARE(*position(d, "test", "grade"), QPointF(40, 60));
    QVERIFY(check(d, *catalogue_).ok());
  }

  void paths_lead_into_bodies_and_back() {
    const Document& d = model_->document();
    const auto at = locate(d, "held_out[seed=1]/grade", *catalogue_);
    QVERIFY(at && at->scope == "exam" && at->node == "grade");
    QCOMPARE(pathPrefix(d, "exam", *catalogue_), std::string("held_out/"));
    QVERIFY(!locate(d, "held_out/nothing", *catalogue_));
    QCOMPARE(locate(d, "subgraph.exam/grade", *catalogue_)->scope, Scope("exam"));
    QCOMPARE(scopeAround(d, "exam", *catalogue_), Scope());
  }

  void a_subgraph_that_a_wire_leaves_and_enters_is_refused() {
    const std::string start = model_->document().text();
    const auto group = [&](Document& d) {
      makeSubgraph(d, {}, {"rollout", "adv"}, "g", *catalogue_);
    };
    try {
      model_->edit("group", group);
      QFAIL("nothing was refused");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("subgraph-cycle"));
      QVERIFY2(failure.problem().text.find("rollout -> check -> adv") != std::string::npos,
               failure.problem().text.c_str());
    }
    QCOMPARE(model_->document().text(), start);
    QVERIFY(model_->edit("group", [&](Document& d) {
      makeSubgraph(d, {}, {"rollout", "check", "adv"}, "g", *catalogue_);
    }));
    model_->checkNow();
    QVERIFY(model_->problems().ok());
  }

  void phases_become_spans() {
    std::vector<std::pair<std::int64_t, double>> phases;
    for (int i = 0; i < 10; ++i) phases.emplace_back(i, i < 4 ? 0 : 1);
    const auto spans = phaseSpans(phases);
    QCOMPARE(spans.size(), 2U);
    QCOMPARE(spans[0], (PhaseSpan{0, 0.4, 0}));
    QCOMPARE(spans[1], (PhaseSpan{0.4, 1, 1}));
    for (int i = 10; i < 500; ++i) phases.emplace_back(i, i % 2);
    const auto many = phaseSpans(phases);
    QCOMPARE(many.size(), 64U);
    QCOMPARE(many.front().from, 0.0);
    QVERIFY(qAbs(many.back().to - 1) < 1e-9);
    QVERIFY(phaseSpans({}).empty());
  }

 private:
  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<GraphModel> model_;
  std::unique_ptr<GraphScene> scene_;
  std::unique_ptr<CanvasView> view_;
};

}  // namespace rewardloom

using rewardloom::TestModes;
REWARDLOOM_TEST(TestModes)
#include "test_modes.moc"
