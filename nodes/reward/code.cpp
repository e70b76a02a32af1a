#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/test_suites.h"

namespace rewardloom {
namespace {

enum class EmptyValid { zero, skip_group };
constexpr auto choices(EmptyValid) {
  return std::to_array<Choice<EmptyValid>>({
      {EmptyValid::zero, "zero", "a pass rate of 0"},
      {EmptyValid::skip_group, "skip_group", "the row and its group are absent"},
  });
}

std::vector<Verdict> verdict_row(const at::Tensor& numbers) {
  std::vector<Verdict> out;
  for (const double number : numbers_of(numbers)) {
    out.push_back(verdict_of(static_cast<std::int64_t>(number)));
  }
  return out;
}

}  // namespace

struct Code final : Node {
  Optional<Values> reference_verdict{
      this,
      "reference_verdict",
      "of one program's tests: 0 pass, 1 wrong, 2 error, 3 timeout, 4 harness fault",
      {.dims = "K"}};
  Optional<Values> program_verdict{this, "program_verdict", "of the program", {.dims = "K"}};
  Optional<Scalar> format{this, "format", "of the program: 0 or 1; else 1"};
  Optional<Verdicts> references{this, "references", "instead: of each row's reference program"};
  Optional<Verdicts> programs{this, "programs",
                              "and of each row's program, or list of programs, on them"};
  Optional<Rewards> formats{this, "formats", "of each row: 0 or 1; else 1"};
  Optional<Completions> completions{
      this, "completions", "the programs: their groups", {.dims = "R,T"}};
  Output<Scalar> reward{this, "reward", "mean over the rows"};
  Output<Scalar> pass_rate{this, "pass_rate", "mean over the rows"};
  Output<Rewards> rewards{
      this, "rewards", "one per program, with its parts as components", {.dims = "R"}};
  Param<double> pass_weight{this, "pass_weight", 0.9, "weight of the pass rate"};
  Param<double> format_weight{this, "format_weight", 0.1, "weight of the format"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the number of valid tests", {.min = 0}};
  Param<EmptyValid> empty_valid{this, "empty_valid", EmptyValid::zero,
                                "a program without any valid test"};
  Rule one_source{
      this,
      {{{"programs", {{"connected", false}}}},
       {{"reference_verdict", {{"connected", true}}}, {"program_verdict", {{"connected", true}}}},
       "there are no verdicts",
       "connect references and programs, or the tensors of one program"}};
  Synonyms words{this, {"UTRL", "pass rate", "program", "unit tests"}};
  Doc doc{
      this,
      "pass_weight * passed / (valid + epsilon) + format_weight * format, over the generated tests "
      "that the reference program passes. A harness fault is no failure of the program: its row "
      "cannot be scored."};

  void run(Step& step) const override {
    const Verdicts* const right = step[references];
    const Verdicts* const given = step[programs];
    const Values* const one_right = step[reference_verdict];
    const Values* const one = step[program_verdict];
    if (right != nullptr && given != nullptr) {
      require_same_rows("references", static_cast<std::int64_t>(right->verdicts.size()),
                        right->batch, "programs", static_cast<std::int64_t>(given->verdicts.size()),
                        given->batch);
      const std::vector<Pair> pairs = paired(*right, *given);
      return score(
          step, pairs.size(), [&](std::size_t i) { return verdicts_of(*pairs[i].reference); },
          [&](std::size_t i) { return verdicts_of(*pairs[i].program); });
    }
    if (one_right == nullptr || one == nullptr) {
      step.fail("there are no verdicts",
                "connect references and programs, or the tensors of one program");
    }
    score(
        step, 1, [&](std::size_t) { return verdict_row(one_right->values); },
        [&](std::size_t) { return verdict_row(one->values); });
  }

 private:
  struct Pair {
    const Json* reference;
    const Json* program;
  };

  /// Each program with the reference of its row; a row may hold a list of programs.
  static std::vector<Pair> paired(const Verdicts& references, const Verdicts& programs) {
    std::vector<Pair> out;
    for (std::size_t i = 0; i < programs.verdicts.size(); ++i) {
      const Json& given = programs.verdicts[i];
      if (!given.is_array() || given.empty() || !given.front().is_array()) {
        out.push_back({&references.verdicts[i], &given});
        continue;
      }
      for (const Json& one : given) out.push_back({&references.verdicts[i], &one});
    }
    return out;
  }

  template <class Reference, class Program>
  void score(Step& step, std::size_t count, Reference reference, Program program) const {
    const std::vector<double> layout = layouts(step, count);
    RowScores rates(count);
    std::vector<std::uint8_t> empty(count);
    for (std::size_t i = 0; i < count; ++i) {
      try {
        const ProgramScore found = score_program(reference(i), program(i), epsilon());
        rates.set(i, found.pass_rate);
        empty[i] = found.valid == 0 ? 1 : 0;
      } catch (const Failure& failure) {
        rates.fail(step, i, failure.problem().text);
      }
    }
    give(step, layout, rates, empty);
  }

  std::vector<double> layouts(Step& step, std::size_t count) const {
    const Rewards* const given = step[formats];
    if (given == nullptr) {
      return std::vector<double>(count, step[format] != nullptr ? step[format]->value : 1);
    }
    require_same_rows("programs", static_cast<std::int64_t>(count), 0, "formats",
                      given->total.size(0), 0);
    return finite_rows(given->total, given->absent, "formats");
  }

  void give(Step& step, const std::vector<double>& layout, const RowScores& rates,
            const std::vector<std::uint8_t>& empty) const {
    const at::Tensor passed = rates.scores();
    const at::Tensor formed = at::tensor(at::ArrayRef<double>(layout), at::dtype(at::kDouble));
    const at::Tensor total = pass_weight() * passed + format_weight() * formed;
    Rewards rows = row_facts(step, total);
    at::Tensor absent = rates.absent();
    if (empty_valid() == EmptyValid::skip_group) {
      absent = either_absent(absent, skipped(rows, empty));
    }
    rows = rescored(step, rows, total, absent);
    rows.components = {{"pass_rate", passed}, {"format", formed}};
    const at::Tensor keep =
        rows.absent.defined() ? rows.absent.logical_not() : at::ones_like(total, at::kBool);
    const auto mean = [&](const at::Tensor& values) {
      return Scalar{values.masked_select(keep).mean().item<double>()};
    };
    if (keep.any().item<bool>()) {
      step[reward] = mean(total);
      step[pass_rate] = mean(passed);
    }
    step[rewards] = std::move(rows);
  }

  Rewards row_facts(Step& step, const at::Tensor& total) const {
    Rewards rows;
    if (const Completions* c = step[completions]) {
      require_same_rows("programs", total.size(0), 0, "completions", c->rows(), c->batch);
      rows = Rewards::of(*c, total);
    } else if (const Rewards* given = step[formats]) {
      rows = *given;
    }
    rows.total = total;
    return rows;
  }

  /// Rows whose group has a row without valid tests; without groups, those rows themselves.
  static at::Tensor skipped(const Rewards& rows, const std::vector<std::uint8_t>& empty) {
    std::vector<std::uint8_t> out = empty;
    if (rows.group.defined()) {
      const Groups groups(rows.group, {}, rows.total.size(0));
      for (std::size_t g = 0; g < groups.count(); ++g) {
        std::uint8_t any = 0;
        for (const std::int64_t row : groups.rows(g)) any |= empty[static_cast<std::size_t>(row)];
        for (const std::int64_t row : groups.rows(g)) out[static_cast<std::size_t>(row)] = any;
      }
    }
    return at::tensor(at::ArrayRef<std::uint8_t>(out), at::dtype(at::kByte)).to(at::kBool);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Code, "Reward of a program on generated tests (UTRL)", "arXiv:2508.21107")
