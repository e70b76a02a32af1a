#include "nodes/loss/implicit_process.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <map>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/token_rows.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// beta times the sum of a row's log-ratios [N].
at::Tensor row_scores(const LossBatch& batch, const at::Tensor& mask, double beta) {
  return beta * row_sums(mask, token_argument(batch, "log_ratio", mask));
}

at::Tensor row_values(const LossBatch& batch, const char* name, const at::Tensor& mask) {
  const at::Tensor value = row_argument(batch, name).detach();
  if (value.size(0) == mask.size(0)) return value;
  throw Failure("bad-shape",
                c10::str(name, " is ", value.sizes(), ", but the mask is ", mask.sizes()),
                "rows must agree in number and order");
}

LossResult cross_entropy(const LossBatch& batch, double beta) {
  const at::Tensor mask = mask_argument(batch);
  const at::Tensor score = row_scores(batch, mask, beta);
  const at::Tensor rows = row_lengths(mask) > 0;
  const at::Tensor given = row_values(batch, "outcome", mask).to(score.scalar_type());
  const at::Tensor y = at::where(rows, given, at::zeros_like(given));
  const at::Tensor loss = y * logistic_loss(score) + (1 - y) * logistic_loss(-score);
  const at::Tensor kept = at::where(rows, loss, at::zeros_like(given));
  LossResult result;
  result.loss = divided_by(kept.sum(), batch.total_sequences, rows.sum());
  result.outputs = {{"score", score.detach()}};
  return result;
}

/// Which trajectory each row belongs to, and which trajectories are compared.
struct Comparison {
  std::vector<std::int64_t> trajectory_of;  ///< [N]
  std::vector<std::int64_t> turns;          ///< of each trajectory
  std::vector<std::int64_t> better, worse;  ///< of each pair
};

/// Adds the trajectories of one group and their pairs.
void add_group(Comparison& all, std::span<const std::int64_t> rows, const std::int64_t* trajectory,
               const std::vector<double>& outcome) {
  std::map<std::int64_t, std::pair<std::int64_t, double>> known;  // id -> index, outcome
  std::vector<std::int64_t> won, lost;
  for (const std::int64_t row : rows) {
    const double result = outcome[static_cast<std::size_t>(row)];
    const auto [entry, fresh] =
        known.try_emplace(trajectory[row], static_cast<std::int64_t>(all.turns.size()), result);
    const auto [index, first] = entry->second;
    if (fresh) {
      all.turns.push_back(0);
      (result > 0.5 ? won : lost).push_back(index);
    }
    if (first != result) {
      throw Failure(
          "outcome-varies",
          fmt::format("trajectory {} has outcomes {} and {}", trajectory[row], first, result),
          "all turns of a trajectory carry its one outcome");
    }
    ++all.turns[static_cast<std::size_t>(index)];
    all.trajectory_of[static_cast<std::size_t>(row)] = index;
  }
  for (const std::int64_t w : won) {
    for (const std::int64_t l : lost) {
      all.better.push_back(w);
      all.worse.push_back(l);
    }
  }
}

Comparison comparison(const LossBatch& batch, const at::Tensor& mask) {
  const at::Tensor trajectory =
      row_values(batch, "trajectory", mask).to(at::kCPU, at::kLong).contiguous();
  const std::vector<double> outcome =
      finite_rows(row_values(batch, "outcome", mask), {}, "the outcome");
  const Groups groups(row_values(batch, "group", mask), {}, mask.size(0));
  Comparison all;
  all.trajectory_of.resize(outcome.size());
  for (std::size_t g = 0; g < groups.count(); ++g) {
    add_group(all, groups.rows(g), trajectory.data_ptr<std::int64_t>(), outcome);
  }
  return all;
}

LossResult pairwise(const LossBatch& batch, const ImplicitProcessOptions& options) {
  const at::Tensor mask = mask_argument(batch);
  if (!batch.total_pairs) {
    require_whole_step(batch, mask, "divides by the pairs of all trajectories of a step");
  }
  const at::Tensor score = row_scores(batch, mask, options.beta);
  const Comparison all = comparison(batch, mask);
  const auto index = [&](const std::vector<std::int64_t>& values) {
    return at::tensor(values, at::kLong).to(score.device());
  };
  at::Tensor q = at::zeros({static_cast<std::int64_t>(all.turns.size())}, score.detach().options())
                     .index_add(0, index(all.trajectory_of), score);
  if (options.form == ProcessForm::pairs_mean) q = q / index(all.turns).to(q.scalar_type());
  const at::Tensor gap = q.index_select(0, index(all.better)) - q.index_select(0, index(all.worse));
  const auto pairs = static_cast<double>(all.better.size());
  LossResult result;
  result.loss = logistic_loss(gap).sum() / batch.total_pairs.value_or(std::max(1.0, pairs));
  const at::Tensor right = (gap.detach() > 0).sum().to(q.scalar_type());
  result.outputs = {{"accuracy", right / std::max(1.0, pairs)},
                    {"pairs", at::full({}, pairs, q.detach().options())}};
  return result;
}

}  // namespace

LossResult implicit_process_loss(const LossBatch& batch, const ImplicitProcessOptions& options) {
  return options.form == ProcessForm::ce ? cross_entropy(batch, options.beta)
                                         : pairwise(batch, options);
}

struct ImplicitProcess final : LossNode {
  Argument log_ratio{this,
                     "log_ratio",
                     "N,T",
                     "log-probs of the reward model minus those of its reference",
                     {.differentiable = true}};
  Argument outcome = Argument::with_port<Rewards>(this, "outcome", "N", "1 success, 0 failure");
  Argument mask{this, "mask", "N,T", "action tokens"};
  Argument group{this, "group", "N", "rows of one task, for pairs_*", {.optional = true}};
  Argument trajectory{
      this, "trajectory", "N", "rows (turns) of one episode, for pairs_*", {.optional = true}};
  Param<double> beta{
      this, "beta", 0.05, "factor of the log-ratios", {.min = 0, .exclusive_min = true}};
  Param<ProcessForm> form{this, "form", ProcessForm::ce, "how outcomes are learnt"};
  Synonyms words{this, {"PRIME", "iStar", "process reward model", "implicit reward", "PRM"}};
  Doc doc{
      this,
      "ce: row loss = cross-entropy of sigmoid(beta * sum of log_ratio) and outcome [N]; loss = "
      "mean over rows with tokens. score [N]: beta * sum.\n"
      "pairs_*: Q of a trajectory = mean or sum over its turns of beta * sum of log_ratio; loss "
      "= mean of -log sigmoid(Q+ - Q-) over all pairs of a success and a failure in a group. "
      "accuracy: share of pairs in the right order; pairs: their number. Micro-batches must "
      "hold whole groups and need total_pairs."};

  LossResult evaluate(const LossBatch& batch) const override {
    return implicit_process_loss(batch, {beta(), form()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImplicitProcess, "Implicit process reward model (PRIME, iStar)", "arXiv:2502.01456")
