// Mistakes that a graph or a command line shows before anything runs, and rows that cannot be
// scored.
#include <QtEndian>

#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

constexpr const char* kBoth = "{\"p\":0.3,\"false_negatives\":0.2}";
constexpr const char* kLongCache = "{\"max_length\":10,\"cache\":20}";
constexpr const char* kJudge = "{\"file\":\"judge.py\"}";

}  // namespace

class TestStaticMistakes : public QObject {
  Q_OBJECT
  QTemporaryDir temporary_;

  Finished program(const QStringList& arguments) const {
    return run_program(arguments, temporary_.path());
  }
  void write(const QString& name, const Json& json) const {
    write_all(temporary_.filePath(name), QByteArray::fromStdString(json.dump()));
  }
  Finished evaluated(const QStringList& arguments, const Json& input) const {
    write(QStringLiteral("in.json"), input);
    return program(QStringList{"eval"} + arguments + QStringList{"--in", "in.json", "--out", "-"});
  }

 private Q_SLOTS:
  void theCheckerRefuses_data() {
    QTest::addColumn<QByteArray>("node");
    QTest::addColumn<QByteArray>("text");
    const auto row = [](const char* type, const Json& params, const Json& inputs,
                        const char* text) {
      const Json node = {{"type", type}, {"params", params}, {"inputs", inputs}};
      QTest::newRow(text) << QByteArray::fromStdString(node.dump()) << QByteArray(text);
    };
    const Json answers = {{"completions", "rollout.completions"}};
    const Json verdicts = {{"rewards", "check.rewards"}};
    Json two;
    two["rewards"] = Json::array({"check.rewards", "check.rewards"});
    row("reward.combine", {{"weights", {1, 2, 3}}}, two, "weights has 3, rewards has 2");
    row("reward.combine", {{"names", Json::array({"a"})}}, two, "names has 1, rewards has 2");
    row("reward.phrases", {{"phrases", Json::array()}}, answers, "the list of phrases is empty");
    row("reward.phrases", {{"phrases", Json::array({"a", ""})}}, answers, "a phrase without text");
    row("reward.regex", {{"pattern", "[open"}}, answers, "is wrong at character 5");
    row("reward.soft_overlong", {{"max_length", 10}, {"cache", 20}}, answers,
        "cache is 20, max_length is 10");
    row("filter.difficulty", {{"low", 0.9}, {"high", 0.1}}, verdicts, "low is 0.9, high is 0.1");
    row("correction.importance", {{"low", 3}, {"high", 2}}, answers, "low is 3, high is 2");
    row("reward.clip_delta", {{"eta", 5}}, Json::object(), "5 is above the maximum 1");
    row("text.log_probs", Json::object(),
        {{"policy", "frozen.reference"}, {"completions", "rollout.completions"}},
        "connect frozen.reference to the input reference instead of policy");
  }

  void theCheckerRefuses() {
    QFETCH(QByteArray, node);
    QFETCH(QByteArray, text);
    Json graph = Json::parse(kSmallGraph);
    graph["nodes"]["frozen"] = {{"type", "text.reference"},
                                {"inputs", {{"policy", "actor.policy"}}}};
    graph["nodes"]["extra"] = Json::parse(node.toStdString());
    write(QStringLiteral("graph.json"), graph);
    const Finished finished = program({"check", "graph.json"});
    const QByteArray all = finished.out + finished.err;
    QVERIFY2(all.simplified().contains(text), all.constData());
    QVERIFY(all.contains("graph.json: extra"));
    QVERIFY(finished.status != 0);
  }

  void evalHoldsRulesOnParameters() {
    const Finished both =
        evaluated({"reward.flip", "--params", kBoth}, {{"rewards", {1, 0}}, {"group", {0, 1}}});
    QCOMPARE(both.status, 2);
    QVERIFY2(both.err.contains("error[options]: reward.flip.p"), both.err.constData());
    const Finished overlong =
        evaluated({"reward.soft_overlong", "--params", kLongCache}, {{"lengths", {1, 2}}});
    QVERIFY(overlong.err.contains("cache is 20, max_length is 10"));
    // A rule on inputs is left to the node.
    QCOMPARE(evaluated({"reward.soft_overlong"}, {{"lengths", {1, 2}}}).status, 0);
  }

  void evalMayGoOnWithoutRowsThatCannotBeScored() {
    const Json input = {{"text", {"5", "5", "6"}}, {"reference", {"5", "five", "5"}}};
    const Finished strict = evaluated({"reward.numeric_equal"}, input);
    QVERIFY(strict.status != 0);
    QVERIFY2(strict.err.contains("--on-error skip_row"), strict.err.constData());
    const Finished lenient = evaluated({"reward.numeric_equal", "--on-error", "skip_row"}, input);
    QVERIFY2(lenient.status == 0, lenient.err.constData());
    QVERIFY2(lenient.err.contains("1 row is absent; row 1: the true answer"),
             lenient.err.constData());
    const Json out = Json::parse(lenient.out.toStdString());
    QVERIFY(out.at("rewards") == Json({1.0, 0.0, 0.0}));
    QVERIFY(out.at("rewards.absent") == Json({false, true, false}));
    QCOMPARE(evaluated({"reward.numeric_equal", "--on-error", "skip"}, input).status, 2);
  }

  void aFailedRowNamesThePythonFile() {
    write_all(temporary_.filePath("judge.py"),
              "def compute_score(solution_str):\n    return float(solution_str)\n");
    const Json input = {{"text", {"1", "x"}}, {"reference", {"", ""}}};
    const QStringList node{"reward.python", "--params", kJudge};
    const Finished strict = evaluated(node, input);
    QVERIFY2(strict.err.contains("row 1: judge.py: "), strict.err.constData());
    const Finished lenient = evaluated(node + QStringList{"--on-error", "skip_row"}, input);
    QVERIFY2(lenient.status == 0, lenient.err.constData());
    QCOMPARE(lenient.err.count("rows-failed"), 1);
    QVERIFY(lenient.err.contains("judge.py: 1 of 2 rows have no reward"));
  }

  void scalarsStandInTheMetadataAsTheHelpSays() {
    write(QStringLiteral("in.json"), {{"rewards", {1, 2, 3}}});
    const Finished made =
        program({"eval", "shape.running", "--in", "in.json", "--out", "x.safetensors"});
    QVERIFY2(made.status == 0, made.err.constData());
    const QByteArray bytes = read_all(temporary_.filePath("x.safetensors"));
    const auto size = qFromLittleEndian<quint64>(bytes.constData());
    const Json header = Json::parse(bytes.mid(8, static_cast<qsizetype>(size)).toStdString());
    QVERIFY(!header.contains("mean"));
    QVERIFY(header.at("__metadata__").at("mean") == "2.0");
    const QByteArray help = program({"eval", "--help"}).out.simplified();
    QVERIFY2(help.contains("stand in its __metadata__, written as JSON in texts"),
             help.constData());
  }

  void misspeltNodesAreGuessed() {
    QVERIFY(program({"nodes", "advantge"}).err.contains("did you mean advantage"));
    QVERIFY(program({"nodes", "numeric_equl"}).err.contains("did you mean reward.numeric_equal"));
    QVERIFY(program({"nodes", "reward.phrase"}).err.contains("did you mean reward.phrases"));
  }
};

REWARDLOOM_TEST(TestStaticMistakes)
#include "test_static_mistakes.moc"
