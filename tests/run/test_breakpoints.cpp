// Where a run waits for a person: conditions, places, steps from node to node.
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "engine/core/problem.h"
#include "engine/run/breakpoints.h"
#include "tests/qt_test.h"

namespace rewardloom {

class TestBreakpoints : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void conditions_are_read_and_written() {
    const PauseCondition a = PauseCondition::parse("reward/accuracy > 0.9");
    QCOMPARE(a.metric, std::string("reward/accuracy"));
    QVERIFY(a.holds(0.91) && !a.holds(0.9));
    QCOMPARE(a.text(), std::string("reward/accuracy > 0.9"));
    QVERIFY(PauseCondition::parse("iteration>=20").holds(20));
    QVERIFY(PauseCondition::parse("kl <= -1e-3").holds(-0.001));
    QVERIFY(PauseCondition::parse("kl != 0").holds(1));
    for (const char* wrong : {"", "reward", "> 3", "reward >", "reward > much", "a > 1 b"}) {
      QVERIFY_EXCEPTION_THROWN(PauseCondition::parse(wrong), Failure);
    }
  }

  void places_are_read_and_written() {
    QCOMPARE(Breakpoint::parse("adv").node, std::string("adv"));
    QVERIFY(!Breakpoint::parse("adv").when);
    const Breakpoint both = Breakpoint::parse(" held_out/grade  if reward/accuracy > 0.5 ");
    QCOMPARE(both.node, std::string("held_out/grade"));
    QCOMPARE(both.text(), std::string("held_out/grade if reward/accuracy > 0.5"));
    const Breakpoint alone = Breakpoint::parse("if iteration >= 3");
    QVERIFY(alone.node.empty() && alone.when);
    for (const char* wrong : {"", "two words", "adv if", "adv if x"}) {
      QVERIFY_EXCEPTION_THROWN(Breakpoint::parse(wrong), Failure);
    }
  }

  void without_breakpoints_nothing_waits() {
    Breakpoints breakpoints;
    breakpoints.before_node("a", 0);
    QVERIFY(breakpoints.before_iteration(0).empty());
    breakpoints.add(Breakpoint::parse("b"));
    breakpoints.before_node("a", 0);
    QVERIFY(!breakpoints.release());
  }

  void an_iteration_is_held_once_the_metric_says_so() {
    Breakpoints breakpoints;
    breakpoints.add(Breakpoint::parse("if reward/accuracy > 0.5"));
    QVERIFY(breakpoints.before_iteration(0).empty());
    breakpoints.metric("reward/accuracy", 0.4);
    QVERIFY(breakpoints.before_iteration(1).empty());
    breakpoints.metric("reward/accuracy", 0.6);
    QCOMPARE(breakpoints.before_iteration(2), std::string("if reward/accuracy > 0.5"));
    breakpoints.remove("");
    QVERIFY(breakpoints.before_iteration(3).empty());
  }

  void conditions_of_metrics_that_nobody_gave_are_known() {
    Breakpoints breakpoints;
    breakpoints.add(Breakpoint::parse("a if a/loss > 1"));
    breakpoints.add(Breakpoint::parse("b if s[lr=1]/b/loss > 1"));
    breakpoints.add(Breakpoint::parse("c if iteration > 1"));
    QCOMPARE(breakpoints.never_seen().size(), std::size_t{2});
    breakpoints.metric("a/loss", 0.5);
    QCOMPARE(breakpoints.never_seen().size(), std::size_t{1});
    // A branch may be named, or all of them be meant.
    breakpoints.metric("s[lr=1]/b/loss", 0.5);
    QVERIFY(breakpoints.never_seen().empty());
    breakpoints.add(Breakpoint::parse("if s/b/loss > 0.6"));
    QVERIFY(breakpoints.before_iteration(0).empty());
    breakpoints.metric("s[lr=2]/b/loss", 0.7);
    QVERIFY(!breakpoints.before_iteration(1).empty());
  }

  void nodes_are_held_stepped_and_let_go() {
    Breakpoints breakpoints;
    Log log;
    breakpoints.stopped = [&](const std::string& node, const std::string&, std::int64_t) {
      log.add("stop " + node);
    };
    breakpoints.add(Breakpoint::parse("b if iteration >= 1"));
    std::thread run([&] {
      for (int iteration = 0; iteration < 3; ++iteration) {
        for (const char* node : {"a", "b", "c", "sweep[seed=1]/d"}) {
          breakpoints.before_node(node, iteration);
          log.add(node);
        }
      }
    });
    QTRY_COMPARE(log.text(), std::string("a b c sweep[seed=1]/d a stop b"));
    breakpoints.step();
    QTRY_COMPARE(log.text(), std::string("a b c sweep[seed=1]/d a stop b b stop c"));
    breakpoints.clear();
    breakpoints.run_to("sweep/d");
    QTRY_VERIFY(log.text().ends_with("c stop sweep/d"));
    QVERIFY(breakpoints.release());
    run.join();
    QVERIFY(log.text().ends_with("sweep[seed=1]/d a b c sweep[seed=1]/d"));
  }

  void of_nodes_that_wait_together_one_goes_at_a_time() {
    Breakpoints breakpoints;
    Log log;
    breakpoints.stopped = [&](const std::string&, const std::string&, std::int64_t) {
      log.add("stop");
    };
    breakpoints.hold();
    std::atomic<int> passed{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        breakpoints.before_node("same", 0);
        ++passed;
      });
    }
    QTRY_COMPARE(log.text(), std::string("stop"));
    breakpoints.step();
    QTRY_COMPARE(passed.load(), 1);
    QTRY_COMPARE(log.text(), std::string("stop stop"));
    QTest::qWait(30);
    QCOMPARE(passed.load(), 1);
    breakpoints.open();
    for (std::thread& thread : threads) thread.join();
    QCOMPARE(passed.load(), 3);
    breakpoints.hold();
    breakpoints.before_node("same", 1);
  }

  void held_time_counts_once_for_all_that_wait() {
    Breakpoints breakpoints;
    QCOMPARE(breakpoints.held_nanoseconds(), std::int64_t{0});
    breakpoints.hold();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] { breakpoints.before_node("same", 0); });
    }
    QTRY_VERIFY(breakpoints.held_nanoseconds() > 0);
    const auto start = std::chrono::steady_clock::now();
    QTest::qWait(100);
    breakpoints.open();
    for (std::thread& thread : threads) thread.join();
    const std::int64_t held = breakpoints.held_nanoseconds();
    const auto wall = std::chrono::steady_clock::now() - start;
    QVERIFY(held >= 100'000'000);
    QVERIFY(held < std::chrono::nanoseconds(wall).count() + 2'000'000'000);
    QTest::qWait(20);
    QCOMPARE(breakpoints.held_nanoseconds(), held);
  }

 private:
  class Log {
   public:
    void add(const std::string& word) {
      const std::lock_guard lock(mutex_);
      text_ += (text_.empty() ? "" : " ") + word;
    }
    std::string text() {
      const std::lock_guard lock(mutex_);
      return text_;
    }

   private:
    std::mutex mutex_;
    std::string text_;
  };
};

}  // namespace rewardloom

using rewardloom::TestBreakpoints;
REWARDLOOM_TEST(TestBreakpoints)
#include "test_breakpoints.moc"
