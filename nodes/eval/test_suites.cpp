#include "nodes/eval/test_suites.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/eval/ranks.h"

namespace rewardloom {

namespace {

/// Whether the program that the scores choose is right; several may be equal.
double chosen_is_right(std::span<const double> score, std::span<const double> truth, SuiteTie tie) {
  const double best = *std::max_element(score.begin(), score.end());
  double right = 0, count = 0;
  for (std::size_t i = 0; i < score.size(); ++i) {
    if (score[i] != best) continue;
    const double here = truth[i] >= 1 ? 1 : 0;
    if (tie == SuiteTie::first) return here;
    right = tie == SuiteTie::last ? here : right + here;
    ++count;
  }
  return tie == SuiteTie::last ? right : right / count;
}

}  // namespace

SuiteQuality suite_quality(const at::Tensor& scores, const at::Tensor& truth, SuiteTie tie) {
  if (scores.dim() != 2 || scores.sizes() != truth.sizes() || scores.numel() == 0) {
    throw Failure("bad-shape",
                  c10::str("scores are ", scores.sizes(), ", truth is ", truth.sizes()),
                  "both are [P,N]: pass_rate of code.run_tests for the same programs");
  }
  const at::Tensor s = scores.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor t = truth.to(at::kCPU, at::kDouble).contiguous();
  const auto tasks = static_cast<std::size_t>(s.size(0)), n = static_cast<std::size_t>(s.size(1));
  SuiteQuality out;
  for (std::size_t p = 0; p < tasks; ++p) {
    const std::span<const double> score(s.data_ptr<double>() + p * n, n);
    const std::span<const double> real(t.data_ptr<double>() + p * n, n);
    const auto right = std::count_if(real.begin(), real.end(), [](double r) { return r >= 1; });
    const double agreement = spearman(score, real);
    out.best_of_n += chosen_is_right(score, real, tie);
    out.pass_at_1 += static_cast<double>(right) / static_cast<double>(n);
    out.any += right > 0;
    out.fidelity += std::isnan(agreement) ? 0 : agreement;
  }
  for (double* value : {&out.best_of_n, &out.pass_at_1, &out.any, &out.fidelity}) {
    *value /= static_cast<double>(tasks);
  }
  return out;
}

struct EvalTestSuites final : Node {
  Input<Values> scores{this, "scores", "pass rate on the generated tests", {.dims = "P,N"}};
  Input<Values> truth{this, "truth", "pass rate on the hidden tests", {.dims = "Q,M"}};
  Output<Metrics> metrics{this, "metrics", "best_of_n, pass_at_1, any, fidelity"};
  Param<SuiteTie> tie{this, "tie", SuiteTie::last, "which of several equally good programs"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"UTRL", "best of n", "test fidelity", "reranking", "program selection"}};
  Doc doc{this,
          "One suite and N programs a task. Metrics: best_of_n, how often the program that passes "
          "most generated tests passes all hidden ones; pass_at_1, of all programs; any, how often "
          "one of the N does; fidelity, Spearman's correlation of both scores per task, 0 where "
          "one is constant. Tests that the reference program fails count too: at that time nobody "
          "has one."};

  void run(Step& step) const override {
    const SuiteQuality q = suite_quality(step[scores].values, step[truth].values, tie());
    Metrics out;
    out.add("best_of_n", q.best_of_n);
    out.add("pass_at_1", q.pass_at_1);
    out.add("any", q.any);
    out.add("fidelity", q.fidelity);
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalTestSuites, "Tests that choose programs", "arXiv:2508.21107")
