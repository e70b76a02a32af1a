#include <QDir>
#include <QTemporaryDir>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "engine/graph/checker.h"
#include "engine/graph/dot.h"
#include "engine/graph/plan.h"
#include "tests/graph/example_graphs.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::examples;

namespace {

const char* const kFolder = REWARDLOOM_SOURCE_DIR "/tests/wrong";

QStringList cases() {
  QStringList names;
  const QStringList files = QDir(QString::fromUtf8(kFolder))
                                .entryList({QStringLiteral("*.txt")}, QDir::Files, QDir::Name);
  for (const QString& file : files) names.append(file.chopped(4));
  return names;
}

std::string diagnostics(const std::string& file) {
  std::string text;
  for (const Problem& problem : check_file(file, catalogue()).problems)
    text += format(problem) + "\n";
  return text;
}

std::set<std::string> codes(const CheckResult& result) {
  std::set<std::string> out;
  for (const Problem& problem : result.problems) out.insert(problem.code);
  return out;
}

/// `count` copies of a GRPO pipeline side by side.
std::string many_pipelines(int count) {
  std::string text = "{\"rewardloom\": 1, \"parameters\": {\"group_size\": 4}, \"nodes\": {";
  for (int i = 0; i < count; ++i) {
    QString block = QStringLiteral(R"(%2
      "tasks%1": {"type": "data.arithmetic", "params": {"digits": 2}}, "actor%1": {"type": "text.policy"},
      "rollout%1": {"type": "sample.generate", "inputs": {"policy": "actor%1.policy", "prompts": "tasks%1.prompts"}, "params": {"group_size": "$group_size"}},
      "check%1": {"type": "reward.exact_match", "inputs": {"completions": "rollout%1.completions"}},
      "adv%1": {"type": "advantage.group", "inputs": {"rewards": "check%1.rewards"}, "params": {"epsilon": 1e-6}},
      "clip%1": {"type": "loss.policy_clip"},
      "update%1": {"type": "optimize.policy", "inputs": {"policy": "actor%1.policy", "completions": "rollout%1.completions", "advantages": "adv%1.advantages", "terms": ["clip%1.term"]}},
      "save%1": {"type": "model.save", "inputs": {"policy": "update%1.policy"}})");
    text += block.arg(i).arg(i == 0 ? QString() : QStringLiteral(",")).toStdString();
  }
  return text + "}}";
}

/// A node of a million, in which a policy is trained `count` times in a row.
std::string long_chain(int count) {
  std::string text =
      R"({"rewardloom": 1, "nodes": {"tasks": {"type": "data.arithmetic"}, "actor": {"type": "text.policy"})";
  QString last = QStringLiteral("actor");
  for (int i = 0; i < count; ++i) {
    const QString block = QStringLiteral(R"(,
      "r%1": {"type": "sample.generate", "inputs": {"policy": "%2.policy", "prompts": "tasks.prompts"}},
      "c%1": {"type": "reward.exact_match", "inputs": {"completions": "r%1.completions"}},
      "a%1": {"type": "advantage.group", "inputs": {"rewards": "c%1.rewards"}},
      "l%1": {"type": "loss.policy_clip"},
      "u%1": {"type": "optimize.policy", "inputs": {"policy": "%2.policy", "completions": "r%1.completions", "advantages": "a%1.advantages", "terms": ["l%1.term"]}})");
    text += block.arg(i).arg(last).toStdString();
    last = QStringLiteral("u%1").arg(i);
  }
  return text + "}}";
}

}  // namespace

class TestChecker : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase();
  void wrong_graphs_are_told_so_word_for_word_data();
  void wrong_graphs_are_told_so_word_for_word();
  void every_code_has_a_wrong_graph_and_every_wrong_graph_its_code();
  void good_graphs_have_no_problems();
  void problems_come_all_at_once_in_the_order_of_the_file();
  void files_are_looked_for_beside_the_graph_unless_switched_off();
  void a_graph_in_a_run_folder_finds_what_its_origin_names();
  void a_preset_and_a_graph_parameter_reach_the_rules();
  void large_graphs_are_checked_quickly_data();
  void large_graphs_are_checked_quickly();
  void a_large_graph_that_is_all_wrong_stays_quick();
  void graphs_with_random_faults_are_survived();
};

void TestChecker::initTestCase() { QVERIFY(QDir::setCurrent(QString::fromUtf8(kFolder))); }

