#include "nodes/reward/bmas.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

at::Tensor unit_rows(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide / wide.norm(2, {1}, true).clamp_min(1e-12);
}

}  // namespace

double max_average_similarity(const at::Tensor& embeddings, const at::Tensor& reference) {
  if (embeddings.dim() != 2 || reference.dim() != 2 || embeddings.size(1) != reference.size(1) ||
      embeddings.size(0) == 0 || reference.size(0) == 0) {
    throw Failure("bad-shape",
                  c10::str("the embeddings are ", embeddings.sizes(), ", the reference's are ",
                           reference.sizes()),
                  "give [T,D] and [S,D] with at least one token each");
  }
  const at::Tensor cosine = at::mm(unit_rows(embeddings), unit_rows(reference).t());
  const double forward = cosine.amax(1).mean().item<double>();
  const double backward = cosine.amax(0).mean().item<double>();
  return (forward + backward) / 2;
}

struct Bmas final : Node {
  Input<Features> embeddings{this,
                             "embeddings",
                             "token embeddings of the answers, one answer after the other",
                             {.dims = "T,D"}};
  Input<Features> reference{
      this, "reference", "token embeddings of the reference answers", {.dims = "S,D"}};
  Optional<Values> rows{
      this, "rows", "which row each token belongs to; else all are one answer", {.dims = "T"}};
  Optional<Values> reference_rows{
      this, "reference_rows", "and which row each reference token belongs to", {.dims = "S"}};
  Optional<Completions> completions{this, "completions",
                                    "the rows; else 0 up to the largest in rows"};
  Output<Scalar> reward{this, "reward", "mean over the rows"};
  Output<Rewards> rewards{this, "rewards", "one per row"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"BERTScore", "open-ended", "Mixed-R1", "token similarity"}};
  Doc doc{
      this,
      "(mean_i max_j cos(x_i, y_j) + mean_j max_i cos(x_i, y_j)) / 2 per row. A row without tokens "
      "on either side, or with embeddings that are no numbers, cannot be scored."};

  void run(Step& step) const override {
    const at::Tensor& x = step[embeddings].features;
    const at::Tensor& y = step[reference].features;
    const Completions* const c = step[completions];
    const at::Tensor x_row = row_ids(step, step[rows], x, "embeddings");
    const at::Tensor y_row = row_ids(step, step[reference_rows], y, "reference");
    const std::int64_t count =
        c != nullptr ? c->rows() : std::max(highest(x_row), highest(y_row)) + 1;
    RowScores scores(static_cast<std::size_t>(count));
    double sum = 0;
    std::int64_t scored_rows = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const at::Tensor a = x.index_select(0, x_row.eq(i).nonzero().reshape({-1}));
      const at::Tensor b = y.index_select(0, y_row.eq(i).nonzero().reshape({-1}));
      const auto row = static_cast<std::size_t>(i);
      if (a.size(0) == 0 || b.size(0) == 0) {
        scores.fail(step, row, "there are no tokens to compare");
        continue;
      }
      const double score = max_average_similarity(a, b);
      if (!std::isfinite(score)) {
        scores.fail(step, row, "its embeddings are no numbers");
        continue;
      }
      scores.set(row, score);
      sum += score;
      ++scored_rows;
    }
    if (scored_rows > 0) step[reward] = Scalar{sum / static_cast<double>(scored_rows)};
    give(step, c, scores);
  }

 private:
  static at::Tensor row_ids(Step& step, const Values* given, const at::Tensor& tokens,
                            const char* name) {
    if (given == nullptr) return at::zeros({tokens.size(0)}, tokens.options().dtype(at::kLong));
    if (given->values.dim() == 1 && given->values.size(0) == tokens.size(0)) {
      return given->values.to(tokens.device(), at::kLong);
    }
    step.fail("bad-shape",
              c10::str("there are ", tokens.size(0), " tokens in ", name, ", but their rows are ",
                       given->values.sizes()),
              "give one row number per token");
  }
  static std::int64_t highest(const at::Tensor& ids) {
    return ids.numel() == 0 ? -1 : ids.max().item<std::int64_t>();
  }
  void give(Step& step, const Completions* c, const RowScores& scores) const {
    if (c != nullptr) {
      step[rewards] = scored(step, *c, scores.scores(), scores.absent());
      return;
    }
    Rewards out;
    out.total = scores.scores();
    out.batch = step[embeddings].batch;
    step[rewards] = rescored(step, out, out.total, scores.absent());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Bmas, "Bidirectional max-average similarity", "arXiv:2505.24164")
