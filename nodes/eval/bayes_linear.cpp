#include "nodes/eval/bayes_linear.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

LinearPosterior fit_bayes_linear(const at::Tensor& inputs, const at::Tensor& targets,
                                 double prior_precision, double noise_precision) {
  const at::Tensor x = inputs, xt = inputs.t();
  const at::Tensor precision =
      noise_precision * xt.matmul(x) + prior_precision * at::eye(x.size(1), x.options());
  const auto [factor, info] = at::linalg_cholesky_ex(precision);
  if (info.item<std::int64_t>() != 0) {
    throw Failure("singular", "the posterior precision is not positive definite in double",
                  "raise prior_precision, or lower noise_precision");
  }
  const at::Tensor mean =
      noise_precision * at::cholesky_solve(xt.matmul(targets.unsqueeze(-1)), factor).squeeze(-1);
  return {mean, at::cholesky_inverse(factor)};
}

LinearPrediction predict_bayes_linear(const LinearPosterior& posterior, const at::Tensor& queries,
                                      double noise_precision) {
  const at::Tensor variance =
      queries.matmul(posterior.covariance).mul(queries).sum(-1) + 1 / noise_precision;
  return {queries.matmul(posterior.mean), variance.sqrt()};
}

struct EvalBayesLinear final : Node {
  Input<Features> inputs{this, "inputs", "what is regressed on"};
  Input<Values> targets{this, "targets", "what was observed", {.dims = "N"}};
  Input<Features> queries{this, "queries", "where to predict", {.dims = "M,D"}};
  Output<Values> mean{this, "mean", "posterior mean of the weights", {.dims = "D"}};
  Output<Values> covariance{this, "covariance", "posterior covariance", {.dims = "D,D"}};
  Output<Values> predictive_mean{this, "predictive_mean", "at the queries", {.dims = "M"}};
  Output<Values> predictive_std{
      this, "predictive_std", "of a target there, noise included", {.dims = "M"}};
  Param<double> prior_precision{this,
                                "prior_precision",
                                1.0,
                                "1 / variance of each weight before the data",
                                {.min = 0, .exclusive_min = true}};
  Param<double> noise_precision{this,
                                "noise_precision",
                                25.0,
                                "1 / variance of the noise on a target",
                                {.min = 0, .exclusive_min = true}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"ridge regression", "BLR", "posterior", "uncertainty"}};
  Doc doc{this,
          "C = (prior_precision I + noise_precision X^T X)^-1, mean = noise_precision C X^T y; "
          "prediction at q: q.mean, std = sqrt(q C q + 1 / noise_precision). inputs [N,D], targets "
          "[N], queries [M,D]; in double."};

  void run(Step& step) const override {
    const at::Tensor x = finite_table(step[inputs].features, 2, "inputs");
    const at::Tensor y = finite_table(step[targets].values, 1, "targets");
    const at::Tensor q = finite_table(step[queries].features, 2, "queries");
    if (y.size(0) != x.size(0) || q.size(1) != x.size(1)) {
      throw Failure(
          "bad-shape",
          c10::str("inputs are ", x.sizes(), ", targets ", y.sizes(), ", queries ", q.sizes()),
          "one target per input; queries have the width of the inputs");
    }
    const LinearPosterior posterior = fit_bayes_linear(x, y, prior_precision(), noise_precision());
    const LinearPrediction at = predict_bayes_linear(posterior, q, noise_precision());
    step[mean] = Values{posterior.mean};
    step[covariance] = Values{posterior.covariance};
    step[predictive_mean] = Values{at.mean, step[queries].batch};
    step[predictive_std] = Values{at.std, step[queries].batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalBayesLinear, "Bayesian linear regression", "arXiv:2512.19905")
