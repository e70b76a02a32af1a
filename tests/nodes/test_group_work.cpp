// Nodes that work group by group take time in proportion to their rows, however many groups there
// are and however large one is.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <ctime>

#include "engine/core/random.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

constexpr std::int64_t kFew = 1 << 11, kMany = 1 << 16;

Rewards numbered(std::int64_t rows, const at::Tensor& group) {
  Rewards r;
  r.total = at::empty({rows}, at::kDouble);
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::uint64_t bits = mix(5, static_cast<std::uint64_t>(i)) >> 11;
    r.total.data_ptr<double>()[i] = static_cast<double>(bits) / 9007199254740992.0;
  }
  r.group = group;
  return r;
}

at::Tensor groups_of(std::int64_t rows, const QString& kind) {
  const at::Tensor row = at::arange(rows, at::kLong);
  if (kind == QStringLiteral("pairs")) return row.div(2, "floor").to(at::kLong);
  if (kind == QStringLiteral("scattered pairs")) {
    return row.remainder(rows / 2).mul(7919).remainder(1 << 20);
  }
  return at::zeros_like(row);  // one group
}

Completions one_token_each(std::int64_t rows) {
  Completions c;
  c.tokens = at::zeros({rows, 1}, at::kLong);
  c.kinds = at::full({rows, 1}, static_cast<std::int64_t>(TokenKind::action), at::kChar);
  return c;
}

/// Seconds of this thread for one firing, the fastest of some.
double seconds_of_firing(const std::string& type, const Json& params, std::int64_t rows,
                         const QString& kind) {
  Bench bench(type, params);
  const Rewards given = numbered(rows, groups_of(rows, kind));
  bench.connect("rewards", {Value::of(given)});
  bench.connect("references", {Value::of(given)});
  bench.connect("completions", {Value::of(one_token_each(rows))});
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double begun = now();
    bench.fire(i);
    best = std::min(best, now() - begun);
  }
  return best;
}

}  // namespace

class TestGroupWork : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void work_grows_with_the_rows_data() {
    QTest::addColumn<QString>("type");
    QTest::addColumn<QString>("params");
    QTest::addColumn<QString>("groups");
    const std::vector<std::pair<const char*, const char*>> nodes = {
        {"advantage.group", "{}"},
        {"advantage.leave_one_out", "{\"scale\": \"leave_one_out_std\"}"},
        {"advantage.opo", "{}"},
        {"advantage.maxrl", "{}"},
        {"advantage.gpg", "{}"},
        {"advantage.pass_at_k", "{}"},
        {"advantage.jepo", "{}"},
        {"advantage.group_decoupled", "{}"},
        {"advantage.reinforce_pp_baseline", "{}"},
        {"shape.transform", "{\"mode\": \"par\"}"},
        {"shape.transform", "{\"mode\": \"lsc\"}"},
        {"shape.running", "{}"},
    };
    for (const auto& [type, params] : nodes) {
      for (const char* groups : {"pairs", "scattered pairs", "one group"}) {
        QTest::addRow("%s %s, %s", type, params, groups)
            << QString::fromUtf8(type) << QString::fromUtf8(params) << QString::fromUtf8(groups);
      }
    }
  }

  /// 32 times the rows: linear work takes 32 times as long, quadratic 1024 times.
  void work_grows_with_the_rows() {
    QFETCH(QString, type);
    QFETCH(QString, params);
    QFETCH(QString, groups);
    const Json p = Json::parse(params.toStdString());
    const double few = seconds_of_firing(type.toStdString(), p, kFew, groups);
    const double many = seconds_of_firing(type.toStdString(), p, kMany, groups);
    QVERIFY2(many < 180 * few, fmt::format("{} rows take {:.1f} us, {} rows {:.1f} us", kFew,
                                           1e6 * few, kMany, 1e6 * many)
                                   .c_str());
  }
};

}  // namespace rewardloom

using rewardloom::TestGroupWork;
REWARDLOOM_TEST(TestGroupWork)
#include "test_group_work.moc"
