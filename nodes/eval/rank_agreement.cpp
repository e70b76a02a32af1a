#include "nodes/eval/rank_agreement.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>

#include "engine/core/registry.h"
#include "nodes/eval/ranks.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

double kendall(std::span<const double> x, std::span<const double> y) {
  double both = 0, in_x = 0, in_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const int a = (x[i] > x[j]) - (x[i] < x[j]), b = (y[i] > y[j]) - (y[i] < y[j]);
      both += a * b;
      in_x += a != 0;
      in_y += b != 0;
    }
  }
  if (in_x == 0 || in_y == 0) return std::numeric_limits<double>::quiet_NaN();
  return both / std::sqrt(in_x * in_y);
}

RankAgreement rank_agreement(const at::Tensor& scores) {
  const at::Tensor s = scores.to(at::kDouble).contiguous();
  const std::int64_t members = s.size(0), groups = s.size(1), rows = s.size(2);
  const auto list = [&](std::int64_t m, std::int64_t p) {
    return std::span<const double>(s.data_ptr<double>() + (m * groups + p) * rows,
                                   static_cast<std::size_t>(rows));
  };
  using Measure = std::function<double(std::int64_t, std::int64_t, std::int64_t)>;
  const auto matrix = [&](const Measure& of) {
    at::Tensor out = at::zeros({members, members}, at::kDouble);
    for (std::int64_t a = 0; a < members; ++a) {
      for (std::int64_t b = 0; b <= a; ++b) {
        double sum = 0;
        for (std::int64_t p = 0; p < groups; ++p) {
          const double one = of(a, b, p);
          sum += std::isnan(one) ? 0 : one;
        }
        out[a][b] = out[b][a] = sum / static_cast<double>(groups);
      }
    }
    return out;
  };
  const at::Tensor first = s.argmax(2);
  return {matrix([&](auto a, auto b, auto p) { return spearman(list(a, p), list(b, p)); }),
          matrix([&](auto a, auto b, auto p) { return kendall(list(a, p), list(b, p)); }),
          matrix([&](auto a, auto b, auto p) {
            return first[a][p].template item<std::int64_t>() ==
                           first[b][p].template item<std::int64_t>()
                       ? 1.0
                       : 0.0;
          })};
}

struct EvalRankAgreement final : Node {
  Inputs<Rewards> rewards{this, "rewards",
                          "one per scorer; a single one: its components are the scorers"};
  Output<Metrics> metrics{this, "metrics", "spearman, kendall, top1: means over pairs of scorers"};
  Output<Table> table{this, "table", "one row per pair of scorers"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{
      this, {"Spearman", "Kendall", "reward model disagreement", "ensemble diversity", "top-1"}};
  Doc doc{
      this,
      "Spearman's and Kendall's (tau-b) correlation of every two scorers in each group, and the "
      "share of groups in which both put the same row first; means over groups of one size (rows "
      "without group ids are one group). A group in which a scorer is constant counts as 0. "
      "Reward models that agree on ordinary rows and disagree on those of a trained policy are "
      "being exploited one by one."};

  void run(Step& step) const override {
    const auto given = step[rewards];
    std::vector<std::string> names;
    std::vector<at::Tensor> scores;
    const auto add = [&](std::string name, const Rewards& like, const at::Tensor& values) {
      Rewards one = like;
      one.total = values;
      if (!one.group.defined()) one.group = at::zeros({values.size(0)}, at::kLong);
      names.push_back(std::move(name));
      scores.push_back(reward_table(one, names.back().c_str()));
    };
    if (given.size() == 1) {
      for (const auto& [name, values] : given[0].components) add(name, given[0], values);
    } else {
      for (std::size_t m = 0; m < given.size(); ++m) {
        require_same_rows("the first scorer", given[0].total.size(0), given[0].batch,
                          fmt::format("scorer {}", m + 1), given[m].total.size(0), given[m].batch);
        Rewards like = given[m];
        like.group = given[0].group;
        add(fmt::format("scorer {}", m + 1), like, given[m].total);
      }
    }
    if (scores.size() < 2) {
      step.fail("too-few", fmt::format("there is no agreement among {} scorers", scores.size()),
                "connect two or more rewards, or one of an ensemble of two or more");
    }
    if (scores[0].size(1) < 2) {
      step.fail("too-few", "every group has one row: there is no order", "connect larger groups");
    }
    put(step, names, rank_agreement(at::stack(scores)));
  }

 private:
  void put(Step& step, const std::vector<std::string>& names, const RankAgreement& result) const {
    Table rows;
    rows.columns = {"a", "b", "spearman", "kendall", "top1"};
    const auto members = static_cast<std::int64_t>(names.size());
    for (std::int64_t a = 0; a < members; ++a) {
      for (std::int64_t b = 0; b < a; ++b) {
        rows.cells.push_back(
            Json::array({names[static_cast<std::size_t>(b)], names[static_cast<std::size_t>(a)],
                         result.spearman[a][b].item<double>(), result.kendall[a][b].item<double>(),
                         result.top[a][b].item<double>()}));
      }
    }
    const double pairs = static_cast<double>(members * (members - 1));
    const auto off_diagonal = [&](const at::Tensor& m) {
      return (m.sum() - m.diagonal().sum()).item<double>() / pairs;
    };
    Metrics out;
    out.add("spearman", off_diagonal(result.spearman));
    out.add("kendall", off_diagonal(result.kendall));
    out.add("top1", off_diagonal(result.top));
    put_metrics(step, metrics, std::move(out));
    step[table] = std::move(rows);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalRankAgreement, "Agreement of reward models", "arXiv:2312.09244")
