// The alarm of a run whose trained-on reward rises while the measured one falls.
#include <QTemporaryDir>
#include <cmath>

#include "engine/io/run_reader.h"
#include "engine/io/run_store.h"
#include "engine/run/reward_watch.h"
#include "engine/run/run.h"
#include "tests/qt_test.h"
#include "tests/run/test_nodes.h"

using namespace rewardloom;
using namespace rewardloom::testing;
namespace fs = std::filesystem;

namespace {

/// Noise that is the same in every run, -1 to 1.
double noise(std::int64_t i) { return std::sin(12.9898 * static_cast<double>(i * i + 1)); }

/// Rises to 1 at `peak`, then falls at the same rate; stays where peak is never reached.
double hacked(std::int64_t i, std::int64_t peak) {
  return 1 - std::abs(static_cast<double>(i - peak)) / static_cast<double>(peak);
}

struct Told {
  std::int64_t iteration;
  Problem problem;
};

using Curve = std::function<double(std::int64_t)>;

std::vector<Told> watched(RewardWatch& watch, const std::string& place, const Curve& proxy,
                          const Curve& gold, std::int64_t from, std::int64_t until) {
  std::vector<Told> told;
  for (std::int64_t i = from; i < until; ++i) {
    watch.metric(i, place + "/proxy", proxy(i));
    watch.metric(i, place + "/gold", gold(i));
    watch.metric(i, place + "/loss", 1.0);
    for (Problem& problem : watch.suspects(i)) told.push_back({i, std::move(problem)});
  }
  return told;
}

double rising(std::int64_t i) { return 0.01 * static_cast<double>(i); }

/// Gives what a hacked reward looks like: proxy rises, gold falls from iteration 20 on.
struct Hacked final : Node {
  Output<Scalar> value{this, "value", "gold"};
  void run(Step& step) const override {
    const double gold = hacked(step.iteration(), 20) + 0.01 * step.random().normal();
    step.metric("proxy", rising(step.iteration()));
    step.metric("gold", gold);
    step[value] = Scalar{gold};
  }
};

Registry registry_with_hacked() {
  Registry registry = test_registry();
  registry.add<Hacked>("test.hacked", "for tests", "");
  return registry;
}

std::vector<AlarmRow> alarms_of(const fs::path& folder) { return RunReader(folder).alarms(); }

}  // namespace

