// The published table of RewardMATH (arXiv:2410.01729) out of the published scores, by graph and by
// node.
#include <QProcess>
#include <QTemporaryDir>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/io/run_reader.h"
#include "engine/run/run.h"
#include "nodes/data/benchmark_scores.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;
namespace fs = std::filesystem;

/// Percent, as printed: accuracy and MRR on RewardMATH, accuracy on RewardBench's mathematics.
struct Published {
  const char* model;
  const char* file;  ///< in the authors' repository
  const char* pairs;
  double accuracy, mrr, one_to_one;
};
constexpr Published kTable[] = {
    {"internlm2_7b", "internlm2", "internlm2", 37.27, 55.17, 92.84},
    {"internlm2_20b", "internlm2_20b", "internlm2-20b", 33.95, 51.95, 95.08},
    {"grm_llama3", "grm_llama3", "GRM-Llama3-8B", 24.43, 45.80, 91.50},
    {"skywork_llama3", "skywork_llama3", "Skywork-Llama-3.1-8B", 22.15, 44.69, 96.87},
    {"armorm", "ArmoRM", "ArmoRM", 20.50, 42.18, 92.84},
    {"eurus_rm", "Eurus-RM", "Eurus-RM", 16.98, 38.30, 60.85},
    {"beaver", "beaver", "beaver", 7.25, 26.59, 51.45},
    {"oasst_rm", "oasst-rm", "oasst-rm", 7.04, 27.03, 60.40},
    {"grm_gemma", "grm_gemma", "GRM_Gemma_2B", 4.97, 24.10, 93.06},
};

struct PublishedSteps {
  const char* file;
  const char* func;
  double accuracy, mrr;
};
constexpr PublishedSteps kSteps[] = {
    {"Math_Shepherd", "geometric_mean", 15.73, 33.61},
    {"Math_Shepherd", "prod", 17.18, 34.68},
    {"Math_Shepherd", "min", 15.32, 34.67},
    {"Easy_to_hard", "geometric_mean", 16.36, 37.51},
};

const fs::path kRaw = fs::path(REWARDLOOM_SOURCE_DIR) / "../shared/data/rewardmath";

double percent(double share) { return std::round(share * 1e4) / 100; }

Bench read(const fs::path& folder, const std::string& model) {
  Bench scores("data.benchmark_scores", {{"folder", folder.string()}, {"model", model}});
  scores.fire();
  return scores;
}

Bench graded(const Value& rewards) {
  Bench grade("eval.one_vs_many", Json::object());
  grade.connect("rewards", {rewards});
  grade.fire();
  return grade;
}

ProblemScores parsed(const char* row) {
  return problem_scores(Json::parse(row), {.correct = {"right"}}, "x.json[3]");
}

}  // namespace

