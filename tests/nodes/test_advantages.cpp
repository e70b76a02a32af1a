// Properties of the advantage nodes: groups are data, absent rows are nobody, constants are exactly
// nothing.
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/advantage/group.h"
#include "nodes/advantage/leave_one_out.h"
#include "nodes/advantage/whiten.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

at::Tensor doubles(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
}
at::Tensor ids(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}
at::Tensor flags(const std::vector<std::int64_t>& values) { return ids(values).to(at::kBool); }

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

/// The formula, group by group, the slow way.
at::Tensor by_definition(const at::Tensor& rewards, const at::Tensor& group) {
  at::Tensor out = at::zeros_like(rewards);
  for (std::int64_t i = 0; i < rewards.size(0); ++i) {
    const at::Tensor mine = rewards.masked_select(group.eq(group[i]));
    if (mine.numel() < 2) continue;
    out[i] = (rewards[i] - mine.mean()) / (mine.std() + 1e-6);
  }
  return out;
}

}  // namespace

class TestAdvantages : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void ragged_groups_in_any_order_follow_the_definition() {
    Random random(RandomKey{5, 1, 2});
    for (int round = 0; round < 50; ++round) {
      const auto rows = static_cast<std::int64_t>(1 + random.below(40));
      std::vector<double> reward;
      std::vector<std::int64_t> group;
      for (std::int64_t i = 0; i < rows; ++i) {
        reward.push_back(random.normal());
        group.push_back(static_cast<std::int64_t>(random.below(7)) * 1'000'000'007 - 3);
      }
      const at::Tensor r = doubles(reward);
      const at::Tensor g = ids(group);
      QVERIFY(at::allclose(group_advantages(r, g, {}, {}).advantages, by_definition(r, g), 1e-9,
                           1e-12));
    }
  }

  void permuting_rows_permutes_advantages() {
    const at::Tensor r = doubles({0.5, 1, 2, 0, 4, 3, 1.5});
    const at::Tensor g = ids({4, 4, 9, 4, 9, 9, 1});
    const at::Tensor order = ids({6, 2, 0, 5, 3, 1, 4});
    const at::Tensor straight = group_advantages(r, g, {}, {}).advantages;
    const at::Tensor permuted =
        group_advantages(r.index_select(0, order), g.index_select(0, order), {}, {}).advantages;
    QVERIFY(at::allclose(straight.index_select(0, order), permuted, 1e-14, 1e-14));
    const auto loo = [](const at::Tensor& x, const at::Tensor& y) {
      return leave_one_out_advantages(x, y, {}, {}).advantages;
    };
    QVERIFY(at::allclose(loo(r, g).index_select(0, order),
                         loo(r.index_select(0, order), g.index_select(0, order)), 1e-14, 1e-14));
  }

  void a_group_of_equal_rewards_gets_exactly_zero() {
    for (const double value : {0.1, 0.7, 2.3, 1e8, -1e-12}) {
      for (const std::int64_t rows : {2, 5, 63}) {
        const at::Tensor r = at::full({rows}, value, at::kFloat);
        const at::Tensor g = at::zeros({rows}, at::kLong);
        for (const GroupScale scale : {GroupScale::group_std, GroupScale::batch_std}) {
          const GroupAdvantages out = group_advantages(r, g, {}, {.scale = scale, .epsilon = 1e-9});
          QVERIFY(out.advantages.eq(0).all().item<bool>());
          QCOMPARE(out.constant, std::size_t{1});
        }
        QVERIFY(leave_one_out_advantages(
                    r, g, {}, {.scale = LeaveOneOutScale::leave_one_out_std, .epsilon = 1e-9})
                    .advantages.eq(0)
                    .all()
                    .item<bool>());
      }
    }
  }

  void absent_rows_are_as_if_they_were_not_there() {
    const at::Tensor r = doubles({1, std::nan(""), 3, 7, 100, 2});
    const at::Tensor g = ids({0, 0, 0, 1, 1, 1});
    const at::Tensor absent = flags({0, 1, 0, 0, 1, 0});
    const at::Tensor with = group_advantages(r, g, absent, {}).advantages;
    const at::Tensor without =
        group_advantages(doubles({1, 3, 7, 2}), ids({0, 0, 1, 1}), {}, {}).advantages;
    QVERIFY(with.index_select(0, ids({0, 2, 3, 5})).equal(without));
    QVERIFY(with.index_select(0, ids({1, 4})).eq(0).all().item<bool>());
    const at::Tensor loo = leave_one_out_advantages(r, g, absent, {}).advantages;
    QVERIFY(loo.equal(doubles({-2, 0, 2, 5, 0, -5})));
  }

  void advantages_of_a_group_sum_to_zero_and_have_unit_spread() {
    const at::Tensor r = doubles({0, 1, 0, 0, 1, 5, 2, 2.5});
    const at::Tensor g = ids({1, 1, 1, 1, 1, 2, 2, 2});
    const at::Tensor a = group_advantages(r, g, {}, {.epsilon = 0}).advantages;
    for (const std::int64_t id : {1, 2}) {
      const at::Tensor mine = a.masked_select(g.eq(id));
      QVERIFY(std::abs(mine.sum().item<double>()) < 1e-12);
      QVERIFY(std::abs(mine.std().item<double>() - 1) < 1e-12);
    }
  }

