// An editor that is killed at random moments while somebody edits: how much is lost, and whether
// the next one offers the rest. The editor is a real process: this program again, with a folder to
// edit in instead of tests to run.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <QDir>
#include <QProcess>
#include <QTemporaryDir>
#include <algorithm>
#include <chrono>
#include <random>

#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestRecovery : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() {
    catalogue_ = testCatalogue();
    if (qEnvironmentVariableIsSet(kFolder)) editUntilKilled(qEnvironmentVariable(kFolder));
  }

  void a_killed_editor_loses_at_most_a_second() {
    std::mt19937 random(17);
    std::uniform_int_distribution<int> alive(150, 1200);
    double worst = 0;
    for (int round = 0; round < 8; ++round) {
      QTemporaryDir folder;
      QVERIFY(QDir(folder.path()).mkdir("graphs"));
      Document graph = Document::load(graphFile("grpo-arithmetic.json").toStdString());
      graph.save((folder.path() + "/graphs/g.json").toStdString());
      const double killed = killAfter(folder.path(), alive(random));
      QVERIFY(killed > 0);
      const std::vector<Edit> edits = editsIn(folder.path());
      QVERIFY(!edits.empty());
      MainWindow window(catalogue_, paths(folder.path()));
      window.setUnattended(true);  // the offer is taken
      window.offerRecovery();
      QVERIFY(window.currentTab());
      const Document& kept = window.currentTab()->model().document();
      QCOMPARE(window.currentTab()->model().path(), folder.path() + "/graphs/g.json");
      QVERIFY(window.currentTab()->model().isModified());
      const qint64 last = kept.node("adv")->params.value("epsilon", Json(0)).get<qint64>();
      // The first edit that is not there is the oldest one lost.
      const auto lost = std::find_if(edits.begin(), edits.end(),
                                     [&](const Edit& edit) { return edit.number > last; });
      if (lost != edits.end()) worst = std::max(worst, killed - lost->time);
      QVERIFY2(lost == edits.end() || killed - lost->time <= 1.0,
               qPrintable(QString("%1 s lost").arg(killed - lost->time)));
      QVERIFY(last <= edits.back().number + 1);  // killed between an edit and its line here
    }
    qInfo("at most %.3f s of edits were lost", worst);
  }

 private:
  static constexpr const char* kFolder = "REWARDLOOM_EDIT_UNTIL_KILLED";
  struct Edit {
    qint64 number = 0;
    double time = 0;
  };

  static double now() {
    using namespace std::chrono;
    return duration<double>(system_clock::now().time_since_epoch()).count();
  }

  /// The other process: opens the graph and sets a parameter again and again.
  void editUntilKilled(const QString& folder) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    MainWindow window(catalogue_, paths(folder));
    window.setUnattended(true);
    window.show();
    if (!window.openPath(folder + "/graphs/g.json")) ::_exit(2);
    GraphModel& model = window.currentTab()->model();
    QFile log(folder + "/edits");
    if (!log.open(QIODevice::WriteOnly | QIODevice::Unbuffered)) ::_exit(3);
    std::mt19937 random(static_cast<unsigned>(::getpid()));
    std::uniform_int_distribution<int> pause(0, 60);
    for (qint64 number = 1;; ++number) {
      model.edit("set", [&](Document& d) { setParameter(d, {}, "adv", "epsilon", number); });
      log.write(QByteArray::number(number) + ' ' + QByteArray::number(now(), 'f', 6) + '\n');
      QTest::qWait(pause(random));
    }
  }

  /// When it was killed; 0 where it never began.
  static double killAfter(const QString& folder, int milliseconds) {
    QProcess editor;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert(kFolder, folder);
    environment.insert("REWARDLOOM_ONLY", "test_recovery");
    editor.setProcessEnvironment(environment);
    editor.start(QCoreApplication::applicationFilePath(), QStringList());
    for (int i = 0; i < 1500 && !QFileInfo(folder + "/edits").size(); ++i) {
      if (editor.waitForFinished(20)) return 0;
    }
    QTest::qWait(milliseconds);
    const double at = now();
    ::kill(static_cast<pid_t>(editor.processId()), SIGKILL);
    return editor.waitForFinished(10000) && editor.exitStatus() == QProcess::CrashExit ? at : 0;
  }

  static std::vector<Edit> editsIn(const QString& folder) {
    QFile log(folder + "/edits");
    std::vector<Edit> edits;
    if (!log.open(QIODevice::ReadOnly)) return edits;
    for (const QByteArray& line : log.readAll().split('\n')) {
      const QList<QByteArray> words = line.split(' ');
      if (words.size() == 2) edits.push_back({words[0].toLongLong(), words[1].toDouble()});
    }
    return edits;
  }

  static EditorPaths paths(const QString& folder) {
    return {QStringLiteral(REWARDLOOM_PROGRAM), folder + "/graphs", folder + "/runs",
            folder + "/journals"};
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace rewardloom

using rewardloom::TestRecovery;
REWARDLOOM_TEST(TestRecovery)
#include "test_recovery.moc"
