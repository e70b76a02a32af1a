#include <torch/types.h>

#include <QDir>
#include <QProcess>
#include <QStandardPaths>

#include "nodes/code/mini_language.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/reward_function_bench.h"
#include "tests/nodes/sandbox_bench.h"

namespace rewardloom {

using namespace testing;

namespace {

MiniResult mini(const std::string& source, std::int64_t x, const MiniLimits& limits = {}) {
  return MiniProgram(source, limits).run(x);
}

std::string mini_fault(const std::string& source) { return MiniProgram(source, {}).fault(); }

QString data_folder() { return QStringLiteral(REWARDLOOM_SOURCE_DIR "/../shared/data/"); }

std::vector<Json> lines_of(const QByteArray& text) {
  std::vector<Json> rows;
  for (const QByteArray& line : text.split('\n')) {
    if (!line.trimmed().isEmpty()) rows.push_back(Json::parse(line.toStdString()));
  }
  return rows;
}

Json verdict_list(const std::string& source, const std::vector<ProgramTest>& tests,
                  ProgramPoolOptions options = {}) {
  options.workers = 1;
  ProgramPool pool(options);
  Json names = Json::array();
  const auto found = pool.run({{source, &tests}}, [] { return false; });
  for (const Verdict verdict : found[0].verdicts) {
    names.push_back(std::string(name_of(verdict)));
  }
  return names;
}

/// Fires reward.tests_passed on rows.
struct Fired {
  std::vector<double> rewards, rates;
  std::set<std::int64_t> absent;
  std::vector<std::string> messages;
  std::map<std::string, double> metrics;
  std::map<std::int64_t, std::string> failed;
};
Fired fire_rows(const Json& params, Completions c) {
  Bench bench("reward.tests_passed", params, "score");
  bench.context.skip_rows = true;
  bench.connect("completions", {Value::of(std::move(c))});
  bench.fire();
  const Rewards& rewards = bench.out<Rewards>("rewards");
  Fired out;
  out.rewards = list_of(rewards.total);
  for (const auto& [name, values] : rewards.components) {
    if (name == "pass_rate") out.rates = list_of(values);
  }
  if (rewards.absent.defined()) {
    const std::vector<double> absent = list_of(rewards.absent);
    for (std::size_t i = 0; i < absent.size(); ++i) {
      if (absent[i] != 0) out.absent.insert(static_cast<std::int64_t>(i));
    }
  }
  out.messages = bench.out<TextRows>("messages").texts;
  out.metrics = bench.context.metrics;
  out.failed = bench.context.failed_rows;
  return out;
}

}  // namespace

class TestPrograms : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // ---- the mini-language ----

  void mini_programs_give_what_they_say() {
    const std::string source = "< 2 : 3 x + 1 = 2 : 5 else -1 x + 4";
    for (std::int64_t x = -6; x <= 6; ++x) {
      const MiniResult result = mini(source, x);
      QCOMPARE(result.state, MiniResult::State::value);
      QCOMPARE(result.value, x < 2 ? 3 * x + 1 : x == 2 ? 5 : 4 - x);
    }
    QCOMPARE(mini("7", 3).value, std::int64_t{7});
    QCOMPARE(mini("2 x x - 3 ( x + 1 ) - -4", 5).value, std::int64_t{50 - 18 + 4});
    QCOMPARE(mini("<= 1 : 1 else x f ( x - 1 )", 6).value, std::int64_t{720});
    QCOMPARE(mini("!= 0 : 1 else 2", 0).value, std::int64_t{2});
    QCOMPARE(mini(">= 3 : 1 > 1 : 2 else 3", 2).value, std::int64_t{2});
    QCOMPARE(mini("< x + 1 : 4", 9).value, std::int64_t{4});
  }