class TestRewardWatch : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void aHackedRewardIsToldOnceAndWhileItHappens() {
    RewardWatch watch;
    const auto gold = [](std::int64_t i) { return hacked(i, 50) + 0.02 * noise(i); };
    const auto told = watched(watch, "race/raw", rising, gold, 0, 120);
    QCOMPARE(told.size(), std::size_t{1});
    QCOMPARE(told[0].problem.code, std::string("overoptimisation"));
    QCOMPARE(told[0].problem.where.node, std::string("race/raw"));
    QVERIFY2(told[0].iteration > 60 && told[0].iteration < 85,
             qPrintable(QString::number(told[0].iteration)));
    QVERIFY(told[0].problem.text.starts_with("proxy rises, "));
    QVERIFY(told[0].problem.text.find(" while gold falls, ") != std::string::npos);
  }

  void whatRisesOrWaversIsNoAlarm() {
    const auto steady = [](std::int64_t i) { return std::min(1.0, rising(i)) + 0.05 * noise(i); };
    RewardWatch watch;
    QVERIFY(watched(watch, "a", rising, steady, 0, 400).empty());
    // Gold that falls together with proxy is not hacked.
    RewardWatch both;
    const auto falls = [](std::int64_t i) { return hacked(i, 50); };
    QVERIFY(watched(both, "a", falls, falls, 0, 120).empty());
    // Nor is a short dip.
    RewardWatch dips;
    const auto dip = [](std::int64_t i) { return i >= 50 && i < 54 ? 0.1 : rising(i); };
    QVERIFY(watched(dips, "a", rising, dip, 0, 120).empty());
  }

  /// Curves with noise that wanders: each value keeps `memory` of the last one's deviation.
  void falseAlarmsAreRareAndHackedRunsAreToldInTime_data() {
    QTest::addColumn<double>("memory");
    QTest::addRow("white noise") << 0.0;
    QTest::addRow("wandering noise") << 0.8;
  }
  void falseAlarmsAreRareAndHackedRunsAreToldInTime() {
    QFETCH(double, memory);
    constexpr int runs = 400;
    constexpr std::int64_t length = 200;
    const auto alarmed = [&](const Curve& gold, std::uint64_t kind) {
      std::vector<std::int64_t> iterations;
      for (std::uint64_t trial = 0; trial < runs; ++trial) {
        Random random({trial, kind, 0});
        RewardWatch watch;
        double drift = 0;
        const Curve noisy = [&](std::int64_t i) {
          drift = memory * drift + std::sqrt(1 - memory * memory) * random.normal();
          return gold(i) + 0.05 * drift;
        };
        const auto told = watched(watch, "a", rising, noisy, 0, length);
        if (!told.empty()) iterations.push_back(told.front().iteration);
      }
      return iterations;
    };
    const auto plateau = [](std::int64_t i) {
      return std::min(1.0, 0.02 * static_cast<double>(i));
    };
    const auto flat = [](std::int64_t) { return 0.5; };
    const std::size_t clean = alarmed(plateau, 1).size() + alarmed(flat, 2).size();
    // Gold rises to 1 in 80 iterations and is back where it began in another 80.
    std::vector<std::int64_t> hits = alarmed([](std::int64_t i) { return hacked(i, 80); }, 3);
    QVERIFY(!hits.empty());
    std::nth_element(hits.begin(), hits.begin() + hits.size() / 2, hits.end());
    const std::int64_t median = hits[hits.size() / 2];
    qInfo("%zu of %d clean runs alarmed, %zu of %d hacked ones, these at iteration %lld (median)",
          clean, 2 * runs, hits.size(), runs, static_cast<long long>(median));
    QVERIFY(clean <= 2 * runs / 100);
    QVERIFY(hits.size() >= runs * 95 / 100);
    QVERIFY(median < 140);
  }

  void branchesAreToldApart() {
    RewardWatch watch;
    std::vector<std::string> told;
    for (std::int64_t i = 0; i < 120; ++i) {
      for (const std::string branch : {"s[mode=raw]", "s[mode=par]"}) {
        watch.metric(i, branch + "/proxy", rising(i));
        watch.metric(i, branch + "/gold", branch == "s[mode=raw]" ? hacked(i, 40) : rising(i));
      }
      for (const Problem& problem : watch.suspects(i)) told.push_back(problem.where.node);
    }
    QCOMPARE(told, std::vector<std::string>{"s[mode=raw]"});
  }

  void longRunsAreLookedAtLessOften() {
    RewardWatch watch;
    const auto gold = [](std::int64_t i) { return hacked(i, 4000); };
    const auto told = watched(watch, "a", rising, gold, 0, 8000);
    QCOMPARE(told.size(), std::size_t{1});
    QVERIFY(told[0].iteration > 5900 && told[0].iteration < 6300);
  }

  void aResumedRunTellsWhatTheWholeOneTells() {
    const Registry registry = registry_with_hacked();
    const Document document =
        Document::parse(R"({"rewardloom":1,"name":"hacked","settings":{"checkpoint_every":10},)"
                        R"("nodes":{"h":{"type":"test.hacked"}}})",
                        "");
    const QTemporaryDir place;
    const auto run_until = [&](RunOptions options, std::int64_t iterations) {
      options.parent = place.path().toStdString();
      options.iterations = iterations;
      Run run(document, registry, options);
      if (run.execute() != RunEnd::done) throw Failure(*run.failure());
      return run.folder();
    };
    const std::vector<AlarmRow> whole = alarms_of(run_until({}, 60));
    QCOMPARE(whole.size(), std::size_t{1});
    QCOMPARE(whole[0].code, std::string("overoptimisation"));
    // Once before the alarm, once after it.
    for (const std::int64_t half : {20, 50}) {
      RunOptions resume;
      resume.folder = run_until({}, half);
      resume.resume = true;
      const std::vector<AlarmRow> again = alarms_of(run_until(resume, 60));
      QCOMPARE(again.size(), std::size_t{1});
      QCOMPARE(again[0].iteration, whole[0].iteration);
      QCOMPARE(again[0].text, whole[0].text);
    }
  }
};

REWARDLOOM_TEST(TestRewardWatch)
#include "test_reward_watch.moc"
