#include "nodes/code/program_tests.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "engine/core/problem.h"
#include "nodes/code/mini_language.h"

namespace rewardloom {
namespace {

constexpr std::string_view kWhite = " \t\r\n\v\f";
constexpr std::size_t kShownOutput = 80;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhite);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = text.find_first_not_of(kWhite); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kWhite, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kWhite, end);
  }
  return words;
}

template <class Number>
std::optional<Number> whole(std::string_view text) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [stop, fault] = std::from_chars(text.data(), end, value);
  if (fault != std::errc() || stop != end) return std::nullopt;
  return value;
}

bool near_words(std::string_view given, std::string_view expected, double tolerance) {
  if (given == expected) return true;
  const auto a = whole<double>(given), b = whole<double>(expected);
  return a && b && std::abs(*a - *b) <= tolerance * std::max(1.0, std::abs(*b));
}

std::string shown_output(std::string_view text) {
  text = trimmed(text);
  std::string line;
  for (const char c : text.substr(0, kShownOutput)) {
    line += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  // A character that the cut left without its end.
  while (text.size() > kShownOutput && !line.empty() &&
         (static_cast<unsigned char>(line.back()) & 0x80) != 0) {
    line.pop_back();
  }
  return text.size() > kShownOutput ? line + "…" : line;
}

/// The last line of what was written to standard error: there Python names the exception.
std::string last_line(std::string_view error) {
  error = trimmed(error);
  const std::size_t line = error.find_last_of('\n');
  return shown_output(line == std::string_view::npos ? error : error.substr(line + 1));
}

std::string stop_text(ProgramStop stop, const ProgramLimits& limits) {
  switch (stop) {
    case ProgramStop::timeout: return fmt::format("no end within {:g} s", limits.seconds);
    case ProgramStop::output: return fmt::format("wrote more than {} MiB", limits.output);
    case ProgramStop::files: return "made too many files";
    case ProgramStop::memory:
      return fmt::format("its processes took more than {} MiB", 2 * limits.memory);
    case ProgramStop::processes:
      return fmt::format("started more than {} processes", limits.processes);
    case ProgramStop::none: break;
  }
  return "";
}

std::string how_ended(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

TestResult judge_asserts(const ProgramRun& run) {
  for (const Verdict kind :
       {Verdict::pass, Verdict::wrong, Verdict::error, Verdict::fault, Verdict::compile_error}) {
    if (run.verdict == name_of(kind)) return {kind, run.text};
  }
  if (run.verdict.empty()) return {Verdict::error, "the process of the test was killed"};
  if (run.has_status && WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGXCPU) {
    return {Verdict::timeout, "it used up its processor time"};
  }
  const std::string how = run.has_status ? how_ended(run.status) : "it left the test alone";
  return {Verdict::error, fmt::format("{}: {}", run.text, how)};
}

TestResult judge_output(const ProgramRun& run, const ProgramTest& test, const OutputRules& rules) {
  const std::string said = last_line(run.error);
  if (WIFSIGNALED(run.status) || WEXITSTATUS(run.status) != 0) {
    return {Verdict::error, how_ended(run.status) + (said.empty() ? "" : ": " + said)};
  }
  if (rules.quiet && !run.error.empty()) {
    return {Verdict::error, "wrote to standard error: " + said};
  }
  if (rules.quiet && trimmed(run.out).empty()) return {Verdict::wrong, "no output"};
  if (same_output(run.out, test.expected, rules)) return {Verdict::pass, ""};
  return {Verdict::wrong, fmt::format("gave \"{}\", not \"{}\"", shown_output(run.out),
                                      shown_output(test.expected))};
}

[[noreturn]] void fail_test(const std::string& text) {
  throw Failure("bad-test", text,
                "a test is {\"input\": text, \"output\": text}, {\"code\": text, \"entry_point\": "
                "name}, or a text that is code with asserts");
}

std::string text_member(const Json& test, const char* name) {
  const auto found = test.find(name);
  if (found == test.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number() || found->is_boolean()) return found->dump();
  fail_test(fmt::format("a test's {} is {}, not a text", name, found->type_name()));
}

}  // namespace

ProgramTest program_test(const Json& test) {
  ProgramTest out;
  if (test.is_string()) {
    out.asserts = true;
    out.code = test.get<std::string>();
    return out;
  }
  if (!test.is_object()) fail_test(fmt::format("a test is {}", test.type_name()));
  if (test.contains("code")) {
    out.asserts = true;
    out.code = text_member(test, "code");
    out.entry = text_member(test, "entry_point");
    return out;
  }
  if (!test.contains("output")) fail_test("a test has neither code nor output");
  out.input = text_member(test, "input");
  out.expected = text_member(test, "output");
  return out;
}

bool same_output(std::string_view given, std::string_view expected, const OutputRules& rules) {
  given = trimmed(given);
  expected = trimmed(expected);
  if (given == expected) return true;
  if (rules.compare == OutputCompare::strip_equal) return false;
  const auto a = words_of(given), b = words_of(expected);
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!near_words(a[i], b[i], rules.tolerance)) return false;
  }
  return true;
}