  void mini_programs_that_go_wrong() {
    QCOMPARE(mini("f x", 1).state, MiniResult::State::timeout);
    QCOMPARE(mini("f ( x + 1 )", 1).state, MiniResult::State::timeout);
    QCOMPARE(mini("< 2 : 1", 2).state, MiniResult::State::error);
    QCOMPARE(mini("x x", 4000000000).state, MiniResult::State::error);
    QCOMPARE(mini("<= 1 : 1 else x f ( x - 1 )", 30, {16, 1000}).state, MiniResult::State::error);
    // Each operation is a step.
    QCOMPARE(mini("x + 1 + 1", 1, {16, 2}).state, MiniResult::State::value);
    QCOMPARE(mini("x + 1 + 1", 1, {16, 1}).state, MiniResult::State::timeout);
  }

  void what_is_no_mini_program_is_told() {
    QCOMPARE(mini_fault(""), std::string("token 1: there is no program"));
    QCOMPARE(mini_fault("x +"), std::string("token 3: a value is missing at the end"));
    QCOMPARE(mini_fault("< 2 x"), std::string("token 4: \":\" is missing before \"\""));
    QCOMPARE(mini_fault("x else 2"), std::string("token 2: \"else\" does not belong there"));
    QCOMPARE(mini_fault("y"), std::string("token 1: \"y\" is no value"));
    QCOMPARE(mini_fault("( x"), std::string("token 3: \")\" is missing before \"\""));
    QCOMPARE(mini_fault("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"),
             std::string("token 1: 17 tokens are more than 16"));
    QVERIFY(!mini_fault("99999999999999999999").empty());
    QVERIFY(MiniProgram(std::string(100000, '(') + "x", {1 << 20, 64}).fault() != "");
    std::string deep;
    for (int i = 0; i < 100000; ++i) deep += "( ";
    QVERIFY(!MiniProgram(deep + "x", {1 << 20, 64}).fault().empty());
  }

  // ---- tests and outputs ----

  void outputs_are_compared_as_asked() {
    OutputRules rules;
    QVERIFY(same_output(" 4\n", "4", rules));
    QVERIFY(!same_output("4 5", "4  5", rules));
    QVERIFY(!same_output("4.0", "4", rules));
    rules.compare = OutputCompare::float_tol;
    QVERIFY(same_output("4 5", "4  5\n", rules));
    QVERIFY(same_output("4.0000001 yes", "4 yes", rules));
    QVERIFY(same_output("1000000.5", "1000000", rules));
    QVERIFY(!same_output("4.1", "4", rules));
    QVERIFY(!same_output("4 4", "4", rules));
    QVERIFY(!same_output("nan", "4", rules));
    QVERIFY(!same_output("no", "yes", rules));
  }

  void tests_are_read_in_all_their_forms() {
    QVERIFY(program_test("assert f(1) == 2").asserts);
    QCOMPARE(program_test({{"code", "check(f)"}, {"entry_point", "f"}}).entry, std::string("f"));
    QCOMPARE(program_test({{"input", 3}, {"output", "7"}}).input, std::string("3"));
    QCOMPARE(program_test({{"output", "7"}}).input, std::string());
    for (const Json& wrong :
         {Json(3), Json::object(), Json{{"input", "3"}}, Json{{"output", Json::array()}}}) {
      QCOMPARE(problem_from([&] { program_test(wrong); }).code, std::string("bad-test"));
    }
  }

  // ---- Python ----

