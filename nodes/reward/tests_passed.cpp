#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/code/fenced_blocks.h"
#include "nodes/code/runner_params.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

enum class TestsScore { fraction, all };
constexpr auto choices(TestsScore) {
  return std::to_array<Choice<TestsScore>>({
      {TestsScore::fraction, "fraction", "the share of tests that are passed"},
      {TestsScore::all, "all", "1 if every test is passed, else 0"},
  });
}

enum class TestsPreset { plain, humaneval, mbpp };
constexpr auto choices(TestsPreset) {
  return std::to_array<Choice<TestsPreset>>({
      {TestsPreset::plain, "plain", "rows with a list \"tests\""},
      {TestsPreset::humaneval, "humaneval",
       "HumanEval's rows: the prompt is the beginning of the program, check(entry_point) tests it"},
      {TestsPreset::mbpp, "mbpp", "MBPP's rows: asserts in test_list after test_setup_code"},
  });
}

/// The value at a path of names parted by dots; null if there is none.
const Json* field_at(const Json& row, const std::string& path) {
  const Json* here = &row;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    if (!here->is_object()) return nullptr;
    const auto found = here->find(path.substr(begin, end - begin));
    if (found == here->end()) return nullptr;
    here = &*found;
    begin = end + 1;
  }
  return here;
}

}  // namespace

struct TestsPassed final : Node, Prepares {
  Input<Completions> completions{this, "completions", "answers that hold a program"};
  Optional<Tests> tests{this, "tests", "of each row; else the field of the row"};
  Output<Rewards> rewards{this, "rewards", "0 to 1"};
  Output<Verdicts> verdicts{this, "verdicts", "of each row: one per test"};
  Output<TextRows> messages{this, "messages", "of each row: about the first test not passed"};
  RunnerParams runner{this};
  Param<std::string> tests_field{this, "tests_field", "tests",
                                 "where a row has its tests: a list, or code with asserts"};
  Param<std::string> setup_field{this, "setup_field", "",
                                 "where a row has code that goes before each assert; empty: none"};
  Param<std::string> entry_field{
      this, "entry_field", "",
      "where a row has the name of the function that check(candidate) of its tests is for"};
  Param<std::string> fence{this, "fence", "python",
                           "the program is the last block fenced so; empty: the whole answer"};
  Param<bool> continues_prompt{this, "continues_prompt", false,
                               "an answer without a fence goes on where its prompt ends"};
  Param<TestsScore> score{this, "score", TestsScore::fraction, "what is counted"};
  Param<TestsPreset> preset{this, "preset", TestsPreset::plain, "whose rows; explicit ones win"};
  Preset plain{this, "plain", {{"tests_field", "tests"}}};
  Preset humaneval{this,
                   "humaneval",
                   {{"tests_field", "test"},
                    {"entry_field", "entry_point"},
                    {"continues_prompt", true},
                    {"score", "all"}}};
  Preset mbpp{this,
              "mbpp",
              {{"tests_field", "test_list"}, {"setup_field", "test_setup_code"}, {"score", "all"}}};
  Synonyms words{this, {"unit tests", "HumanEval", "MBPP", "pass@1", "code reward", "sandbox"}};
  Doc doc{
      this,
      "The program of each answer runs on the tests of its row, in a sandbox (see code.run_tests). "
      "rewards [N]: the share of passed tests, or 1 for all and 0 otherwise; component pass_rate. "
      "A row without tests, or with a test that cannot be run, has no reward: it is absent, and "
      "the run stops unless on_error is skip_row. A fault of the sandbox stops the run. Metrics: "
      "tests, and shares of them: pass_rate, wrong, errors, timeouts, faults, compile_errors."};

