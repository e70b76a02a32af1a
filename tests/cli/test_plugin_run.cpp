// Runs with a plug-in: it is remembered for resuming, and a node that hangs ends the program.
#include "tests/cli/build_commands.h"
#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr const char* kPlugin = R"(#include <chrono>
#include <thread>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace example {
using namespace rewardloom;

struct Sleep final : Node {
  Output<Scalar> slept{this, "slept", "how long, in seconds"};
  Param<double> seconds{this, "seconds", 0.0, "how long it sleeps, whatever happens"};
  TraitsMember traits{this, {.effect = true}};

  void run(Step& step) const override {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds()));
    step.metric("slept", seconds());
    step[slept] = Scalar{seconds()};
  }
};

}  // namespace example

REWARDLOOM_PLUGIN(registry.add<example::Sleep>("example.sleep", "Sleep", ""))
)";

QByteArray graph(double seconds, double deadline) {
  Json node = {{"type", "example.sleep"}, {"params", {{"seconds", seconds}}}};
  if (deadline > 0) node["deadline"] = deadline;
  const Json json = {{"rewardloom", 1}, {"name", "sleep"}, {"nodes", {{"bed", node}}}};
  return QByteArray::fromStdString(json.dump());
}

}  // namespace

class TestPluginRun : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString file(const char* name) const { return temporary.filePath(QString::fromUtf8(name)); }
  Finished program(const QStringList& arguments) const {
    return run_program(arguments, temporary.path());
  }

 private Q_SLOTS:
  void initTestCase() {
    const QString command = compile_command("rewardloom_nodes.dir/");
    if (command.isEmpty()) QSKIP("needs the build's compile_commands.json");
    write_all(file("sleep.cpp"), kPlugin);
    QCOMPARE(complaint(command + " -o " + file("sleep.o") + " -c " + file("sleep.cpp")),
             QByteArray());
    QCOMPARE(complaint("c++ -shared -o " + file("sleep.so") + " " + file("sleep.o")), QByteArray());
    write_all(file("brief.json"), graph(0, 0));
    write_all(file("hanging.json"), graph(60, 0.1));
  }

  void aPluginBringsNodeTypes() {
    QCOMPARE(program({"check", "brief.json"}).status, 3);
    QCOMPARE(program({"check", "brief.json", "--plugin", "sleep.so"}).status, 0);
    QVERIFY(program({"nodes", "example.sleep", "--plugin", "sleep.so"})
                .out.contains("how long it sleeps"));
  }

  void aResumedRunLoadsItAgain() {
    const auto first = program({"run", "brief.json", "--plugin", "sleep.so", "--json"}).lines();
    const std::string folder = first.front().at("folder");
    const Finished second =
        program({"run", "--resume", QString::fromStdString(folder), "--iterations", "3", "--json"});
    QVERIFY2(second.status == 0, second.err.constData());
    QCOMPARE(second.lines().back().at("completed").get<int>(), 3);
  }

  void aHungNodeEndsTheProgram() {
    const Finished finished = program({"run", "hanging.json", "--plugin", "sleep.so", "--json"});
    QCOMPARE(finished.status, 1);
    QVERIFY2(finished.err.contains("node-hung"), finished.err.constData());
    const auto events = finished.lines();
    QCOMPARE(events.back().at("event"), Json("end"));
    QCOMPARE(events.back().at("exit").get<int>(), 1);
    const Finished plain = program({"run", "hanging.json", "--plugin", "sleep.so"});
    QCOMPARE(plain.status, 1);
    QVERIFY2(plain.err.contains("--resume"), plain.err.constData());
  }
};

REWARDLOOM_TEST(TestPluginRun)
#include "test_plugin_run.moc"