  void python_programs_by_their_output() {
    if (!sandbox()) return;
    const auto one = [](const std::string& source, const ProgramTest& test,
                        const ProgramPoolOptions& options = {}) {
      return verdict_list(source, {test}, options)[0].get<std::string>();
    };
    QCOMPARE(verdict_list("n = int(input())\nprint(n * 2)",
                          {says("6", "3"), says("5", "3"), says("8", "4\n")}),
             Json({"pass", "wrong", "pass"}));
    QCOMPARE(one("import sys\nprint(sum(map(int, sys.stdin.read().split())))", says("6", "1 2\n3")),
             "pass");
    QCOMPARE(one("print('ä€')", says("ä€")), "pass");
    QCOMPARE(one("if __name__ == '__main__':\n    print(1)", says("1")), "pass");
    QCOMPARE(one("print(1); exit()", says("1")), "pass");
    QCOMPARE(one("print(1); raise SystemExit(2)", says("1")), "error");
    QCOMPARE(one("print(1); import os; os._exit(253)", says("1")), "error");
    QCOMPARE(one("print(1); 1 / 0", says("1")), "error");
    QCOMPARE(one("pass", says("")), "wrong");
    QCOMPARE(one("import sys; print(1); print('x', file=sys.stderr)", says("1")), "error");
    QCOMPARE(one("print(", says("1")), "compile_error");
    QCOMPARE(one(std::string(1, '\0'), says("1")), "compile_error");
    QCOMPARE(one("import threading\nthreading.Thread(target=lambda: print(1)).start()", says("1")),
             "pass");
    QCOMPARE(one("import atexit\natexit.register(print, 1)", says("1")), "pass");
    QCOMPARE(one("import subprocess\nprint(subprocess.run(['echo', '1'], capture_output=True)"
                 ".stdout.decode())",
                 says("1")),
             "pass");
    QCOMPARE(one("import asyncio\nasync def f():\n    print(1)\nasyncio.run(f())", says("1")),
             "pass");
    QCOMPARE(one("def f(n):\n    return f(n + 1)\nf(0)", says("1")), "error");
    ProgramPoolOptions lenient;
    lenient.rules.quiet = false;
    QCOMPARE(one("pass", says(""), lenient), "pass");
    QCOMPARE(one("import sys; print(1); print('x', file=sys.stderr)", says("1"), lenient), "pass");
  }

  void python_programs_repeat_themselves() {
    if (!sandbox()) return;
    const std::string source =
        "import random\nprint(random.random(), list({'a', 'b', 'c', 'd', 'e', 'f'}))";
    std::set<std::string> seen;
    for (int i = 0; i < 2; ++i) {
      ProgramPoolOptions options;
      options.workers = 2;
      ProgramPool pool(options);
      const std::vector<ProgramTest> tests(6, says("?"));
      for (int k = 0; k < 3; ++k) {
        seen.insert(pool.run({{source, &tests}}, [] { return false; })[0].message);
      }
    }
    QCOMPARE(seen.size(), std::size_t{1});
  }

  void python_programs_by_asserts() {
    if (!sandbox()) return;
    const std::string source =
        "import math\nfrom collections import namedtuple\n"
        "Pair = namedtuple('Pair', 'a b')\nK = [1, 2]\n"
        "class Box:\n    def __init__(self, v): self.v = v\n    def get(self): return self.v\n"
        "    def __eq__(self, o): return self.v == o.v\n"
        "def double(x): return 2 * x\n"
        "def fails(): raise KeyError('k')\n"
        "def fill(l): l.append(3)\n"
        "def apply(f, x): return f(x) + 1\n"
        "def count(): yield from range(3)\n"
        "def sum(a, b): return a * b\n";
    const std::vector<ProgramTest> tests = {
        asserts("assert double(2) == 4"),
        asserts("assert double([1]) == [1, 1] and double('a') == 'aa'"),
        asserts("assert double(2) == 5"),
        asserts("assert missing(2) == 5"),
        asserts("try:\n    fails()\n    assert False\nexcept KeyError:\n    pass"),
        asserts("fails()"),
        asserts("l = [1]\nfill(l)\nassert l == [1, 3]"),
        asserts("assert apply(lambda v: v * 10, 2) == 21"),
        asserts("assert list(count()) == [0, 1, 2] and Pair(1, 2) == (1, 2) and K == [1, 2]"),
        asserts("b = Box(3)\nb.v = 4\nassert b.get() == 4 and b == Box(4) and b != Box(5)"),
        asserts("assert sum(3, 4) == 12"),
        asserts("assert sum([3, 4]) == 7 and double(1) == 2"),
        asserts("assert math.isclose(double(0.5), 1.0)"),
        asserts("assert double(float('inf')) == float('inf') and double(1j) == 2j"),
        asserts("assert double(b'ab') == b'abab' and double((1,)) == (1, 1)"),
        asserts("def check(c):\n    assert c(1) == 2\ncheck(double)"),
        asserts("assert double("),
        asserts("assert double(object()) == 1"),
    };
    QCOMPARE(verdict_list(source, tests).dump(),
             Json({"pass", "pass", "wrong", "error", "pass", "error", "pass", "pass", "pass",
                   "pass", "pass", "pass", "pass", "pass", "pass", "pass", "fault", "fault"})
                 .dump());
    QCOMPARE(verdict_list("def f(:", {asserts("assert f() == 1")}), Json({"compile_error"}));
    QCOMPARE(verdict_list("import nothing", {asserts("assert f() == 1")}), Json({"error"}));
    QCOMPARE(verdict_list("import os\ndef f(): os._exit(0)", {asserts("assert f() == 1")}),
             Json({"error"}));
  }

