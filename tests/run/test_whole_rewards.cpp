// A node, of a plug-in say, that hands over rewards as truths or whole numbers: its readers get
// real numbers, ids stay what they are.
#include "tests/qt_test.h"
#include "tests/run/test_nodes.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

struct Verdicts01 final : Node {
  Output<Rewards> rewards{this, "rewards", "whole numbers"};
  void run(Step& step) const override {
    Rewards r;
    r.total = at::arange(4, at::kLong);
    r.components = {{"right", at::ones({4}, at::kBool)}};
    r.group = at::zeros({4}, at::kLong);
    step[rewards] = std::move(r);
  }
};

struct Seen {
  at::ScalarType total{}, component{}, group{};
};

struct Look final : Node {
  Input<Rewards> rewards{this, "rewards", "what is looked at"};
  TraitsMember traits{this, {.effect = true}};
  static Seen& seen() {
    static Seen types;
    return types;
  }
  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    seen() = {r.total.scalar_type(), r.components.at(0).second.scalar_type(),
              r.group.scalar_type()};
  }
};

}  // namespace

class TestWholeRewards : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void whole_rewards_become_real_between_nodes() {
    Registry nodes = test_registry();
    nodes.add<Verdicts01>("test.verdicts", "Whole rewards", "");
    nodes.add<Look>("test.look", "Looks", "");
    Bench bench(
        "{\"rewardloom\": 1, \"nodes\": {\"v\": {\"type\": \"test.verdicts\"}, "
        "\"look\": {\"type\": \"test.look\", \"inputs\": {\"rewards\": \"v.rewards\"}}}}",
        {}, std::move(nodes));
    bench.iterate();
    QCOMPARE(Look::seen().total, at::kFloat);
    QCOMPARE(Look::seen().component, at::kFloat);
    QCOMPARE(Look::seen().group, at::kLong);
  }
};

REWARDLOOM_TEST(TestWholeRewards)
#include "test_whole_rewards.moc"
