#include <ATen/ATen.h>

#include <limits>

#include "engine/core/json.h"
#include "engine/io/histogram.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

namespace {

at::Tensor skewed(std::int64_t n) {
  const at::Tensor x = at::arange(n, at::kDouble);
  return (x * 0.618).sin() * 3 + (x * 0.37).cos().pow(3) * at::sqrt(x + 1) / 10;
}

double relative(double found, double expected) {
  return std::abs(found - expected) / std::max(1e-12, std::abs(expected));
}

std::uint64_t total(const Distribution& d) {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : d.bins) sum += count;
  return sum;
}

}  // namespace

class TestHistogram : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void statistics_agree_with_pythons() {
    REQUIRE_PYTHON();
    TestFolder folder;
    const at::Tensor values = skewed(1237);
    write_raw(folder / "x", {static_cast<const char*>(values.data_ptr()), values.nbytes()});
    const Json expected = Json::parse(python(R"(
import array, json, statistics, sys
x = array.array('d', open(sys.argv[1], 'rb').read()).tolist()
q = statistics.quantiles(x, n=100, method='inclusive')
moments = [statistics.fmean(x), statistics.pstdev(x), min(x), max(x)]
print(json.dumps(moments + [q[p - 1] for p in (1, 5, 25, 50, 75, 95, 99)]))
)",
                                             {qt(folder / "x")}));
    const Distribution d = distribution_of(values);
    QCOMPARE(d.count, 1237);
    QVERIFY(relative(d.mean, expected[0]) < 1e-12);
    QVERIFY(relative(d.std, expected[1]) < 1e-12);
    QCOMPARE(d.min, expected[2].get<double>());
    QCOMPARE(d.max, expected[3].get<double>());
    for (std::size_t i = 0; i < 7; ++i) {
      QVERIFY(relative(d.quantiles[i], expected[4 + i]) < 1e-12);
    }
  }

  void bins_agree_with_libtorchs() {
    const at::Tensor values = skewed(5000);
    const Distribution d = distribution_of(values, {}, 40);
    const at::Tensor expected = at::histc(values, 40, d.min, d.max);
    QCOMPARE(d.bins.size(), 40u);
    QCOMPARE(d.lo, d.min);
    QCOMPARE(d.hi, d.max);
    for (std::size_t i = 0; i < 40; ++i) {
      QCOMPARE(static_cast<double>(d.bins[i]),
               expected[static_cast<std::int64_t>(i)].item<double>());
    }
  }

  void the_last_bin_is_closed() {
    const Distribution d = distribution_of(at::tensor({0.0, 1.0, 2.0, 3.0, 4.0}), {}, 4);
    QCOMPARE(d.bins, (std::vector<std::uint64_t>{1, 1, 1, 2}));
  }

  void absent_and_nonfinite_are_counted_apart() {
    const double inf = std::numeric_limits<double>::infinity();
    const at::Tensor values = at::tensor({1.0, std::nan(""), 3.0, inf, 100.0, std::nan("")});
    const at::Tensor present = at::tensor({1, 1, 1, 1, 0, 0}).to(at::kBool);
    const Distribution d = distribution_of(values, present);
    QCOMPARE(d.count, 2);
    QCOMPARE(d.nonfinite, 2);
    QCOMPARE(d.absent, 2);
    QCOMPARE(d.mean, 2.0);
    QCOMPARE(d.std, 1.0);
    QCOMPARE(d.max, 3.0);
    QCOMPARE(total(d), 2u);
  }

  void a_row_mask_covers_its_row() {
    const at::Tensor values = at::arange(6.0).reshape({3, 2});
    const Distribution d = distribution_of(values, at::tensor({1, 0, 1}).to(at::kBool));
    QCOMPARE(d.count, 4);
    QCOMPARE(d.absent, 2);
    QCOMPARE(d.mean, (0 + 1 + 4 + 5) / 4.0);
    const Problem problem = failure_of([&] {
      distribution_of(values, at::tensor({1, 0}).to(at::kBool));
    });
    QCOMPARE(problem.code, std::string("distribution-input"));
    QCOMPARE(problem.text, std::string("present has shape [2], but the values have [3,2]"));
    QCOMPARE(failure_of([&] { distribution_of(values, at::ones({3})); }).code,
             std::string("distribution-input"));
  }

  void a_constant_has_no_spread() {
    const Distribution d = distribution_of(at::full({1000}, 0.1, at::kDouble));
    QCOMPARE(d.std, 0.0);
    QCOMPARE(d.mean, 0.1);
    QCOMPARE(d.quantiles[0], 0.1);
    QCOMPARE(d.quantiles[6], 0.1);
    QCOMPARE(d.bins[0], 1000u);
    QCOMPARE(total(d), 1000u);
  }

  void nothing_gives_no_statistics() {
    const Distribution d = distribution_of(at::empty({0}));
    QCOMPARE(d.count, 0);
    QVERIFY(std::isnan(d.mean) && std::isnan(d.std) && std::isnan(d.min) && std::isnan(d.lo));
    QCOMPARE(total(d), 0u);
    QCOMPARE(distribution_of(at::full({3}, std::nan(""))).nonfinite, 3);
  }

  void every_real_dtype_counts() {
    for (const at::ScalarType dtype :
         {at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kBool}) {
      QCOMPARE(distribution_of(at::tensor({0, 1, 1, 0}).to(dtype)).mean, 0.5);
    }
    QCOMPARE(failure_of([] { distribution_of(at::zeros({1}, at::kComplexFloat)); }).code,
             std::string("distribution-input"));
  }

  void extreme_ranges_do_not_overflow() {
    const double most = std::numeric_limits<double>::max();
    const Distribution d = distribution_of(at::tensor({-most, 0.0, most}, at::kDouble), {}, 2);
    QCOMPARE(d.bins, (std::vector<std::uint64_t>{1, 2}));
    QCOMPARE(d.quantiles[3], 0.0);
    QVERIFY(std::isfinite(d.quantiles[1]));
  }

  void a_million_values_are_quick() {
    const at::Tensor values = skewed(1'000'000).to(at::kFloat);
    QElapsedTimer timer;
    timer.start();
    QCOMPARE(distribution_of(values).count, 1'000'000);
    qInfo("1e6 values: %lld ms", static_cast<long long>(timer.elapsed()));
    QVERIFY(timer.elapsed() < 2000);
  }
};

REWARDLOOM_TEST(TestHistogram)
#include "test_histogram.moc"
