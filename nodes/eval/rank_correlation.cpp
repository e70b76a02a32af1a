#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <numeric>

#include "engine/core/registry.h"
#include "nodes/eval/ranks.h"
#include "nodes/eval/tables.h"

namespace rewardloom {
namespace {

enum class Against { given, index };
constexpr auto choices(Against) {
  return std::to_array<Choice<Against>>({
      {Against::given, "given", "the rows of y"},
      {Against::index, "index", "the place in the row: 1 if values rise all the time (VOC)"},
  });
}

}  // namespace

struct EvalRankCorrelation final : Node {
  Input<Values> x{this, "x", "one row per list", {.dims = "N,S"}};
  Optional<Values> y{this, "y", "what its rows are compared with", {.dims = "N,S"}};
  Output<Values> correlation{this, "correlation", "of each row, -1 to 1", {.dims = "N"}};
  Output<Scalar> mean{this, "mean", "over the rows"};
  Output<Metrics> metrics{this, "metrics", "mean correlation, constant rows"};
  Param<Against> against{this, "against", Against::given, "what a row is compared with"};
  Param<bool> nan_to_zero{this, "nan_to_zero", true,
                          "a constant row counts as 0; else it is left out of the mean"};
  Rule something{this,
                 {{{"against", "given"}},
                  {{"y", {{"connected", true}}}},
                  "there is nothing to compare the rows with",
                  "connect y, or set against to index"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"Spearman", "VOC", "value-order correlation", "agreement"}};
  Doc doc{
      this,
      "Spearman's correlation of each row of x with the same row of y, or with the index; equal "
      "values share the mean of their ranks. x, y [N,S] -> correlation [N]. A single list [S] "
      "is one row. Where a row is constant there is no correlation (nan_to_zero)."};

  void run(Step& step) const override {
    const at::Tensor a = rows(step[x].values, "x");
    const at::Tensor b = against() == Against::index ? indices(a) : other(step, a);
    std::vector<double> each;
    double sum = 0;
    std::int64_t constant = 0;
    const auto wide = static_cast<std::size_t>(a.size(1));
    for (std::size_t i = 0; i < static_cast<std::size_t>(a.size(0)); ++i) {
      const double r =
          spearman(numbers(a).subspan(i * wide, wide), numbers(b).subspan(i * wide, wide));
      const bool none = std::isnan(r);
      constant += none;
      sum += none ? 0 : r;
      each.push_back(none && nan_to_zero() ? 0 : r);
    }
    const std::int64_t counted = a.size(0) - (nan_to_zero() ? 0 : constant);
    if (counted == 0) step.fail("every row is constant: there is no correlation", "see x and y");
    put(step, each, sum / static_cast<double>(counted), constant);
  }

 private:
  static at::Tensor rows(const at::Tensor& values, const char* what) {
    const at::Tensor table =
        finite_table(values.dim() == 1 ? values.unsqueeze(0) : values, 2, what);
    if (table.size(1) >= 2) return table;
    throw Failure("too-few", fmt::format("{} has one value per row", what),
                  "a correlation needs at least two");
  }
  static at::Tensor indices(const at::Tensor& like) {
    return at::arange(like.size(1), at::kDouble).expand_as(like).contiguous();
  }
  at::Tensor other(Step& step, const at::Tensor& a) const {
    const Values* const given = step[y];
    if (given == nullptr) {
      step.fail("there is nothing to compare the rows with", "connect y, or set against to index");
    }
    const at::Tensor b = rows(given->values, "y");
    if (b.sizes() == a.sizes()) return b;
    throw Failure("bad-shape", c10::str("x is ", a.sizes(), ", but y is ", b.sizes()),
                  "rows and columns must agree");
  }
  void put(Step& step, const std::vector<double>& each, double average,
           std::int64_t constant) const {
    Values out;
    out.values = as_tensor(each);
    out.batch = step[x].batch;
    step[correlation] = std::move(out);
    step[mean] = Scalar{average};
    Metrics all;
    all.add("mean", average);
    all.add("constant_rows", static_cast<double>(constant));
    put_metrics(step, metrics, std::move(all));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalRankCorrelation, "Rank correlation", "Spearman 1904, doi:10.2307/1412159")
