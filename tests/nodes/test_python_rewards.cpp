#include <sys/wait.h>

#include <QProcess>
#include <QStandardPaths>
#include <QTemporaryDir>

#include "tests/nodes/reward_function_bench.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

const Completions kOneBad = written({"fine", "bad", "fine", "fine"});

/// Row 1 fails with that reason and no other row does.
bool only_row_one(const Scored& found, const std::string& reason) {
  return found.absent == std::set<std::int64_t>{1} && found.failed.size() == 1 &&
         found.failed.contains(1) && has(found.failed.at(1), reason) &&
         found.total == std::vector<double>{1, 0, 1, 1} && found.metrics.at("failed") == 1 &&
         found.alarms == std::vector<std::string>{"rows-failed"};
}

}  // namespace

class TestPythonRewards : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    if (QStandardPaths::findExecutable("python3").isEmpty()) QSKIP("there is no python3");
  }

  // ---- conventions ----

  void a_function_as_verl_ships_it() {
    Completions c = written({"so 12\n#### 12", "#### 1,200", "12", "#### 13"});
    c.reference = {"12", "1200", "12", "12"};
    QCOMPARE(score("final_answer.py", "", c).total, (std::vector<double>{1, 1, 0, 0}));
    const Json loose = {{"args", {{"method", "flexible"}, {"format_score", 0.1}}}};
    QCOMPARE(score("final_answer.py", "", c, loose).total, (std::vector<double>{1, 1, 1, 0.1}));
  }

  void a_dict_gives_components_and_metrics() {
    std::vector<Json> fields = same_fields(
        3,
        {{"data_source", "maths"}, {"reward_model", {{"style", "rule"}, {"ground_truth", "7"}}}});
    const Scored found = score("custom_score.py", "", written({"7", " 7 ", "eight"}, fields));
    QCOMPARE(found.total, (std::vector<double>{1, 1, -0.5}));
    QCOMPARE(found.components.at("score"), found.total);
    QCOMPARE(found.components.at("acc"), (std::vector<double>{1, 1, 0}));
    QCOMPARE(found.components.at("length"), (std::vector<double>{1, 3, 5}));
    QVERIFY(!found.components.contains("pred") && !found.components.contains("source"));
    QCOMPARE(found.metrics.at("length"), 3.0);
    QVERIFY(found.failed.empty() && found.alarms.empty());
  }

  void a_number_that_only_some_rows_have_is_a_metric() {
    const Scored found = score("custom_score.py", "partly", written({"bare", "b", "c"}));
    QCOMPARE(found.total, (std::vector<double>{1, 0.25, 0.25}));
    QVERIFY(!found.components.contains("format"));
    QCOMPARE(found.metrics.at("format"), 1.0);
  }

  void a_dict_without_score_names_what_it_has() {
    const Scored found = score("custom_score.py", "no_score", written({"a"}));
    QVERIFY(has(found.failed.at(0), "without \"score\": it has acc"));
  }

  void extra_info_and_keywords_arrive() {
    std::vector<Json> fields = {
        {{"data_source", "maths"}, {"extra_info", {{"level", 2}}}},
        {{"data_source", "art"}, {"extra_info", {{"level", 3}}}},
    };
    const Scored found = score("custom_score.py", "difficulty", written({"a", "b"}, fields),
                               {{"args", {{"weight", 1.5}}}});
    QCOMPARE(found.total, (std::vector<double>{3, 0}));
    QVERIFY(has(found.failed.at(1),
                "NotImplementedError: no score for 'art' (custom_score.py:22 in difficulty)"));
  }

  void coroutines_are_awaited() {
    Completions c = written({"a", "b"});
    c.reference = {"a", "a"};
    QCOMPARE(score("custom_score.py", "awaited", c).total, (std::vector<double>{1, 0}));
    QCOMPARE(score("batched.py", "awaited", written({"", "b"})).total, (std::vector<double>{0, 1}));
  }

  void trl_functions_get_columns_and_tokens() {
    const std::vector<Json> fields = {{{"prompt", "?"}, {"ground_truth", "2"}},
                                      {{"prompt", "?"}, {"ground_truth", "5"}}};
    const Completions c = written({R"(it is \boxed{2}.)", R"(\boxed{6})"}, fields);
    QCOMPARE(score("batched.py", "boxed", c).total, (std::vector<double>{1, 0}));
    QCOMPARE(score("batched.py", "tokens", c).total, (std::vector<double>{16, 9}));
    QCOMPARE(score("batched.py", "tokens_as_once_documented", c).total,
             (std::vector<double>{16, 9}));
    QCOMPARE(score("batched.py", "longer_than_three", written({"abc", "abcd"})).total,
             (std::vector<double>{0, 1}));
  }

  void trl_functions_get_conversations_if_asked() {
    const Json chat = {{"conversational", true}};
    QCOMPARE(score("batched.py", "thought", written({"<think>a</think>b", "b"}), chat).total,
             (std::vector<double>{1, 0}));
    const Json messages =
        Json::array({{{"role", "system"}, {"content", "s"}}, {{"role", "user"}, {"content", "u"}}});
    const std::vector<Json> fields = {{{"prompt", messages}}, {{"prompt", "plain"}}};
    QCOMPARE(score("batched.py", "roles", written({"a", "b"}, fields), chat).total,
             (std::vector<double>{4, 3}));
  }

  void none_under_trl_does_not_apply_and_is_no_failure() {
    const std::vector<Json> fields = {{{"task", "maths"}}, {{"task", "code"}}, {{"other", 1}}};
    const Scored found = score("batched.py", "maths_only", written({"abc", "d", "e"}, fields));
    QCOMPARE(found.total, (std::vector<double>{3, 0, 0}));
    QCOMPARE(found.absent, (std::set<std::int64_t>{1, 2}));
    QVERIFY(found.failed.empty() && found.alarms.empty());
    QCOMPARE(found.metrics.at("not_applicable"), 2.0);
  }

  void trl_state_and_metrics() {
    Function function("batched.py", "everything",
                      {{"args", {{"trainer_state", {{"max_steps", 10}}}}}});
    const Scored found = function(written({"abc", "d"}, same_fields(2, {{"task", "x"}})), 5);
    QCOMPARE(found.total, (std::vector<double>{2.5, 2.5}));
    QCOMPARE(found.metrics.at("longest"), 3.0);
  }

  void how_much_a_trl_function_gets_at_once() {
    const Completions c = written({"b", "a", "d", "c"});
    QCOMPARE(score("batched.py", "ranked", c).total, (std::vector<double>{1, 0, 3, 2}));
    QCOMPARE(score("batched.py", "ranked", c, {{"at_once", "group"}, {"workers", 2}}).total,
             (std::vector<double>{1, 0, 1, 0}));
    QCOMPARE(score("batched.py", "ranked", c, {{"at_once", "row"}}).total,
             (std::vector<double>{0, 0, 0, 0}));
  }

  void trl_answers_of_the_wrong_kind() {
    const Completions c = written({"a", "b", "c", "d", "e", "f"});
    const Scored few = score("batched.py", "too_few", c);
    QCOMPARE(few.failed.size(), std::size_t(6));
    QVERIFY(has(few.failed.at(0), "returned 5 rewards for 6 completions"));
    QVERIFY(has(score("batched.py", "one_number", c).failed.at(5),
                "returned float 1.0, not a list of 6 rewards"));
    const Scored mixed = score("batched.py", "mixed", c);
    QCOMPARE(mixed.total, (std::vector<double>{1, 0, 0, 1, 2.5, 0}));
    QCOMPARE(mixed.absent, (std::set<std::int64_t>{1, 2, 5}));
    QCOMPARE(mixed.failed.size(), std::size_t(2));
    QVERIFY(has(mixed.failed.at(1), "str 'one', which is no number"));
    QVERIFY(has(mixed.failed.at(2), "nan"));
  }

  void a_missing_ground_truth_is_an_error_and_no_reward() {
    Completions c = written({"a"}, same_fields(1, {{"answer", "a"}}));
    c.reference.clear();
    const Problem problem = problem_of([&] { score("custom_score.py", "", c); });
    QVERIFY(has(problem.text, "compute_score is to get ground_truth, but the rows have answer"));
    QCOMPARE(score("custom_score.py", "", c, {{"columns", {{"ground_truth", "answer"}}}}).total,
             std::vector<double>{1});
    QCOMPARE(score("custom_score.py", "", c, {{"args", {{"ground_truth", "b"}}}}).total,
             std::vector<double>{-0.5});
  }

  void keywords_that_no_row_has_are_named() {
    std::vector<Json> fields = same_fields(2, {{"prompt", "p"}, {"meta", {{"answer", "a"}}}});
    Completions c = written({"a", "b"}, fields);
    const Problem problem = problem_of([&] { score("batched.py", "needs_solution", c); });
    QCOMPARE(problem.code, std::string("python-argument"));
    QVERIFY(
        has(problem.text, "needs_solution is to get solution, but the rows have meta and prompt"));
    QCOMPARE(score("batched.py", "needs_solution", c, {{"columns", {{"solution", "meta.answer"}}}})
                 .total,
             (std::vector<double>{1, 0}));
    c.reference = {"x", "b"};
    QCOMPARE(
        score("batched.py", "needs_solution", c, {{"columns", {{"solution", "reference"}}}}).total,
        (std::vector<double>{0, 1}));
    const Problem wrong = problem_of([&] {
      score("batched.py", "needs_solution", c, {{"columns", {{"solution", "meta.truth"}}}});
    });
    QVERIFY(has(wrong.text, "solution from meta.truth"));
  }

  // ---- faults that are found at the start ----

  void a_syntax_error_is_shown_with_its_place() {
    const QTemporaryDir folder;
    const std::string file = folder.filePath("broken.py").toStdString();
    std::ofstream(file) << "import os\n\ndef compute_score(solution_str:\n    return 1\n";
    const Problem problem = start_problem(file);
    QCOMPARE(problem.code, std::string("python-syntax"));
    QVERIFY(has(problem.text, "broken.py:3: "));
    QVERIFY(has(problem.text, "def compute_score(solution_str:"));
  }

  void a_missing_module_is_named() {
    const Problem problem = start_problem("needs_missing_module.py");
    QCOMPARE(problem.code, std::string("python-module"));
    QVERIFY(has(problem.text,
                "needs_missing_module.py:2: needs the module \"a_module_that_nobody_has\""));
  }

  void a_file_that_fails_to_load() {
    const Problem problem = start_problem("fails_to_load.py");
    QCOMPARE(problem.code, std::string("python-import"));
    QVERIFY(
        has(problem.text, "fails_to_load.py:3: KeyError: 'medium'; it printed: loading the table"));
  }

  void missing_files_functions_and_interpreters() {
    QCOMPARE(start_problem("not_there.py").code, std::string("python-file"));
    const Problem function = start_problem("custom_score.py", "scores");
    QCOMPARE(function.code, std::string("python-function"));
    QVERIFY(has(function.text, "has no function scores; it has compute_score, length_only"));
    QVERIFY(has(start_problem("misbehaving.py", "not_callable").text,
                "not_callable is no function but int"));
    QVERIFY(has(start_problem("batched.py").text, "has no compute_score, and 14 reward functions"));
    QCOMPARE(start_problem("neither.py").code, std::string("python-function"));
    QCOMPARE(start_problem("neither.py", "reward").code, std::string("python-convention"));
    const Problem program = start_problem("custom_score.py", "", {{"python", "no_such_python"}});
    QCOMPARE(program.code, std::string("python-start"));
    QVERIFY(has(program.text, "no_such_python cannot be started: No such file"));
    const Problem other = start_problem("custom_score.py", "", {{"python", "false"}});
    QVERIFY(has(other.text, "false ended before it had loaded"));
  }

  void arguments_that_the_function_does_not_take() {
    const Problem problem =
        start_problem("final_answer.py", "", {{"args", {{"methods", "strict"}}}});
    QCOMPARE(problem.code, std::string("python-argument"));
    QVERIFY(has(problem.text, "takes no methods"));
    QVERIFY(has(start_problem("neither.py", "reward", {{"convention", "verl"}}).text,
                "needs text, which nothing gives"));
  }

  void a_slow_start_is_waited_for_up_to_its_deadline() {
    QCOMPARE(score("slow_start.py", "", written({"a"}), {{"deadline", 0.5}}).total,
             std::vector<double>{1});
    const Problem problem = start_problem("slow_start.py", "", {{"start_deadline", 0.3}});
    QCOMPARE(problem.code, std::string("python-start"));
    QVERIFY(has(problem.text, "after 0.3 s"));
  }

  void a_run_finds_them_before_its_first_iteration() {
    if (!QFile::exists(REWARDLOOM_PROGRAM)) QSKIP("the program is not built");
    const QTemporaryDir folder;
    std::ofstream(folder.filePath("broken.py").toStdString()) << "def f(:\n";
    const Json graph = {
        {"rewardloom", 1},
        {"settings", {{"iterations", 2}}},
        {"nodes",
         {{"tasks", {{"type", "data.arithmetic"}}},
          {"actor",
           {{"type", "text.policy"},
            {"params", {{"model", REWARDLOOM_SOURCE_DIR "/resources/models/arithmetic"}}}}},
          {"rollout",
           {{"type", "sample.generate"},
            {"inputs", {{"policy", "actor.policy"}, {"prompts", "tasks.prompts"}}}}},
          {"check",
           {{"type", "reward.python"},
            {"inputs", {{"completions", "rollout.completions"}}},
            {"params", {{"file", "broken.py"}}}}}}}};
    std::ofstream(folder.filePath("graph.json").toStdString()) << graph.dump();
    QProcess program;
    program.setWorkingDirectory(folder.path());
    program.start(REWARDLOOM_PROGRAM, {"run", "graph.json", "--json"});
    QVERIFY(program.waitForFinished(60000));
    QCOMPARE(program.exitCode(), 1);
    const QByteArray all = program.readAllStandardOutput() + program.readAllStandardError();
    QVERIFY2(all.contains("python-syntax") && all.contains("broken.py:1"), all.constData());
    QVERIFY2(!all.contains("rollout/"), all.constData());
  }

  // ---- what functions do ----

  void values_that_are_no_numbers() {
    QVERIFY(only_row_one(score("misbehaving.py", "text", kOneBad),
                         "returned str '0.9', which is no number"));
    QVERIFY(only_row_one(score("misbehaving.py", "nothing", kOneBad),
                         "returned None, which is no number"));
    const Scored found =
        score("misbehaving.py", "not_finite", written({"nan", "inf", "huge", "x"}));
    QVERIFY(has(found.failed.at(0), "returned nan"));
    QVERIFY(has(found.failed.at(1), "returned inf"));
    QVERIFY(has(found.failed.at(2), "int too large to convert to float"));
    QCOMPARE(found.total[3], 1.0);
  }

  void an_exception_fails_its_row_alone() {
    QVERIFY(only_row_one(score("misbehaving.py", "raises", kOneBad),
                         "ValueError: no digits in 'bad' (misbehaving.py:34 in raises)"));
    QVERIFY(only_row_one(score("misbehaving.py", "leaves", kOneBad), "SystemExit: 3"));
    QVERIFY(only_row_one(score("misbehaving.py", "alarm", kOneBad), "TimeoutError: too slow"));
  }

  void a_failed_row_stops_the_run_unless_rows_may_be_skipped() {
    Function function("misbehaving.py", "raises");
    function.bench().context.skip_rows = false;
    QVERIFY(has(problem_of([&] { function(kOneBad); }).text, "ValueError"));
  }

  void a_hanging_call_ends_at_its_deadline_and_costs_its_row_alone() {
    QElapsedTimer timer;
    timer.start();
    Function function("misbehaving.py", "hangs", {{"deadline", 0.3}});
    QVERIFY(only_row_one(function(kOneBad), "no answer within the deadline of 0.3 s"));
    QVERIFY(timer.elapsed() < 8000);
    QVERIFY(only_row_one(function(kOneBad), "deadline"));  // the new worker works as well
  }

  void processes_that_outlive_a_call_end_with_it_or_with_the_node() {
    const QTemporaryDir folder;
    const std::string notes = folder.filePath("pids").toStdString();
    const std::vector<Json> fields = same_fields(1, {{"extra_info", {{"notes", notes}}}});
    {
      Function function("misbehaving.py", "hangs_with_family", {{"deadline", 1.0}});
      const Scored found = function(written({"bad"}, fields));
      QVERIFY(has(found.failed.at(0), "deadline"));
      QCOMPARE(noted(notes).size(), std::size_t(3));
      QVERIFY(all_gone(noted(notes), 1));
      QCOMPARE(function(written({"fine"}, fields)).total, std::vector<double>{1});
      QTRY_COMPARE(noted(notes).size(), std::size_t(6));
    }
    QVERIFY(all_gone(noted(notes), 1));
    {
      Function function("misbehaving.py", "leaves_children");
      QCOMPARE(function(written({"a"}, fields)).total, std::vector<double>{1});
    }
    QVERIFY(all_gone(noted(notes), 1));
    QCOMPARE(own_children(), std::size_t(0));
  }

  void a_forked_child_that_returns_does_not_answer() {
    Function function("misbehaving.py", "returns_twice");
    for (int i = 0; i < 3; ++i) {
      QCOMPARE(function(written({"a", "b", "c"})).total, (std::vector<double>{1, 1, 1}));
    }
  }

  void a_process_that_dies_costs_its_row_alone() {
    QVERIFY(only_row_one(score("misbehaving.py", "dies", kOneBad),
                         "its process ended: exit status 7; it printed: this is the end"));
    QVERIFY(only_row_one(score("misbehaving.py", "crashes", kOneBad), "signal 11"));
    QVERIFY(only_row_one(score("misbehaving.py", "kills_its_group", kOneBad), "signal 9"));
    const QTemporaryDir folder;
    const std::string notes = folder.filePath("pids").toStdString();
    Completions c = kOneBad;
    c.fields = same_fields(4, {{"extra_info", {{"notes", notes}}}});
    QVERIFY(only_row_one(score("misbehaving.py", "dies_with_heir", c), "exit status 1"));
    QVERIFY(!noted(notes).empty() && all_gone(noted(notes), 1));
  }

  void memory_is_limited() {
    QVERIFY(only_row_one(score("misbehaving.py", "allocates", kOneBad, {{"memory", 512}}),
                         "MemoryError"));
  }

  void descriptors_are_closed() {
    Completions c = kOneBad;
    c.reference = {"", "3", "", ""};
    QVERIFY(only_row_one(score("misbehaving.py", "closes", c), "OSError"));
    c.reference[1] = "all";
    QVERIFY(only_row_one(score("misbehaving.py", "closes", c), "closed the descriptor"));
    QVERIFY(only_row_one(score("misbehaving.py", "takes_over", kOneBad), "closed the descriptor"));
  }

  void a_gigabyte_of_print_changes_nothing() {
    QElapsedTimer timer;
    timer.start();
    const std::vector<Json> fields = same_fields(2, {{"extra_info", {{"megabytes", 512}}}});
    Function function("misbehaving.py", "prints", {{"deadline", 60}});
    const QTemporaryDir folder;
    function.bench().settings().run_dir = folder.path().toStdString();
    QCOMPARE(function(written({"a", "b"}, fields)).total, (std::vector<double>{1, 1}));
    qInfo("1 GiB printed in %.2f s", static_cast<double>(timer.elapsed()) / 1000);
    const QFileInfo log(folder.filePath("logs/score.txt"));
    QVERIFY(log.exists() && log.size() > 1000000 && log.size() < 1100000);
  }

  void any_text_travels() {
    const std::vector<std::string> texts = {"Grüße, 東京 🙂", std::string("a\0b", 3),
                                            "\r\n\u2028\"\\", "cut \xf0\x9f\x99", ""};
    Completions c = written(texts);
    c.reference = {texts[0], texts[1], texts[2], "cut \ufffd", ""};
    const Scored found = score("misbehaving.py", "echo", c);
    QVERIFY2(found.failed.empty(),
             found.failed.empty() ? "" : found.failed.begin()->second.c_str());
    QCOMPARE(found.total, (std::vector<double>{11, 3, 5, 5, 0}));
    QVERIFY(found.metrics.contains("schl?ssel"));
    QVERIFY(has(score("misbehaving.py", "surrogate", written({"a"})).failed.at(0),
                "ValueError: half a pair: ? and ?"));
  }

  void scalars_of_other_libraries_are_numbers() {
    const Scored plain =
        score("misbehaving.py", "scalars", written({"decimal", "fraction", "bool", "complex"}));
    QCOMPARE(plain.total, (std::vector<double>{1.5, 0.25, 1, 0}));
    QVERIFY(has(plain.failed.at(3), "complex 1j, which is no number"));
    const QString python = "/usr/bin/python3";
    if (QProcess::execute(python, {"-c", "import numpy, torch"}) != 0) QSKIP("no numpy and torch");
    const Scored found =
        score("misbehaving.py", "scalars", written({"numpy", "array", "vector", "torch", "tensor"}),
              {{"python", python.toStdString()}, {"deadline", 60}});
    QCOMPARE(found.total, (std::vector<double>{0.5, 2, 0, 0.25, 1}));
    QVERIFY(has(found.failed.at(2), "ndarray array([1., 1., 1.]), which is no number"));
  }

  void input_is_at_its_end() {
    QVERIFY(has(score("misbehaving.py", "asks", written({"a"})).failed.at(0), "EOFError"));
  }

  // ---- workers ----

  void neither_workers_nor_order_change_a_result() {
    std::vector<std::string> texts;
    for (int i = 0; i < 200; ++i) texts.push_back(i % 50 == 7 ? "bad" : std::to_string(i));
    const Completions c = written(texts);
    for (const char* name : {"drawn", "order_of_a_set", "dies"}) {
      const Scored one = score("misbehaving.py", name, c, {{"workers", 1}});
      const Scored three = score("misbehaving.py", name, c, {{"workers", 3}});
      QCOMPARE(three.total, one.total);
      QCOMPARE(three.failed, one.failed);
    }
    Function function("misbehaving.py", "drawn");
    const std::vector<double> first = function(c, 0).total;
    QVERIFY(function(c, 1).total != first);
    QCOMPARE(function(c, 0).total, first);
    QCOMPARE(std::set<double>(first.begin(), first.end()).size(), std::size_t(200));
  }

  void nothing_is_left_when_the_program_is_killed() {
    const QTemporaryDir folder;
    const std::string notes = folder.filePath("pids").toStdString();
    const Completions c = written({"bad"}, same_fields(1, {{"extra_info", {{"notes", notes}}}}));
    const pid_t program = ::fork();
    if (program == 0) {
      score("misbehaving.py", "hangs_with_family", c, {{"deadline", 100}});
      ::_exit(0);
    }
    QTRY_VERIFY_WITH_TIMEOUT(noted(notes).size() == 3, 20000);
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    QVERIFY(all_gone(noted(notes), 5000));
  }

  void the_end_of_a_node_does_not_wait_for_threads() {
    QElapsedTimer timer;
    timer.start();
    score("misbehaving.py", "in_a_thread", written({"a"}));
    QVERIFY(timer.elapsed() < 5000);
    QCOMPARE(own_children(), std::size_t(0));
  }

  void warm_workers_score_many_rows() {
    constexpr int kRows = 2000;
    std::vector<std::string> texts;
    for (int i = 0; i < kRows; ++i)
      texts.push_back(std::string(1000, 'x') + "#### " + std::to_string(i));
    Completions c = written(texts, same_fields(kRows, {{"data_source", "maths"}}));
    for (int i = 0; i < kRows; ++i) c.reference[static_cast<std::size_t>(i)] = std::to_string(i);
    for (const int workers : {1, 2}) {
      Function function("final_answer.py", "", {{"workers", workers}});
      function(c);
      QElapsedTimer timer;
      timer.start();
      QCOMPARE(function(c).total, std::vector<double>(kRows, 1.0));
      const double each = static_cast<double>(timer.nsecsElapsed()) / 1e3 / kRows;
      qInfo("verl, %d worker(s), 1 kB answers: %.1f us per answer", workers, each);
    }
    c.fields = same_fields(kRows, {{"ground_truth", "1"}});
    Function function("batched.py", "boxed");
    function(c);
    QElapsedTimer timer;
    timer.start();
    function(c);
    const double each = static_cast<double>(timer.nsecsElapsed()) / 1e3 / kRows;
    qInfo("TRL, 1 kB answers of 1000 tokens: %.1f us per answer", each);
  }
};

REWARDLOOM_TEST(TestPythonRewards)
#include "test_python_rewards.moc"
