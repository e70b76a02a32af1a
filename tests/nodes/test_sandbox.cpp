#include <sys/resource.h>

#include <QProcess>
#include <atomic>
#include <thread>

#include "tests/nodes/sandbox_bench.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

bool fails(Verdict verdict) {
  return verdict == Verdict::wrong || verdict == Verdict::error || verdict == Verdict::timeout ||
         verdict == Verdict::compile_error;
}

void add_programs(const std::vector<std::pair<const char*, const char*>>& rows) {
  QTest::addColumn<QByteArray>("program");
  QTest::addColumn<QByteArray>("verdict");
  for (const auto& [program, verdict] : rows) {
    QTest::newRow(program) << QByteArray(program) << QByteArray(verdict);
  }
}

}  // namespace

class TestSandbox : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    const std::string why = no_sandbox();
    if (why.empty()) return;
    if (!has_user_namespaces()) QSKIP(("no user namespaces here: " + why).c_str());
    QFAIL(("the sandbox does not start: " + why).c_str());
  }

  // ---- what a program must not do ----

  void nothing_gets_out_data() {
    add_programs({{"read_secrets", ""},
                  {"write_outside", ""},
                  {"sockets", ""},
                  {"system_calls", ""},
                  {"proc_tricks", ""},
                  {"kill_driver", ""},
                  {"leaves_daemons", ""},
                  {"leaves_things", ""},
                  {"deep_folders", ""},
                  {"descriptor_bomb", ""},
                  {"disk_bomb", ""}});
  }
  void nothing_gets_out() {
    QFETCH(QByteArray, program);
    Cell cell(small_limits());
    QCOMPARE(cell.contained(program.toStdString()), std::string());
    // The sandbox is as good as new: for the next test nothing of the last one is there.
    QCOMPARE(cell.contained("finds_nothing"), std::string());
    QCOMPARE(cell("print(int(input()) + 1)", says("4", "3")).verdict, Verdict::pass);
  }

  void bombs_end_with_a_verdict_data() {
    add_programs({{"fork_bomb", "timeout or error"},
                  {"thread_bomb", "timeout or error"},
                  {"memory_bomb", "error"},
                  {"shared_memory_bomb", "timeout or error"},
                  {"many_memories_bomb", "error"},
                  {"output_bomb", "error"},
                  {"stubborn_output_bomb", "error"},
                  {"many_files_bomb", "error"},
                  {"ignores_signals_bomb", "timeout"}});
  }
  void bombs_end_with_a_verdict() {
    QFETCH(QByteArray, program);
    QFETCH(QByteArray, verdict);
    const double seconds = verdict.contains("timeout") ? 2 : 30;
    Cell cell(small_limits(seconds));
    QElapsedTimer timer;
    timer.start();
    const TestResult found = cell(escape_program(program.toStdString()), says("never"));
    QVERIFY2(verdict.contains(QByteArray(name_of(found.verdict).data())), found.message.c_str());
    QVERIFY2(static_cast<double>(timer.elapsed()) < 1000 * (seconds + 15), "it took too long");
    QCOMPARE(cell.contained("finds_nothing"), std::string());
    const std::set<std::string> spaces = pid_namespaces_below_us();
    QVERIFY(soon([&] { return processes_in(spaces) == 1; }));
  }

  void what_is_stopped_is_told() {
    const auto message = [](const char* program, double seconds = 30) {
      Cell cell(small_limits(seconds));
      return cell(escape_program(program), says("never")).message;
    };
    QCOMPARE(message("output_bomb"), std::string("test 0: error: wrote more than 4 MiB"));
    QCOMPARE(message("ignores_signals_bomb", 2), std::string("test 0: timeout: no end within 2 s"));
    QCOMPARE(message("many_memories_bomb"),
             std::string("test 0: error: its processes took more than 512 MiB"));
    QCOMPARE(message("many_files_bomb"), std::string("test 0: error: made too many files"));
    QVERIFY(message("memory_bomb").find("MemoryError") != std::string::npos);
  }

  // ---- what a program must not say ----

  void no_verdict_can_be_forged_data() {
    add_programs({{"forge_exit", ""},
                  {"forge_exit_in_call", ""},
                  {"forge_system_exit", ""},
                  {"forge_descriptors", ""},
                  {"forge_equality", ""},
                  {"forge_plain_equality", ""},
                  {"forge_builtins", ""},
                  {"forge_names", ""},
                  {"forge_memory", ""},
                  {"forge_kills_test", ""},
                  {"forge_stops_test", ""},
                  {"forge_garbage", ""},
                  {"forge_asks_back", ""},
                  {"forge_hang_at_import", "timeout"}});
  }
  void no_verdict_can_be_forged() {
    QFETCH(QByteArray, program);
    QFETCH(QByteArray, verdict);
    Cell cell(small_limits(2));
    const std::string source = escape_program(program.toStdString());
    for (const char* code :
         {"assert double(21) == 42", "assert double(21) == 42 and double(4) == 8, 'no'",
          "assert abs(double(21) - 42) < 1e-6", "assert 42 == double(21)",
          "assert len([double(21)]) == 1 and double(21) in [42]",
          "def check(candidate):\n    assert candidate(21) == 42\ncheck(double)"}) {
      const TestResult found = cell(source, asserts(code));
      QVERIFY2(fails(found.verdict), (std::string(code) + ": " + found.message).c_str());
      if (!verdict.isEmpty()) QCOMPARE(QByteArray(name_of(found.verdict).data()), verdict);
      if (found.verdict == Verdict::timeout) break;
    }
    Cell patient(small_limits());
    QCOMPARE(patient("def double(x): return 2 * x", asserts("assert double(21) == 42")).verdict,
             Verdict::pass);
    // Nor for a test of its output.
    if (program != "forge_hang_at_import") {
      QVERIFY(fails(cell(source, says("right")).verdict));
    }
  }

  // ---- nothing is left ----

  void nothing_is_left_when_the_pool_ends() {
    std::set<std::string> spaces;
    {
      Cell cell(small_limits());
      QCOMPARE(cell.contained("leaves_daemons"), std::string());
      spaces = pid_namespaces_below_us();
      QCOMPARE(spaces.size(), std::size_t{1});
      QVERIFY(soon([&] { return processes_in(spaces) == 1; }));
    }
    QVERIFY(soon([&] { return processes_in(spaces) == 0; }));
    QVERIFY(pid_namespaces_below_us().empty());
  }

  void nothing_is_left_when_a_test_is_cut_off() {
    std::set<std::string> spaces;
    {
      ProgramPoolOptions options = small_limits();
      options.limits.seconds = 50;
      ProgramPool pool(options);
      const std::vector<ProgramTest> tests = {says("never")};
      const std::string source = escape_program("leaves_daemons") + "time.sleep(100)\n";
      QElapsedTimer timer;
      timer.start();
      const Problem problem = problem_from([&] {
        pool.run({{source, &tests}}, [&] {
          if (timer.elapsed() > 500) spaces = pid_namespaces_below_us();
          return timer.elapsed() > 500;
        });
      });
      QCOMPARE(problem.code, std::string("cancelled"));
      QCOMPARE(spaces.size(), std::size_t{1});
    }
    QVERIFY(soon([&] { return processes_in(spaces) == 0; }));
  }

  void nothing_is_left_when_we_are_killed() {
    if (!QFile::exists(QString::fromUtf8(REWARDLOOM_PROGRAM))) QSKIP("the program is not built");
    const QTemporaryDir folder;
    const std::string in = folder.filePath("in.json").toStdString();
    std::ofstream(in) << Json{{"programs.texts", {"while True: pass"}},
                              {"tests.tests", {{{{"input", ""}, {"output", "1"}}}}}};
    QProcess program;
    program.start(QString::fromUtf8(REWARDLOOM_PROGRAM),
                  {"eval", "code.run_tests", "--params", "{\"timeout_s\": 60}", "--in",
                   QString::fromStdString(in), "--out", folder.filePath("out.json")});
    QVERIFY(program.waitForStarted());
    std::set<std::string> spaces;
    QVERIFY(soon([&] { return !(spaces = pid_namespaces_below_us()).empty(); }, 30));
    program.kill();
    program.waitForFinished();
    QVERIFY(soon([&] { return processes_in(spaces) == 0; }));
  }

  // ---- a fault of the harness is no verdict ----

  void without_bubblewrap_it_refuses() {
    ProgramPoolOptions options = small_limits();
    for (const char* program : {"no-such-bubblewrap", "false", "true"}) {
      options.sandbox.bubblewrap = program;
      const Problem problem = problem_from([&] { ProgramPool(options).start(); });
      QCOMPARE(problem.code, std::string("sandbox-missing"));
      QVERIFY(problem.help.find("install bubblewrap") != std::string::npos);
      const Problem later = problem_from([&] {
        Cell cell(options);
        cell("1", says(""));
      });
      QCOMPARE(later.code, std::string("sandbox-missing"));
    }
    options = small_limits();
    options.sandbox.python = "/usr/bin/no-such-python";
    const Problem problem = problem_from([&] { ProgramPool(options).start(); });
    QCOMPARE(problem.code, std::string("sandbox-missing"));
    QVERIFY2(problem.text.find("no-such-python") != std::string::npos, problem.text.c_str());
  }

  void root_gives_up_root_first() {
    if (::geteuid() != 0) QSKIP("this is an ordinary user");
    if (sandbox_user() == SandboxUser::own) QSKIP("this root is an ordinary user outside");
    // No limit on processes holds for root, so nothing is run.
    ProgramPoolOptions options = small_limits();
    options.user = SandboxUser::own;
    const Problem problem = problem_from([&] { ProgramPool(options).start(); });
    QCOMPARE(problem.code, std::string("sandbox-failed"));
    QVERIFY(problem.text.find("number of processes does not hold") != std::string::npos);
  }

  void a_sandbox_that_ends_is_an_error() {
    ProgramPoolOptions options = small_limits();
    options.limits.seconds = 20;
    ProgramPool pool(options);
    pool.start();
    std::atomic<bool> ending = false;
    std::atomic<int> killed = 0;
    // Kills whatever bubblewrap we have, again and again.
    std::thread killer([&] {
      while (!ending) {
        for (const std::string& child : children_of_ours()) {
          if (::kill(std::stoi(child), SIGKILL) == 0) ++killed;
        }
        QThread::msleep(300);
      }
    });
    const std::vector<ProgramTest> tests = {says("done")};
    const std::string source = "import time\ntime.sleep(5)\nprint('done')";
    const Problem problem = problem_from([&] {
      pool.run({{source, &tests}}, [] { return false; });
    });
    ending = true;
    killer.join();
    QVERIFY(killed >= 2);
    QCOMPARE(problem.code, std::string("sandbox-lost"));
    // Once is made good by another try.
    std::thread once([&] {
      QThread::msleep(1000);
      for (const std::string& child : children_of_ours()) ::kill(std::stoi(child), SIGKILL);
    });
    const std::string shorter = "import time\ntime.sleep(2)\nprint('done')";
    const auto found = pool.run({{shorter, &tests}}, [] { return false; });
    once.join();
    QCOMPARE(found[0].verdicts[0], Verdict::pass);
  }

  void without_descriptors_it_is_an_error() {
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    std::vector<Descriptor> kept;
    for (int fd = ::dup(0); fd >= 0 && fd < 60; fd = ::dup(0)) kept.emplace_back(fd);
    rlimit few = before;
    few.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &few);
    const Problem problem = problem_from([&] {
      Cell cell(small_limits());
      cell("print(1)", says("1"));
    });
    setrlimit(RLIMIT_NOFILE, &before);
    QVERIFY2(problem.code == "process-start" || problem.code == "sandbox-failed",
             problem.code.c_str());
  }

  // ---- everything again without root ----

  void an_ordinary_user_gets_the_same() {
    if (::geteuid() != 0) QSKIP("this is an ordinary user");
    QProcess again;
    again.setProcessChannelMode(QProcess::MergedChannels);
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("REWARDLOOM_ONLY", "test_sandbox");
    environment.insert("HOME", "/tmp");
    again.setProcessEnvironment(environment);
    again.start("setpriv", {"--reuid=65534", "--regid=65534", "--clear-groups", "--",
                            QCoreApplication::applicationFilePath()});
    QVERIFY(again.waitForFinished(280000));
    const QByteArray output = again.readAll();
    if (output.contains("Permission denied")) QSKIP("the build folder is closed to other users");
    QByteArray failed;
    for (const QByteArray& line : output.split('\n')) {
      if (line.startsWith("FAIL") || line.contains("Actual")) failed += line + "; ";
    }
    QVERIFY2(failed.isEmpty() && again.exitCode() == 0, failed + output.right(100));
    QVERIFY2(output.contains("this is an ordinary user"), output.right(100));
    QVERIFY2(output.contains(" 0 failed"), output.right(100));
  }

 private:
  static std::vector<std::string> children_of_ours() {
    std::vector<std::string> found;
    std::error_code none;
    for (std::filesystem::directory_iterator task("/proc/self/task", none), end;
         task != end && !none; task.increment(none)) {
      std::ifstream children(task->path() / "children");
      for (std::string child; children >> child;) found.push_back(child);
    }
    return found;
  }
};

REWARDLOOM_TEST(TestSandbox)
#include "test_sandbox.moc"
