// Programs on tests: warm sandboxes and the mini-language, beside one interpreter a test.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/core/problem.h"
#include "nodes/code/child_process.h"
#include "nodes/code/program_pool.h"
#include "tests/bench/figures.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kCases = 400, kThreads = 2, kSandboxRounds = 3;
const std::string kProgram = "n = int(input())\nprint(sum(i * i for i in range(n)))\n";

std::vector<ProgramTest> square_sums() {
  std::vector<ProgramTest> tests(kCases);
  for (std::size_t i = 0; i < kCases; ++i) {
    const std::size_t n = i % 50;
    std::size_t sum = 0;
    for (std::size_t k = 0; k < n; ++k) sum += k * k;
    tests[i].input = std::to_string(n);
    tests[i].expected = std::to_string(sum);
  }
  return tests;
}

void require_passes(double rate, const char* who) {
  if (rate == 1) return;
  throw Failure("bench-failed", std::string(who) + " does not pass all tests");
}

/// One interpreter a test, as `subprocess.run([python3, file], input=...)` does it.
bool passes_alone(const ProgramTest& test) {
  Ends input = make_pipe(), output = make_pipe();
  pid_t child = -1;
  const int fault = launch({{"/usr/bin/python3", "-c", kProgram},
                            {"PATH=/usr/bin:/bin"},
                            {{input.read.get(), 0}, {output.write.get(), 1}, {2, 2}}},
                           child);
  if (fault != 0) throw Failure("bench-failed", "python3 cannot be started");
  input.read.close();
  output.write.close();
  if (::write(input.write.get(), test.input.data(), test.input.size()) < 0) return false;
  input.write.close();
  std::string text;
  while (read_available(output.read, 1, [&](std::string_view part) { text += part; })) {
  }
  return wait_for(child) == 0 && same_output(text, test.expected, {});
}

double alone(const std::vector<ProgramTest>& tests) {
  std::atomic<std::size_t> next = 0, passed = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < tests.size(); i = next++) passed += passes_alone(tests[i]);
  };
  const auto start = Clock::now();
  std::thread second(work);
  work();
  second.join();
  const double seconds = seconds_since(start);
  require_passes(static_cast<double>(passed) / static_cast<double>(tests.size()), "the peer");
  return seconds;
}

double in_sandbox(ProgramPool& pool, const std::string& source,
                  const std::vector<ProgramTest>& tests) {
  const auto start = Clock::now();
  const auto found = pool.run({{source, &tests}}, [] { return false; });
  const double seconds = seconds_since(start);
  require_passes(found[0].pass_rate(), "the sandbox");
  return seconds;
}

void compare_python() {
  const std::vector<ProgramTest> tests = square_sums();
  std::vector<ProgramTest> asserts(kCases);
  for (std::size_t i = 0; i < kCases; ++i) {
    asserts[i].asserts = true;
    asserts[i].code = "assert f(" + std::to_string(i) + ") == " + std::to_string(2 * i);
  }
  ProgramPoolOptions options;
  options.workers = kThreads;
  ProgramPool pool(options);
  in_sandbox(pool, kProgram, tests);
  std::vector<double> ours, peer, ratios, with_asserts;
  for (std::size_t i = 0; i < kSandboxRounds; ++i) {
    ours.push_back(in_sandbox(pool, kProgram, tests));
    peer.push_back(alone(tests));
    with_asserts.push_back(in_sandbox(pool, "def f(x):\n    return 2 * x\n", asserts));
    ratios.push_back(peer.back() / ours.back());
  }
  const auto cases = static_cast<double>(kCases);
  print_figure({{"bench", "sandbox"},
                {"case", "python, one test"},
                {"workers", kThreads},
                {"ours_per_s", cases / median(ours)},
                {"ours_ms", 1e3 * static_cast<double>(kThreads) * median(ours) / cases},
                {"subprocess_per_s", cases / median(peer)},
                {"ratio", median(ratios)}});
  print_figure({{"bench", "sandbox"},
                {"case", "python, one test of asserts, in a process of its own"},
                {"workers", kThreads},
                {"ours_per_s", cases / median(with_asserts)}});
}

/// One sandbox and one test at a time: how long a test takes from end to end.
void time_one() {
  const std::vector<ProgramTest> all = square_sums();
  ProgramPoolOptions options;
  options.workers = 1;
  ProgramPool pool(options);
  std::vector<double> times;
  for (const ProgramTest& test : all) times.push_back(in_sandbox(pool, kProgram, {test}));
  times.erase(times.begin());
  print_figure({{"bench", "sandbox"},
                {"case", "python, latency of one test"},
                {"ours_ms", 1e3 * median(times)},
                {"ours_ms_least", 1e3 * *std::min_element(times.begin(), times.end())}});
}

void time_mini() {
  constexpr std::size_t kPrograms = 1000, kInputs = 1000;
  const std::string source = "< 2 : 3 x + 1 = 2 : 5 else -1 x + 4";
  std::vector<ProgramTest> tests(kInputs);
  for (std::size_t i = 0; i < kInputs; ++i) {
    const int x = static_cast<int>(i % 13) - 6;
    tests[i].input = std::to_string(x);
    tests[i].expected = std::to_string(x < 2 ? 3 * x + 1 : x == 2 ? 5 : 4 - x);
  }
  std::vector<double> seconds;
  for (std::size_t round = 0; round < kSandboxRounds; ++round) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < kPrograms; ++i) {
      require_passes(run_mini({source, &tests}, 16, 64).pass_rate(), "the mini-language");
    }
    seconds.push_back(seconds_since(start));
  }
  print_figure({{"bench", "sandbox"},
                {"case", "mini-language, one thread"},
                {"ours_per_s", static_cast<double>(kPrograms * kInputs) / median(seconds)}});
}

/// The whole node: tests and verdicts as JSON.
void time_mini_node() {
  constexpr std::size_t kSuites = 1000, kCasesEach = 8, kCandidates = 8;
  Tests suites;
  TextRows programs;
  for (std::size_t i = 0; i < kSuites; ++i) {
    Json list = Json::array();
    for (std::size_t k = 0; k < kCasesEach; ++k) {
      list.push_back({{"input", std::to_string(k)}, {"output", std::to_string(2 * k + 1)}});
    }
    suites.tests.push_back(std::move(list));
    for (std::size_t m = 0; m < kCandidates; ++m) programs.texts.push_back("2 x + 1");
  }
  testing::Bench node("code.run_tests", {{"language", "mini"}});
  node.connect("tests", {Value::of(suites)});
  node.connect("programs", {Value::of(programs)});
  node.fire();
  std::vector<double> seconds;
  for (std::size_t round = 0; round < kSandboxRounds; ++round) {
    const auto start = Clock::now();
    node.fire();
    seconds.push_back(seconds_since(start));
  }
  require_passes(node.context.metrics["pass_rate"], "code.run_tests");
  print_figure(
      {{"bench", "sandbox"},
       {"case", "code.run_tests, mini-language, 8 programs on 8 tests a suite"},
       {"ours_per_s", static_cast<double>(kSuites * kCasesEach * kCandidates) / median(seconds)}});
}

}  // namespace

void bench_sandbox(const std::string& only) {
  const std::vector<std::pair<const char*, void (*)()>> parts = {{"python", compare_python},
                                                                 {"latency", time_one},
                                                                 {"mini", time_mini},
                                                                 {"node", time_mini_node}};
  for (const auto& [name, part] : parts) {
    if (only.empty() || only == name) part();
  }
}

}  // namespace rewardloom::bench