  // ---- C++ ----

  void cpp_programs_are_compiled_and_run() {
    if (!sandbox()) return;
    ProgramPoolOptions options;
    options.language = ProgramLanguage::cpp;
    options.workers = 2;
    options.limits.seconds = 2;
    ProgramPool pool(options);
    const std::vector<ProgramTest> tests = {says("6", "3"), says("8", "4"), says("11", "5")};
    const std::string head = "#include <iostream>\nint main() { long n; std::cin >> n; ";
    const std::vector<ProgramJob> jobs = {
        {head + "std::cout << 2 * n; }", &tests},
        {head + "std::cout << 2 * m; }", &tests},
        {head + "if (n == 4) for (;;) {} std::cout << 2 * n; }", &tests},
        {head + "if (n == 4) __builtin_trap(); return n == 3; }", &tests},
        {head + "std::cout << 2 * n; return n == 4 ? 254 : 0; }", &tests},
    };
    const auto found = pool.run(jobs, [] { return false; });
    const auto names = [&](std::size_t job) {
      std::string text;
      for (const Verdict verdict : found[job].verdicts) text += std::string(name_of(verdict)) + " ";
      return text;
    };
    QCOMPARE(names(0), "pass pass wrong ");
    QCOMPARE(names(1), "compile_error compile_error compile_error ");
    QVERIFY2(has(found[1].message, "program.cpp:2:") && has(found[1].message, "error: "),
             found[1].message.c_str());
    QCOMPARE(names(2), "pass timeout wrong ");
    QCOMPARE(names(3), "error error wrong ");
    QVERIFY2(has(found[3].message, "exit status 1"), found[3].message.c_str());
    QCOMPARE(names(4), "pass error wrong ");
    QCOMPARE(problem_from([&] {
               const std::vector<ProgramTest> with_asserts = {asserts("assert f()")};
               pool.run({{"int main() {}", &with_asserts}}, [] { return false; });
             }).code,
             std::string("bad-test"));
  }