void TestChecker::wrong_graphs_are_told_so_word_for_word_data() {
  QTest::addColumn<QString>("name");
  for (const QString& name : cases()) QTest::newRow(name.toUtf8().constData()) << name;
}

void TestChecker::wrong_graphs_are_told_so_word_for_word() {
  QFETCH(QString, name);
  const std::string expected = file_text((name + QStringLiteral(".txt")).toStdString());
  const std::string given = diagnostics((name + QStringLiteral(".json")).toStdString());
  if (given != expected) qWarning("%s", given.c_str());
  QCOMPARE(QString::fromStdString(given), QString::fromStdString(expected));
}

void TestChecker::every_code_has_a_wrong_graph_and_every_wrong_graph_its_code() {
  std::set<std::string> shown;
  for (const QString& name : cases()) {
    const auto given =
        codes(check_file((name + QStringLiteral(".json")).toStdString(), catalogue()));
    shown.insert(given.begin(), given.end());
    const std::string wanted = name.section(QLatin1Char('_'), 0, 0).toStdString();
    const bool good = name.startsWith(QStringLiteral("no_problem"));
    QVERIFY2(good ? given.empty() : name == QStringLiteral("many") || given.contains(wanted),
             name.toUtf8().constData());
  }
  const std::set<std::string> known(check_codes().begin(), check_codes().end());
  QCOMPARE(known.size(), check_codes().size());
  QVERIFY(std::is_sorted(check_codes().begin(), check_codes().end()));
  for (const std::string& code : known)
    QVERIFY2(shown.contains(code), ("no graph for " + code).c_str());
  for (const std::string& code : shown)
    QVERIFY2(known.contains(code), ("not listed: " + code).c_str());
}

void TestChecker::good_graphs_have_no_problems() {
  for (const std::string& text : {grpo, co_training}) {
    const CheckResult result = check(parse(text), catalogue());
    QVERIFY2(result.problems.empty(),
             result.problems.empty() ? "" : format(result.problems[0]).c_str());
    QVERIFY(result.ok());
  }
}

void TestChecker::problems_come_all_at_once_in_the_order_of_the_file() {
  Document document = parse(grpo);
  document.node("update")->params["learning_rate"] = -1;
  document.node("rollout")->params["group_size"] = 1;
  document.node("tasks")->params["digits"] = 11;
  document.node("check")->inputs.clear();
  document.settings["seed"] = "x";
  document.placement["nobody"] = Json::object();
  QStringList places;
  const CheckResult result = check(document, catalogue());
  for (const Problem& problem : result.problems) {
    places.append(QString::fromStdString(problem.where.node + "." + problem.where.port));
  }
  QCOMPARE(
      places,
      QStringList({QStringLiteral("parameters.group_size"), QStringLiteral("settings.seed"),
                   QStringLiteral("tasks.digits"), QStringLiteral("check.completions"),
                   QStringLiteral("update.learning_rate"), QStringLiteral("placement.nobody")}));
  QCOMPARE(result.errors(), std::size_t{4});
  QCOMPARE(result.warnings(), std::size_t{2});
}

void TestChecker::files_are_looked_for_beside_the_graph_unless_switched_off() {
  Document document = parse(grpo);
  document.file = std::string(kFolder) + "/x.json";
  document.node("actor")->params["model"] = "catalogue.json";
  QVERIFY(check(document, catalogue()).problems.empty());
  document.file = "/somewhere/else/x.json";  // the working directory holds it too
  QVERIFY(check(document, catalogue()).problems.empty());
  document.node("actor")->params["model"] = "no_such_model";
  QVERIFY(codes(check(document, catalogue())) == std::set<std::string>{"missing-file"});
  QVERIFY(check(document, catalogue(), {.files = false}).problems.empty());
}

void TestChecker::a_graph_in_a_run_folder_finds_what_its_origin_names() {
  QTemporaryDir folder;
  const std::filesystem::path root = folder.path().toStdString();
  std::filesystem::create_directories(root / "origin/graphs");
  std::filesystem::create_directories(root / "run");
  std::ofstream(root / "origin/weights") << "there";
  Document document = parse(grpo);
  document.file = root / "run/graph.json";
  document.node("actor")->params["model"] = "../weights";
  QVERIFY(codes(check(document, catalogue())) == std::set<std::string>{"missing-file"});
  std::ofstream(root / "run/run.json")
      << Json{{"graph_file", (root / "origin/graphs/x.json").string()}};
  QVERIFY(check(document, catalogue()).problems.empty());
  std::ofstream(root / "run/run.json") << "{ half";
  QVERIFY(codes(check(document, catalogue())) == std::set<std::string>{"missing-file"});
}

