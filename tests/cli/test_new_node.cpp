// What `rewardloom new node` writes compiles as it is, and its test passes: built here with the
// commands that built this program.
#include <QLibraryInfo>
#include <QRegularExpression>
#include <fstream>

#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr const char* kRegistration = R"(#include "nodes/all_nodes.h"
namespace rewardloom {
void register_reward_kind_words(Registry& registry);
void register_all_nodes(Registry& registry) { register_reward_kind_words(registry); }
}
)";

constexpr const char* kMain = R"(#include <QCoreApplication>
int run_test(int argc, char** argv);
int main(int argc, char** argv) {
  QCoreApplication application(argc, argv);
  return run_test(argc, argv);
}
)";

QString build_folder() {
  return QFileInfo(QFileInfo(QStringLiteral(REWARDLOOM_PROGRAM)).path()).path();
}

/// The command that compiled a source whose path holds `part`, up to its output.
QString compile_command(const QString& part) {
  const QByteArray text = read_all(build_folder() + "/compile_commands.json");
  if (text.isEmpty()) return {};
  for (const Json& entry : Json::parse(text.toStdString())) {
    if (!QString::fromStdString(entry.at("file")).contains(part)) continue;
    QString command = QString::fromStdString(entry.at("command"));
    command.remove(QRegularExpression(" -o \\S+ -c \\S+$"));
    command.remove(QRegularExpression(" '?-DREWARDLOOM_(NODE_ID|NODE_REGISTER|TEST_RUN)=\\S+"));
    return command;
  }
  return {};
}

}  // namespace

class TestNewNode : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString file(const QString& name) const { return temporary.filePath(name); }

  /// Runs a shell command in the build folder; its complaints where it fails.
  static QByteArray complaint(const QString& command) {
    QProcess shell;
    shell.setWorkingDirectory(build_folder());
    shell.setProcessChannelMode(QProcess::MergedChannels);
    shell.start("sh", {"-c", command});
    if (!shell.waitForFinished(300'000)) return "timed out";
    const QByteArray out = shell.readAll();
    return shell.exitCode() == 0 ? QByteArray() : "failed: " + out.right(4000);
  }

 private Q_SLOTS:
  void theSkeletonCompilesAndItsTestPasses() {
    const QString node = compile_command("nodes/advantage/group.cpp");
    const QString test = compile_command("tests/nodes/test_");
    QProcess ninja;
    ninja.setWorkingDirectory(build_folder());
    ninja.start("ninja", {"-t", "commands", "test_nodes"});
    ninja.waitForFinished();
    QString link = QString::fromUtf8(ninja.readAllStandardOutput().trimmed().split('\n').last());
    if (node.isEmpty() || test.isEmpty() || !link.contains("test_nodes")) {
      QSKIP("needs a Ninja build with the node tests");
    }
    QCOMPARE(run_program({"new", "node", "reward.kind_words"}, temporary.path()).status, 0);
    write_all(file("registration.cpp"), kRegistration);
    write_all(file("main.cpp"), kMain);
    const QString here = QStringLiteral(" -I") + temporary.path();
    const auto compiled = [&](const QString& command, const QString& source,
                              const QString& object) {
      return complaint(command + here + " -o " + file(object) + " -c " + file(source));
    };
    const QString defines = QStringLiteral(
        " '-DREWARDLOOM_NODE_ID=\"reward.kind_words\"'"
        " -DREWARDLOOM_NODE_REGISTER=register_reward_kind_words");
    QCOMPARE(compiled(node + defines, "nodes/reward/kind_words.cpp", "node.o"), QByteArray());
    QCOMPARE(compiled(node, "registration.cpp", "registration.o"), QByteArray());
    const QString moc = QLibraryInfo::path(QLibraryInfo::LibraryExecutablesPath) + "/moc";
    QCOMPARE(complaint(moc + here + " -I" REWARDLOOM_SOURCE_DIR " -o " +
                       file("test_reward_kind_words.moc") + " " +
                       file("tests/nodes/test_reward_kind_words.cpp")),
             QByteArray());
    QCOMPARE(compiled(test + " -DREWARDLOOM_TEST_RUN=run_test",
                      "tests/nodes/test_reward_kind_words.cpp", "test.o"),
             QByteArray());
    QCOMPARE(compiled(test, "main.cpp", "main.o"), QByteArray());

    // The link command of the node tests, with these objects instead of its own.
    link.remove(QRegularExpression("\\S+\\.o(?=\\s)"));
    link.replace(QRegularExpression("-o \\S+"),
                 QString("-o %1 %2 %3 %4 %5")
                     .arg(file("skeleton"), file("main.o"), file("test.o"), file("node.o"),
                          file("registration.o")));
    QCOMPARE(complaint(link), QByteArray());
    QCOMPARE(complaint(file("skeleton")), QByteArray());
  }
};

REWARDLOOM_TEST(TestNewNode)
#include "test_new_node.moc"