  void cpp_programs_stay_inside() {
    if (!sandbox()) return;
    ProgramPoolOptions options;
    options.language = ProgramLanguage::cpp;
    options.workers = 1;
    options.limits.seconds = 2;
    options.limits.memory = 256;
    ProgramPool pool(options);
    const std::vector<ProgramTest> tests = {says("contained"), says("contained")};
    const auto one = [&](const std::string& body) {
      const std::string source =
          "#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n#include <fcntl.h>\n"
          "#include <sys/socket.h>\n#include <unistd.h>\nint main() {\n" +
          body + "\n}\n";
      const auto found = pool.run({{source, &tests}}, [] { return false; })[0];
      return found.message.empty() ? std::string("pass") : found.message;
    };
    QCOMPARE(
        one("puts(fopen(\"/etc/shadow\", \"r\") || socket(AF_INET, SOCK_STREAM, 0) >= 0 || "
            "system(\"touch /usr/x 2> /dev/null\") == 0 || open(\"/tmp/../x\", O_CREAT | O_RDWR, 0600) >= "
            "0 ? \"ESCAPED\" : \"contained\");"),
        "pass");
    // The second test gets the compiler's program, whatever the first one does to files.
    QCOMPARE(
        one("system(\"(rm -rf /tmp/*; mkdir /tmp/work; echo x > /tmp/work/program) 2> /dev/null\"); puts(\"contained\");"),
        "pass");
    // Of at most some hundred processes, should nothing hold it.
    const std::string forks = "for (int g = 0;;) if (g < 9 && fork() >= 0) ++g;";
    const std::string forked = one(forks);
    QVERIFY2(has(forked, ": timeout") || has(forked, ": error"), forked.c_str());
    QVERIFY(
        has(one("for (int i = 0; i < 256; ++i) memset(malloc(1 << 24), 1, 1 << 24);"), ": error"));
    QVERIFY(has(one("static char b[1 << 20]; memset(b, 'x', sizeof b); for (;;) write(1, b, sizeof "
                    "b);"),
                "wrote more than 4 MiB"));
    QVERIFY(has(one("abort();"), "signal 6"));
    QCOMPARE(one("puts(\"contained\");"), "pass");
    // The compiler is in the sandbox as well.
    const auto read =
        pool.run({{"#include \"/etc/shadow\"\nint main() {}", &tests}}, [] { return false; })[0];
    QVERIFY2(has(read.message, "compile_error") && has(read.message, "No such file"),
             read.message.c_str());
  }

  // ---- nodes ----

  void a_matrix_of_programs_and_tests() {
    Tests suites;
    suites.batch = 9;
    suites.tests = {
        Json::array({{{"input", "1"}, {"output", "2"}}, {{"input", "2"}, {"output", "4"}}}),
        Json::array({{{"input", "0"}, {"output", "0"}}})};
    TextRows programs;
    programs.texts = {"2 x", "x + 1", "f x", "x +"};
    Bench bench("code.run_tests", {{"language", "mini"}});
    bench.connect("tests", {Value::of(suites)});
    bench.connect("programs", {Value::of(programs)});
    bench.fire();
    const at::Tensor matrix = bench.out<Values>("matrix").values;
    QCOMPARE(matrix.scalar_type(), at::kLong);
    QVERIFY(matrix.equal(at::tensor({0, 0, 0, 1, 3, -1, 5, -1}, at::kLong).reshape({2, 2, 2})));
    QCOMPARE(bench.out<Verdicts>("verdicts").verdicts[0],
             Json::parse("[[\"pass\", \"pass\"], [\"pass\", \"wrong\"]]"));
    QCOMPARE(bench.out<Verdicts>("verdicts").batch, std::int64_t{9});
    // A suite's reward takes them as they are: suite 0 catches one of two, suite 1 both.
    Bench reward("reward.unit_test", {{"preset", "paper"}, {"clip_denominator", false}});
    Verdicts right;
    right.verdicts = {Json({"pass", "pass"}), Json({"pass"})};
    reward.connect("suites", {Value::of(suites)});
    reward.connect("references", {Value::of(right)});
    reward.connect("candidates", {bench.value("verdicts")});
    reward.fire();
    const std::vector<double> paid = list_of(reward.out<Rewards>("rewards").total);
    QVERIFY(std::abs(paid[0] - (0.85 * 0.5 + 0.15)) < 1e-9);
    QVERIFY(std::abs(paid[1] - (0.85 + 0.15)) < 1e-9);
    QCOMPARE(list_of(bench.out<Values>("pass_rate").values), (std::vector<double>{1, 0.5, 0, 0}));
    QCOMPARE(bench.out<TextRows>("messages").texts[1],
             std::string("test 1: wrong: gave \"3\", not \"4\""));
    QCOMPARE(bench.context.metrics["tests"], 6.0);
    QCOMPARE(bench.context.metrics["pass_rate"], 0.5);
    QCOMPARE(bench.context.metrics["compile_errors"], 1.0 / 6);

    Bench all("code.run_tests", {{"language", "mini"}, {"pairing", "all"}});
    all.connect("tests", {Value::of(suites)});
    programs.texts = {"2 x", "x + 1", "7"};
    all.connect("programs", {Value::of(programs)});
    all.fire();
    QVERIFY(all.out<Values>("matrix").values.equal(
        at::tensor({0, 0, 0, 1, 1, 1, 0, -1, 1, -1, 1, -1}, at::kLong).reshape({2, 3, 2})));
    bench.connect("programs", {Value::of(programs)});
    QCOMPARE(problem_from([&] { bench.fire(); }).code, std::string("bad-shape"));
  }

