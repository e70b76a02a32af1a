#include "nodes/preference/pairs.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rewardloom {

namespace {

using RowPair = std::pair<std::int64_t, std::int64_t>;

double score_of(std::span<const double> scores, std::int64_t row) {
  return scores[static_cast<std::size_t>(row)];
}

/// The higher row first.
RowPair ordered(std::span<const double> scores, std::int64_t a, std::int64_t b) {
  const double of_a = score_of(scores, a), of_b = score_of(scores, b);
  return of_a > of_b || (of_a == of_b && a < b) ? RowPair{a, b} : RowPair{b, a};
}

bool far_enough(std::span<const double> scores, const RowPair& pair, const PairOptions& options) {
  const double gap = score_of(scores, pair.first) - score_of(scores, pair.second);
  return options.label == PairLabel::sampled ? gap >= options.min_gap : gap > options.min_gap;
}

std::vector<RowPair> all_pairs(std::span<const double> scores, std::span<const std::int64_t> rows,
                               const PairOptions& options) {
  std::vector<RowPair> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = i + 1; j < rows.size(); ++j) {
      const RowPair pair = ordered(scores, rows[i], rows[j]);
      if (far_enough(scores, pair, options)) out.push_back(pair);
    }
  }
  return out;
}

std::vector<RowPair> best_and_worst(std::span<const double> scores,
                                    std::span<const std::int64_t> rows,
                                    const PairOptions& options) {
  const auto lower = [&](std::int64_t a, std::int64_t b) {
    return ordered(scores, a, b).first == b;
  };
  const auto [worst, best] = std::minmax_element(rows.begin(), rows.end(), lower);
  const RowPair pair{*best, *worst};
  if (!far_enough(scores, pair, options)) return {};
  return {pair};
}

/// The first `count` of a shuffle.
void keep_drawn(std::vector<RowPair>& pairs, std::size_t count, Random& random) {
  count = std::min(count, pairs.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(pairs[i], pairs[i + random.below(pairs.size() - i)]);
  }
  pairs.resize(count);
}

bool label_is_turned(double gap, const PairOptions& options, Random& random) {
  bool turned = false;
  if (options.label == PairLabel::sampled) {
    turned = random.uniform() >= 1 / (1 + std::exp(-gap / options.temperature));
  }
  if (options.noise > 0 && random.uniform() < options.noise) turned = !turned;
  return turned;
}

}  // namespace

std::vector<LabelledPair> labelled_pairs(std::span<const double> scores,
                                         std::span<const std::int64_t> rows,
                                         const PairOptions& options, Random random) {
  if (rows.size() < 2) return {};
  std::vector<RowPair> pairs = options.pairs == PairChoice::best_worst
                                   ? best_and_worst(scores, rows, options)
                                   : all_pairs(scores, rows, options);
  if (options.pairs == PairChoice::random) {
    keep_drawn(pairs, static_cast<std::size_t>(options.per_group), random);
  }
  std::vector<LabelledPair> out;
  for (const auto& [high, low] : pairs) {
    const double gap = score_of(scores, high) - score_of(scores, low);
    const bool turned = label_is_turned(gap, options, random);
    out.push_back(turned ? LabelledPair{low, high, true} : LabelledPair{high, low, false});
  }
  return out;
}

}  // namespace rewardloom