  void prepare(const StepSettings&) const override { programs_.prepare(runner); }

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const std::vector<std::string>& texts = answers(c);
    RowScores scores(texts.size());
    std::vector<std::vector<ProgramTest>> cases(texts.size());
    std::vector<ProgramJob> jobs;
    for (std::size_t row = 0; row < texts.size(); ++row) {
      try {
        cases[row] = tests_of(step, c, row);
      } catch (const Failure& failure) {
        scores.fail(step, row, failure.problem().text);
      }
      jobs.push_back({program_of(c, row), &cases[row]});
    }
    const std::vector<ProgramVerdicts> found =
        programs_.run(runner, jobs, [&] { return step.cancelled(); });
    report_verdicts(step, found);
    give(step, c, found, scores);
  }

 private:
  std::string program_of(const Completions& c, std::size_t row) const {
    const std::string& text = c.text[row];
    const bool fenced = !fence().empty() && text.find("```") != std::string::npos;
    if (fenced) return extract_program(text, fence());
    if (!continues_prompt() || row >= c.prompt_text.size()) return text;
    return c.prompt_text[row] + text;
  }

  std::vector<ProgramTest> tests_of(Step& step, const Completions& c, std::size_t row) const {
    if (const Tests* given = step[tests]) {
      require_same_rows("completions", static_cast<std::int64_t>(c.text.size()), c.batch, "tests",
                        static_cast<std::int64_t>(given->tests.size()), given->batch);
      return read(given->tests[row], "", "");
    }
    const Json none = Json::object();
    const Json& fields = row < c.fields.size() ? c.fields[row] : none;
    const Json* const list = field_at(fields, tests_field());
    if (list == nullptr) {
      throw Failure("no-tests", fmt::format("there is no field {} with tests", tests_field()),
                    "connect tests, or set tests_field");
    }
    return read(*list, text_at(fields, setup_field()), text_at(fields, entry_field()));
  }

  static std::string text_at(const Json& fields, const std::string& path) {
    if (path.empty()) return "";
    const Json* const found = field_at(fields, path);
    if (found != nullptr && found->is_string()) return found->get<std::string>();
    if (found == nullptr || found->is_null()) return "";
    throw Failure("bad-test", fmt::format("the field {} is no text", path), "name one that is");
  }

  static std::vector<ProgramTest> read(const Json& list, const std::string& setup,
                                       const std::string& entry) {
    std::vector<ProgramTest> out;
    if (list.is_array()) {
      for (const Json& test : list) out.push_back(program_test(test));
    } else {
      out.push_back(program_test(list));
    }
    if (out.empty()) throw Failure("no-tests", "the list of tests is empty", "give some");
    for (ProgramTest& test : out) {
      if (!test.asserts) continue;
      if (!setup.empty()) test.code = setup + "\n" + test.code;
      if (entry.empty()) continue;
      test.entry = entry;
      test.code += "\ncheck(" + entry + ")\n";
    }
    return out;
  }

  void give(Step& step, const Completions& c, const std::vector<ProgramVerdicts>& found,
            RowScores& scores) const {
    Verdicts lists;
    TextRows texts;
    lists.batch = texts.batch = c.batch;
    std::vector<double> rates;
    for (std::size_t row = 0; row < found.size(); ++row) {
      const ProgramVerdicts& one = found[row];
      Json names = Json::array();
      for (const Verdict verdict : one.verdicts) names.push_back(std::string(name_of(verdict)));
      lists.verdicts.push_back(std::move(names));
      texts.texts.push_back(one.message);
      const double rate = one.pass_rate();
      rates.push_back(rate);
      const bool faulty =
          std::find(one.verdicts.begin(), one.verdicts.end(), Verdict::fault) != one.verdicts.end();
      if (faulty) {
        scores.fail(step, row, one.message);
      } else if (!scores.failed(row)) {
        scores.set(row, score() == TestsScore::all ? (rate == 1 ? 1 : 0) : rate);
      }
    }
    Rewards out = scored(step, c, scores.scores(), scores.absent());
    out.components.emplace_back("pass_rate",
                                at::tensor(at::ArrayRef<double>(rates), at::dtype(at::kDouble)));
    step[rewards] = std::move(out);
    step[verdicts] = std::move(lists);
    step[messages] = std::move(texts);
  }

  ProgramRunner programs_;
};

}  // namespace rewardloom

REWARDLOOM_NODE(TestsPassed, "Unit tests passed", "arXiv:2107.03374")
