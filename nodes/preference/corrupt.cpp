#include "nodes/preference/corrupt.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

namespace {

/// Where a run of digits stands.
struct DigitRun {
  std::size_t first = 0;
  std::size_t size = 0;
  std::string in(const std::string& text) const { return text.substr(first, size); }
};

std::vector<DigitRun> digit_runs(const std::string& text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::vector<DigitRun> runs;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && is_digit(text[end])) ++end;
    if (end > i) runs.push_back({i, end - i});
    i = std::max(end, i + 1);
  }
  return runs;
}

/// The digits without leading zeros, so that 07 and 7 are one number of any length.
std::string plain_digits(const std::string& digits) {
  const std::size_t first = digits.find_first_not_of('0');
  return first == std::string::npos ? "0" : digits.substr(first);
}

/// Another number with as many digits, 1 .. distance away. Long numbers change in their last
/// digits.
std::string other_number(const std::string& digits, std::int64_t distance, Random& random) {
  const std::size_t tail = std::min<std::size_t>(digits.size(), 15);
  std::int64_t value = 0;
  std::from_chars(digits.data() + digits.size() - tail, digits.data() + digits.size(), value);
  std::int64_t limit = 1;
  for (std::size_t i = 0; i < tail; ++i) limit *= 10;
  const bool leads = tail == digits.size() && tail > 1;  // no leading zero may appear
  const std::int64_t lowest = leads && digits[0] != '0' ? limit / 10 : 0;
  const std::int64_t reach = std::min(distance, std::max(value - lowest, limit - 1 - value));
  for (;;) {
    const std::int64_t by =
        1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(reach)));
    const std::int64_t other = random.uniform() < 0.5 ? value - by : value + by;
    if (other < lowest || other >= limit) continue;
    return digits.substr(0, digits.size() - tail) + fmt::format("{:0{}}", other, tail);
  }
}

enum class Way { wrong_answer, drop_answer, wrong_steps };

Way drawn_way(const CorruptionWeights& w, double uniform) {
  const double at = uniform * (w.wrong_answer + w.drop_answer + w.wrong_steps);
  if (at < w.wrong_answer) return Way::wrong_answer;
  return at < w.wrong_answer + w.drop_answer ? Way::drop_answer : Way::wrong_steps;
}

}  // namespace

std::string corrupted(const std::string& text, const Corruption& corruption, Random random) {
  const std::vector<DigitRun> runs = digit_runs(text);
  if (runs.empty()) return text;
  const Way way = drawn_way(corruption.weights, random.uniform());
  std::string out = text;
  if (way == Way::drop_answer) {
    std::string instead;
    for (std::size_t i = 0; i < runs.back().size; ++i) instead += corruption.filler;
    return out.replace(runs.back().first, runs.back().size, instead);
  }
  const std::size_t from = way == Way::wrong_answer ? runs.size() - 1 : random.below(runs.size());
  for (std::size_t k = from; k < runs.size(); ++k) {
    out.replace(runs[k].first, runs[k].size,
                other_number(runs[k].in(text), corruption.distance, random));
  }
  return out;
}

bool is_same_answer(const std::string& text, const std::string& reference) {
  if (text == reference) return true;
  const auto given = digit_runs(text), wanted = digit_runs(reference);
  if (given.empty() || wanted.empty()) return false;
  return plain_digits(given.back().in(text)) == plain_digits(wanted.back().in(reference));
}

struct PreferenceCorrupt final : Node {
  Input<Completions> completions{this, "completions", "answers, several to a prompt"};
  Input<Values> index{this, "index", "row of each group: a right answer", {.dims = "G"}};
  Input<Values> has_positive{this, "has_positive", "whether it is one", {.dims = "G"}};
  Output<TextRows> negatives{this, "negatives", "the same answers made wrong", {.dims = "G"}};
  Output<Values> valid{this, "valid", "whether that worked", {.dims = "G"}};
  Param<double> wrong_answer{
      this, "wrong_answer", 0.5, "weight of: the last number becomes another", {.min = 0}};
  Param<double> drop_answer{
      this, "drop_answer", 0.5, "weight of: the last number is replaced by fillers", {.min = 0}};
  Param<double> wrong_steps{this,
                            "wrong_steps",
                            0.0,
                            "weight of: all numbers from a random one on become others",
                            {.min = 0}};
  Param<std::int64_t> distance{
      this, "distance", 9, "how far away other numbers lie at most", {.min = 1}};
  Param<std::string> filler{this, "filler", "",
                            "stands for each dropped digit; empty: they are left out"};
  Param<std::int64_t> max_tries{this, "max_tries", 3, "attempts per answer", {.min = 1, .max = 10}};
  Synonyms words{this, {"Cooper", "assistant", "negative sample", "hard negatives", "rewrite"}};
  Doc doc{this,
          "A program in the place of an assistant model: it writes wrong answers that look like "
          "the right ones, so that a reward model learns the difference. A rewrite counts where "
          "its last number is not the reference's; else it is tried again, and after max_tries "
          "the group is left out. A model can stand here too: let sample.generate or "
          "sample.remote rewrite the answers and give theirs to preference.join.\n"
          "Draws come from (seed, node, iteration, group). Metric given_up: groups with a right "
          "answer whose rewrites all failed."};

  void run(Step& step) const override {
    if (wrong_answer() + drop_answer() + wrong_steps() <= 0) {
      step.fail("bad-weights", "all three weights are 0", "raise one of them");
    }
    const Completions& c = step[completions];
    const std::vector<std::string>& texts = answers(c);
    const std::vector<std::string>& wanted = references(c);
    const std::vector<std::int64_t> row = whole_numbers(step[index].values, "index");
    const std::vector<double> usable = numbers_of(step[has_positive].values);
    if (row.size() != usable.size()) {
      step.fail("bad-shape",
                fmt::format("index has {} groups, has_positive {}", row.size(), usable.size()),
                "connect both to the same preference.select_positive");
    }
    const Corruption corruption{
        {wrong_answer(), drop_answer(), wrong_steps()}, distance(), filler()};
    TextRows out;
    out.batch = c.batch;
    std::vector<std::int64_t> good(row.size());
    double given_up = 0;
    for (std::size_t g = 0; g < row.size(); ++g) {
      out.texts.emplace_back();
      if (usable[g] == 0) continue;
      const auto at = checked_row(step, row[g], texts.size());
      for (std::int64_t k = 0; k < max_tries() && good[g] == 0; ++k) {
        out.texts[g] =
            corrupted(texts[at], corruption, step.random(g, static_cast<std::uint64_t>(k)));
        good[g] = !is_same_answer(out.texts[g], wanted[at]);
      }
      given_up += good[g] == 0;
    }
    step.metric("given_up", given_up);
    step[negatives] = std::move(out);
    step[valid] = Values{at::tensor(good).to(at::kBool), c.batch};
  }

 private:
  static std::size_t checked_row(const Step& step, std::int64_t row, std::size_t rows) {
    if (row >= 0 && static_cast<std::size_t>(row) < rows) return static_cast<std::size_t>(row);
    step.fail("bad-shape", fmt::format("index names row {}, there are {}", row, rows),
              "connect the completions that were selected from");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceCorrupt, "Right answers made wrong", "arXiv:2508.05613")
