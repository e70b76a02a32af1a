#include "nodes/preference/tournament.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct PreferenceTournament final : Node {
  Input<Values> judge{
      this, "judge", "[i,j] = scores of i and j when i is shown first", {.dims = "N,N,*"}};
  Optional<Completions> completions{
      this, "completions", "the rows that were judged: one tournament in each of their groups"};
  Output<Advantages> advantages{this, "advantages", "standardised rank rewards"};
  Output<Rewards> rewards{this, "rewards", "rank rewards, 1 the best, 0 the worst of a group"};
  Output<Scalar> comparisons{this, "comparisons", "pairs whose scores were used"};
  Param<Topology> topology{this, "topology", Topology::seeded_single, "who meets whom"};
  Param<std::int64_t> anchor_index{
      this, "anchor_index", 0, "member that the others are first compared with", {.min = 0}};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread", {.min = 0}};
  Param<bool> bidirectional{this, "bidirectional", false,
                            "add up both orders of showing before comparing"};
  Synonyms words{this, {"ArenaRL", "pairwise", "ranking", "bracket", "round robin", "judge"}};
  Doc doc{
      this,
      "A comparison sees differences that a scale hides: members of a group play a tournament, "
      "the place becomes the reward, and advantage = (reward - mean) / (sample std + epsilon). "
      "judge [N,N,2]; without completions all rows are one group. Equal scores: the one shown "
      "first advances (a round robin gives both a half). Only the pairs that the topology needs "
      "are read. Metrics: comparisons, tie_rate."};

  void run(Step& step) const override {
    const at::Tensor table = judged(step[judge]);
    const Completions* const c = step[completions];
    const std::int64_t rows = table.size(0);
    const at::Tensor group =
        c != nullptr && c->group.defined() ? c->group : at::zeros({rows}, at::kLong);
    const Groups groups(group, {}, rows);
    std::vector<double> reward(static_cast<std::size_t>(rows)), advantage(reward.size());
    std::int64_t count = 0, ties = 0;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      const auto members = groups.rows(g);
      const TournamentResult result = play(table, members, ties);
      count += result.comparisons;
      for (std::size_t i = 0; i < members.size(); ++i) {
        reward[static_cast<std::size_t>(members[i])] = result.rewards[i];
        advantage[static_cast<std::size_t>(members[i])] = result.advantages[i];
      }
    }
    Rewards out;
    out.total = as_tensor(reward);
    out.group = group;
    out.batch = c != nullptr ? c->batch : step[judge].batch;
    step[advantages] = Advantages{as_tensor(advantage), out};
    step[rewards] = std::move(out);
    step[comparisons] = Scalar{static_cast<double>(count)};
    step.metric("comparisons", static_cast<double>(count));
    step.metric("tie_rate", static_cast<double>(ties) / static_cast<double>(count));
  }

 private:
  /// The table, of which only what is read must be finite: unjudged pairs may hold anything.
  static at::Tensor judged(const Values& values) {
    const at::Tensor& t = values.values;
    if (t.dim() == 3 && t.size(0) == t.size(1) && t.size(2) == 2 && t.size(0) > 0) {
      return t.to(at::kCPU, at::kDouble).contiguous();
    }
    throw Failure("bad-shape", c10::str("judge is ", t.sizes(), ", but must be [N,N,2]"),
                  "give both scores of every ordered pair");
  }

  TournamentResult play(const at::Tensor& table, std::span<const std::int64_t> members,
                        std::int64_t& ties) const {
    const double* const score = table.data_ptr<double>();
    const std::int64_t rows = table.size(0);
    const auto read = [&](std::int64_t i, std::int64_t j, std::int64_t side) {
      const double value = score[(i * rows + j) * 2 + side];
      if (std::isfinite(value)) return value;
      throw Failure("not-finite", fmt::format("judge has {} at [{},{},{}]", value, i, j, side),
                    "judge this pair again; a comparison that failed is no draw");
    };
    const auto pair = [&](std::size_t a, std::size_t b) {
      const std::int64_t i = members[a], j = members[b];
      std::pair<double, double> out{read(i, j, 0), read(i, j, 1)};
      if (bidirectional()) {
        out.first += read(j, i, 1);
        out.second += read(j, i, 0);
      }
      ties += out.first == out.second;
      return out;
    };
    return play_tournament(members.size(), pair,
                           {topology(), static_cast<std::size_t>(anchor_index()), epsilon()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceTournament, "Tournament inside a group", "arXiv:2601.06487")