void TestChecker::a_preset_and_a_graph_parameter_reach_the_rules() {
  Document document = parse(grpo);
  document.parameters["heat"] = 0;
  document.node("rollout")->params["temperature"] = "$heat";
  QVERIFY(check(document, catalogue()).problems.empty());
  document.node("rollout")->params["min_p"] = 0.5;
  QVERIFY(codes(check(document, catalogue())) == std::set<std::string>{"options"});
  document.parameters["heat"] = 0.5;
  QVERIFY(check(document, catalogue()).problems.empty());
}

void TestChecker::large_graphs_are_checked_quickly_data() {
  QTest::addColumn<QString>("text");
  QTest::newRow("1250 pipelines") << QString::fromStdString(many_pipelines(1250));
  QTest::newRow("2000 updates in a row") << QString::fromStdString(long_chain(2000));
}

void TestChecker::large_graphs_are_checked_quickly() {
  QFETCH(QString, text);
  const std::string bytes = text.toStdString();
  CheckResult result;
  QBENCHMARK { result = check(parse(bytes), catalogue()); }
  QVERIFY2(result.problems.empty(),
           result.problems.empty() ? "" : format(result.problems[0]).c_str());
}

void TestChecker::a_large_graph_that_is_all_wrong_stays_quick() {
  std::string text = "{\"rewardloom\": 1, \"nodes\": {";
  for (int i = 0; i < 5000; ++i) {
    const QString node = QStringLiteral(
        "%2\"n%1\": {\"type\": \"advantage.group\", \"inputs\": {\"rewards\": \"m%1.rewards\"}}");
    text += node.arg(i).arg(i == 0 ? QString() : QStringLiteral(", ")).toStdString();
  }
  text += "}}";
  QElapsedTimer timer;
  timer.start();
  QCOMPARE(check(parse(text), catalogue()).errors(), std::size_t{5000});
  // Looking for near names among 5000 for each of 5000 would take minutes.
  QVERIFY(timer.elapsed() < 20000);
}

/// Pieces of good graphs, exchanged at random: whatever comes out is refused or checked, never a
/// crash.
void TestChecker::graphs_with_random_faults_are_survived() {
  std::vector<std::string> texts = {grpo, co_training};
  for (const QString& name : cases()) {
    if (name == QStringLiteral("too-many-nodes")) continue;  // takes its time
    texts.push_back(file_text((name + QStringLiteral(".json")).toStdString()));
  }
  int compiled = 0;
  int refused = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t below) { return below == 0 ? 0 : random() % below; };
    std::string text = texts[pick(texts.size())];
    for (std::size_t edits = 1 + pick(3); edits > 0; --edits) {
      const std::string& other = texts[pick(texts.size())];
      const std::size_t from = other.find('"', pick(other.size()));
      const std::size_t to = text.find('"', pick(text.size()));
      if (from == std::string::npos || to == std::string::npos) continue;
      const std::size_t end = other.find('"', from + 1);
      const std::size_t until = text.find('"', to + 1);
      if (end == std::string::npos || until == std::string::npos) continue;
      text.replace(to, until - to + 1, other.substr(from, end - from + 1));
    }
    try {
      const Document document = parse(text);
      const CheckResult result = check(document, catalogue());
      for (const Problem& problem : result.problems) {
        QVERIFY2(std::binary_search(check_codes().begin(), check_codes().end(), problem.code),
                 problem.code.c_str());
        const std::string& sentence = problem.text;
        const bool good_end = !sentence.ends_with('.') || sentence.ends_with("...");
        QVERIFY2(!sentence.empty() && good_end, format(problem).c_str());
      }
      dot_text(document, catalogue());
      if (!result.ok()) continue;
      compile(document, catalogue());  // what checks has a plan
      ++compiled;
    } catch (const Failure& failure) {
      QVERIFY2(
          failure.problem().code.starts_with("json-") || failure.problem().code == "format-version",
          failure.what());
      ++refused;
    }
  }
  QVERIFY(compiled > 50);
  QVERIFY(refused > 50);
}

REWARDLOOM_TEST(TestChecker)
#include "test_checker.moc"
