// Tests of programs, and what a program made of one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "nodes/reward/test_suites.h"

namespace rewardloom {

enum class ProgramLanguage { python, cpp, mini };
enum class OutputCompare { strip_equal, float_tol };

/// One test: an input with the output that is expected, or code with asserts that calls the
/// program.
struct ProgramTest {
  bool asserts = false;
  std::string input;
  std::string expected;
  std::string code;
  std::string entry;  ///< of asserts: the function that is tested; empty: found in the code
};

/// {"input", "output"}; {"code", "entry_point" (optional)}; or a text, which is code. Failure
/// `bad-test`.
ProgramTest program_test(const Json& test);

struct OutputRules {
  OutputCompare compare = OutputCompare::strip_equal;
  double tolerance = 1e-6;
  bool quiet = true;  ///< a pass has an empty standard error and some output
};

/// Equal without white space around them; with float_tol also if they have the same words, or
/// numbers that differ by at most tolerance * max(1, |expected|).
bool same_output(std::string_view given, std::string_view expected, const OutputRules& rules);

struct ProgramLimits {
  double seconds = 10;          ///< of wall clock, one test
  std::int64_t memory = 512;    ///< MiB, address space of a process; twice that for all of them
  std::int64_t processes = 16;  ///< processes and threads of one test
  std::int64_t output = 4;      ///< MiB, of each stream and file
  std::int64_t folder = 64;     ///< MiB of the folder that can be written
  double compile_seconds = 30;
  std::int64_t compile_memory = 2048;
};

/// Why a process was stopped before it ended by itself.
enum class ProgramStop { none, timeout, output, files, memory, processes };

/// What happened to one test in the sandbox.
struct ProgramRun {
  ProgramStop stop = ProgramStop::none;
  bool compiled = true;
  int status = 0;          ///< wait status of the program
  bool has_status = true;  ///< false: it was still running when the test had ended
  std::string out;
  std::string error;
  std::string verdict;  ///< of asserts: pass, wrong, error, compile_error, fault, ended or ""
  std::string text;     ///< and its message
};

struct TestResult {
  Verdict verdict = Verdict::fault;
  std::string message;  ///< empty for a pass
};
TestResult judge_run(const ProgramRun& run, const ProgramTest& test, const OutputRules& rules,
                     const ProgramLimits& limits);

/// A program with its tests.
struct ProgramJob {
  std::string source;
  const std::vector<ProgramTest>* tests = nullptr;
};

struct ProgramVerdicts {
  std::vector<Verdict> verdicts;  ///< one per test
  std::string message;            ///< of the first test that was not passed

  double pass_rate() const;
};

/// The same tests by the mini-language, in process: a test's input and output are integers; another
/// input is an error of the program, as a model wrote it. Failure `bad-test` for asserts.
ProgramVerdicts run_mini(const ProgramJob& job, std::int64_t tokens, std::int64_t steps);

/// "test 2: wrong: gave "5", not "4""
std::string test_message(std::size_t test, const TestResult& result);

}  // namespace rewardloom