  void affine_rewards_give_the_same_advantages() {
    const at::Tensor r = doubles({0.25, 1, 0.5, 3, 2, -1});
    const at::Tensor g = ids({0, 0, 0, 1, 1, 1});
    const at::Tensor a = group_advantages(r, g, {}, {.epsilon = 0}).advantages;
    QVERIFY(at::allclose(a, group_advantages(r * 1000 - 77, g, {}, {.epsilon = 0}).advantages, 1e-9,
                         1e-12));
  }

  void presets_are_those_of_their_frameworks() {
    Package in;
    in.tensors["rewards"] = doubles({0.7, 0.25, 0.75});
    in.tensors["rewards.group"] = ids({1, 2, 2});
    const auto advantage = [&](const Json& params, std::int64_t row) {
      return evaluate(registry_, "advantage.group", params, in)
          .outputs.tensors.at("advantages")[row]
          .item<double>();
    };
    QVERIFY(std::abs(advantage({{"preset", "verl"}}, 0) - 0.7 / 1.000001) < 1e-12);
    QCOMPARE(advantage({{"preset", "verl"}, {"singleton", "zero"}}, 0), 0.0);
    QCOMPARE(advantage({{"preset", "trl"}}, 0), 0.0);
    const double deviation = 0.25;
    QVERIFY(std::abs(advantage({{"preset", "trl"}}, 2) -
                     deviation / (deviation * std::sqrt(2.0) + 1e-4)) < 1e-12);
    QVERIFY(std::abs(advantage({{"preset", "openrlhf"}}, 2) -
                     deviation / (deviation * std::sqrt(2.0) + 1e-9)) < 1e-12);
    QVERIFY(std::abs(advantage({{"preset", "flow_grpo"}}, 2) - deviation / (deviation + 1e-4)) <
            1e-12);
    const double batch = doubles({0.7, 0.25, 0.75}).std(false).item<double>();
    QVERIFY(std::abs(advantage({{"preset", "adv_grpo"}}, 2) - deviation / (batch + 1e-4)) < 1e-12);
    in.tensors["rewards"] = doubles({0.7, 0.7 - 1e-6, 0.7 + 1e-6});
    QCOMPARE(advantage({{"epsilon", 0.0}, {"clip", 0.5}}, 2), 0.5);
  }

  void the_share_of_constant_groups_is_a_metric() {
    Package in;
    in.tensors["rewards"] = doubles({1, 1, 0, 1});
    in.tensors["group"] = ids({0, 0, 1, 1});
    const EvaluateResult result = evaluate(registry_, "advantage.group", Json::object(), in);
    QCOMPARE(result.outputs.tensors.at("constant_groups").item<double>(), 0.5);
  }

  void rewards_that_cannot_be_compared_are_refused() {
    const at::Tensor r = doubles({1, 2, 3});
    const auto code = [](const at::Tensor& rewards, const at::Tensor& group,
                         const at::Tensor& gone) {
      return code_of([&] { group_advantages(rewards, group, gone, {}); });
    };
    QCOMPARE(code(r, {}, {}), std::string("no-groups"));
    QCOMPARE(code(r, ids({0, 0}), {}), std::string("bad-shape"));
    QCOMPARE(code(r, doubles({0, 0, 0}), {}), std::string("bad-dtype"));
    QCOMPARE(code(r, ids({0, 0, 0}), flags({0, 1})), std::string("bad-shape"));
    QCOMPARE(code(doubles({1, std::nan(""), 3}), ids({0, 0, 0}), {}), std::string("not-finite"));
    QCOMPARE(code(at::zeros({2, 2}, at::kDouble), ids({0, 0}), {}), std::string("bad-shape"));
    Package in;
    in.tensors["rewards"] = r;
    in.tensors["group"] = ids({0, 0});
    QCOMPARE(code_of([&] { evaluate(registry_, "advantage.group", Json::object(), in); }),
             std::string("bad-shape"));
  }

  void no_rows_give_no_advantages() {
    const at::Tensor none = at::zeros({0}, at::kDouble);
    QCOMPARE(group_advantages(none, at::zeros({0}, at::kLong), {}, {}).advantages.numel(),
             std::int64_t{0});
  }

  void work_grows_with_the_rows_and_not_with_their_square() {
    const std::int64_t rows = 200'000;
    const at::Tensor r = at::arange(rows, at::kDouble).remainder(97.0);
    const at::Tensor g = at::arange(rows, at::kLong).remainder(25'000);
    QElapsedTimer clock;
    clock.start();
    QCOMPARE(group_advantages(r, g, {}, {}).groups, std::size_t{25'000});
    leave_one_out_advantages(r, g, {}, {});
    QVERIFY2(clock.elapsed() < 5000, fmt::format("{} ms", clock.elapsed()).c_str());
  }

  void whitened_tokens_have_zero_mean_and_unit_spread_inside_the_mask() {
    const at::Tensor x = at::arange(12, at::kDouble).square().reshape({3, 4});
    const at::Tensor mask = flags({1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1}).reshape({3, 4});
    const at::Tensor y = whiten(x, mask, {.epsilon = 0});
    const at::Tensor valid = y.masked_select(mask);
    QVERIFY(std::abs(valid.mean().item<double>()) < 1e-12);
    QVERIFY(std::abs(valid.std().item<double>() - 1) < 1e-12);
    QVERIFY(y.masked_select(mask.logical_not()).eq(0).all().item<bool>());
    QVERIFY(whiten(at::full({3, 4}, 0.1, at::kFloat), mask, {}).eq(0).all().item<bool>());
  }

 private:
  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestAdvantages;
REWARDLOOM_TEST(TestAdvantages)
#include "test_advantages.moc"
