// The vector functions behind losses of rows, against double over their whole range.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "tests/nodes/loss_bench.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

enum class Function { log, sigmoid, log_sigmoid, bounded_exp, log1mexp };

template <class X>
REWARDLOOM_INLINE X applied(Function f, const X& x) {
  switch (f) {
    case Function::log: return log(x);
    case Function::sigmoid: return sigmoid(x);
    case Function::log_sigmoid: return log_sigmoid(x);
    case Function::bounded_exp: return bounded_exp(x);
    case Function::log1mexp: break;
  }
  return log1mexp(x);
}

REWARDLOOM_VECTORISED
PassSums function_rows(const PassPlaces& places, Function f) {
  return each_row<1>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        return PassTerms<1>{applied(f, trained<1>(rows.in[0], 0))};
      });
}

REWARDLOOM_VECTORISED
PassSums product_rows(const PassPlaces& places) {
  return each_row<2>(
      places, [](const PassLanes& rows) __attribute__((always_inline)) {
        return PassTerms<2>{trained<2>(rows.in[0], 0) * trained<2>(rows.in[1], 1)};
      });
}

at::Tensor sigmoid_sum(const at::Tensor& x) {
  LossPass pass({x}, {}, {.trained = 1});
  pass.set(function_rows(pass.places(), Function::sigmoid));
  return pass.sum();
}

/// Values and slopes in float32.
std::pair<at::Tensor, at::Tensor> in_lanes(Function f, const at::Tensor& x) {
  const at::Tensor leaf = x.detach().to(at::kFloat).requires_grad_(true);
  const at::AutoGradMode learning(true);
  LossPass pass({leaf}, {}, {.trained = 1, .losses = true});
  pass.set(function_rows(pass.places(), f));
  pass.sum().backward();
  return {pass.losses().to(at::kDouble), leaf.grad().to(at::kDouble)};
}

/// The same from the operators in double, at the same numbers.
std::pair<at::Tensor, at::Tensor> in_double(Function f, const at::Tensor& x) {
  const at::Tensor leaf = x.detach().to(at::kFloat).to(at::kDouble).requires_grad_(true);
  const at::AutoGradMode learning(true);
  const at::Tensor values = applied(f, leaf);
  values.sum().backward();
  return {values.detach(), leaf.grad()};
}

double largest_off(const at::Tensor& got, const at::Tensor& want, double from) {
  return ((got - want).abs() / (want.abs() + from)).max().item<double>();
}

at::Tensor both_signs(double low, double high) {
  const at::Tensor size = at::logspace(low, high, 1001, 10, at::kDouble);
  return at::cat({size, -size, at::zeros({1}, at::kDouble)});
}

}  // namespace

