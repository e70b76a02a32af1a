#include <fmt/format.h>
#include <torch/types.h>

#include <map>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/test_suites.h"

namespace rewardloom {
namespace {

enum class SuitePreset { code, paper };
constexpr auto choices(SuitePreset) {
  return std::to_array<Choice<SuitePreset>>({
      {SuitePreset::code, "code", "0.85 discrimination, 0.05 validity, 0.1 format"},
      {SuitePreset::paper, "paper", "0.85 discrimination, 0.15 validity, no format"},
  });
}

std::vector<std::int64_t> integers_of(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* const first = host.data_ptr<std::int64_t>();
  return {first, first + host.numel()};
}

std::vector<Verdict> verdict_row(const at::Tensor& numbers) {
  std::vector<Verdict> out;
  for (const std::int64_t number : integers_of(numbers)) out.push_back(verdict_of(number));
  return out;
}

/// Equal (input, output) pairs get equal ids.
std::vector<std::int64_t> ids_of(const Json& tests) {
  std::map<std::string, std::int64_t> known;
  std::vector<std::int64_t> ids;
  for (const Json& test : tests) {
    const auto next = static_cast<std::int64_t>(known.size());
    ids.push_back(known.try_emplace(test.dump(), next).first->second);
  }
  return ids;
}

}  // namespace

struct UnitTest final : Node {
  Optional<Values> case_id{
      this, "case_id", "of one suite: equal ids are the same case", {.dims = "K"}};
  Optional<Values> reference_verdict{this,
                                     "reference_verdict",
                                     "0 pass, 1 wrong, 2 error, 3 timeout, 4 harness fault",
                                     {.dims = "K"}};
  Optional<Values> candidate_verdicts{
      this, "candidate_verdicts", "of M candidate programs", {.dims = "M,K"}};
  Optional<Scalar> format{this, "format", "of the suite: 0 or 1"};
  Optional<Tests> suites{this, "suites", "instead: one suite per row"};
  Optional<Verdicts> references{this, "references", "of each row's reference program"};
  Inputs<Verdicts> candidates{
      this, "candidates", "of each row's candidates: one edge a program, or a list of programs", 0};
  Optional<Rewards> formats{this, "formats", "of each row's suite: 0 or 1; else 1"};
  Optional<Completions> completions{this, "completions", "that hold the suites: their groups"};
  Output<Scalar> reward{this, "reward", "mean over the suites"};
  Output<Scalar> discrimination{this, "discrimination",
                                "share of candidates that a valid case catches"};
  Output<Scalar> validity{this, "validity", "as weighted: clipped or not"};
  Output<Scalar> validity_ratio{this, "validity_ratio", "valid cases / unique cases"};
  Output<Scalar> duplicate_share{this, "duplicate_share", "cases that occurred before"};
  Output<Scalar> unique{this, "unique", "distinct cases"};
  Output<Rewards> rewards{this, "rewards", "one per suite, with its parts as components"};
  Param<double> discrimination_weight{this, "discrimination_weight", 0.85, "the paper's lambda"};
  Param<double> validity_weight{this, "validity_weight", 0.05, "the paper: 1 - lambda"};
  Param<double> format_weight{this, "format_weight", 0.1, "the paper: 0"};
  Param<double> tau{this,
                    "tau",
                    12.0,
                    "validity = valid / max(unique, tau): few trivial cases do not pay",
                    {.min = 1}};
  Param<bool> clip_denominator{this, "clip_denominator", true, "false: valid / unique"};
  Param<SuitePreset> preset{this, "preset", SuitePreset::code, "whose weights; explicit ones win"};
  Preset code{this,
              "code",
              {{"discrimination_weight", 0.85}, {"validity_weight", 0.05}, {"format_weight", 0.1}}};
  Preset paper{
      this,
      "paper",
      {{"discrimination_weight", 0.85}, {"validity_weight", 0.15}, {"format_weight", 0.0}}};
  Rule one_source{this,
                  {{{"suites", {{"connected", false}}}},
                   {{"case_id", {{"connected", true}}},
                    {"reference_verdict", {{"connected", true}}},
                    {"candidate_verdicts", {{"connected", true}}}},
                   "there are no verdicts",
                   "connect suites, references and candidates, or the tensors of one suite"}};
  Synonyms words{this, {"UTRL", "test generation", "adversarial", "discrimination"}};
  Doc doc{
      this,
      "Reward of a generated test suite. A case counts if the reference program passes it; the "
      "suite "
      "catches a candidate that fails such a case, by a wrong output, an error or a timeout. A row "
      "whose verdicts do not fit its tests cannot be scored. Metrics: discrimination, "
      "validity_ratio, unique: means over the suites."};

