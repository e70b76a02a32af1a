#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"
#include "nodes/text/reference_rows.h"

namespace rewardloom {

struct PreferenceJoin final : Node {
  Input<Completions> completions{this, "completions", "answers, several to a prompt"};
  Input<Values> index{this, "index", "row of each group: a right answer", {.dims = "G"}};
  Input<Values> has_positive{this, "has_positive", "whether it is one", {.dims = "G"}};
  Optional<TextRows> negatives{
      this, "negatives", "a wrong answer to each group's prompt", {.dims = "G"}};
  Optional<Completions> rewrites{
      this, "rewrites", "instead: a model's, one per group, in their order", {.dims = "g,L"}};
  Optional<Values> valid{this, "valid", "which negatives can be used", {.dims = "G"}};
  Optional<Rewards> verdicts{
      this, "verdicts", "of a rule checker on the negatives, one per group", {.dims = "g"}};
  Output<Preferences> preferences{this, "preferences", "right answer before wrong one"};
  Param<double> min_score{this, "min_score", 1.0,
                          "a negative with this verdict is right after all"};
  Param<std::string> form{this, "template", "",
                          "of a reference-based reward model, as in text.reference_rows; empty: "
                          "prompt and answers as they are"};
  Param<std::int64_t> max_chars{this,
                                "max_chars",
                                1500,
                                "template: longer answers are cut",
                                {.min = 1, .unit = "characters"}};
  Param<std::int64_t> head{
      this, "head", 500, "template: kept from the start", {.min = 0, .unit = "characters"}};
  Param<std::int64_t> tail{
      this, "tail", 1000, "template: kept from the end", {.min = 0, .unit = "characters"}};
  Synonyms words{this, {"Cooper", "contrastive pairs", "reward model data", "online preferences"}};
  Doc doc{this,
          "Pairs for optimize.reward_model from answers that are certainly right and others that "
          "are certainly wrong. A group without a right answer, without a usable negative, or "
          "with a negative that the checker accepts, gives no pair. Metrics: pairs; valid_rate, "
          "the share of the groups that give one; accepted, negatives that turned out right."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const ReferenceTemplate reads{form(), {max_chars(), head(), tail()}};
    if (!form().empty()) reads.check();
    const std::vector<std::string>& texts = answers(c);
    const std::vector<std::int64_t> row = whole_numbers(step[index].values, "index");
    const std::vector<std::string>& wrong = wrong_answers(step);
    const std::vector<double> usable = numbers_of(step[has_positive].values);
    const std::vector<double> good = optional_flags(step, row.size());
    require_groups(step, "has_positive", usable.size(), row.size());
    require_groups(step, "the negatives", wrong.size(), row.size());
    const std::vector<bool> refused = accepted_by_checker(step, row.size());
    Preferences out;
    double accepted = 0;
    for (std::size_t g = 0; g < row.size(); ++g) {
      if (usable[g] == 0 || good[g] == 0) continue;
      accepted += refused[g];
      if (refused[g]) continue;
      const auto at = static_cast<std::size_t>(row[g]);
      if (row[g] < 0 || at >= texts.size()) {
        step.fail("bad-shape",
                  fmt::format("index names row {}, there are {}", row[g], texts.size()),
                  "connect the completions that were selected from");
      }
      add(c, texts[at], wrong[g], at, reads, out);
    }
    out.batch = step.new_batch();
    const double groups = static_cast<double>(std::max<std::size_t>(1, row.size()));
    step.metric("pairs", static_cast<double>(out.chosen.size()));
    step.metric("valid_rate", static_cast<double>(out.chosen.size()) / groups);
    step.metric("accepted", accepted);
    step[preferences] = std::move(out);
  }

 private:
  void add(const Completions& c, const std::string& right, const std::string& wrong, std::size_t at,
           const ReferenceTemplate& reads, Preferences& out) const {
    if (form().empty()) {
      out.prompt.push_back(c.prompt_text[at]);
      out.chosen.push_back(right);
      out.rejected.push_back(wrong);
      return;
    }
    out.prompt.push_back(reads.prefix(c.prompt_text[at], references(c)[at]));
    out.chosen.push_back(reads.answer(right));
    out.rejected.push_back(reads.answer(wrong));
  }

  const std::vector<std::string>& wrong_answers(const Step& step) const {
    if (const TextRows* const given = step[negatives]) return given->texts;
    if (const Completions* const given = step[rewrites]) return answers(*given);
    step.fail("no-text", "there are no negatives",
              "connect preference.corrupt to negatives, or a sampler's answers to rewrites");
  }

  std::vector<double> optional_flags(const Step& step, std::size_t groups) const {
    const Values* const flags = step[valid];
    if (flags == nullptr) return std::vector<double>(groups, 1.0);
    require_groups(step, "valid", static_cast<std::size_t>(flags->values.size(0)), groups);
    return numbers_of(flags->values);
  }

  std::vector<bool> accepted_by_checker(const Step& step, std::size_t groups) const {
    std::vector<bool> out(groups, false);
    const Rewards* const v = step[verdicts];
    if (v == nullptr) return out;
    require_groups(step, "verdicts", static_cast<std::size_t>(v->total.size(0)), groups);
    const std::vector<double> score = finite_rows(v->total, v->absent, "the verdict");
    const std::vector<double> absent =
        v->absent.defined() ? numbers_of(v->absent) : std::vector<double>(groups, 0.0);
    // A negative that could not be checked is not certainly wrong.
    for (std::size_t g = 0; g < groups; ++g) out[g] = absent[g] != 0 || score[g] >= min_score();
    return out;
  }

  static void require_groups(const Step& step, const char* what, std::size_t rows,
                             std::size_t groups) {
    if (rows == groups) return;
    step.fail("bad-shape", fmt::format("{} has {} rows, but index has {}", what, rows, groups),
              "there is one row per group");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceJoin, "Pairs of right and wrong answers", "arXiv:2508.05613")
