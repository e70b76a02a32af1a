// Plug-ins that crash, node types that vanish, runs that die at once: the editor stays up and says
// what happened.
#include <QSignalSpy>
#include <QTemporaryDir>

#include "editor/document/graph_layout.h"
#include "editor/panels/problems_panel.h"
#include "editor/run/catalogue_reader.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestFailures : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() { folder_ = std::make_unique<QTemporaryDir>(); }

  void a_plugin_that_crashes_is_left_out_and_named() {
    // Stands for the program: crashes with one plug-in, knows the other.
    const QString program =
        script("case \"$*\" in *bad.so*) kill -SEGV $$;; esac\ncat '" REWARDLOOM_NODES_JSON "'\n");
    const auto reading = readCatalogue(program, {}, {"good.so", "bad.so"});
    QCOMPARE(reading.plugins, QStringList{"good.so"});
    QCOMPARE(reading.problems.size(), 1U);
    QCOMPARE(reading.problems[0].code, std::string("plugin-failed"));
    QCOMPARE(reading.problems[0].where.file, std::string("bad.so"));
    QVERIFY(reading.catalogue.nodes().size() > 100);
    MainWindow window(std::make_shared<const Catalogue>(reading.catalogue), paths());
    window.setUnattended(true);
    window.report(reading.problems[0]);
    QVERIFY(window.openPath(graphFile("grpo-arithmetic.json")));
    QCOMPARE(window.problemsPanel().count(), 1);  // stays with every graph
  }

  void a_real_plugin_that_is_none_is_named() {
    const QString plugin = folder_->path() + "/none.so";
    QFile file(plugin);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("no library");
    file.close();
    const auto reading = readCatalogue(QStringLiteral(REWARDLOOM_PROGRAM),
                                       QStringLiteral(REWARDLOOM_NODES_JSON), {plugin});
    QVERIFY(reading.plugins.isEmpty());
    QCOMPARE(reading.problems.size(), 1U);
    QVERIFY(reading.catalogue.nodes().size() > 100);
  }

  void a_program_that_hangs_or_lies_is_given_up() {
    const QString slow = script("sleep 60\n");
    auto reading = readCatalogue(slow, QStringLiteral(REWARDLOOM_NODES_JSON), {"x.so"}, 300);
    QCOMPARE(reading.problems.size(), 1U);
    const QString lies = script("echo not json\n");
    QVERIFY_EXCEPTION_THROWN(readCatalogue(lies, {}, {}), Failure);
    QVERIFY_EXCEPTION_THROWN(readCatalogue("/nowhere/rewardloom", {}, {}), Failure);
  }

  void a_node_type_that_vanished_keeps_all_it_had() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    const std::string before = model.document().text();
    Json json = Json::parse(read_file(REWARDLOOM_NODES_JSON));
    Json left = Json::array();
    for (const Json& node : json["nodes"]) {
      if (node["id"] != "advantage.group") left.push_back(node);
    }
    json["nodes"] = left;
    GraphScene scene(model, Theme::darkTheme());
    model.setCatalogue(std::make_shared<const Catalogue>(Catalogue::from_json(json)));
    const NodeView& view = scene.nodeItem("adv")->view();
    QVERIFY(!view.known);
    QCOMPARE(view.inputs.size(), 1U);  // the wires that it has stay drawn
    QCOMPARE(view.outputs.size(), 1U);
    QVERIFY(view.badge == Severity::error);
    QVERIFY(view.badgeText.contains("unknown-type"));
    QCOMPARE(model.document().text(), before);
    model.edit("move", [](Document& d) { setPosition(d, {}, "adv", {20, 20}); });
    const Document saved = Document::parse(model.document().text());
    QVERIFY(*saved.node("adv") == *Document::parse(before).node("adv"));
  }

  void a_run_that_dies_at_start_is_told_of() {
    EditorPaths broken = paths();
    broken.program = script("echo 'something is missing' >&2\nexit 7\n");
    MainWindow window(catalogue_, broken);
    window.setUnattended(true);
    QVERIFY(window.openPath(graphFile("grpo-arithmetic.json")));
    window.startRun();
    GraphTab& tab = *window.currentTab();
    QTRY_COMPARE(tab.run().state(), RunState::failed);
    QVERIFY(window.problemsPanel().count() > 0);
    QVERIFY(tab.run().log().join(' ').contains("something is missing"));
    QVERIFY(tab.run().log().join(' ').contains("status 7"));
    window.startRun();  // and may be tried again
    QTRY_COMPARE(tab.run().state(), RunState::failed);
  }

  void text_that_is_no_graph_cannot_be_pasted() {
    Document d = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    const std::string before = d.text();
    for (const char* text : {"", "hello", "{}", "[1, 2]", "{\"rewardloom\": 99, \"nodes\": {}}",
                             "{\"rewardloom\": 1, \"nodes\": 3}"}) {
      QVERIFY_EXCEPTION_THROWN(pasteText(d, {}, QString::fromLatin1(text), {}), Failure);
    }
    QCOMPARE(d.text(), before);
  }

 private:
  QString script(const QByteArray& body) {
    static int count = 0;
    QFile file(folder_->path() + QStringLiteral("/program-%1").arg(++count));
    if (!file.open(QIODevice::WriteOnly)) return {};
    file.write("#!/bin/sh\n" + body);
    file.close();
    file.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    return file.fileName();
  }
  EditorPaths paths() const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder_->path() + "/runs", folder_->path() + "/journals"};
  }
  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<QTemporaryDir> folder_;
};

}  // namespace rewardloom

using rewardloom::TestFailures;
REWARDLOOM_TEST(TestFailures)
#include "test_failures.moc"
