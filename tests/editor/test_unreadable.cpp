// Run folders that cannot be read, or only in part: what can be is shown, what cannot is named.
#include <sys/stat.h>
#include <unistd.h>

#include <QDir>
#include <QProcess>
#include <QStatusBar>
#include <QTemporaryDir>

#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_store.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

/// For root nothing is unreadable: while it lives, the process is somebody else.
class Unprivileged {
 public:
  Unprivileged() {
    if (::geteuid() != 0) return;
    if (::setegid(kNobody) != 0 || ::seteuid(kNobody) != 0) qFatal("cannot become nobody");
    changed_ = true;
  }
  ~Unprivileged() {
    if (changed_ && (::seteuid(0) != 0 || ::setegid(0) != 0)) qFatal("cannot become root again");
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  static constexpr unsigned kNobody = 65534;
  bool changed_ = false;
};

class TestUnreadable : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { catalogue_ = testCatalogue(); }
  void init() {
    folder_ = std::make_unique<QTemporaryDir>();
    ::chmod(folder_->path().toLocal8Bit().constData(), 0755);
    run_ = folder_->path() + "/run";
    QVERIFY(QDir().mkdir(run_));
    Document graph = Document::load(graphFile("grpo-arithmetic.json").toStdString());
    graph.save((run_ + "/graph.json").toStdString());
    QFile info(run_ + "/run.json");
    QVERIFY(info.open(QIODevice::WriteOnly));
    info.write("{\"state\": \"done\", \"iterations\": 3, \"completed\": 3, \"graph_hash\": \"x\"}");
    info.close();
    RunStoreOptions options;
    options.fsync = Fsync::off;
    RunStore store(std::filesystem::path(run_.toStdString()) / "run.db", options);
    for (std::int64_t i = 0; i < 3; ++i) store.add(MetricRow{i, "reward/accuracy", 0.5});
    store.commit();
    store.checkpoint_log();
    window_ = std::make_unique<MainWindow>(
        catalogue_, EditorPaths{QStringLiteral(REWARDLOOM_PROGRAM), folder_->path() + "/graphs",
                                folder_->path() + "/runs", folder_->path() + "/journals"});
    window_->setUnattended(true);
  }
  void cleanup() {
    window_.reset();
    for (const char* name : {"", "/run.db", "/graph.json", "/run.json"}) set(name, 0755);
    folder_.reset();
  }

  void a_readable_one_is_shown_to_anybody() {
    QVERIFY(open());
    QVERIFY2(shows("reward/accuracy"), qPrintable(said()));
    QCOMPARE(tab().runWatch().state(), QString("done"));
  }

  void a_closed_folder_is_named() {
    set("", 0700);
    if (::geteuid() != 0) set("", 0);
    QVERIFY(!open());
    QVERIFY2(said().contains(run_) && said().contains("denied"), qPrintable(said()));
    QVERIFY(!window_->currentTab());
  }

  void a_closed_store_leaves_the_graph() {
    set("/run.db", 0);
    QVERIFY(open());
    QVERIFY2(said().contains(run_ + "/run.db") && said().contains("denied"), qPrintable(said()));
    QVERIFY(tab().model().document().node("adv"));
  }

  void a_closed_graph_leaves_what_was_recorded() {
    set("/graph.json", 0);
    QVERIFY(open());
    QVERIFY2(said().contains(run_ + "/graph.json") && said().contains("denied"),
             qPrintable(said()));
    QVERIFY(shows("reward/accuracy"));
  }

  void a_closed_record_of_the_state_is_named() {
    set("/run.json", 0);
    QVERIFY(open());
    QVERIFY(shows("reward/accuracy"));
    QVERIFY2(tab().runWatch().state().contains(run_ + "/run.json"),
             qPrintable(tab().runWatch().state()));
  }

  void folders_in_the_place_of_files_are_named() {
    for (const char* name : {"/run.db", "/graph.json", "/run.json"}) {
      QVERIFY(QFile::rename(run_ + name, run_ + "/kept"));
      QVERIFY(QDir().mkdir(run_ + name));
      QVERIFY(open());
      const QString everything = said() + tab().runWatch().state();
      QVERIFY2(everything.contains(run_ + name), qPrintable(name + (": " + everything)));
      QVERIFY(QDir().rmdir(run_ + name));
      QVERIFY(QFile::rename(run_ + "/kept", run_ + name));
    }
  }

  void the_command_line_names_it_too() {
    if (::geteuid() != 0) {
      set("/run.db", 0);
      QProcess inspect;
      inspect.start(QStringLiteral(REWARDLOOM_PROGRAM), {"inspect", run_});
      QVERIFY(inspect.waitForFinished(60000));
      verifyRefused(inspect);
      return;
    }
    set("/run.db", 0700);
    QProcess inspect;
    inspect.setChildProcessModifier([] {
      if (::setegid(65534) != 0 || ::seteuid(65534) != 0) ::_exit(99);
    });
    inspect.start(QStringLiteral(REWARDLOOM_PROGRAM), {"inspect", run_});
    if (!inspect.waitForStarted(60000)) QSKIP("the build folder is closed to other users");
    QVERIFY(inspect.waitForFinished(60000));
    if (inspect.exitCode() == 99) QSKIP("this root may not become another user");
    verifyRefused(inspect);
  }

 private:
  GraphTab& tab() const { return *window_->currentTab(); }
  QString said() const { return window_->statusBar()->currentMessage(); }
  bool shows(const QString& metric) const {
    return tab().data().metrics().contains(metric.toStdString());
  }
  bool open() {
    const Unprivileged somebody;
    const bool opened = window_->openPath(run_);
    QCoreApplication::processEvents();
    return opened;
  }
  void set(const char* name, unsigned mode) const {
    ::chmod((run_ + name).toLocal8Bit().constData(), mode);
  }
  void verifyRefused(QProcess& process) const {
    const QByteArray text = process.readAllStandardError();
    QVERIFY2(process.exitCode() != 0, text.constData());
    QVERIFY2(text.contains((run_ + "/run.db").toUtf8()) && text.contains("denied"),
             text.constData());
  }

  std::shared_ptr<const Catalogue> catalogue_;
  std::unique_ptr<QTemporaryDir> folder_;
  QString run_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace rewardloom

using rewardloom::TestUnreadable;
REWARDLOOM_TEST(TestUnreadable)
#include "test_unreadable.moc"
