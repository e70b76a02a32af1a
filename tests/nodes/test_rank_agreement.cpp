// Agreement of scorers by hand, and the gap between proxy and gold.
#include <ATen/ATen.h>

#include <cmath>

#include "nodes/eval/rank_agreement.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using testing::Bench;
using testing::close;
using testing::code_of;
using testing::doubles;
using testing::ids;

Rewards rewards(const std::vector<double>& values, const std::vector<std::int64_t>& group = {}) {
  Rewards r;
  r.total = doubles(values);
  if (!group.empty()) r.group = ids(group);
  return r;
}

double tau(const std::vector<double>& x, const std::vector<double>& y) { return kendall(x, y); }

}  // namespace

class TestRankAgreement : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void kendall_counts_pairs() {
    QCOMPARE(tau({1, 2, 3}, {10, 20, 30}), 1.0);
    QCOMPARE(tau({1, 2, 3}, {3, 2, 1}), -1.0);
    // One of six pairs is turned round: (5 - 1) / 6.
    QVERIFY(close(tau({1, 2, 3, 4}, {1, 2, 4, 3}), 4.0 / 6));
    // One tie in x: 5 pairs agree, sqrt(5 * 6) pairs are ordered.
    QVERIFY(close(tau({1, 1, 2, 3}, {1, 2, 3, 4}), 5 / std::sqrt(30.0)));
    QVERIFY(std::isnan(tau({1, 1, 1}, {1, 2, 3})));
  }

  void matrices_are_means_over_groups() {
    // Two scorers, two groups of three: the same order, then the opposite one.
    const RankAgreement r =
        rank_agreement(doubles({1, 2, 3, 1, 2, 3, 4, 5, 6, 3, 2, 1}, {2, 2, 3}));
    QVERIFY(r.spearman.equal(doubles({1, 0, 0, 1}, {2, 2})));
    QVERIFY(r.kendall.equal(doubles({1, 0, 0, 1}, {2, 2})));
    QVERIFY(r.top.equal(doubles({1, 0.5, 0.5, 1}, {2, 2})));
    const RankAgreement flat = rank_agreement(doubles({1, 1, 1, 1, 2, 3}, {2, 1, 3}));
    QCOMPARE(flat.spearman[0][1].item<double>(), 0.0);
    QCOMPARE(flat.kendall[0][0].item<double>(), 0.0);
  }

  void scorers_are_inputs_or_components() {
    const std::vector<std::int64_t> group{5, 5, 5, 2, 2, 2};
    Bench many("eval.rank_agreement", Json::object());
    many.connect("rewards", {Value::of(rewards({1, 2, 3, 1, 2, 3}, group)),
                             Value::of(rewards({4, 5, 6, 3, 2, 1}))});
    many.fire();
    QCOMPARE(many.context.metrics.at("spearman"), 0.0);
    QCOMPARE(many.context.metrics.at("top1"), 0.5);
    QCOMPARE(many.out<Table>("table").cells.size(), std::size_t{1});
    Rewards both = rewards({0, 0, 0, 0, 0, 0}, group);
    both.components = {{"a", doubles({1, 2, 3, 1, 2, 3})}, {"b", doubles({4, 5, 6, 3, 2, 1})}};
    Bench one("eval.rank_agreement", Json::object());
    one.connect("rewards", {Value::of(both)});
    one.fire();
    QCOMPARE(one.context.metrics, many.context.metrics);
  }

  void what_has_no_order_is_refused() {
    const auto code = [](std::vector<Value> values) {
      return code_of([&] {
        Bench bench("eval.rank_agreement", Json::object());
        bench.connect("rewards", std::move(values));
        bench.fire();
      });
    };
    const Value two = Value::of(rewards({1, 2}));
    QCOMPARE(code({two}), std::string("too-few"));
    QCOMPARE(code({two, Value::of(rewards({1, 2, 3}))}), std::string("bad-shape"));
    QCOMPARE(code({two, Value::of(rewards({1, NAN}))}), std::string("not-finite"));
    QCOMPARE(code({Value::of(rewards({1, 2}, {0, 1})), two}), std::string("too-few"));
  }

  void the_gap_is_over_rows_that_both_scored() {
    Rewards proxy = rewards({1, 5, 100}), gold = rewards({2, 100, 3});
    proxy.absent = ids({0, 0, 1}).to(at::kBool);
    gold.absent = ids({0, 1, 0}).to(at::kBool);
    Bench bench("eval.proxy_gap", Json::object());
    bench.connect("proxy", {Value::of(proxy)});
    bench.connect("gold", {Value::of(gold)});
    bench.fire();
    QCOMPARE(bench.context.metrics.at("proxy"), 1.0);
    QCOMPARE(bench.context.metrics.at("gold"), 2.0);
    QCOMPARE(bench.context.metrics.at("gap"), -1.0);
    bench.connect("gold", {Value::of(rewards({1}))});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("bad-shape"));
  }
};

}  // namespace rewardloom

using rewardloom::TestRankAgreement;
REWARDLOOM_TEST(TestRankAgreement)
#include "test_rank_agreement.moc"
