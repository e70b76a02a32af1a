#include "nodes/reward/test_suites.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::string_view kVerdictNames[] = {"pass",    "wrong", "error",
                                              "timeout", "fault", "compile_error"};

}  // namespace

std::string_view name_of(Verdict verdict) {
  return kVerdictNames[static_cast<std::size_t>(verdict)];
}

Verdict verdict_of(std::string_view text) {
  const auto* const found = std::find(std::begin(kVerdictNames), std::end(kVerdictNames), text);
  if (found == std::end(kVerdictNames)) {
    throw Failure("bad-verdict", fmt::format("\"{}\" is no verdict", text),
                  "verdicts are pass, wrong, error, timeout, fault and compile_error");
  }
  return static_cast<Verdict>(found - std::begin(kVerdictNames));
}

Verdict verdict_of(std::int64_t number) {
  if (number >= 0 && number <= static_cast<std::int64_t>(Verdict::compile_error)) {
    return static_cast<Verdict>(number);
  }
  throw Failure("bad-verdict", fmt::format("{} is no verdict", number),
                "verdicts are 0 pass, 1 wrong, 2 error, 3 timeout, 4 fault, 5 compile error");
}

std::vector<Verdict> verdicts_of(const Json& list) {
  if (!list.is_array()) {
    throw Failure("bad-verdict", "the verdicts of a row are no list", "give one verdict per test");
  }
  std::vector<Verdict> out;
  for (const Json& item : list) {
    out.push_back(item.is_string() ? verdict_of(item.get_ref<const std::string&>())
                                   : verdict_of(item.get<std::int64_t>()));
  }
  return out;
}

namespace {

void require_cases(const char* name, std::size_t given, std::size_t cases) {
  if (given == cases) return;
  throw Failure(
      "bad-shape",
      fmt::format("there are {} verdicts of the reference, but {} of {}", cases, given, name),
      "give one verdict per test and program");
}

}  // namespace

SuiteScore score_suite(const std::vector<std::int64_t>& case_id,
                       const std::vector<Verdict>& reference,
                       const std::vector<std::vector<Verdict>>& candidates, double format,
                       const SuiteOptions& options) {
  require_cases("case ids", case_id.size(), reference.size());
  if (candidates.empty()) {
    throw Failure("bad-shape", "there is no candidate program",
                  "discrimination needs at least one candidate program");
  }
  std::unordered_set<std::int64_t> seen;
  std::vector<std::size_t> valid;
  for (std::size_t k = 0; k < case_id.size(); ++k) {
    const bool fresh = seen.insert(case_id[k]).second;
    if (fresh && reference[k] == Verdict::pass) valid.push_back(k);
  }
  double caught = 0;
  for (const std::vector<Verdict>& candidate : candidates) {
    require_cases("a candidate", candidate.size(), reference.size());
    const auto catches = [&](std::size_t k) {
      return candidate[k] != Verdict::pass && candidate[k] != Verdict::fault;
    };
    if (std::any_of(valid.begin(), valid.end(), catches)) ++caught;
  }
  SuiteScore score;
  score.unique = static_cast<std::int64_t>(seen.size());
  score.discrimination = caught / static_cast<double>(candidates.size());
  const auto unique = static_cast<double>(seen.size());
  const auto good = static_cast<double>(valid.size());
  if (!case_id.empty()) {
    score.validity_ratio = good / unique;
    score.duplicate_share = 1 - unique / static_cast<double>(case_id.size());
  }
  score.validity =
      options.clip_denominator ? good / std::max(unique, options.tau) : score.validity_ratio;
  score.reward = options.discrimination_weight * score.discrimination +
                 options.validity_weight * score.validity + options.format_weight * format;
  return score;
}

ProgramScore score_program(const std::vector<Verdict>& reference,
                           const std::vector<Verdict>& program, double epsilon) {
  require_cases("the program", program.size(), reference.size());
  ProgramScore score;
  double passed = 0;
  for (std::size_t k = 0; k < reference.size(); ++k) {
    if (reference[k] != Verdict::pass) continue;
    if (program[k] == Verdict::fault) {
      throw Failure("harness-fault", fmt::format("test {} could not be run", k),
                    "a fault of the harness says nothing about the program: run it again");
    }
    ++score.valid;
    if (program[k] == Verdict::pass) ++passed;
  }
  if (score.valid > 0) score.pass_rate = passed / (static_cast<double>(score.valid) + epsilon);
  return score;
}

}  // namespace rewardloom
