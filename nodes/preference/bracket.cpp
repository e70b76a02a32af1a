#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nodes/preference/tournament.h"

namespace rewardloom {
namespace {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Indices by falling value; equal ones keep their order.
std::vector<std::size_t> by_falling(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  return order;
}

/// Rewards 1 (best) to 0 (worst) by score; players of equal score share the better rank.
std::vector<double> rank_rewards(const std::vector<double>& scores) {
  std::vector<double> rank;
  for (const double score : scores) {
    rank.push_back(1 + static_cast<double>(std::count_if(scores.begin(), scores.end(),
                                                         [&](double s) { return s > score; })));
  }
  const double worst = *std::max_element(rank.begin(), rank.end());
  for (double& r : rank) r = worst == 1 ? 0 : (worst - r) / (worst - 1);
  return rank;
}

std::vector<double> standardised(const std::vector<double>& rewards, double epsilon) {
  const double mean = mean_of(rewards);
  double squares = 0;
  for (const double r : rewards) squares += (r - mean) * (r - mean);
  const double spread = std::sqrt(squares / static_cast<double>(rewards.size() - 1));
  std::vector<double> out;
  for (const double r : rewards) out.push_back((r - mean) / (spread + epsilon));
  return out;
}

class Arena {
 public:
  Arena(std::size_t players, const PairJudge& judge, const TournamentOptions& options)
      : judge_(judge), anchor_(options.anchor), points_(players) {}

  std::int64_t comparisons() const { return comparisons_; }

  std::vector<double> anchor() {
    seed();
    return rank_rewards(mean_points());
  }

  std::vector<double> round_robin() {
    std::vector<double> wins(points_.size(), 0.0);
    for (std::size_t i = 0; i < points_.size(); ++i) {
      for (std::size_t j = i + 1; j < points_.size(); ++j) {
        const auto [a, b] = judged(i, j);
        wins[i] += a > b ? 1 : a == b ? 0.5 : 0;
        wins[j] += b > a ? 1 : a == b ? 0.5 : 0;
      }
    }
    return rank_rewards(wins);
  }

  std::vector<double> seeded_single() {
    seed();
    std::vector<std::size_t> active;
    for (const std::int64_t player : seeded_bracket(mean_points())) {
      active.push_back(static_cast<std::size_t>(player));
    }
    std::vector<std::vector<std::size_t>> losers;
    while (active.size() > 1) losers.push_back(play_round(active));
    return by_survival(active.front(), losers);
  }

 private:
  std::pair<double, double> judged(std::size_t i, std::size_t j) {
    ++comparisons_;
    return judge_(i, j);
  }

  /// Everyone, shown first, against the anchor. The anchor's points are the mean of its own.
  void seed() {
    std::vector<double> own;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      if (i == anchor_) continue;
      const auto [other, anchor] = judged(i, anchor_);
      points_[i].push_back(other);
      own.push_back(anchor);
    }
    points_[anchor_].push_back(mean_of(own));
  }

  std::vector<double> mean_points() const {
    std::vector<double> out;
    for (const auto& points : points_) out.push_back(mean_of(points));
    return out;
  }

  /// Leaves the winners in `active`, a bye first, and gives the losers.
  std::vector<std::size_t> play_round(std::vector<std::size_t>& active) {
    std::vector<std::size_t> next, out;
    if (active.size() % 2 == 1) next.push_back(active.back());
    for (std::size_t k = 0; k + 1 < active.size(); k += 2) {
      const std::size_t left = active[k], right = active[k + 1];
      const auto [a, b] = judged(left, right);
      points_[left].push_back(a);
      points_[right].push_back(b);
      next.push_back(a >= b ? left : right);
      out.push_back(a >= b ? right : left);
    }
    active = std::move(next);
    return out;
  }

  std::vector<double> by_survival(std::size_t champion,
                                  const std::vector<std::vector<std::size_t>>& losers) const {
    std::vector<std::size_t> ranked{champion};
    const std::vector<double> mean = mean_points();
    for (std::size_t round = losers.size(); round-- > 0;) {
      std::vector<double> points;
      for (const std::size_t player : losers[round]) points.push_back(mean[player]);
      for (const std::size_t k : by_falling(points)) ranked.push_back(losers[round][k]);
    }
    std::vector<double> rewards(ranked.size());
    for (std::size_t place = 0; place < ranked.size(); ++place) {
      rewards[ranked[place]] =
          1 - static_cast<double>(place) / static_cast<double>(ranked.size() - 1);
    }
    return rewards;
  }

  const PairJudge& judge_;
  std::size_t anchor_;
  std::vector<std::vector<double>> points_;
  std::int64_t comparisons_ = 0;
};

}  // namespace

std::vector<std::int64_t> seeded_bracket(const std::vector<double>& points) {
  const std::vector<std::size_t> seeds = by_falling(points);
  std::vector<std::size_t> slots{0};
  while (slots.size() < points.size()) {
    std::vector<std::size_t> wider;
    const std::size_t mirror = 2 * slots.size() - 1;
    for (const std::size_t slot : slots) {
      wider.push_back(slot);
      wider.push_back(mirror - slot);
    }
    slots = std::move(wider);
  }
  std::vector<std::int64_t> order;
  for (const std::size_t slot : slots) {
    if (slot < seeds.size()) order.push_back(static_cast<std::int64_t>(seeds[slot]));
  }
  return order;
}

TournamentResult play_tournament(std::size_t players, const PairJudge& judge,
                                 const TournamentOptions& options) {
  if (players < 2) {
    throw Failure("too-few",
                  fmt::format("a tournament of {} member{}", players, players == 1 ? "" : "s"),
                  "sample at least 2 completions per prompt");
  }
  if (options.anchor >= players) {
    throw Failure("bad-anchor",
                  fmt::format("member {} is the anchor, but there are {}", options.anchor, players),
                  "lower anchor_index");
  }
  Arena arena(players, judge, options);
  TournamentResult out;
  switch (options.topology) {
    case Topology::anchor: out.rewards = arena.anchor(); break;
    case Topology::round_robin: out.rewards = arena.round_robin(); break;
    case Topology::seeded_single: out.rewards = arena.seeded_single(); break;
  }
  out.advantages = standardised(out.rewards, options.epsilon);
  out.comparisons = arena.comparisons();
  return out;
}

}  // namespace rewardloom
