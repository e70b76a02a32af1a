// What `rewardloom new node` writes compiles as it is, and its test passes: built here with the
// commands that built this program.
#include <QLibraryInfo>

#include "tests/cli/build_commands.h"
#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr const char* kRegistration = R"(#include "nodes/all_nodes.h"
namespace rewardloom {
void register_RewardKindWords(Registry& registry);
void register_all_nodes(Registry& registry) { register_RewardKindWords(registry); }
}
)";

constexpr const char* kMain = R"(#include <QCoreApplication>
int run_test(int argc, char** argv);
int main(int argc, char** argv) {
  QCoreApplication application(argc, argv);
  return run_test(argc, argv);
}
)";

}  // namespace

class TestNewNode : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString file(const QString& name) const { return temporary.filePath(name); }

 private Q_SLOTS:
  void theSkeletonCompilesAndItsTestPasses() {
    const QString node = compile_command("rewardloom_nodes.dir/");
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
    QCOMPARE(compiled(node, "nodes/reward/kind_words.cpp", "node.o"), QByteArray());
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
