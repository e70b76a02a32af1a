// What happens to the file of an open graph behind the editor's back, and files that cannot be
// written or read.
#include <sys/resource.h>

#include <QDir>
#include <QFile>
#include <QPushButton>
#include <QTemporaryDir>
#include <csignal>

#include "editor/panels/diff_panel.h"
#include "editor/panels/notice_bar.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestFileChanges : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() {
    folder_ = std::make_unique<QTemporaryDir>();
    file_ = folder_->path() + "/g.json";
    QVERIFY(QFile::copy(graphFile("grpo-arithmetic.json"), file_));
    QFile::setPermissions(file_, QFile::permissions(file_) | QFile::WriteOwner);
    window_ = std::make_unique<MainWindow>(catalogue_, paths());
    window_->setUnattended(true);
    QVERIFY(window_->openPath(file_));
  }
  void cleanup() {
    window_.reset();
    folder_.reset();
  }

  void theirs_can_be_loaded_and_undone() {
    change("adv", "epsilon", 0.5);
    const std::string mine = tab().model().document().text();
    writeTheirs("check", "epsilon_theirs", 7);
    QTRY_VERIFY(tab().notice().text().contains("changed by another program"));
    choose("Load theirs");
    QVERIFY(node("check").params.contains("epsilon_theirs"));
    QVERIFY(!node("adv").params.contains("epsilon"));
    QVERIFY(!tab().model().isModified());
    QCOMPARE(tab().model().document().text(), bytes());
    tab().model().history().undo();
    QVERIFY(Document::parse(tab().model().document().text()).same_content(Document::parse(mine)));
    QVERIFY(tab().model().isModified());
  }

  void mine_can_be_kept_and_is_then_written() {
    change("adv", "epsilon", 0.5);
    writeTheirs("check", "epsilon_theirs", 7);
    QTRY_VERIFY(!tab().notice().text().isEmpty());
    QVERIFY(!window_->save(tab(), false));
    QVERIFY(QString::fromStdString(bytes()).contains("epsilon_theirs"));
    choose("Keep mine");
    QVERIFY(tab().model().isModified());
    QVERIFY(window_->save(tab(), false));
    QVERIFY(!QString::fromStdString(bytes()).contains("epsilon_theirs"));
    QVERIFY(Document::load(file_.toStdString()).node("adv")->params.contains("epsilon"));
    QTest::qWait(400);
    QVERIFY(tab().notice().text().isEmpty());
  }

  void the_differences_are_shown_and_the_question_stays() {
    change("adv", "epsilon", 0.5);
    writeTheirs("check", "theirs", 7);
    QTRY_VERIFY(!tab().notice().text().isEmpty());
    choose("Show the differences");
    const auto& shown = window_->differencesPanel().shown();
    QCOMPARE(shown.size(), 2U);
    QVERIFY(!tab().notice().text().isEmpty());
  }

  void a_save_by_the_editor_itself_is_no_change() {
    change("adv", "epsilon", 0.5);
    QVERIFY(window_->save(tab(), false));
    QTest::qWait(400);
    QVERIFY(tab().notice().text().isEmpty());
    change("adv", "epsilon", 0.25);
    QVERIFY(window_->save(tab(), false));
    QTest::qWait(400);
    QVERIFY(tab().notice().text().isEmpty());
  }

  void a_broken_file_keeps_mine() {
    QFile out(file_);
    QVERIFY(out.open(QIODevice::WriteOnly | QIODevice::Truncate));
    out.write("{\"rewardloom\": 1, ");
    out.close();
    QTRY_VERIFY(!tab().notice().text().isEmpty());
    const std::string before = tab().model().document().text();
    choose("Load theirs");
    QVERIFY(tab().notice().text().contains("cannot be read"));
    QCOMPARE(tab().model().document().text(), before);
    choose("Keep mine");
    QVERIFY(window_->save(tab(), false));
    QCOMPARE(bytes(), before);
  }

  void a_deleted_file_can_be_saved_again() {
    const std::string before = bytes();
    QVERIFY(QFile::remove(file_));
    QTRY_VERIFY(tab().notice().text().contains("deleted or moved"));
    QVERIFY(tab().model().isModified());
    choose("Save it again");
    QCOMPARE(bytes(), before);
    QVERIFY(!tab().model().isModified());
  }

  void a_read_only_file_is_not_written_over() {
    QFile::setPermissions(file_, QFile::ReadOwner);
    change("adv", "epsilon", 0.5);
    const std::string before = bytes();
    QVERIFY(!window_->save(tab(), false));
    QVERIFY(tab().notice().text().contains("read-only"));
    QCOMPARE(bytes(), before);
    QVERIFY(tab().model().isModified());
    choose("Make it writable and save");
    QVERIFY(bytes() != before);
    QVERIFY(!tab().model().isModified());
  }

  void a_full_disk_loses_nothing() {
    change("adv", "epsilon", 0.5);
    const std::string before = bytes();
    const std::string mine = tab().model().document().text();
    {
      const FullDisk full;
      QVERIFY(!window_->save(tab(), false));
      tab().journal().flush();
    }
    QVERIFY2(tab().notice().text().startsWith("Not saved"), qPrintable(tab().notice().text()));
    QCOMPARE(bytes(), before);
    QVERIFY(tab().model().isModified());
    QCOMPARE(tab().model().document().text(), mine);
    QCOMPARE(QDir(folder_->path()).entryList(QDir::Files | QDir::Hidden), QStringList{"g.json"});
    choose("Try again");
    QCOMPARE(bytes(), mine);
    QVERIFY(!tab().model().isModified());
  }

  void newer_and_huge_files_are_refused() {
    QFile newer(folder_->path() + "/newer.json");
    QVERIFY(newer.open(QIODevice::WriteOnly));
    newer.write("{\"rewardloom\": 99, \"nodes\": {}}");
    newer.close();
    QVERIFY(!window_->openPath(newer.fileName()));
    QFile huge(folder_->path() + "/huge.json");
    QVERIFY(huge.open(QIODevice::WriteOnly));
    QVERIFY(huge.resize(qint64{200} << 20));
    huge.close();
    QElapsedTimer clock;
    clock.start();
    QVERIFY(!window_->openPath(huge.fileName()));
    QVERIFY(clock.elapsed() < 1000);
    QCOMPARE(tab().model().path(), file_);
  }

 private:
  /// No file can grow beyond a few bytes while it lives.
  struct FullDisk {
    FullDisk() {
      getrlimit(RLIMIT_FSIZE, &before);
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit small{64, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &small);
    }
    ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before); }
    rlimit before{};
  };

  GraphTab& tab() const { return *window_->currentTab(); }
  const GraphNode& node(const char* name) const {
    return *findNode(tab().model().document(), {}, name);
  }
  std::string bytes() const { return read_file(file_.toStdString()); }
  void change(const char* node, const char* parameter, double value) {
    tab().model().edit("set", [&](Document& d) { setParameter(d, {}, node, parameter, value); });
  }
  /// As another program does: over the old file, by a rename.
  void writeTheirs(const char* node, const char* parameter, int value) {
    Document theirs = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    setParameter(theirs, {}, node, parameter, value);
    theirs.save(file_.toStdString());
  }
  void choose(const QString& text) {
    for (auto* button : tab().notice().findChildren<QPushButton*>()) {
      if (button->text() == text) return button->click();
    }
    QFAIL(qPrintable("there is no choice " + text + " in: " + tab().notice().text()));
  }
  EditorPaths paths() const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder_->path() + "/runs", folder_->path() + "/journals"};
  }

  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<QTemporaryDir> folder_;
  QString file_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace rewardloom

using rewardloom::TestFileChanges;
REWARDLOOM_TEST(TestFileChanges)
#include "test_file_changes.moc"