  void one_program_a_suite_gives_flat_verdicts() {
    Tests suites;
    suites.tests = {Json::array({{{"input", "1"}, {"output", "2"}}})};
    TextRows programs;
    programs.texts = {"2 x"};
    Bench bench("code.run_tests", {{"language", "mini"}});
    bench.connect("tests", {Value::of(suites)});
    bench.connect("programs", {Value::of(programs)});
    bench.fire();
    QCOMPARE(bench.out<Verdicts>("verdicts").verdicts[0], Json({"pass"}));
    suites.tests = {Json::array({"assert f(1) == 2"})};
    bench.connect("tests", {Value::of(suites)});
    QCOMPARE(problem_from([&] { bench.fire(); }).code, std::string("bad-test"));
  }

  void a_row_is_rewarded_for_the_tests_it_passes() {
    if (!sandbox()) return;
    const Json tests = Json::array({"assert f(1) == 2", "assert f(2) == 4", "assert f(0) == 0"});
    std::vector<Json> fields = same_fields(6, {{"tests", tests}});
    fields[4] = Json::object();
    fields[5] = {{"tests", Json::array({"assert f("})}};
    const Completions c =
        written({"So:\n```python\ndef f(x):\n    return 2 * x\n```\n", "def f(x): return x + 1",
                 "```python\ndef f(x) return\n```", "no idea", "def f(x): pass", "def f(x): pass"},
                fields);
    const Fired found = fire_rows({{"timeout_s", 5}}, c);
    QCOMPARE(found.rewards, (std::vector<double>{1, 1.0 / 3, 0, 0, 0, 0}));
    QCOMPARE(found.absent, (std::set<std::int64_t>{4, 5}));
    QVERIFY(has(found.failed.at(4), "no field tests"));
    QVERIFY(has(found.failed.at(5), "the test does not compile"));
    QVERIFY(has(found.messages[2], "compile_error"));
    QCOMPARE(found.metrics.at("tests"), 13.0);
    QCOMPARE(found.metrics.at("compile_errors"), 6.0 / 13);
    const Fired all = fire_rows({{"timeout_s", 5}, {"score", "all"}}, c);
    QCOMPARE(all.rewards, (std::vector<double>{1, 0, 0, 0, 0, 0}));
    QCOMPARE(all.rates, (std::vector<double>{1, 1.0 / 3, 0, 0, 0, 0}));
  }

