// Squashing functions against long double, at every length and at the ends of the range.
#include "nodes/shape/squash.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/qt_test.h"

namespace rewardloom {

namespace {

std::vector<double> arguments() {
  std::vector<double> x = {0.0, -0.0, 1e-300, -1e-300, 707.9, -707.9, 1e-8, -1e-8};
  for (int i = -4000; i <= 4000; ++i) x.push_back(i * 0.01 + 1e-5);
  for (int i = -700; i <= 700; ++i) x.push_back(i * 1.01);
  return x;
}

/// Largest relative distance in units of the last place.
template <class Ours, class Exact>
double worst(Ours ours, Exact exact) {
  const std::vector<double> x = arguments();
  std::vector<double> y = x;
  ours(y.data(), static_cast<std::int64_t>(y.size()));
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double want = exact(static_cast<long double>(x[i]));
    const long double distance = std::abs(y[i] - want);
    if (distance == 0) continue;
    most = std::max(most, static_cast<double>(distance / std::abs(want) /
                                              std::numeric_limits<double>::epsilon()));
  }
  return most;
}

}  // namespace

class TestSquash : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void values_are_right_to_the_last_places() {
    const double sigmoid = worst(sigmoid_of, [](long double x) { return 1 / (1 + std::exp(-x)); });
    QVERIFY2(sigmoid < 4, qPrintable(QString::number(sigmoid)));
    const double tangent = worst(tanh_of, [](long double x) { return std::tanh(x); });
    QVERIFY2(tangent < 4, qPrintable(QString::number(tangent)));
  }

  /// The last numbers of a row take another way than those before.
  void what_a_number_becomes_does_not_depend_on_its_place() {
    const std::vector<double> x = arguments();
    for (std::size_t count = 0; count < 40; ++count) {
      std::vector<double> rewards(x.begin() + 100,
                                  x.begin() + 100 + static_cast<std::ptrdiff_t>(count));
      std::vector<double> shaped(count + 1, 7), change(count + 1, 7), alone(count);
      const auto n = static_cast<std::int64_t>(count);
      for (const bool tangent : {false, true}) {
        if (tangent) {
          tanh_of_rewards(rewards.data(), shaped.data(), change.data(), n);
        } else {
          sigmoid_of_rewards(rewards.data(), 1, shaped.data(), change.data(), n);
        }
        alone = rewards;
        for (double& value : alone) tangent ? tanh_of(&value, 1) : sigmoid_of(&value, 1);
        for (std::size_t i = 0; i < count; ++i) {
          QCOMPARE(shaped[i], alone[i]);
          QCOMPARE(change[i], alone[i] - rewards[i]);
        }
        QCOMPARE(shaped[count], 7.0);
        QCOMPARE(change[count], 7.0);
      }
    }
  }

  void ends_of_the_range_are_limits() {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    std::vector<double> s = {infinity, -infinity, 1e308, -1e308, 0, -800};
    std::vector<double> t = s;
    sigmoid_of(s.data(), 6);
    tanh_of(t.data(), 6);
    QCOMPARE(s, (std::vector<double>{1, 0, 1, 0, 0.5, 0}));
    QCOMPARE(t, (std::vector<double>{1, -1, 1, -1, 0, -1}));
    double none = std::nan("");
    sigmoid_of(&none, 1);
    QVERIFY(std::isnan(none));
    tanh_of(&none, 1);
    QVERIFY(std::isnan(none));
  }
};

}  // namespace rewardloom

using rewardloom::TestSquash;
REWARDLOOM_TEST(TestSquash)
#include "test_squash.moc"
