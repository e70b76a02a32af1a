// Counter-based random numbers: known answers, independence of order, uniformity.
#include <cmath>
#include <set>

#include "engine/core/random.h"
#include "tests/qt_test.h"

using namespace rewardloom;

class TestRandom : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void drawsDependOnPlaceOnly() {
    const RandomKey key{1, hash_name("rollout"), 3};
    Random forward(key, 5, 7);
    const std::uint32_t first = forward.bits();
    Random other(key, 4, 7);
    for (int i = 0; i < 9; ++i) other.bits();
    QCOMPARE(other.at(5, 7).bits(), first);
    QVERIFY(Random(key, 5, 8).bits() != first);
    QVERIFY(Random({2, key.node, 3}, 5, 7).bits() != first);
    QVERIFY(Random({1, key.node, 4}, 5, 7).bits() != first);
  }
  void blocksContinue() {
    Random random({1, 2, 3});
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 4000; ++i) seen.insert(random.bits());
    QVERIFY(seen.size() >= 3998);
  }
  void uniformHasItsMoments() {
    double sum = 0, squares = 0;
    const int count = 200000;
    for (int i = 0; i < count; ++i) {
      const double u = Random({9, 9, 9}, static_cast<std::uint64_t>(i)).uniform();
      QVERIFY(u >= 0 && u < 1);
      sum += u;
      squares += u * u;
    }
    QVERIFY(std::abs(sum / count - 0.5) < 0.003);
    QVERIFY(std::abs(squares / count - 1.0 / 3) < 0.003);
  }
  void normalHasItsMoments() {
    double sum = 0, squares = 0;
    const int count = 200000;
    Random random({4, 4, 4});
    for (int i = 0; i < count; ++i) {
      const double z = random.normal();
      sum += z;
      squares += z * z;
    }
    QVERIFY(std::abs(sum / count) < 0.01);
    QVERIFY(std::abs(squares / count - 1) < 0.015);
  }
  void belowIsUniform() {
    std::array<int, 7> counts{};
    for (int i = 0; i < 70000; ++i) {
      ++counts[Random({5, 5, 5}, static_cast<std::uint64_t>(i)).below(7)];
    }
    for (const int c : counts) QVERIFY(std::abs(c - 10000) < 500);
  }
};

REWARDLOOM_TEST(TestRandom)
#include "test_random.moc"