  void humaneval_solutions_pass_their_tests() {
    if (!sandbox()) return;
    const QString file = data_folder() + "humaneval/HumanEval.jsonl.gz";
    if (!QFile::exists(file)) QSKIP("the data are not here");
    QProcess unpack;
    unpack.start("gzip", {"-dc", file});
    QVERIFY(unpack.waitForFinished(30000) && unpack.exitCode() == 0);
    std::vector<Json> rows = lines_of(unpack.readAllStandardOutput());
    QCOMPARE(rows.size(), std::size_t{164});
    std::vector<std::string> texts, prompts;
    for (const Json& row : rows) {
      texts.push_back(row["canonical_solution"]);
      prompts.push_back(row["prompt"]);
    }
    Completions c = written(texts, rows);
    c.prompt_text = prompts;
    const Fired found = fire_rows({{"preset", "humaneval"}, {"timeout_s", 30}}, c);
    QVERIFY(found.absent.empty());
    check_all_pass(found);
    // And the next row's solution does not pass this row's.
    std::rotate(texts.begin(), texts.begin() + 1, texts.end());
    c.text = texts;
    const Fired wrong = fire_rows({{"preset", "humaneval"}, {"timeout_s", 30}}, c);
    QVERIFY(std::count(wrong.rewards.begin(), wrong.rewards.end(), 1.0) <= 2);
  }

  void mbpp_solutions_pass_their_tests() {
    if (!sandbox()) return;
    QFile file(data_folder() + "mbpp/mbpp.jsonl");
    if (!file.open(QIODevice::ReadOnly)) QSKIP("the data are not here");
    const std::vector<Json> rows = lines_of(file.readAll());
    QCOMPARE(rows.size(), std::size_t{974});
    std::vector<std::string> texts;
    for (const Json& row : rows) texts.push_back(row["code"]);
    const Fired found = fire_rows({{"preset", "mbpp"}, {"timeout_s", 30}}, written(texts, rows));
    QCOMPARE(found.metrics.at("tests"), 2922.0);
    check_all_pass(found);
  }

  void without_a_sandbox_the_nodes_refuse_to_run() {
    // A run finds out before its first iteration.
    const QByteArray path = qgetenv("PATH");
    qputenv("PATH", "/nowhere");
    std::vector<std::string> codes;
    for (const char* type : {"code.run_tests", "reward.tests_passed"}) {
      const std::shared_ptr<Node> node = all_nodes().make(type, {{"workers", 1}});
      const auto* const prepares = dynamic_cast<const Prepares*>(node.get());
      QVERIFY(prepares != nullptr);
      codes.push_back(problem_from([&] { prepares->prepare({}); }).code);
    }
    Bench mini_node("code.run_tests", {{"language", "mini"}});
    TextRows programs;
    programs.texts = {"2 x"};
    Tests suites;
    suites.tests = {Json::array({{{"input", "1"}, {"output", "2"}}})};
    mini_node.connect("tests", {Value::of(suites)});
    mini_node.connect("programs", {Value::of(programs)});
    mini_node.fire();
    qputenv("PATH", path);
    QCOMPARE(codes, (std::vector<std::string>{"sandbox-missing", "sandbox-missing"}));
    QCOMPARE(mini_node.out<Verdicts>("verdicts").verdicts[0], Json({"pass"}));
  }

 private:
  /// Fails where there should be a sandbox; leaves the test out where the kernel gives none.
  static bool sandbox() {
    static const std::string why = no_sandbox();
    if (why.empty()) return true;
    if (has_user_namespaces()) {
      QTest::qFail(why.c_str(), __FILE__, __LINE__);
    } else {
      QTest::qSkip(why.c_str(), __FILE__, __LINE__);
    }
    return false;
  }

  static void check_all_pass(const Fired& found) {
    std::string failed;
    for (std::size_t i = 0; i < found.rewards.size(); ++i) {
      if (found.rewards[i] != 1) failed += std::to_string(i) + ": " + found.messages[i] + "\n";
    }
    QVERIFY2(failed.empty(), failed.c_str());
  }
};

}  // namespace rewardloom

using rewardloom::TestPrograms;
REWARDLOOM_TEST(TestPrograms)
#include "test_programs.moc"