class TestRewardmath : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { prepare_process(); }

  void the_graph_gives_the_published_table() {
    QTemporaryDir place;
    RunOptions options;
    options.parent = place.path().toStdString();
    Run run(Document::load(fs::path(REWARDLOOM_SOURCE_DIR) / "graphs/40-rewardmath.json"),
            all_nodes(), options);
    QVERIFY(run.execute() == RunEnd::done);
    RunReader reader(run.folder());
    const auto value = [&](const std::string& name) { return reader.metric(name).at(0).value; };
    for (const Published& row : kTable) {
      const std::string at = std::string("[model=") + row.model + "]/grade/";
      QCOMPARE(percent(value("many" + at + "accuracy")), row.accuracy);
      QCOMPARE(percent(value("many" + at + "mrr")), row.mrr);
      QCOMPARE(percent(value("pairs" + at + "accuracy")), row.one_to_one);
      QCOMPARE(value("many" + at + "prompts"), 483.0);
      QCOMPARE(value("pairs" + at + "prompts"), 447.0);
    }
    QCOMPARE(percent(value("agreement/spearman")) / 100, 0.4017);
    QCOMPARE(value("agreement/branches"), 9.0);
  }

  void the_published_files_give_the_published_table() {
    if (!fs::exists(kRaw / "scores")) QSKIP("the published score files are not there");
    for (const Published& row : kTable) {
      const Bench many = graded(read(kRaw / "scores", row.file).value("rewards"));
      QCOMPARE(percent(many.out<Scalar>("accuracy").value), row.accuracy);
      QCOMPARE(percent(many.out<Scalar>("mrr").value), row.mrr);
      const std::string pairs = std::string("rewardbench_") + row.pairs;
      const Bench two = graded(read(kRaw / "rewardbench-scores", pairs).value("rewards"));
      QCOMPARE(percent(two.out<Scalar>("accuracy").value), row.one_to_one);
    }
  }

  void what_is_shipped_is_what_was_published() {
    if (!fs::exists(kRaw / "scores")) QSKIP("the published score files are not there");
    const fs::path shipped = fs::path(REWARDLOOM_SOURCE_DIR) / "resources/data/rewardmath";
    for (const Published& row : kTable) {
      const Bench ours = read(shipped / "rewardmath", row.model);
      const Bench theirs = read(kRaw / "scores", row.file);
      QVERIFY(ours.out<Rewards>("rewards").total.equal(theirs.out<Rewards>("rewards").total));
      const Bench our_pairs = read(shipped / "rewardbench", row.model);
      const Bench their_pairs =
          read(kRaw / "rewardbench-scores", std::string("rewardbench_") + row.pairs);
      QVERIFY(
          our_pairs.out<Rewards>("rewards").total.equal(their_pairs.out<Rewards>("rewards").total));
    }
  }

  void process_reward_models_are_aggregated_as_published() {
    if (!fs::exists(kRaw / "scores")) QSKIP("the published score files are not there");
    QTemporaryDir place;
    for (const PublishedSteps& row : kSteps) {
      const fs::path plain =
          fs::path(place.path().toStdString()) / (std::string(row.file) + ".json");
      if (!fs::exists(plain))
        unpack(kRaw / "scores" / (std::string(row.file) + ".prm.json.gz"), plain);
      const Bench scores = read(plain.parent_path(), row.file);
      QVERIFY(!scores.value("rewards"));
      Bench steps("reward.step_aggregate", {{"func", row.func}});
      steps.connect("step_rewards", {scores.value("step_rewards")});
      steps.fire();
      const Bench grade = graded(steps.value("rewards"));
      QCOMPARE(percent(grade.out<Scalar>("accuracy").value), row.accuracy);
      QCOMPARE(percent(grade.out<Scalar>("mrr").value), row.mrr);
    }
  }

  void the_right_solution_comes_first_wherever_it_stands() {
    const ProblemScores scores =
        parsed(R"({"score":[1,2,3],"solution_reference":["a","b","right"]})");
    QVERIFY(!scores.steps);
    QCOMPARE(scores.solutions, (std::vector<std::vector<double>>{{3}, {1}, {2}}));
    QCOMPARE(parsed(R"({"score":[1,2]})").solutions[0][0], 1.0);
    const ProblemScores steps = parsed(R"({"score":[[0.5,0.25],[1]]})");
    QVERIFY(steps.steps);
    QCOMPARE(steps.solutions, (std::vector<std::vector<double>>{{0.5, 0.25}, {1}}));
  }

  void rows_that_do_not_hold_together_are_refused() {
    const auto problem = [](const char* row) { return problem_of([&] { parsed(row); }); };
    const Problem none = problem(R"({"score":[1,2],"solution_reference":["a","b"]})");
    QCOMPARE(none.code, "not-one-correct");
    QVERIFY(none.text.find("x.json[3]") != std::string::npos);
    QCOMPARE(problem(R"({"score":[1,2],"solution_reference":["right","right"]})").code,
             "not-one-correct");
    QCOMPARE(problem(R"({"score":[1,2],"solution_reference":["right"]})").code, "data-field");
    QCOMPARE(problem(R"({"score":[1,"2"]})").code, "data-field");
    QCOMPARE(problem(R"({"score":[1,null]})").code, "data-field");
    QCOMPARE(problem(R"({"score":[]})").code, "data-field");
    QCOMPARE(problem(R"({"scores":[1]})").code, "data-field");
    QCOMPARE(problem(R"([1,2])").code, "data-field");
    QCOMPARE(problem(R"({"score":[1,[2]]})").code, "mixed-scores");
  }

  void files_are_one_list_or_one_object_a_line() {
    QTemporaryDir place;
    const fs::path folder = place.path().toStdString();
    const auto rows = [&](const std::string& text) {
      std::ofstream(folder / "m.json") << text;
      return read(folder, "m").out<Rewards>("rewards");
    };
    const Rewards list = rows(R"([{"score":[1,2]},{"score":[3,4]}])");
    const Rewards lines = rows("{\"score\":[1,2]}\n{\"score\":[3,4]}\n");
    QVERIFY(list.total.equal(doubles({1, 2, 3, 4})) && lines.total.equal(list.total));
    QVERIFY(list.group.equal(ids({0, 0, 1, 1})));
    QCOMPARE(code_of([&] { rows("[]"); }), "data-empty");
    QCOMPARE(code_of([&] { rows("[{\"score\":[1]"); }), "json-invalid");
    QCOMPARE(code_of([&] { rows(R"([{"score":[1,2]},{"score":[[3],[4]]}])"); }), "mixed-scores");
    QVERIFY(!code_of([&] { read(folder, "elsewhere"); }).empty());
  }

 private:
  static void unpack(const fs::path& packed, const fs::path& plain) {
    QProcess gzip;
    gzip.setStandardOutputFile(QString::fromStdString(plain.string()));
    gzip.start("gzip", {"-dc", QString::fromStdString(packed.string())});
    QVERIFY(gzip.waitForFinished(30000));
    QCOMPARE(gzip.exitCode(), 0);
  }
};

}  // namespace rewardloom

using rewardloom::TestRewardmath;
REWARDLOOM_TEST(TestRewardmath)
#include "test_rewardmath.moc"
