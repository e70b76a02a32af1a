// Data nodes: the same iteration gives the same rows, and what is held out stays out.
#include <torch/types.h>

#include <QFile>
#include <QTemporaryDir>
#include <set>

#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "nodes/data/arithmetic.h"
#include "nodes/data/digit_sequence.h"
#include "nodes/data/rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

using Texts = std::vector<std::string>;

}  // namespace

class TestData : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void arithmetic_answers_are_right() {
    const Json params = {{"digits", 3}, {"operations", {"+", "-", "*"}}, {"batch", 200}};
    const Package out = evaluate(registry_, "data.arithmetic", params, {}).outputs;
    const auto prompts = out.meta["prompts"].get<Texts>();
    const auto answers = out.meta["prompts.reference"].get<Texts>();
    QCOMPARE(prompts.size(), std::size_t{200});
    std::set<char> operations;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const std::size_t at = prompts[i].find_first_of("+-*");
      const long a = std::stol(prompts[i].substr(0, at));
      const long b = std::stol(prompts[i].substr(at + 1));
      const char op = prompts[i][at];
      operations.insert(op);
      QVERIFY(prompts[i].ends_with("="));
      QVERIFY(a < 1000 && b < 1000);
      QCOMPARE(std::stol(answers[i]), op == '+' ? a + b : op == '-' ? a - b : a * b);
      if (op == '-') QVERIFY(a >= b);
    }
    QCOMPARE(operations.size(), std::size_t{3});
  }

  void an_iteration_gives_the_same_prompts_whenever_it_runs() {
    const auto prompts = [&](std::uint64_t seed, std::int64_t iteration) {
      return evaluate(registry_, "data.arithmetic", Json::object(), {},
                      {.seed = seed, .iteration = iteration})
          .outputs.meta["prompts"]
          .get<Texts>();
    };
    QCOMPARE(prompts(1, 5), prompts(1, 5));
    QVERIFY(prompts(1, 5) != prompts(1, 6));
    QVERIFY(prompts(1, 5) != prompts(2, 5));
  }

  void held_out_pairs_are_fixed_and_never_trained_on() {
    const auto ids = [&](const char* split, std::uint64_t seed, std::int64_t iteration) {
      const Json params = {{"digits", 1}, {"batch", 8}, {"split", split}, {"held_out", 0.2}};
      return evaluate(registry_, "data.arithmetic", params, {},
                      {.seed = seed, .iteration = iteration})
          .outputs.meta["prompts.fields"];
    };
    QCOMPARE(ids("held_out", 1, 0).dump(), ids("held_out", 9, 77).dump());
    std::set<std::pair<int, int>> kept;
    const auto pair = [](const Json& row) {
      return std::minmax({row["a"].get<int>(), row["b"].get<int>()});
    };
    for (const Json& row : ids("held_out", 1, 0)) kept.insert(pair(row));
    for (std::int64_t iteration = 0; iteration < 500; ++iteration) {
      for (const Json& row : ids("train", 3, iteration)) QVERIFY(!kept.contains(pair(row)));
    }
  }

  void the_walk_over_held_out_pairs_meets_each_once() {
    const ArithmeticSpace space{.limit_a = 100, .limit_b = 10, .held_out_share = 0.25};
    const auto tasks = space.held_out(1000);
    std::set<std::pair<std::int64_t, std::int64_t>> seen;
    for (const ArithmeticTask& task : tasks) {
      QVERIFY(seen.emplace(task.a, task.b).second);
      QVERIFY(space.is_held_out(task.a, task.b));
      QCOMPARE(space.is_held_out(task.a, task.b), space.is_held_out(task.b, task.a));
    }
    QVERIFY(tasks.size() > 200 && tasks.size() < 300);
  }

  void more_held_out_tasks_than_there_are_is_an_error() {
    const Json params = {{"digits", 1}, {"batch", 90}, {"split", "held_out"}};
    QCOMPARE(code_of([&] { evaluate(registry_, "data.arithmetic", params, {}); }),
             std::string("node-failed"));
    QCOMPARE(code_of([&] {
               evaluate(registry_, "data.arithmetic", {{"operations", {"/"}}}, {});
             }),
             std::string("node-failed"));
  }

  void reversed_answers_start_with_the_lowest_digit() {
    const Package out =
        evaluate(registry_, "data.arithmetic", {{"answer", "reversed"}, {"digits", 3}}, {}).outputs;
    const Json row = out.meta["prompts.fields"][0];
    std::string sum = std::to_string(row["a"].get<int>() + row["b"].get<int>());
    std::reverse(sum.begin(), sum.end());
    QCOMPARE(out.meta["prompts.reference"][0].get<std::string>(), sum);
  }

  void digit_sequences_follow_their_rule() {
    QCOMPARE(digit_sequence_answer("8,3:9,4").value(), std::string("7,2,6,1"));
    QCOMPARE(digit_sequence_answer("3,3:9,6").value(), std::string("3,3,3,3,3,3"));
    QCOMPARE(digit_sequence_answer("7,7:9,0").value(), std::string());
    QCOMPARE(digit_sequence_answer("0,0:1,2").value(), std::string("0,0"));
    for (const char* bad : {"", "8,3", "8,3:9", "8,3:0,4", "8,3:9,4,", "8;3:9,4", "a,3:9,4",
                            "-1,3:9,4", "8,3:9,-4", " 8,3:9,4"}) {
      QVERIFY2(!digit_sequence_answer(bad), bad);
    }
  }

  void prompts_of_another_form_fail_by_name() {
    Package in;
    in.meta["prompts"] = {"8,3:9,4", "hello"};
    in.meta["prompts.id"] = {"first", "second"};
    try {
      evaluate(registry_, "data.digit_sequence", Json::object(), in);
      QFAIL("the malformed prompt was taken");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("row-failed"));
      QVERIFY(failure.problem().text.find("second") != std::string::npos);
    }
    in.meta["prompts"] = {"8,3:9,4", "0,1:5,2"};
    QCOMPARE(evaluate(registry_, "data.digit_sequence", Json::object(), in)
                 .outputs.meta["prompts.reference"]
                 .get<Texts>(),
             (Texts{"7,2,6,1", "2,3"}));
  }

  void paths_reach_into_rows() {
    const Json row = Json::parse(
        R"({"a": {"b": 3}, "p": [{"content": "x"}, {"content": "y"}], "a.b": 4, "n": null})");
    QCOMPARE(at_path(row, "a.b")->get<int>(), 4);
    QCOMPARE(at_path(row, "a/b")->get<int>(), 3);
    QCOMPARE(at_path(row, "/a/b")->get<int>(), 3);
    QCOMPARE(at_path(row, "p/-1/content")->get<std::string>(), std::string("y"));
    QCOMPARE(at_path(row, "p.0.content")->get<std::string>(), std::string("x"));
    QVERIFY(at_path(row, "p/2/content") == nullptr);
    QVERIFY(at_path(row, "p/-3/content") == nullptr);
    QVERIFY(at_path(row, "p/x") == nullptr);
    QVERIFY(at_path(row, "a/b/c") == nullptr);
    QVERIFY(at_path(row, "missing") == nullptr);
  }

  void every_epoch_gives_every_row_once() {
    for (const bool shuffle : {true, false}) {
      RowOrder order(10, shuffle, 1, 2);
      std::vector<std::vector<std::size_t>> epochs(3);
      for (std::uint64_t i = 0; i < 30; ++i) epochs[i / 10].push_back(order.row(i));
      for (const auto& epoch : epochs) {
        QCOMPARE(std::set<std::size_t>(epoch.begin(), epoch.end()).size(), std::size_t{10});
      }
      QCOMPARE(epochs[0] == epochs[1], !shuffle);
      RowOrder again(10, shuffle, 1, 2);
      QCOMPARE(again.row(25), epochs[2][5]);
      QCOMPARE(again.row(3), epochs[0][3]);
    }
  }

  void batches_of_a_file_go_on_where_the_last_ended() {
    write("{\"q\":\"a\",\"r\":1}\n{\"q\":\"b\",\"r\":\"x #### 2 \"}\n{\"q\":\"c\",\"r\":true}\n");
    const auto prompts = [&](std::int64_t iteration) {
      const Json params = {{"file", file()},
                           {"prompt_field", "q"},
                           {"reference_field", "r"},
                           {"reference_after", "####"},
                           {"batch", 2},
                           {"shuffle", false}};
      return evaluate(registry_, "data.jsonl", params, {}, {.iteration = iteration}).outputs.meta;
    };
    QCOMPARE(prompts(0)["prompts"].get<Texts>(), (Texts{"a", "b"}));
    QCOMPARE(prompts(1)["prompts"].get<Texts>(), (Texts{"c", "a"}));
    QCOMPARE(prompts(2)["prompts"].get<Texts>(), (Texts{"b", "c"}));
    QCOMPARE(prompts(0)["prompts.reference"].get<Texts>(), (Texts{"1", "2"}));
    QVERIFY(prompts(0)["prompts.id"][1].get<std::string>().ends_with("rows.jsonl:2"));
    QCOMPARE(prompts(0)["prompts.fields"][0]["r"].get<int>(), 1);
    const Json all = {{"file", file()}, {"prompt_field", "q"}};
    QCOMPARE(evaluate(registry_, "data.jsonl", all, {}).outputs.meta["prompts"].size(),
             std::size_t{3});
    const Json some = {{"file", file()}, {"prompt_field", "q"}, {"skip", 1}, {"limit", 1}};
    QCOMPARE(evaluate(registry_, "data.jsonl", some, {}).outputs.meta["prompts"].get<Texts>(),
             (Texts{"b"}));
  }

  void faults_in_a_file_name_its_line() {
    write("{\"q\":\"a\"}\n{\"p\":\"b\"}\n");
    const Json params = {{"file", file()}, {"prompt_field", "q"}};
    const auto fault = [&](const Json& given) {
      try {
        evaluate(registry_, "data.jsonl", given, {});
      } catch (const Failure& failure) {
        return failure.problem();
      }
      return Problem{};
    };
    QCOMPARE(fault(params).code, std::string("data-field"));
    QVERIFY(fault(params).text.find("rows.jsonl:2") != std::string::npos);
    QVERIFY(fault(params).help.find("p") != std::string::npos);
    write("{\"q\":[1]}\n");
    QCOMPARE(fault(params).code, std::string("data-field"));
    write("{\"q\":\"a\"}\n{\"q\":\n");
    QCOMPARE(fault(params).code, std::string("json-invalid"));
    write("");
    QCOMPARE(fault(params).code, std::string("data-empty"));
    QCOMPARE(fault({{"file", folder_.filePath("none.jsonl").toStdString()}}).code,
             std::string("file-not-found"));
  }

  void a_checkpoint_knows_its_file() {
    write("{\"q\":\"a\"}\n");
    JsonlRows rows = JsonlRows::read(file(), 0, 0);
    Package saved;
    rows.save(saved);
    JsonlRows::read(file(), 0, 0).load(saved);
    write("{\"q\":\"b\"}\n");
    JsonlRows other = JsonlRows::read(file(), 0, 0);
    QCOMPARE(code_of([&] { other.load(saved); }), std::string("data-changed"));
  }

  void the_rows_of_verl_s_test_have_their_answers() {
    const QString rows =
        QStringLiteral(REWARDLOOM_SOURCE_DIR "/../shared/data/tinyzero-arith-model/test.jsonl");
    if (!QFile::exists(rows)) QSKIP("the data set is not there");
    const Json params = {{"file", rows.toStdString()}, {"prompt_field", "prompt/-1/content"}};
    Package in;
    in.meta["prompts"] = evaluate(registry_, "data.jsonl", params, {}).outputs.meta["prompts"];
    QCOMPARE(in.meta["prompts"].size(), std::size_t{200});
    const Package out = evaluate(registry_, "data.digit_sequence", Json::object(), in).outputs;
    QCOMPARE(out.meta["prompts.reference"].size(), std::size_t{200});
  }

 private:
  std::string file() const { return folder_.filePath("rows.jsonl").toStdString(); }
  void write(const QByteArray& content) {
    QFile out(folder_.filePath("rows.jsonl"));
    QVERIFY(out.open(QIODevice::WriteOnly | QIODevice::Truncate));
    out.write(content);
  }

  QTemporaryDir folder_;
  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestData;
REWARDLOOM_TEST(TestData)
#include "test_data.moc"
