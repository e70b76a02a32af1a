// Scores as verdicts against a count by hand.
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

const Tensors kRows{{"scores", doubles({0.9, 0.2, 0.7, 0.1, 0.5, 0.8})},
                    {"truth", doubles({1, 1, 0, 0, 1, 1})}};

}  // namespace

class TestClassification : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void shares_are_those_of_the_four_counts() {
    const EvaluateResult all = fire("eval.classification", {}, kRows);
    QCOMPARE(number(all, "accuracy"), 3.0 / 6);
    QCOMPARE(number(all, "precision"), 2.0 / 3);
    QCOMPARE(number(all, "recall"), 2.0 / 4);
    QCOMPARE(number(all, "specificity"), 1.0 / 2);
    QCOMPARE(number(all, "rows"), 6.0);
    const EvaluateResult low = fire("eval.classification", {{"threshold", 0.4}}, kRows);
    QCOMPARE(number(low, "recall"), 3.0 / 4);
  }

  void rows_that_do_not_count_change_nothing() {
    Tensors in = kRows;
    in["among"] = doubles({1, 1, 0, 1, 1, 1});
    in["truth.absent"] = flags({0, 1, 0, 0, 0, 0});
    const EvaluateResult some = fire("eval.classification", {}, in);
    QCOMPARE(number(some, "rows"), 4.0);
    QCOMPARE(number(some, "accuracy"), 3.0 / 4);
    QCOMPARE(number(some, "specificity"), 1.0);
    in["among"] = doubles({1, 0, 0, 0, 0, 0});
    const EvaluateResult one = fire("eval.classification", {}, in);
    QVERIFY(!one.outputs.meta.contains("specificity"));
    QCOMPARE(number(one, "accuracy"), 1.0);
    in["among"] = doubles({1, 0});
    QCOMPARE(code_of([&] { fire("eval.classification", {}, in); }), std::string("bad-shape"));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestClassification)
#include "test_classification.moc"