  void run(Step& step) const override {
    if (step[suites] != nullptr) return score_rows(step);
    const Values* const ids = step[case_id];
    const Values* const right = step[reference_verdict];
    const Values* const others = step[candidate_verdicts];
    if (ids == nullptr || right == nullptr || others == nullptr) {
      step.fail("there are no verdicts",
                "connect suites, references and candidates, or the tensors of one suite");
    }
    if (others->values.dim() != 2) {
      step.fail("bad-shape", c10::str("candidate_verdicts is ", others->values.sizes()),
                "it is [M,K]: one row per candidate program");
    }
    std::vector<std::vector<Verdict>> programs;
    for (std::int64_t m = 0; m < others->values.size(0); ++m) {
      programs.push_back(verdict_row(others->values[m]));
    }
    const double layout = step[format] != nullptr ? step[format]->value : 1;
    give(step,
         {score_suite(integers_of(ids->values), verdict_row(right->values), programs, layout,
                      options())},
         {}, nullptr);
  }

 private:
  SuiteOptions options() const {
    return {discrimination_weight(), validity_weight(), format_weight(), tau(), clip_denominator()};
  }

  void score_rows(Step& step) const {
    const Tests& tests = *step[suites];
    const Verdicts* const right = step[references];
    const auto programs = step[candidates];
    const Rewards* const layout = step[formats];
    const auto count = static_cast<std::int64_t>(tests.tests.size());
    if (right == nullptr) step.fail("there are no reference verdicts", "connect references");
    require_same_rows("suites", count, tests.batch, "references",
                      static_cast<std::int64_t>(right->verdicts.size()), right->batch);
    for (std::size_t m = 0; m < programs.size(); ++m) {
      require_same_rows("suites", count, 0, fmt::format("candidate {}", m + 1),
                        static_cast<std::int64_t>(programs[m].verdicts.size()), 0);
    }
    if (layout != nullptr) {
      require_same_rows("suites", count, tests.batch, "formats", layout->total.size(0),
                        layout->batch);
    }
    const std::vector<double> formats_given =
        layout != nullptr ? numbers_of(layout->total)
                          : std::vector<double>(static_cast<std::size_t>(count), 1.0);
    RowScores rows(static_cast<std::size_t>(count));
    std::vector<SuiteScore> scores(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      try {
        std::vector<std::vector<Verdict>> given;
        for (std::size_t m = 0; m < programs.size(); ++m) {
          add_programs(programs[m].verdicts[i], given);
        }
        scores[i] = score_suite(ids_of(tests.tests[i]), verdicts_of(right->verdicts[i]), given,
                                formats_given[i], options());
      } catch (const Failure& failure) {
        rows.fail(step, i, failure.problem().text);
      }
    }
    give(step, scores, rows.absent(), layout);
  }

  /// One program's verdicts, or a list of several programs'.
  static void add_programs(const Json& verdicts, std::vector<std::vector<Verdict>>& out) {
    if (!verdicts.is_array() || verdicts.empty() || !verdicts.front().is_array()) {
      out.push_back(verdicts_of(verdicts));
      return;
    }
    for (const Json& program : verdicts) out.push_back(verdicts_of(program));
  }

  void give(Step& step, const std::vector<SuiteScore>& scores, const at::Tensor& absent,
            const Rewards* layout) const {
    at::Tensor left_out = either_absent(absent, layout != nullptr ? layout->absent : at::Tensor());
    const auto column = [&](auto part) {
      std::vector<double> values;
      for (const SuiteScore& score : scores) values.push_back(static_cast<double>(part(score)));
      return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
    };
    const at::Tensor keep = left_out.defined()
                                ? left_out.to(at::kCPU).logical_not()
                                : at::ones({static_cast<std::int64_t>(scores.size())}, at::kBool);
    const auto mean = [&](const at::Tensor& values) {
      const at::Tensor kept = values.masked_select(keep);
      return Scalar{kept.numel() == 0 ? 0 : kept.mean().item<double>()};
    };
    const at::Tensor total = column([](const SuiteScore& s) { return s.reward; });
    const at::Tensor caught = column([](const SuiteScore& s) { return s.discrimination; });
    const at::Tensor good = column([](const SuiteScore& s) { return s.validity; });
    const auto report = [&](const char* name, const Scalar& value) {
      step.metric(name, value.value);
      return value;
    };
    step[reward] = mean(total);
    step[discrimination] = report("discrimination", mean(caught));
    step[validity] = mean(good);
    step[validity_ratio] = report(
        "validity_ratio", mean(column([](const SuiteScore& s) { return s.validity_ratio; })));
    step[duplicate_share] = mean(column([](const SuiteScore& s) { return s.duplicate_share; }));
    step[unique] = report(
        "unique", mean(column([](const SuiteScore& s) { return static_cast<double>(s.unique); })));
    Rewards out;
    if (layout != nullptr) out = *layout;
    if (const Completions* const c = step[completions]) {
      require_same_rows("suites", total.size(0), 0, "completions", c->rows(), c->batch);
      out = Rewards::of(*c, total);
    }
    out.total = total;
    out = rescored(step, out, total, absent);
    out.components = {{"discrimination", caught}, {"validity", good}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(UnitTest, "Reward of a test suite (UTRL)", "arXiv:2508.21107")
