// The program as a shell sees it: usage, exit status, check, nodes, eval, graph, new, completion,
// man.
#include <QRegularExpression>
#include <QStandardPaths>

#include <cmath>

#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr const char* kBroken = R"({"rewardloom": 1, "name": "broken", "nodes": {
  "tasks": {"type": "data.arithmetic", "params": {"digits": 0}},
  "adv":   {"type": "advantage.group", "inputs": {"rewards": "tasks.prompts"}},
  "what":  {"type": "advantage.grup"}}})";

std::vector<double> numbers(const Json& json) { return json.get<std::vector<double>>(); }

bool near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= tolerance)) return false;
  }
  return true;
}

}  // namespace

class TestCommandLine : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  QString folder() const { return temporary.path(); }
  QString file(const char* name) const { return temporary.filePath(QString::fromUtf8(name)); }
  Finished program(const QStringList& arguments, const QByteArray& input = {}) const {
    return run_program(arguments, folder(), input);
  }

 private Q_SLOTS:
  void initTestCase() {
    write_all(file("small.json"), kSmallGraph);
    write_all(file("broken.json"), kBroken);
  }

  void theReferenceInTheRepositoryIsThePrograms() {
    const QByteArray kept = read_all(QStringLiteral(REWARDLOOM_SOURCE_DIR "/nodes/REFERENCE.md"));
    QVERIFY2(program({"nodes", "--markdown"}).out == kept,
             "write it again: rewardloom nodes --markdown > nodes/REFERENCE.md");
  }

  void versionAndHelpGoToStandardOutput() {
    const Finished version = program({"--version"});
    QCOMPARE(version.status, 0);
    QVERIFY(version.out.startsWith("rewardloom 0."));
    const Finished help = program({"--help"});
    QCOMPARE(help.status, 0);
    for (const char* word : {"First steps", "rewardloom new graph", "inspect", "Exit status"}) {
      QVERIFY2(help.out.contains(word), word);
    }
    QVERIFY(help.err.isEmpty());
  }

  void everyCommandExplainsItsOptions() {
    for (const char* command :
         {"run", "check", "nodes", "eval", "inspect", "graph", "new", "completion", "man"}) {
      const Finished help = program({QString::fromUtf8(command), "--help"});
      QCOMPARE(help.status, 0);
      QVERIFY2(help.out.contains(QByteArray("Usage: rewardloom ") + command), command);
    }
    const Finished run = program({"run", "--help"});
    for (const char* option :
         {"--set NODE.PARAM=VALUE", "--iterations N", "--seed S", "--device D", "--threads T",
          "--out DIR", "--resume DIR", "--quiet", "--json", "--break PLACE", "--plugin FILE"}) {
      QVERIFY2(run.out.contains(option), option);
    }
    // Each says its default.
    QCOMPARE(run.out.count("(default:"), 11);
  }

  void wrongUsageHasStatusTwo_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<QByteArray>("said");
    QTest::newRow("no command") << QStringList{} << QByteArray("needs a command");
    QTest::newRow("near command") << QStringList{"runn", "x.json"}
                                  << QByteArray("did you mean run");
    QTest::newRow("far command") << QStringList{"zzzzzzzz"} << QByteArray("the commands are run");
    QTest::newRow("near option") << QStringList{"run", "small.json", "--iteration", "3"}
                                 << QByteArray("did you mean --iterations");
    QTest::newRow("near subcommand")
        << QStringList{"new", "nod", "a.b"} << QByteArray("did you mean node");
    QTest::newRow("no graph") << QStringList{"run"} << QByteArray("there is nothing to run");
    QTest::newRow("no number") << QStringList{"run", "small.json", "--iterations", "many"}
                               << QByteArray("many");
    QTest::newRow("negative") << QStringList{"run", "small.json", "--iterations", "-1"}
                              << QByteArray("must not be negative");
    QTest::newRow("one too many") << QStringList{"inspect", "a", "b"}
                                  << QByteArray("no further argument \"b\"");
    QTest::newRow("quiet json") << QStringList{"run", "small.json", "--quiet", "--json"}
                                << QByteArray("--quiet");
    QTest::newRow("set") << QStringList{"run", "small.json", "--set", "tasks.digit=2"}
                         << QByteArray("digits");
    QTest::newRow("device") << QStringList{"run", "small.json", "--device", "abacus"}
                            << QByteArray("abacus");
    QTest::newRow("seed of a resumed run")
        << QStringList{"run", "--resume", "x", "--seed", "1"} << QByteArray("keeps its seed");
    QTest::newRow("no run folder")
        << QStringList{"run", "--resume", "."} << QByteArray("no run folder");
    QTest::newRow("plugin") << QStringList{"nodes", "--plugin", "none.so"}
                            << QByteArray("plugin-load");
    QTest::newRow("type") << QStringList{"nodes", "advantage.grup"}
                          << QByteArray("did you mean advantage.group");
    QTest::newRow("eval type") << QStringList{"eval", "advantage.grup", "--out", "-"}
                               << QByteArray("advantage.group");
    QTest::newRow("eval param") << QStringList{"eval",     "advantage.group",
                                               "--params", "{\"epsilon\": -1}",
                                               "--out",    "-"}
                                << QByteArray("below the minimum");
    QTest::newRow("eval file") << QStringList{"eval",  "advantage.group", "--in",
                                              "x.npy", "--out",           "-"}
                               << QByteArray("x.npy");
    QTest::newRow("inspect") << QStringList{"inspect", "."} << QByteArray("no run folder");
    QTest::newRow("graph") << QStringList{"graph", "small.json"} << QByteArray("nothing to write");
    QTest::newRow("shell") << QStringList{"completion", "tcsh"} << QByteArray("bash, zsh or fish");
  }
  void wrongUsageHasStatusTwo() {
    QFETCH(QStringList, arguments);
    QFETCH(QByteArray, said);
    const Finished finished = program(arguments);
    QVERIFY2(finished.err.contains(said), finished.err.constData());
    QCOMPARE(finished.status, 2);
    QVERIFY(finished.out.isEmpty());
  }

  void checkTellsEverythingOfEveryFile() {
    const Finished finished = program({"check", "small.json", "broken.json", "none.json"});
    QCOMPARE(finished.status, 3);
    for (const char* said : {"error[param-range]: broken.json: tasks.digits",
                             "error[type-mismatch]: broken.json: adv.rewards", "unknown-type",
                             "advantage.group", "error[missing-file]"}) {
      QVERIFY2(finished.out.contains(said), finished.out.constData());
    }
    QVERIFY(finished.out.trimmed().split('\n').last().startsWith("3 graphs: 4 errors"));
    const Finished good = program({"check", "small.json"});
    QVERIFY2(good.out.startsWith("1 graph: 0 errors"), good.out.constData());
    QCOMPARE(good.status, 0);
  }

  void checkGivesOneObjectALine() {
    const Finished finished = program({"check", "broken.json", "--json"});
    QCOMPARE(finished.status, 3);
    const auto lines = finished.lines();
    QCOMPARE(lines.size(), std::size_t{4});
    for (std::size_t i = 0; i < 3; ++i) {
      for (const char* key : {"severity", "code", "file", "node", "port", "message", "help"}) {
        QVERIFY2(lines[i].contains(key), key);
      }
    }
    QCOMPARE(lines.back().at("errors").get<int>(), 3);
  }

  void tenThousandNodesCheck() {
    Json graph = {{"rewardloom", 1}, {"name", "wide"}};
    graph["nodes"]["tasks"] = {{"type", "data.arithmetic"}, {"params", {{"digits", 0}}}};
    for (int i = 0; i < 10000; ++i)
      graph["nodes"]["tasks" + std::to_string(i)] = {{"type", "data.arithmetic"}};
    write_all(file("wide.json"), QByteArray::fromStdString(graph.dump()));
    const Finished checked = program({"check", "wide.json", "--json"});
    QCOMPARE(checked.status, 3);
    QCOMPARE(checked.lines().back().at("errors"), Json(1));
  }

  void nodesAreListedByFamily() {
    const Finished all = program({"nodes"});
    QCOMPARE(all.status, 0);
    QVERIFY(all.out.contains("\nadvantage\n") || all.out.startsWith("advantage\n"));
    QVERIFY(all.out.contains("advantage.group"));
    QVERIFY(all.out.contains("Group-relative advantage (GRPO)"));
    const Finished family = program({"nodes", "advantage"});
    QVERIFY(family.out.contains("advantage.group"));
    QVERIFY(!family.out.contains("data.arithmetic"));
  }

  void oneNodeTellsAllAboutItself() {
    const Finished one = program({"nodes", "advantage.group"});
    QCOMPARE(one.status, 0);
    for (const char* said :
         {"arXiv:2402.03300", "Rewards [N]", "Advantages", "epsilon", "1e-06", "at least 0",
          "group_std", "verl", "group_size at least 2", "\"type\": \"advantage.group\""}) {
      QVERIFY2(one.out.contains(said), said);
    }
    const Finished loss = program({"nodes", "loss.policy_clip"});
    QVERIFY2(loss.out.contains("loss arguments"), loss.out.constData());
  }

  void theCatalogueComesAsJsonMarkdownAndSchema() {
    const auto lines = program({"nodes", "--json"}).lines();
    QCOMPARE(lines.size(), std::size_t{1});
    QVERIFY(lines[0].at("nodes").size() > 10);
    QVERIFY(lines[0].at("types").size() > 10);
    const auto one = program({"nodes", "advantage.group", "--json"}).lines();
    QCOMPARE(one.at(0).at("id"), Json("advantage.group"));
    const Finished markdown = program({"nodes", "--markdown"});
    QVERIFY(markdown.out.startsWith("# Node reference"));
    QVERIFY(markdown.out.contains("[advantage.group](#advantagegroup)"));
    QVERIFY(markdown.out.contains("https://arxiv.org/abs/2402.03300"));
    const Json schema = Json::parse(program({"nodes", "--schema"}).out.toStdString());
    QVERIFY(schema.contains("$schema"));
  }

  void evalComputesFromJson() {
    write_all(file("rewards.json"), R"({"rewards": [1, 0, 0, 3], "group": [0, 0, 1, 1]})");
    const Finished finished = program({"eval", "advantage.group", "--params", R"({"epsilon": 0})",
                                       "--in", "rewards.json", "--out", "-"});
    QVERIFY2(finished.status == 0, finished.err.constData());
    // (r - mean) / sample std of two: +-1/sqrt(2), whatever the distance.
    const double h = std::sqrt(0.5);
    QVERIFY(near(numbers(finished.lines().at(0).at("advantages")), {h, -h, -h, h}, 1e-6));
  }

  void evalReadsAndWritesSafetensors() {
    write_all(file("rewards.json"), R"({"rewards": [2, 0], "group": [0, 0]})");
    write_all(file("params.json"), R"({"scale": "none"})");
    QCOMPARE(program({"eval", "advantage.group", "--params", "@params.json", "--in", "rewards.json",
                      "--out", "adv.safetensors"})
                 .status,
             0);
    QVERIFY(read_all(file("adv.safetensors")).contains("advantages"));
    // A loss on what was just written, with tensors from two files.
    write_all(
        file("loss.json"),
        R"({"log_probs": [[-1.0], [-2.0]], "old_log_probs": [[-1.0], [-2.0]], "mask": [[true], [true]]})");
    const Finished loss =
        program({"eval", "loss.policy_clip", "--in", "adv.safetensors", "loss.json", "--out", "-"});
    // The file also holds advantages.advantages and other fields that no loss takes.
    QVERIFY2(loss.status == 1, loss.err.constData());
    QVERIFY2(loss.err.contains("unknown-input"), loss.err.constData());
    write_all(
        file("loss.json"),
        R"({"log_probs": [[-1.0], [-2.0]], "old_log_probs": [[-1.0], [-2.0]], "advantages": [1.0, -1.0],
      "mask": [[true], [true]]})");
    const Finished good = program({"eval", "loss.policy_clip", "--in", "loss.json", "--out", "-"});
    QVERIFY2(good.status == 0, good.err.constData());
    const Json out = good.lines().at(0);
    // The ratio is 1 everywhere, so the loss is -mean(A) = 0 and its slope -A / 2.
    QVERIFY(std::abs(out.at("loss").get<double>()) < 1e-9);
    QVERIFY(near(numbers(out.at("log_probs.grad")[0]), {-0.5}, 1e-6));
    QVERIFY(near(numbers(out.at("log_probs.grad")[1]), {0.5}, 1e-6));
  }

  void evalRefusesWhatItCannotUse() {
    write_all(file("twice.json"), R"({"rewards": [1, 0]})");
    QCOMPARE(program({"eval", "advantage.group", "--in", "twice.json", "twice.json", "--out", "-"})
                 .status,
             2);
    write_all(file("odd.json"), R"({"rewards": [1, 0], "group": [0]})");
    const Finished odd = program({"eval", "advantage.group", "--in", "odd.json", "--out", "-"});
    QCOMPARE(odd.status, 1);
    QVERIFY2(odd.err.contains("advantage.group"), odd.err.constData());
    write_all(file("gap.json"), R"({"rewards": [1, null], "group": [0, 0]})");
    const Finished gap = program({"eval", "advantage.group", "--in", "gap.json", "--out", "-"});
    QCOMPARE(gap.status, 1);
    QVERIFY2(gap.err.contains("rewards holds null at [1]"), gap.err.constData());
    write_all(file("again.json"), R"({"rewards": [1, 0], "rewards": [0, 1]})");
    const Finished again = program({"eval", "advantage.group", "--in", "again.json", "--out", "-"});
    QCOMPARE(again.status, 2);
    QVERIFY2(again.err.contains("the key rewards is there twice"), again.err.constData());
    write_all(file("list.json"), "[1, 2]");
    QCOMPARE(program({"eval", "advantage.group", "--in", "list.json", "--out", "-"}).status, 2);
  }

  void numbersThatJsonLacksComeBack() {
    write_all(file("odd_numbers.json"),
              R"({"rewards": [1, "nan"], "absent": [false, true], "group": [0, 0]})");
    const Finished out = program({"eval", "shape.transform", "--params", R"({"mode": "raw"})",
                                  "--in", "odd_numbers.json", "--out", "-"});
    QVERIFY2(out.status == 0, out.err.constData());
    QCOMPARE(Json::parse(out.out.toStdString()).at("rewards").at(0).get<double>(), 1.0);
  }

  void textsOfGraphsDoNotSteerATerminal() {
    Json graph = {{"rewardloom", 1}};
    graph["nodes"]["a\x1b]0;title\x07"] = {{"type", "nosuch.type"}};
    write_all(file("steers.json"), QByteArray::fromStdString(graph.dump()));
    const Finished out = program({"check", "steers.json"});
    QCOMPARE(out.status, 3);
    for (const QByteArray& text : {out.out, out.err}) QVERIFY(!text.contains('\x1b'));
    QVERIFY2((out.out + out.err).contains("\\x1b]0;title"), out.err.constData());
  }

  void graphsAreDrawn() {
    const Finished dot = program({"graph", "small.json", "--dot", "-"});
    QCOMPARE(dot.status, 0);
    QVERIFY(dot.out.contains("digraph"));
    QVERIFY(dot.out.contains("rollout"));
    const Finished svg = program({"graph", "small.json", "--svg", "small.svg"});
    QVERIFY2(svg.status == 0, svg.err.constData());
    const QByteArray picture = read_all(file("small.svg"));
    QVERIFY(picture.contains("<svg"));
    QVERIFY(picture.contains("advantage.group"));
    QVERIFY(picture.trimmed().endsWith("</svg>"));
    // A graph that does not check is drawn too.
    QCOMPARE(program({"graph", "broken.json", "--dot", "-"}).status, 0);
  }

  void aNewGraphChecks() {
    const Finished made = program({"new", "graph", "first"});
    QCOMPARE(made.status, 0);
    QVERIFY(made.out.contains("wrote first.json"));
    const Finished check = program({"check", "first.json"});
    QVERIFY2(check.out.startsWith("1 graph: 0 errors, 0 warnings"), check.out.constData());
    QCOMPARE(program({"new", "graph", "first"}).status, 2);
  }

  void aNewNodeIsThreeFiles() {
    const Finished made = program({"new", "node", "reward.kind_words", "--dir", "tree"});
    QVERIFY2(made.status == 0, made.err.constData());
    QVERIFY(read_all(file("tree/nodes/reward/kind_words.h"))
                .contains("reward_kind_words(const at::Tensor& rewards"));
    QVERIFY(read_all(file("tree/nodes/reward/kind_words.cpp"))
                .contains("REWARDLOOM_NODE(RewardKindWords, \"Kind words\""));
    QVERIFY(read_all(file("tree/tests/nodes/test_reward_kind_words.cpp"))
                .contains("reward.kind_words"));
    QCOMPARE(program({"new", "node", "reward.kind_words", "--dir", "tree"}).status, 2);
    QCOMPARE(program({"new", "node", "reward", "--dir", "tree"}).status, 2);
    QCOMPARE(program({"new", "node", "Reward.Kind", "--dir", "tree"}).status, 2);
    QCOMPARE(program({"new", "node", "../x.y", "--dir", "tree"}).status, 2);
  }

  void bashCompletes_data() {
    QTest::addColumn<QStringList>("words");
    QTest::addColumn<QStringList>("offered");
    QTest::newRow("command") << QStringList{"rewardloom", "ins"} << QStringList{"inspect"};
    QTest::newRow("option") << QStringList{"rewardloom", "run", "--iter"}
                            << QStringList{"--iterations"};
    QTest::newRow("type") << QStringList{"rewardloom", "nodes", "advantage.whi"}
                          << QStringList{"advantage.whiten"};
    QTest::newRow("nested") << QStringList{"rewardloom", "new", "node", "--d"}
                            << QStringList{"--dir"};
    QTest::newRow("graph") << QStringList{"rewardloom", "check", "bro"}
                           << QStringList{"broken.json"};
    QTest::newRow("shell") << QStringList{"rewardloom", "completion", "z"} << QStringList{"zsh"};
  }
  void bashCompletes() {
    QFETCH(QStringList, words);
    QFETCH(QStringList, offered);
    if (completion.isEmpty()) {
      const Finished script = program({"completion", "bash"});
      QCOMPARE(script.status, 0);
      completion = script.out;
    }
    write_all(file("completion.bash"), completion);
    QString quoted;
    for (const QString& word : words) quoted += QStringLiteral("'%1' ").arg(word);
    QProcess bash;
    bash.setWorkingDirectory(folder());
    bash.start(
        "bash",
        {"-c",
         QStringLiteral(
             "compopt() { :; }; . ./completion.bash; COMP_WORDS=(%1); COMP_CWORD=%2; _rewardloom; "
             "printf '%s\\n' \"${COMPREPLY[@]}\"")
             .arg(quoted)
             .arg(words.size() - 1)});
    QVERIFY(bash.waitForFinished());
    const QString out = QString::fromUtf8(bash.readAllStandardOutput()).trimmed();
    QVERIFY2(bash.readAllStandardError().isEmpty(), "the script complains");
    QCOMPARE(out.split('\n'), offered);
  }

  void otherShellsHaveScripts() {
    const Finished zsh = program({"completion", "zsh"});
    QVERIFY(zsh.out.startsWith("#compdef rewardloom"));
    QVERIFY(zsh.out.contains("--iterations["));
    QVERIFY(zsh.out.contains("_rewardloom_new_node()"));
    const Finished fish = program({"completion", "fish"});
    QVERIFY(fish.out.contains("-l iterations -r"));
    for (const auto& [shell, script] : {std::pair{"zsh", zsh.out}, std::pair{"fish", fish.out}}) {
      if (QStandardPaths::findExecutable(QString::fromUtf8(shell)).isEmpty()) continue;
      write_all(file("completion"), script);
      QCOMPARE(QProcess::execute(QString::fromUtf8(shell), {"-n", file("completion")}), 0);
    }
  }

  void theManualPageIsClean() {
    const Finished page = program({"man"});
    QCOMPARE(page.status, 0);
    QVERIFY(page.out.startsWith(".TH"));
    QVERIFY(page.out.contains("\\-\\-iterations"));
    if (QStandardPaths::findExecutable("groff").isEmpty()) QSKIP("groff is not installed");
    write_all(file("rewardloom.1"), page.out);
    QProcess groff;
    groff.start("groff", {"-man", "-Tutf8", "-ww", "-z", file("rewardloom.1")});
    QVERIFY(groff.waitForFinished());
    QCOMPARE(groff.readAllStandardError(), QByteArray());
  }

  void benchStartsTheProgramBesideIt() {
    // A copy of the program alone, so that what is beside it is known.
    const QString alone = file("bin");
    QVERIFY(QDir().mkpath(alone));
    QVERIFY(QFile::copy(QStringLiteral(REWARDLOOM_PROGRAM), alone + "/rewardloom"));
    QProcess process;
    process.start(alone + "/rewardloom", {"bench", "--help"});
    QVERIFY(process.waitForFinished(kPatience));
    QCOMPARE(process.exitCode(), 1);
    QVERIFY(process.readAllStandardError().contains("bench-missing"));
    write_all(alone + "/rewardloom-bench", "#!/bin/sh\necho \"$@\"\nexit 7\n");
    QFile(alone + "/rewardloom-bench")
        .setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    process.start(alone + "/rewardloom", {"bench", "checker", "--rounds", "3", "--help"});
    QVERIFY(process.waitForFinished(kPatience));
    QCOMPARE(process.readAllStandardOutput(), QByteArray("checker --rounds 3 --help\n"));
    QCOMPARE(process.exitCode(), 7);
  }

  void aFullOutputIsAnError() {
    if (!QFile::exists("/dev/full")) QSKIP("no /dev/full here");
    QProcess process;
    prepare(process, {"nodes"}, folder());
    process.setStandardOutputFile("/dev/full");
    process.start();
    QVERIFY(process.waitForFinished(kPatience));
    QCOMPARE(process.exitCode(), 1);
    QVERIFY(process.readAllStandardError().contains("write-failed"));
  }

 private:
  QByteArray completion;
};

REWARDLOOM_TEST(TestCommandLine)
#include "test_command_line.moc"
