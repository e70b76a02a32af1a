// The graph in a run folder: complete, and runnable from there.
#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

class TestSavedGraph : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString folder() const { return temporary.path(); }
  QString file(const QString& name) const { return temporary.filePath(name); }

  /// The folder of a new run below `out`.
  QString run(const QStringList& arguments, const QString& out) const {
    const Finished finished = run_program(
        QStringList{"run", "--quiet", "--threads", "1", "--out", out} + arguments, folder());
    if (finished.status != 0) qWarning("%s", finished.err.constData());
    const QStringList made = QDir(file(out)).entryList(QDir::Dirs | QDir::NoDotAndDotDot);
    return made.size() == 1 ? out + "/" + made.front() : QString();
  }
  Json saved(const QString& run_folder) const {
    return Json::parse(read_all(file(run_folder + "/graph.json")).toStdString());
  }
  void write(const QString& name, const Json& graph) const {
    write_all(file(name), QByteArray::fromStdString(graph.dump()));
  }

 private Q_SLOTS:
  void pathsLeadOnFromWhereTheRunWasMade() {
    const QString model = QStringLiteral(REWARDLOOM_SOURCE_DIR "/resources/models/arithmetic");
    QVERIFY(QDir().mkpath(file("place/graphs")));
    QVERIFY(QFile::link(model, file("place/model")));
    Json graph = Json::parse(kSmallGraph);
    graph["settings"]["iterations"] = 1;
    graph["nodes"]["actor"]["params"] = {{"model", "../model"}};
    write("place/graphs/x.json", graph);
    const QString first = run({"place/graphs/x.json"}, "first");
    QVERIFY(!first.isEmpty());
    QCOMPARE(run_program({"check", first + "/graph.json"}, folder()).status, 0);
    const QString second = run({first + "/graph.json"}, "second");
    QVERIFY(!second.isEmpty());
    QVERIFY(!run({second + "/graph.json"}, "third").isEmpty());
    QCOMPARE(
        run_program({"run", "--quiet", "--resume", second, "--iterations", "2"}, folder()).status,
        0);
  }

  void everyParameterAndSettingIsResolved() {
    Json graph = Json::parse(kSmallGraph);
    graph["parameters"] = {{"rows", 4}};
    Json nodes = graph["nodes"];
    nodes["rollout"]["params"]["group_size"] = "$group_size";
    graph["subgraphs"]["loop"] = {{"parameters", {{"group_size", 2}}}, {"nodes", nodes}};
    graph["nodes"] = Json::object();
    graph["nodes"]["once"] = {{"type", "subgraph.loop"}, {"params", {{"group_size", "$rows"}}}};
    graph["nodes"]["sweep"] = {
        {"type", "flow.sweep"},
        {"params", {{"body", "loop"}, {"vary", "group_size"}, {"values", {2, 3}}}}};
    graph["settings"]["iterations"] = 1;
    write("nested.json", graph);
    const QString made = run({"nested.json", "--set", "rows=3"}, "nested");
    QVERIFY(!made.isEmpty());
    const Json resolved = saved(made);
    QVERIFY(!resolved.contains("parameters"));
    QVERIFY(resolved["nodes"]["once"]["params"]["group_size"] == 3);
    QVERIFY(resolved["settings"]["threads"] == 0);
    QVERIFY(resolved["settings"]["seed"] == 0);
    const Json& inner = resolved["subgraphs"]["loop"]["nodes"];
    QVERIFY(inner["rollout"]["params"]["group_size"] == "$group_size");
    QVERIFY(inner["rollout"]["params"]["temperature"] == 1.0);
    QVERIFY(inner["adv"]["params"].contains("scale"));
    QVERIFY(!run({made + "/graph.json"}, "again").isEmpty());
    // What changes a parameter of the graph is told where its values went.
    const Finished late =
        run_program({"run", "--resume", made, "--set", "rows=4", "--iterations", "2"}, folder());
    QCOMPARE(late.status, 2);
    QVERIFY2(late.err.contains("write node.param=value"), late.err.constData());
    QCOMPARE(run_program({"run", "--quiet", "--resume", made, "--set", "once.group_size=4",
                          "--iterations", "2"},
                         folder())
                 .status,
             0);
  }

  void valuesThatCannotBeAreRefusedBeforeARun_data() {
    QTest::addColumn<QByteArray>("place");
    QTest::addColumn<QByteArray>("value");
    QTest::addColumn<QByteArray>("told");
    QTest::newRow("operation") << QByteArray("/nodes/tasks/params/operations")
                               << QByteArray("[\"?\"]") << QByteArray("tasks.operations");
    QTest::newRow("betas") << QByteArray("/nodes/update/params/betas") << QByteArray("[0.9]")
                           << QByteArray("update.betas");
    QTest::newRow("misspelt") << QByteArray("/nodes/actor/params/config/hiden_size")
                              << QByteArray("64") << QByteArray("did you mean hidden_size");
    QTest::newRow("negative") << QByteArray("/nodes/actor/params/config/hidden_size")
                              << QByteArray("-4") << QByteArray("hidden_size is -4");
    QTest::newRow("text") << QByteArray("/nodes/actor/params/config/hidden_size")
                          << QByteArray("\"x\"") << QByteArray("hidden_size is \"x\"");
    QTest::newRow("heads") << QByteArray("/nodes/actor/params/config/num_attention_heads")
                           << QByteArray("3") << QByteArray("no multiple of");
    QTest::newRow("family") << QByteArray("/nodes/actor/params/config/model_type")
                            << QByteArray("\"nosuch\"") << QByteArray("\"gemma2\"");
    QTest::newRow("seed") << QByteArray("/settings/seed") << QByteArray("18446744073709551616")
                          << QByteArray("settings.seed");
  }
  void valuesThatCannotBeAreRefusedBeforeARun() {
    QFETCH(QByteArray, place);
    QFETCH(QByteArray, value);
    QFETCH(QByteArray, told);
    Json graph = Json::parse(kSmallGraph);
    graph[Json::json_pointer(place.toStdString())] = Json::parse(value.toStdString());
    write("wrong.json", graph);
    const Finished checked = run_program({"check", "wrong.json"}, folder());
    QCOMPARE(checked.status, 3);
    QVERIFY2(checked.out.contains(told), checked.out.constData());
    const Finished refused = run_program({"run", "wrong.json", "--quiet", "--out", "no"}, folder());
    QCOMPARE(refused.status, 3);
    QVERIFY(!QDir(folder()).exists("no"));
  }

  void aSweepOverNothingIsRefused() {
    Json graph = Json::parse(kSmallGraph);
    graph["subgraphs"]["loop"] = {{"parameters", {{"lr", 0.1}}}, {"nodes", graph["nodes"]}};
    graph["subgraphs"]["loop"]["nodes"]["update"]["params"]["learning_rate"] = "$lr";
    graph["nodes"] = {
        {"s",
         {{"type", "flow.sweep"},
          {"params", {{"body", "loop"}, {"vary", "lr"}, {"values", Json::array()}}}}}};
    write("empty.json", graph);
    const Finished checked = run_program({"check", "empty.json"}, folder());
    QCOMPARE(checked.status, 3);
    QVERIFY2(checked.out.contains("there are no values to vary over"), checked.out.constData());
  }

  void wholeNumbersOfOptionsAreHeldAgainstTheirRange() {
    write_all(file("small.json"), kSmallGraph);
    const auto told = [&](const QStringList& options) {
      const Finished finished = run_program(QStringList{"run", "small.json"} + options, folder());
      return finished.status == 2 ? finished.err : QByteArray();
    };
    QVERIFY(told({"--iterations", "1e3"}).contains("expects a whole number"));
    QVERIFY(told({"--iterations", "9223372036854775808"}).contains("at most 9223372036854775807"));
    QVERIFY(told({"--seed", "18446744073709551616"}).contains("at most 9223372036854775807"));
    QVERIFY(told({"--threads", "100000"}).contains("at most 4096"));
    QVERIFY(told({"--set", "settings.seed=9223372036854775808"}).contains("largest whole number"));
    const Finished checked = run_program({"check", "small.json", "--threads", "-3"}, folder());
    QCOMPARE(checked.status, 2);
    QVERIFY2(checked.err.contains("must not be negative, but is -3"), checked.err.constData());
  }

  void aDeviceThatIsNotHereWarnsInACheckAndEndsARun() {
    Json graph = Json::parse(kSmallGraph);
    graph["placement"]["actor"] = {{"device", "hpu:7"}};
    write("far.json", graph);
    const Finished checked = run_program({"check", "far.json"}, folder());
    QCOMPARE(checked.status, 0);
    QVERIFY2(checked.out.contains("warning[device]: far.json: actor.device"),
             checked.out.constData());
    const Finished refused = run_program({"run", "far.json", "--quiet"}, folder());
    QCOMPARE(refused.status, 1);
    QVERIFY2(refused.err.contains("error[device]: far.json: actor"), refused.err.constData());
  }
};

REWARDLOOM_TEST(TestSavedGraph)
#include "test_saved_graph.moc"
