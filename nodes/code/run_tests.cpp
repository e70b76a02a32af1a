#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/code/runner_params.h"

namespace rewardloom {
namespace {

enum class Pairing { rows, all };
constexpr auto choices(Pairing) {
  return std::to_array<Choice<Pairing>>({
      {Pairing::rows, "rows",
       "the programs are M times as many as the suites: suite i is for programs i*M to i*M+M-1"},
      {Pairing::all, "all", "every suite is for every program"},
  });
}

}  // namespace

struct CodeRunTests final : Node, Prepares {
  Input<TextRows> programs{this, "programs", "N * M programs", {.dims = "Q"}};
  Input<Tests> tests{this, "tests", "N suites"};
  Output<Verdicts> verdicts{this, "verdicts",
                            "of each suite: one per test; for M > 1 a list of these per program"};
  Output<Values> matrix{this,
                        "matrix",
                        "0 pass, 1 wrong, 2 error, 3 timeout, 4 the test cannot be run, 5 compile "
                        "error; -1 where a suite has no such test",
                        {.dims = "N,M,K"}};
  Output<Values> pass_rate{this, "pass_rate", "share of passed tests", {.dims = "N,M"}};
  Output<TextRows> messages{this, "messages",
                            "of each suite and program: about the first test not passed"};
  RunnerParams runner{this};
  Param<Pairing> pairing{this, "pairing", Pairing::rows, "which programs a suite is for"};
  Synonyms words{this, {"unit tests", "sandbox", "execute", "UTRL", "verdict", "stdin", "code"}};
  Doc doc{
      this,
      "Runs each program on each test of its suite. A test is {\"input\", \"output\"} (standard "
      "input, expected standard output), {\"code\", \"entry_point\"} or a text (Python code with "
      "asserts). programs [N*M], tests [N] of up to K -> verdicts int64 [N,M,K].\n"
      "A test is passed if the program ends by itself with exit status 0 and the expected output "
      "(with quiet: and an empty standard error), or if its asserts hold. wrong: another output, a "
      "failed assert. error: an exception, a signal, another exit status, more output, memory, "
      "files or processes than allowed. timeout: no end in time. compile_error: no program of the "
      "language.\n"
      "Python and C++ run in a sandbox (bubblewrap): no network, no home, a private folder, limits "
      "on time, memory, processes and output; each test in processes of its own, of which none is "
      "left. The asserts run in another process than the program, so that it can neither write a "
      "verdict nor compare for itself: only plain data comes back from it. Without a sandbox the "
      "node refuses to run, and a fault of the sandbox stops the run: it is never a verdict."};

  void prepare(const StepSettings&) const override { programs_.prepare(runner); }

  void run(Step& step) const override {
    const TextRows& given = step[programs];
    const Tests& suites = step[tests];
    const std::size_t rows = suites.tests.size();
    const std::size_t per_suite = programs_per_suite(step, given.texts.size(), rows);
    const std::vector<std::vector<ProgramTest>> cases = read(step, suites);
    std::vector<ProgramJob> jobs;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t m = 0; m < per_suite; ++m) {
        const std::size_t program = pairing() == Pairing::all ? m : row * per_suite + m;
        jobs.push_back({given.texts[program], &cases[row]});
      }
    }
    const std::vector<ProgramVerdicts> found =
        programs_.run(runner, jobs, [&] { return step.cancelled(); });
    report_verdicts(step, found);
    give(step, found, per_suite, suites.batch);
  }

 private:
  std::size_t programs_per_suite(Step& step, std::size_t given, std::size_t rows) const {
    if (pairing() == Pairing::all) return given;
    if (rows > 0 && given % rows == 0 && given > 0) return given / rows;
    step.fail("bad-shape", fmt::format("there are {} programs for {} suites", given, rows),
              "give the same number of programs for each suite, or set pairing to all");
  }

  static std::vector<std::vector<ProgramTest>> read(Step& step, const Tests& suites) {
    std::vector<std::vector<ProgramTest>> out(suites.tests.size());
    for (std::size_t row = 0; row < out.size(); ++row) {
      if (!suites.tests[row].is_array()) {
        step.fail("bad-test", fmt::format("the tests of row {} are no list", row),
                  "give a list of tests per row");
      }
      for (const Json& test : suites.tests[row]) out[row].push_back(program_test(test));
    }
    return out;
  }

  void give(Step& step, const std::vector<ProgramVerdicts>& found, std::size_t per_suite,
            std::int64_t batch) const {
    const auto m = static_cast<std::int64_t>(per_suite);
    const std::int64_t n = m == 0 ? 0 : static_cast<std::int64_t>(found.size()) / m;
    std::size_t longest = 0;
    for (const ProgramVerdicts& one : found) longest = std::max(longest, one.verdicts.size());
    const auto k = static_cast<std::int64_t>(longest);
    at::Tensor numbers = at::full({n, m, k}, -1, at::kLong);
    at::Tensor rates = at::zeros({n, m}, at::kDouble);
    auto* const cells = numbers.data_ptr<std::int64_t>();
    auto* const shares = rates.data_ptr<double>();
    Verdicts lists;
    TextRows texts;
    lists.batch = texts.batch = batch;
    for (std::size_t i = 0; i < found.size(); ++i) {
      Json names = Json::array();
      for (std::size_t test = 0; test < found[i].verdicts.size(); ++test) {
        cells[i * longest + test] = static_cast<std::int64_t>(found[i].verdicts[test]);
        names.push_back(std::string(name_of(found[i].verdicts[test])));
      }
      shares[i] = found[i].pass_rate();
      texts.texts.push_back(found[i].message);
      if (per_suite == 1) {
        lists.verdicts.push_back(std::move(names));
      } else {
        if (i % per_suite == 0) lists.verdicts.push_back(Json::array());
        lists.verdicts.back().push_back(std::move(names));
      }
    }
    step[verdicts] = std::move(lists);
    step[matrix] = Values{numbers, batch};
    step[pass_rate] = Values{rates, batch};
    step[messages] = std::move(texts);
  }

  ProgramRunner programs_;
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeRunTests, "Programs on tests", "arXiv:2508.21107")
