#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/ensemble/members.h"
#include "nodes/ensemble/reduce.h"
#include "nodes/reward/rows.h"
#include "nodes/world/scorer_grid.h"

namespace rewardloom {

std::vector<std::int64_t> ensemble_members(EnsembleGroup group, std::int64_t encoders,
                                           std::int64_t fine_tunings, std::int64_t index) {
  const std::int64_t e = index % encoders, f = index % fine_tunings;
  if (group == EnsembleGroup::single) return {e * fine_tunings + f};
  std::vector<std::int64_t> out;
  const bool shared = group == EnsembleGroup::fine_tuning;
  const std::int64_t count = shared ? fine_tunings : encoders;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(shared ? e * fine_tunings + i : i * fine_tunings + f);
  }
  return out;
}

namespace {

/// Scores of all rows by the members of their ensembles, [M,N].
struct MemberScores {
  at::Tensor scores;
  std::vector<std::vector<std::int64_t>> members;  ///< of each ensemble that has rows
};

MemberScores score_groups(const ScorerGrid& grid, EnsembleGroup kind, const at::Tensor& tokens,
                          const Groups& groups, const at::Tensor& group) {
  MemberScores out;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto span = groups.rows(g);
    const at::Tensor rows =
        at::tensor(at::ArrayRef<std::int64_t>(span.data(), span.size()), at::dtype(at::kLong));
    const std::int64_t id = group[span[0]].item<std::int64_t>();
    if (id < 0) {
      throw Failure("bad-group", fmt::format("row {} has group {}", span[0], id),
                    "groups count the ensembles from 0");
    }
    out.members.push_back(ensemble_members(kind, grid.encoders(), grid.fine_tunings(), id));
    const at::Tensor s = grid.score(tokens.index_select(0, rows), out.members.back());
    if (!out.scores.defined()) out.scores = at::zeros({s.size(0), tokens.size(0)}, at::kDouble);
    out.scores.index_copy_(1, rows, s);
  }
  return out;
}

}  // namespace

struct EnsembleScore final : Node {
  Reads<RewardModel> models{this, "models", "encoders x fine-tunings reward models"};
  Input<Completions> completions{this, "completions", "rows; group g is scored by ensemble g"};
  Output<Rewards> rewards{this, "rewards", "the ensemble's reward; each member is a component"};
  Output<Values> std{this, "std", "how far the members disagree", {.dims = "N"}};
  Output<Rewards> unused{this, "unused", "the evaluator's score; nothing without one"};
  Param<EnsembleGroup> group_by{this, "group_by", EnsembleGroup::pretraining,
                                "which models stand together"};
  Param<EnsembleOp> op{this, "op", EnsembleOp::mean, "how the members become one"};
  Param<double> k{this, "k", 1.0, "weight of the spread", {.min = 0}};
  Param<Divisor> divisor{this, "divisor", Divisor::sample, "divisor of the variance over members"};
  Param<double> q{this, "q", 0.25, "quantile: which one", {.min = 0, .max = 1}};
  Param<std::vector<std::int64_t>> evaluator{this, "evaluator", std::vector<std::int64_t>{},
                                             "[encoder, fine-tuning seed] of a model that is in no "
                                             "ensemble here"};
  Rule spread{this,
              {{{"op", {"mean_minus_std", "mean_minus_var"}}, {"divisor", "sample"}},
               {{"group_by", {"fine_tuning", "pretraining"}}},
               "the std needs at least 2 members, a single model has none",
               "group by fine_tuning or pretraining, or set op to mean"}};
  Synonyms words{this,
                 {"reward model ensemble", "seed grid", "UWO", "WCO", "reward hacking",
                  "held-out reward model"}};
  Doc doc{
      this,
      "Rows of group g are scored by ensemble g of the grid, all members in one pass, and reduced "
      "as ensemble.reduce does. Alarm uncentred-members: members whose means on the training pairs "
      "lie further apart than their scores spread are not on one scale, so that means and minima "
      "over them say little; train with centring. `evaluator` scores the rows by a model that no "
      "ensemble here holds, which is refused otherwise."};

  void run(Step& step) const override {
    const ScorerGrid& grid = step.read<ScorerGrid>(models);
    const Completions& c = step[completions];
    if (!c.group.defined() || c.rows() == 0) {
      step.fail("no-groups", "the completions do not say which ensemble scores them",
                "connect rows with group ids");
    }
    const Groups groups(c.group, {}, c.rows());
    const MemberScores members = score_groups(grid, group_by(), c.tokens, groups, c.group);
    const bool needs_spread =
        op() == EnsembleOp::mean_minus_std || op() == EnsembleOp::mean_minus_var;
    if (members.scores.size(0) < 2 && needs_spread && divisor() == Divisor::sample) {
      step.fail(
          "too-few",
          fmt::format("the std needs at least 2 members, there is {}", members.scores.size(0)),
          "train more seeds, or set op to mean");
    }
    warn(step, grid, members);
    EnsembleScores reduced = reduce_ensemble(members.scores, {op(), k(), divisor(), q()});
    Rewards out = Rewards::of(c, std::move(reduced.rewards));
    for (std::int64_t m = 0; m < members.scores.size(0); ++m) {
      out.components.emplace_back(fmt::format("member_{}", m + 1), members.scores[m]);
    }
    step[rewards] = std::move(out);
    step[std] = Values{std::move(reduced.std), c.batch};
    if (!evaluator().empty()) evaluate(step, grid, members, c);
  }

 private:
  static void warn(Step& step, const ScorerGrid& grid, const MemberScores& members) {
    for (const auto& ensemble : members.members) {
      const at::Tensor index =
          at::tensor(at::ArrayRef<std::int64_t>(ensemble), at::dtype(at::kLong));
      const at::Tensor means = grid.means().index_select(0, index);
      const double apart = (means.max() - means.min()).item<double>();
      if (apart <= grid.spreads().index_select(0, index).mean().item<double>()) continue;
      step.alarm("uncentred-members",
                 fmt::format("member means differ by {:.3g}; scores are not on one scale", apart));
      return;
    }
  }

  void evaluate(Step& step, const ScorerGrid& grid, const MemberScores& members,
                const Completions& c) const {
    const auto& given = evaluator();
    if (given.size() != 2 || given[0] < 0 || given[0] >= grid.encoders() || given[1] < 0 ||
        given[1] >= grid.fine_tunings()) {
      step.fail("no-model",
                fmt::format(
                    "there is no such evaluator: the grid has {} encoders and {} fine-tuning seeds",
                    grid.encoders(), grid.fine_tunings()),
                "give [encoder, fine-tuning seed], both from 0");
    }
    const std::int64_t model = given[0] * grid.fine_tunings() + given[1];
    for (const auto& ensemble : members.members) {
      if (std::find(ensemble.begin(), ensemble.end(), model) == ensemble.end()) continue;
      step.fail(
          "evaluator-inside",
          fmt::format("evaluator [{}, {}] is inside the ensemble; held-out reward would be biased",
                      given[0], given[1]),
          "train one more encoder and one more seed for the evaluator");
    }
    step[unused] = Rewards::of(c, grid.score(c.tokens, {model})[0]);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EnsembleScore, "Score with a reward ensemble", "arXiv:2312.09244")