TestResult judge_run(const ProgramRun& run, const ProgramTest& test, const OutputRules& rules,
                     const ProgramLimits& limits) {
  if (run.stop == ProgramStop::timeout) return {Verdict::timeout, stop_text(run.stop, limits)};
  if (run.stop != ProgramStop::none) return {Verdict::error, stop_text(run.stop, limits)};
  if (!run.compiled) return {Verdict::compile_error, shown_output(run.error)};
  if (test.asserts) return judge_asserts(run);
  if (WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGXCPU) {
    return {Verdict::timeout, "it used up its processor time"};
  }
  return judge_output(run, test, rules);
}

double ProgramVerdicts::pass_rate() const {
  if (verdicts.empty()) return 0;
  const auto passed = std::count(verdicts.begin(), verdicts.end(), Verdict::pass);
  return static_cast<double>(passed) / static_cast<double>(verdicts.size());
}

ProgramVerdicts run_mini(const ProgramJob& job, std::int64_t tokens, std::int64_t steps) {
  ProgramVerdicts out;
  const MiniProgram program(job.source, {tokens, steps});
  out.verdicts.reserve(job.tests->size());
  for (const ProgramTest& test : *job.tests) {
    if (test.asserts) {
      throw Failure("bad-test",
                    fmt::format("the mini-language cannot run the asserts \"{}\"", test.code),
                    "its tests are pairs of integers: {\"input\": \"3\", \"output\": \"7\"}");
    }
    const auto x = whole<std::int64_t>(trimmed(test.input));
    Verdict verdict = Verdict::compile_error;
    MiniResult result;
    std::optional<std::int64_t> expected;
    if (program.fault().empty()) {
      result = x ? program.run(*x) : MiniResult{MiniResult::State::error, 0, "x is no integer"};
      expected = whole<std::int64_t>(trimmed(test.expected));
      verdict = result.state == MiniResult::State::timeout ? Verdict::timeout
                : result.state == MiniResult::State::error ? Verdict::error
                : expected == result.value                 ? Verdict::pass
                                                           : Verdict::wrong;
    }
    if (verdict != Verdict::pass && out.message.empty()) {
      const std::string text =
          verdict == Verdict::compile_error ? program.fault()
          : verdict == Verdict::timeout     ? fmt::format("no end within {} steps", steps)
          : verdict == Verdict::error
              ? std::string(result.fault)
              : fmt::format("gave \"{}\", not \"{}\"", result.value, shown_output(test.expected));
      out.message = test_message(out.verdicts.size(), {verdict, text});
    }
    out.verdicts.push_back(verdict);
  }
  return out;
}

std::string test_message(std::size_t test, const TestResult& result) {
  return fmt::format("test {}: {}: {}", test, name_of(result.verdict), result.message);
}

}  // namespace rewardloom
