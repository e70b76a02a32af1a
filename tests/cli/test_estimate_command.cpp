// `rewardloom check --estimate` against the peak memory of runs.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <string>

#include "tests/cli/program.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

/// Peak resident bytes of the program with these arguments; 0 where it fails.
double peak_of(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {REWARDLOOM_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, REWARDLOOM_PROGRAM, nullptr, nullptr, argv.data(), environ) != 0) {
    return 0;
  }
  int status = 0;
  rusage used{};
  if (wait4(child, &status, 0, &used) != child || status != 0) return 0;
  return 1024.0 * static_cast<double>(used.ru_maxrss);
}

QString graph(const QString& name) {
  return QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs/") + name + ".json";
}

bool sanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

}  // namespace

class TestEstimateCommand : public QObject {
  Q_OBJECT
  QTemporaryDir temporary;

  Finished check(const QStringList& arguments) const {
    return run_program(QStringList{"check"} + arguments, temporary.path());
  }
  /// The line with the totals.
  static Json totals(const Finished& finished) {
    for (const Json& line : finished.lines()) {
      if (line.contains("peak")) return line;
    }
    return {};
  }

 private Q_SLOTS:
  void thePeakIsNearThatOfARun_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"grpo-arithmetic", "sft-gsm8k", "reward-model-hh", "dpo-hh"}) {
      QTest::newRow(name) << QString(name);
    }
  }
  void thePeakIsNearThatOfARun() {
    if (sanitized()) QSKIP("a sanitizer's memory is not estimated");
    QFETCH(QString, name);
    const Json estimate = totals(check({"--estimate", "--json", "--threads", "1", graph(name)}));
    const double stated = estimate.at("peak").get<double>();
    const double beside = stated - estimate.at("program").get<double>();
    const double measured =
        peak_of({"run", graph(name).toStdString(), "--iterations", "2", "--threads", "1", "--quiet",
                 "--out", temporary.path().toStdString()});
    const QString said = QString("%1 MB stated, %2 MB measured, %3 MB beside the program")
                             .arg(stated / 1e6)
                             .arg(measured / 1e6)
                             .arg(beside / 1e6);
    // Within a seventh of all, and within half of what the graph itself takes and 15 MB.
    QVERIFY2(std::abs(stated - measured) < measured / 7, qPrintable(said));
    const double taken = measured - estimate.at("program").get<double>();
    QVERIFY2(std::abs(taken - beside) < 0.5 * taken + 15e6, qPrintable(said));
  }

  void theTableNamesEveryPart() {
    const Finished finished = check({"--estimate", "--threads", "1", graph("grpo-arithmetic")});
    QCOMPARE(finished.status, 0);
    for (const char* word : {"parameters", "optimizer", "KV cache", "rollout", "held_out/answers",
                             "memory: ", "time: ", "1 graph: 0 errors, 0 warnings"}) {
      QVERIFY2(finished.out.contains(word), finished.out.constData());
    }
  }

  void aGraphWithErrorsIsNotEstimated() {
    write_all(temporary.filePath("broken.json"), R"({"rewardloom": 1, "name": "b", "nodes": {
      "adv": {"type": "advantage.group"}}})");
    const Finished finished = check({"--estimate", "broken.json"});
    QCOMPARE(finished.status, 3);
    QVERIFY(!finished.out.contains("memory: "));
  }

  void moreThanThereIsGivesAWarning() {
    // 64 layers of 16384: above 800 GB of weights alone.
    write_all(temporary.filePath("huge.json"), R"({"rewardloom": 1, "name": "huge", "nodes": {
      "actor": {"type": "text.policy", "params": {"init": "random", "characters": "0123456789",
        "config": {"hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 64,
                   "num_attention_heads": 128, "num_key_value_heads": 128}}},
      "save": {"type": "model.save", "inputs": {"policy": "actor.policy"}}}})");
    const Finished finished = check({"--estimate", "huge.json"});
    QCOMPARE(finished.status, 0);
    QVERIFY2(finished.out.contains("warning[memory]"), finished.out.constData());
    QVERIFY(finished.out.contains("0 errors, 1 warning"));
  }
};

REWARDLOOM_TEST(TestEstimateCommand)
#include "test_estimate_command.moc"
