// Search, parameters, problems, the table of actions, the journal.
#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QTemporaryDir>

#include "editor/document/graph_edits.h"
#include "editor/document/journal.h"
#include "editor/panels/parameter_panel.h"
#include "editor/panels/problems_panel.h"
#include "editor/panels/value_editor.h"
#include "editor/search/fuzzy.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestPanels : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }

  void search_finds_by_id_title_synonym_and_letters() {
    const auto entries = nodeEntries(*catalogue_);
    const auto first = [&](const char* query) {
      const auto found = fuzzySearch(entries, QString::fromLatin1(query));
      return found.empty() ? QString() : found[0]->id;
    };
    QCOMPARE(first("advantage.group"), QStringLiteral("advantage.group"));
    QCOMPARE(first("RLOO"), QStringLiteral("advantage.leave_one_out"));
    QVERIFY(first("polclip").contains("policy_clip"));
    QVERIFY(first("zzqxj").isEmpty());
    QCOMPARE(fuzzySearch(entries, {}).size(), entries.size());
  }

  void every_value_is_validated_as_its_declaration_says() {
    const ParameterDeclaration& epsilon = *catalogue_->node("advantage.group")->param("epsilon");
    QVERIFY(parseValue(epsilon, "1e-4").fault.isEmpty());
    QVERIFY(!parseValue(epsilon, "-1").fault.isEmpty());
    QVERIFY(!parseValue(epsilon, "much").fault.isEmpty());
    QVERIFY(parseValue(epsilon, "$eps").fault.isEmpty());
    QCOMPARE(parseValue(epsilon, "$eps").value.get<std::string>(), std::string("$eps"));
  }

  void the_parameter_panel_edits_and_resets() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    ParameterPanel panel;
    panel.setModel(&model);
    panel.show({}, {"adv"});
    auto* edit = editorOf<QLineEdit>(panel, "epsilon");
    QVERIFY(edit);
    edit->setText("0.5");
    Q_EMIT edit->editingFinished();
    QCOMPARE(findNode(model.document(), {}, "adv")->params["epsilon"].get<double>(), 0.5);
    edit = editorOf<QLineEdit>(panel, "epsilon");
    edit->setText("-3");
    Q_EMIT edit->editingFinished();
    QCOMPARE(findNode(model.document(), {}, "adv")->params["epsilon"].get<double>(), 0.5);
    model.history().undo();
    QVERIFY(!findNode(model.document(), {}, "adv")->params.contains("epsilon"));
  }

  void several_nodes_share_what_they_have_in_common() {
    GraphModel model(catalogue_);
    std::string a, b;
    model.edit("add", [&](Document& d) {
      a = addNode(d, {}, "advantage.group", QPointF());
      b = addNode(d, {}, "advantage.leave_one_out", QPointF());
    });
    ParameterPanel panel;
    panel.setModel(&model);
    panel.show({}, {a, b});
    auto* edit = editorOf<QLineEdit>(panel, "epsilon");
    QVERIFY(edit);
    edit->setText("0.25");
    Q_EMIT edit->editingFinished();
    QCOMPARE(findNode(model.document(), {}, a)->params["epsilon"].get<double>(), 0.25);
    QCOMPARE(findNode(model.document(), {}, b)->params["epsilon"].get<double>(), 0.25);
  }

  void quick_fixes_mend_what_they_say() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    model.edit("break", [](Document& d) { setParameter(d, {}, "adv", "epsilom", 1); });
    model.checkNow();
    QVERIFY(!model.problems().ok());
    const Problem problem = model.problems().problems.front();
    const auto fix = quickFix(problem, model.document(), *catalogue_);
    QVERIFY(fix.has_value());
    model.edit(fix->text, fix->apply);
    model.checkNow();
    QVERIFY(model.problems().ok());
  }

  void no_two_actions_share_a_key() {
    QTemporaryDir folder;
    MainWindow window(catalogue_, paths(folder));
    const auto clashes = window.actions().clashes();
    QVERIFY2(clashes.empty(), clashes.empty() ? "" : qPrintable(clashes[0]));
    for (const ActionEntry& action : window.actions().entries()) QVERIFY(!action.help.isEmpty());
  }

  void what_is_unsaved_survives_a_kill() {
    QTemporaryDir folder;
    GraphModel model(catalogue_);
    auto journal = std::make_unique<Journal>(model, folder.path());
    model.load(graphFile("grpo-arithmetic.json"));
    model.edit("add", [](Document& d) { addNode(d, {}, "reward.length", QPointF()); });
    QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(journal->file()), 1000);
    // As if another process, now gone, had written it.
    const QString dead = folder.path() + "/999999999-abc.journal";
    QVERIFY(QFile::copy(journal->file(), dead));
    const auto left = Journal::left(folder.path());
    QCOMPARE(left.size(), 1U);
    const Document recovered = Journal::read(left[0]);
    QVERIFY(recovered.same_content(model.document()));
    const QString file = journal->file();
    journal.reset();
    QVERIFY(!QFile::exists(file));
    Journal::remove(left[0]);
    QVERIFY(Journal::left(folder.path()).empty());
  }

  void a_power_cut_leaves_the_safe_copy() {
    QTemporaryDir folder;
    GraphModel model(catalogue_);
    Journal journal(model, folder.path());
    model.load(graphFile("grpo-arithmetic.json"));
    model.edit("add", [](Document& d) { addNode(d, {}, "reward.length", QPointF()); });
    journal.flush();
    const QString dead = folder.path() + "/999999997-abc.journal";
    QVERIFY(QFile::copy(journal.file() + ".safe", dead + ".safe"));
    QCOMPARE(Journal::left(folder.path()).size(), 1U);  // the other one is lost altogether
    QFile empty(dead);
    QVERIFY(empty.open(QIODevice::WriteOnly));
    empty.close();
    const auto left = Journal::left(folder.path());
    QCOMPARE(left.size(), 1U);
    QVERIFY(Journal::read(left[0]).same_content(model.document()));
    Journal::remove(left[0]);
    QVERIFY(Journal::left(folder.path()).empty());
  }

  void a_number_that_another_process_has_now_hides_no_journal() {
    QTemporaryDir folder;
    GraphModel model(catalogue_);
    Journal journal(model, folder.path());
    model.load(graphFile("grpo-arithmetic.json"));
    model.edit("add", [](Document& d) { addNode(d, {}, "reward.length", QPointF()); });
    journal.flush();
    QVERIFY(Journal::left(folder.path()).empty());  // this process lives
    Json json = Json::parse(read_file(journal.file().toStdString()));
    QVERIFY(!json.at("started").get<std::string>().empty());
    json["started"] = "another boot 17";
    write_durably(journal.file().toStdString(), json.dump());
    QCOMPARE(Journal::left(folder.path()).size(), 1U);
  }

  void a_subgraphs_parameters_can_be_set_on_its_node() {
    GraphModel model(catalogue_);
    model.load(graphFile("grpo-arithmetic.json"));
    std::string made;
    model.edit("group", [&](Document& d) {
      setParameter(d, {}, "clip", "low", "$low");
      d.parameters["low"] = 0.2;
      made = makeSubgraph(d, {}, {"clip", "update"}, "train", *catalogue_);
    });
    ParameterPanel panel;
    panel.setModel(&model);
    panel.show({}, {made});
    QLineEdit* field = nullptr;
    for (QWidget* widget : panel.findChildren<QWidget*>()) {
      if (widget->accessibleName() == "low") field = widget->findChild<QLineEdit*>();
    }
    QVERIFY(field);
    field->setText("-3");  // the range is that of the parameter inside
    Q_EMIT field->editingFinished();
    QCOMPARE(model.document().node(made)->params["low"], Json("$low"));
    field->setText("0.1");
    Q_EMIT field->editingFinished();
    QCOMPARE(model.document().node(made)->params["low"], Json(0.1));
    for (const QLabel* label : panel.findChildren<QLabel*>()) {
      QVERIFY2(!label->text().contains("unknown"), qPrintable(label->text()));
    }
  }

  void a_damaged_journal_is_named() {
    QTemporaryDir folder;
    QFile file(folder.path() + "/999999998-x.journal");
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("{\"tex");
    file.close();
    const auto left = Journal::left(folder.path());
    QCOMPARE(left.size(), 1U);
    QVERIFY_EXCEPTION_THROWN(Journal::read(left[0]), Failure);
  }

  void broken_files_leave_the_window_as_it_was() {
    QTemporaryDir folder;
    MainWindow window(catalogue_, paths(folder));
    window.setUnattended(true);
    QFile file(folder.path() + "/broken.json");
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("{\"rewardloom\": 1, \"nodes\": {");
    file.close();
    QVERIFY(!window.openPath(file.fileName()));
    QVERIFY(!window.openPath(folder.path() + "/missing.json"));
    QVERIFY(!window.openPath(folder.path()));
    QVERIFY(!window.currentTab());
    QVERIFY(window.openPath(graphFile("grpo-arithmetic.json")));
    QVERIFY(window.currentTab());
    QVERIFY(!window.currentTab()->model().isModified());
  }

 private:
  EditorPaths paths(const QTemporaryDir& folder) const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder.path() + "/runs", folder.path() + "/journals"};
  }
  template <class T>
  static T* editorOf(ParameterPanel& panel, const char* name) {
    for (QWidget* widget : panel.widget()->findChildren<QWidget*>()) {
      if (widget->accessibleName() != QLatin1String(name)) continue;
      if (auto* direct = qobject_cast<T*>(widget)) return direct;
      if (auto* child = widget->findChild<T*>()) return child;
    }
    return nullptr;
  }

  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestPanels;
REWARDLOOM_TEST(TestPanels)
#include "test_panels.moc"
