#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/group.h"
#include "nodes/eval/tables.h"
#include "nodes/image/spectrum.h"

namespace rewardloom {

struct ImageFrechetDistance final : Node {
  Optional<Features> features{this, "features", "of the images that were made"};
  Optional<Features> ref_features{this, "ref_features", "of the reference images", {.dims = "M,D"}};
  Optional<Values> mean{this, "mean", "instead of features: their mean", {.dims = "D"}};
  Optional<Values> covariance{this, "covariance", "and covariance", {.dims = "D,D"}};
  Optional<Values> ref_mean{this, "ref_mean", "instead of ref_features", {.dims = "D"}};
  Optional<Values> ref_covariance{this, "ref_covariance", "and covariance", {.dims = "D,D"}};
  Output<Scalar> distance{this, "distance", "0: the same mean and covariance"};
  Output<Metrics> metrics{this, "metrics", "distance"};
  Param<double> ridge{this, "ridge", 0.0, "added to both diagonals", {.min = 0}};
  Param<Divisor> divisor{this, "covariance", Divisor::sample, "divisor of the covariances"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"FID", "Frechet inception distance", "image quality"}};
  Doc doc{this,
          "|m - n|^2 + tr(A + B - 2 sqrt(A B)) of two sets of features, or of statistics kept from "
          "before. features [N,D], ref_features [M,D]; in double, by symmetric eigenvalues, so a "
          "singular covariance (fewer rows than D) is no fault, but the distance is then biased "
          "upwards: alarm few-rows."};

  void run(Step& step) const override {
    const Gaussian made = gaussian(step, step[features], step[mean], step[covariance], "features");
    const Gaussian real =
        gaussian(step, step[ref_features], step[ref_mean], step[ref_covariance], "ref_features");
    if (made.mean.sizes() != real.mean.sizes()) {
      throw Failure("bad-shape",
                    fmt::format("features are {} wide, the reference {}", made.mean.size(0),
                                real.mean.size(0)),
                    "both need the same encoder");
    }
    const double d = frechet_distance(made.mean, made.covariance, real.mean, real.covariance);
    step[distance] = Scalar{d};
    Metrics out;
    out.add("distance", d);
    put_metrics(step, metrics, std::move(out));
  }

 private:
  struct Gaussian {
    at::Tensor mean, covariance;
  };

  Gaussian gaussian(Step& step, const Features* rows, const Values* m, const Values* c,
                    const char* what) const {
    if (rows == nullptr && (m == nullptr || c == nullptr)) {
      step.fail("nothing-to-measure", fmt::format("there are no {}", what),
                "connect features, or a mean and a covariance");
    }
    Gaussian out = rows != nullptr ? of_rows(step, rows->features, what)
                                   : of_statistics(m->values, c->values, what);
    if (ridge() > 0) {
      out.covariance =
          out.covariance + ridge() * at::eye(out.mean.size(0), out.covariance.options());
    }
    return out;
  }

  Gaussian of_rows(Step& step, const at::Tensor& given, const char* what) const {
    const at::Tensor table = finite_table(given, 2, what);
    if (table.size(0) < 2) {
      step.fail("too-few", fmt::format("{} has a single row: it has no covariance", what),
                "give at least two, better some thousands");
    }
    if (table.size(0) <= table.size(1)) {
      step.alarm("few-rows", fmt::format("{} has {} rows of {} numbers: the distance is biased",
                                         what, table.size(0), table.size(1)));
    }
    return {table.mean(0), covariance_of(table, divisor() == Divisor::sample)};
  }

  static Gaussian of_statistics(const at::Tensor& m, const at::Tensor& c, const char* what) {
    Gaussian out{finite_table(m, 1, what), finite_table(c, 2, what)};
    if (c.size(0) != m.size(0) || c.size(1) != m.size(0)) {
      throw Failure("bad-shape",
                    c10::str("the mean is ", m.sizes(), ", but the covariance ", c.sizes()),
                    "a covariance is [D,D]");
    }
    if (!at::allclose(out.covariance, out.covariance.t(), 1e-5, 1e-8)) {
      throw Failure("not-symmetric", "a covariance is not symmetric", "see where it comes from");
    }
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageFrechetDistance, "Frechet distance", "arXiv:1706.08500")
