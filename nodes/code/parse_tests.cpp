#include <torch/types.h>

#include <array>

#include "engine/core/registry.h"
#include "nodes/code/fenced_blocks.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

enum class TestFormat { fenced_io, pairs };
constexpr auto choices(TestFormat) {
  return std::to_array<Choice<TestFormat>>({
      {TestFormat::fenced_io, "fenced_io", "fenced blocks with the lines Input: and Output:"},
      {TestFormat::pairs, "pairs", "input = output , input = output ..."},
  });
}

}  // namespace

struct CodeParseTests final : Node {
  Input<Completions> completions{this, "completions", "answers that hold test cases"};
  Output<TextRows> inputs{this, "inputs", "of all cases of all rows, in order", {.dims = "K"}};
  Output<TextRows> outputs{this, "outputs", "what each should give", {.dims = "K"}};
  Output<Values> counts{this, "counts", "cases per row"};
  Output<Tests> tests{this, "tests", "the cases of each row"};
  Param<TestFormat> format{this, "format", TestFormat::fenced_io, "how cases are written"};
  Param<std::int64_t> max_cases{
      this, "max_cases", 64, "later cases of a row are dropped", {.min = 1, .unit = "cases"}};
  Synonyms words{this, {"unit tests", "UTRL", "stdin", "stdout", "test generation"}};
  Doc doc{
      this,
      "Reads (input, output) pairs out of each answer: a fence, a line Input:, the input, a line "
      "Output:, the output, a fence. Both are stripped of white space around them; a block that "
      "is not closed gives nothing. With format pairs, what lies between two commas is a case if it "
      "holds one = with something on both sides. completions [N] -> counts int64 [N], tests [N]. Metrics: "
      "cases_per_row, without_cases (share of rows)."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    TextRows in, out;
    Tests all;
    std::vector<std::int64_t> count;
    std::int64_t without = 0;
    for (const std::string& text : answers(c)) {
      Json of_row = Json::array();
      for (IoCase& one : cases_of(text)) {
        if (static_cast<std::int64_t>(of_row.size()) == max_cases()) break;
        of_row.push_back({{"input", one.input}, {"output", one.output}});
        in.texts.push_back(std::move(one.input));
        out.texts.push_back(std::move(one.output));
      }
      count.push_back(static_cast<std::int64_t>(of_row.size()));
      without += of_row.empty();
      all.tests.push_back(std::move(of_row));
    }
    if (!count.empty()) {
      const double rows = static_cast<double>(count.size());
      step.metric("cases_per_row", static_cast<double>(in.texts.size()) / rows);
      step.metric("without_cases", static_cast<double>(without) / rows);
    }
    all.batch = c.batch;
    step[inputs] = std::move(in);
    step[outputs] = std::move(out);
    step[counts] = Values{as_tensor(count), c.batch};
    step[tests] = std::move(all);
  }

 private:
  std::vector<IoCase> cases_of(const std::string& text) const {
    return format() == TestFormat::pairs ? parse_pair_cases(text) : parse_io_cases(text);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(CodeParseTests, "Test cases of a completion", "arXiv:2508.21107")