class TestRowPass : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void vector_functions_and_their_slopes_are_exact_data() {
    QTest::addColumn<int>("function");
    QTest::addRow("log") << int(Function::log);
    QTest::addRow("sigmoid") << int(Function::sigmoid);
    QTest::addRow("log_sigmoid") << int(Function::log_sigmoid);
    QTest::addRow("bounded_exp") << int(Function::bounded_exp);
    QTest::addRow("log1mexp") << int(Function::log1mexp);
  }
  void vector_functions_and_their_slopes_are_exact() {
    QFETCH(int, function);
    const auto f = static_cast<Function>(function);
    at::Tensor x = both_signs(-6, 1.9);                   // up to 79
    if (f == Function::sigmoid) x = both_signs(-6, 1.2);  // double's slope ends sooner
    if (f == Function::log) x = at::logspace(-37, 37, 2001, 10, at::kDouble);
    if (f == Function::log1mexp) x = -at::logspace(-6, 1.9, 2001, 10, at::kDouble);
    const auto [values, slopes] = in_lanes(f, x);
    const auto [exact, exact_slopes] = in_double(f, x);
    // Of what is added to other terms of a size of 1: one unit in the last place, 1.2e-7.
    const double from = f == Function::sigmoid || f == Function::bounded_exp ? 1e-30 : 1.0;
    const double off = largest_off(values, exact, from);
    QVERIFY2(off < 5e-7, qPrintable(QString::number(off)));
    const double slope_off = largest_off(slopes, exact_slopes, 1e-30);
    QVERIFY2(slope_off < 2e-6, qPrintable(QString::number(slope_off)));
  }

  void logarithms_are_within_two_units_in_the_last_place() {
    const at::Tensor x = at::linspace(0.5, 2, 300001, at::kFloat).to(at::kDouble);
    const at::Tensor want = x.log(), got = in_lanes(Function::log, x).first;
    const at::Tensor unit = at::exp2(want.abs().clamp_min(1e-30).log2().floor() - 23);
    const double off = ((got - want).abs() / unit).max().item<double>();
    QVERIFY2(off <= 2, qPrintable(QString::number(off)));
  }

  void the_logarithm_has_its_limits() {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const at::Tensor x = at::tensor({0.0, 1.0, infinity, -1.0, std::nan("")}, at::kDouble);
    const at::Tensor values = in_lanes(Function::log, x).first;
    const double* const y = values.data_ptr<double>();
    QCOMPARE(y[0], -infinity);
    QCOMPARE(y[1], 0.0);
    QCOMPARE(y[2], infinity);
    QVERIFY(std::isnan(y[3]));
    QVERIFY(std::isnan(y[4]));
  }

  void what_is_no_number_is_not_hidden() {
    for (const Function f : {Function::log, Function::sigmoid, Function::log_sigmoid,
                             Function::bounded_exp, Function::log1mexp}) {
      const at::Tensor x = at::full({19}, -0.5, at::kDouble);
      x[17] = std::nan("");
      const auto [values, slopes] = in_lanes(f, x);
      QVERIFY(values[17].isnan().item<bool>());
      QVERIFY(slopes[17].isnan().item<bool>());
      if (f != Function::log) QCOMPARE(values.isnan().sum().item<std::int64_t>(), 1);
    }
  }

  void rows_beyond_the_last_vector_do_not_count() {
    for (const std::int64_t rows : {0, 1, 15, 16, 17, 1024, 1025, 5000}) {
      const at::Tensor x = at::full({rows}, 0.25, at::kFloat).requires_grad_(true);
      const at::AutoGradMode learning(true);
      LossPass pass({x}, {}, {.trained = 1});
      pass.set(function_rows(pass.places(), Function::sigmoid));
      const double want = static_cast<double>(rows) / (1 + std::exp(-0.25));
      const at::Tensor sum = pass.sum();
      QVERIFY(std::abs(sum.item<double>() - want) <= 1e-6 * want);
      sum.backward();
      QCOMPARE(x.grad().numel(), rows);
    }
  }

  void a_graph_may_be_walked_twice_where_it_is_retained() {
    const at::AutoGradMode learning(true);
    const at::Tensor x = at::full({20}, 0.25, at::kFloat).requires_grad_(true);
    const at::Tensor sum = sigmoid_sum(x);
    sum.backward({}, true);
    const at::Tensor once = x.grad().clone();
    sum.backward();
    QVERIFY(x.grad().equal(2 * once));
    QVERIFY_THROWS_EXCEPTION(std::exception, sum.backward());
  }

  void a_second_derivative_is_refused() {
    const at::AutoGradMode learning(true);
    const at::Tensor x = at::full({20}, 0.25, at::kFloat).requires_grad_(true);
    const at::Tensor sum = sigmoid_sum(x);
    sum.backward({}, true, true);
    const at::Tensor gradient = x.grad();
    const double e = std::exp(-0.25), slope = e / ((1 + e) * (1 + e));
    QVERIFY(at::allclose(gradient.detach(), at::full({20}, slope, at::kFloat)));
    QVERIFY_THROWS_EXCEPTION(std::exception, (sum + gradient.square().sum()).backward());
  }

  void gradients_are_those_of_the_numbers_that_were_read() {
    const at::AutoGradMode learning(true);
    const at::Tensor x = at::full({20}, 0.25, at::kFloat).requires_grad_(true);
    const at::Tensor moved = x * 1;
    const at::Tensor sum = sigmoid_sum(moved);
    moved.detach().fill_(100);
    sum.backward();
    QVERIFY(x.grad().gt(0.2).all().item<bool>());
  }

  void one_tensor_may_be_both_trained_inputs() {
    const at::AutoGradMode learning(true);
    const at::Tensor x = at::arange(20, at::kFloat).requires_grad_(true);
    LossPass pass({x, x}, {}, {.trained = 2});
    pass.set(product_rows(pass.places()));
    pass.sum().backward();
    QVERIFY(x.grad().equal(2 * x.detach()));
  }

  void a_constant_beside_a_trained_input_has_no_gradient() {
    const at::AutoGradMode learning(true);
    const at::Tensor x = at::arange(20, at::kFloat), y = (x + 1).requires_grad_(true);
    LossPass pass({x, y}, {}, {.trained = 2});
    pass.set(product_rows(pass.places()));
    pass.sum().backward();
    QVERIFY(!x.grad().defined());
    QVERIFY(y.grad().equal(x));
  }

  void a_loss_without_gradient_needs_none() {
    const at::Tensor x = at::full({20}, 0.25, at::kFloat);
    LossPass pass({x}, {}, {.trained = 1});
    pass.set(function_rows(pass.places(), Function::sigmoid));
    QVERIFY(!pass.sum().requires_grad());
  }
};

REWARDLOOM_TEST(TestRowPass)
#include "test_row_pass.moc"
