#include "nodes/eval/choice_scores.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace rewardloom {

Choice4 grade_choice(std::span<const double> scores, ChoiceTies rule) {
  if (scores.empty()) {
    throw Failure("nothing-to-measure", "a prompt has no answers", "score at least the right one");
  }
  const double best = *std::max_element(scores.begin(), scores.end());
  if (scores[0] != best) return {};
  const auto equal = std::count(scores.begin(), scores.end(), best);
  if (equal == 1) return {1, false};
  return {rule == ChoiceTies::strict ? 0 : 1 / static_cast<double>(equal), true};
}

std::vector<std::vector<double>> split_by(const std::vector<double>& all,
                                          const std::vector<std::int64_t>& lengths) {
  const auto total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const bool empty = std::any_of(lengths.begin(), lengths.end(), [](auto n) { return n < 1; });
  if (empty || total != static_cast<std::int64_t>(all.size())) {
    throw Failure(
        "bad-lengths",
        empty ? "a prompt has no answers"
              : fmt::format("lengths add up to {}, but there are {} scores", total, all.size()),
        "give one positive length per prompt");
  }
  std::vector<std::vector<double>> out;
  auto next = all.begin();
  for (const std::int64_t length : lengths) {
    out.emplace_back(next, next + length);
    next += length;
  }
  return out;
}

namespace {

double reciprocal_rank(std::int64_t higher, std::int64_t equal, RankTies rule) {
  if (rule == RankTies::rejected_first) return 1 / static_cast<double>(1 + higher + equal);
  if (rule == RankTies::strict) return 1 / static_cast<double>(1 + higher);
  double sum = 0;
  for (std::int64_t ahead = 0; ahead <= equal; ++ahead) {
    sum += 1 / static_cast<double>(1 + higher + ahead);
  }
  return sum / static_cast<double>(equal + 1);
}

}  // namespace

OneVsMany one_vs_many(const at::Tensor& scores, RankTies rule) {
  const std::int64_t prompts = scores.size(0), wide = scores.size(1);
  if (wide < 2) {
    throw Failure("too-few", "there is no wrong solution to compare with",
                  "give the right solution first and at least one wrong one");
  }
  OneVsMany out;
  std::int64_t wins = 0, draws = 0;
  const double* row = scores.data_ptr<double>();
  for (std::int64_t p = 0; p < prompts; ++p, row += wide) {
    const auto higher = std::count_if(row + 1, row + wide, [&](double s) { return s > row[0]; });
    const auto equal = std::count(row + 1, row + wide, row[0]);
    wins += higher == 0 && equal == 0;
    draws += higher == 0 && equal > 0;
    out.mrr += reciprocal_rank(higher, equal, rule);
  }
  const double count = static_cast<double>(prompts);
  out.accuracy = static_cast<double>(wins) / count;
  out.accuracy_with_ties = static_cast<double>(wins + draws) / count;
  out.mrr /= count;
  return out;
}

namespace {

struct Gaps {
  bool accurate = false;
  double spread = 0;  ///< best right - worst right
  double gap = 0;     ///< worst right - best wrong
};

Gaps gaps_of(const TiesPrompt& prompt) {
  if (prompt.correct < 1 || prompt.correct >= prompt.scores.size()) {
    throw Failure("bad-correct",
                  fmt::format("prompt {}: {} of {} answers are right", prompt.pair, prompt.correct,
                              prompt.scores.size()),
                  "every prompt needs a right and a wrong answer");
  }
  if (prompt.tied != (prompt.correct > 1)) {
    throw Failure("bad-correct",
                  fmt::format("prompt {} is {}, but has {} right answer{}", prompt.pair,
                              prompt.tied ? "tied" : "a single-answer prompt", prompt.correct,
                              prompt.correct == 1 ? "" : "s"),
                  "tied prompts have at least two right answers, the others one");
  }
  const auto border = prompt.scores.begin() + static_cast<std::ptrdiff_t>(prompt.correct);
  const auto [worst, best] = std::minmax_element(prompt.scores.begin(), border);
  const double wrong = *std::max_element(border, prompt.scores.end());
  return {*worst > wrong, *best - *worst, *worst - wrong};
}

struct Pair {
  std::vector<Gaps> ref, tied;
};

/// Pairs by id. Failure naming those that are not whole.
std::map<std::int64_t, Pair> paired(const std::vector<TiesPrompt>& prompts) {
  std::map<std::int64_t, Pair> pairs;
  for (const TiesPrompt& prompt : prompts) {
    Pair& pair = pairs[prompt.pair];
    (prompt.tied ? pair.tied : pair.ref).push_back(gaps_of(prompt));
  }
  std::string wrong;
  for (const auto& [id, pair] : pairs) {
    if (pair.ref.size() == 1 && pair.tied.size() == 1) continue;
    if (wrong.size() > 80) continue;
    wrong += fmt::format("{}{} ({} + {})", wrong.empty() ? "" : ", ", id, pair.ref.size(),
                         pair.tied.size());
  }
  if (!wrong.empty()) {
    throw Failure("bad-pairs", "not one single-answer and one tied prompt: pair " + wrong,
                  "each id stands for two prompts");
  }
  if (pairs.empty()) throw Failure("nothing-to-measure", "there are no prompts", "connect scores");
  return pairs;
}

double margin(std::int64_t id, double gap, double spread, ZeroSpread rule) {
  if (spread == 0 && rule == ZeroSpread::error) {
    throw Failure("zero-spread", fmt::format("pair {}: all right answers score the same", id),
                  "set zero_spread to nan_to_zero, or score in higher precision");
  }
  const double value = std::tanh(gap / spread - 1);
  return std::isnan(value) ? 0 : value;
}

}  // namespace

TiesScore ties_score(const std::vector<TiesPrompt>& prompts, const std::vector<double>& weights,
                     ZeroSpread rule) {
  if (weights.size() != 5) {
    throw Failure("bad-weights",
                  fmt::format("there are {} weights, but five numbers", weights.size()),
                  "give tied accuracy, ref accuracy, preferred, preferred hard, margin");
  }
  const std::map<std::int64_t, Pair> pairs = paired(prompts);
  TiesScore out;
  for (const auto& [id, pair] : pairs) {
    const Gaps& ref = pair.ref[0];
    const Gaps& tied = pair.tied[0];
    const double smaller = std::min(ref.gap, tied.gap);
    out.tied_accuracy += tied.accurate;
    out.ref_accuracy += ref.accurate;
    out.preferred += tied.gap > tied.spread;
    out.preferred_hard += smaller > tied.spread;
    out.margin += margin(id, smaller, tied.spread, rule);
  }
  double* const parts[] = {&out.tied_accuracy, &out.ref_accuracy, &out.preferred,
                           &out.preferred_hard, &out.margin};
  for (std::size_t i = 0; i < 5; ++i) {
    *parts[i] /= static_cast<double>(pairs.size());
    out.score += weights[i] * *parts[i];
  }
  return out;
}

}  // namespace rewardloom
