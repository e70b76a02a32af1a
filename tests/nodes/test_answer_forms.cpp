// How answers may be written: lists of numbers, whole numbers of any length, LaTeX, phrases; and
// what a TorchScript model says that cannot take its input.
#include <torch/script.h>

#include <QTemporaryDir>

#include "nodes/reward/answer_match.h"
#include "nodes/reward/boxed_answer.h"
#include "nodes/reward/numeric_equal.h"
#include "nodes/reward/phrases.h"
#include "nodes/reward/text_parts.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

std::string last(const char* text) { return std::string(last_number_in(text)); }

double numeric(const char* text, const char* truth) {
  return totals(judged("reward.numeric_equal", Json::object(), {text}, {truth}))[0];
}

double boxed(const std::string& text, const std::string& truth) {
  return totals(
      judged("reward.boxed_answer", Json::object(), {"\\boxed{" + text + "}"}, {truth}))[0];
}

Problem failure(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {Severity::note, "none", {}, "nothing was thrown", "", {}};
}

bool has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  qWarning("\"%s\" is not in \"%s\"", part.c_str(), text.c_str());
  return false;
}

}  // namespace

class TestAnswerForms : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void commas_separate_thousands_or_a_list() {
    QVERIFY(is_grouped("1,234") && is_grouped("12,345,678.9") && is_grouped("123,456"));
    for (const char* list : {"3,4", "1,2,3", "0.5,0.25", "1,2345", "1234,567", "1,234,5", ",123"}) {
      QVERIFY2(!is_grouped(list), list);
    }
    QCOMPARE(last("(3,4)"), std::string("4"));
    QCOMPARE(last("x in {3,-4}"), std::string("-4"));
    QCOMPARE(last("[1,2,3]"), std::string("3"));
    QCOMPARE(last("0.5,0.25"), std::string("0.25"));
    QCOMPARE(last("1/2,3/4"), std::string("3/4"));
    QCOMPARE(last("(1,234)"), std::string("1,234"));
    QCOMPARE(last("1,234,567"), std::string("1,234,567"));
    QCOMPARE(last("1,000/3"), std::string("1,000/3"));
    QCOMPARE(last("1234,567"), std::string("567"));
    QCOMPARE(last("1,234,5."), std::string("5"));
  }

  void the_last_number_of_a_list_counts() {
    for (const char* text : {"(3,4)", "x in {3,4}", "options are 3,4", "3, 4", "4"}) {
      QVERIFY2(numeric(text, "4") == 1, text);
      QVERIFY2(numeric("4", text) == 1, text);
    }
    QCOMPARE(numeric("1,2,3", "3"), 1.0);
    QCOMPARE(numeric("1,2,3", "123"), 0.0);
    QCOMPARE(numeric("(1,234)", "1234"), 1.0);
    const MatchOptions options{.compare = Compare::number, .extract = Extract::last_number};
    QVERIFY(matches("(3,4)", "4", options));
    QVERIFY(matches("0.5,0.25", "0.25", options));
    QVERIFY(matches("it is 1,234", "1234", options));
    QVERIFY(!matches("1,2,3", "123", options));
  }

  void whole_numbers_are_compared_exactly() {
    const MatchOptions number{.compare = Compare::number};
    const auto same = [&](const std::string& a, const std::string& b) {
      return matches(a, b, number);
    };
    QVERIFY(!same("1000000000000000000001", "1000000000000000000000"));
    QVERIFY(!same("9007199254740993", "9007199254740992"));
    QVERIFY(same("1,000,000,000,000,000,000,001", "+1000000000000000000001.0"));
    QVERIFY(same("-007", "-7") && same("-0", "0") && !same("-7", "7"));
    QVERIFY(same("1e21", "1000000000000000000000"));
    const std::string huge(400, '9');
    QVERIFY(same(huge, "0" + huge) && !same(huge, huge + "0"));
    QVERIFY(!same(huge, "0e0") && !same(huge, "inf"));
    QVERIFY(same("0.1", "0.10") && same("nan", "nan"));
  }

  void formulas_with_the_same_meaning_are_equal() {
    QCOMPARE(boxed("\\sqrt2", "\\sqrt{2}"), 1.0);
    QCOMPARE(boxed("x^{2}", "x^2"), 1.0);
    QCOMPARE(boxed("\\frac{\\sqrt3}{2}", "\\frac{\\sqrt{3}}{2}"), 1.0);
    QCOMPARE(boxed("\\frac ab", "\\dfrac{a}{b}"), 1.0);
    QCOMPARE(boxed("2{\\pi}r", "2\\pi r"), 1.0);
    QCOMPARE(boxed("\\{1, 2\\}", "\\{1,2\\}"), 1.0);
    QCOMPARE(boxed("45^{\\circ} + 45^\\circ", "45+45"), 1.0);
    QCOMPARE(boxed("1{,}000", "1000"), 1.0);
  }

  void formulas_with_another_meaning_are_not() {
    QCOMPARE(boxed("x^{23}", "x^23"), 0.0);
    QCOMPARE(boxed("2^{\\pi x}", "2^\\pi x"), 0.0);
    QCOMPARE(boxed("\\frac{1}{23}", "\\frac{1}{2}3"), 0.0);
    QCOMPARE(boxed("\\{2\\}", "2"), 0.0);
    QCOMPARE(boxed("\\pir", "\\pi r"), 0.0);
    QCOMPARE(boxed("x = 5", "5"), 0.0);
    QCOMPARE(boxed("5\\text{ cm}", "5"), 0.0);
  }

  void braces_without_end_are_read_to_the_end() {
    const std::string open(20000, '{');
    QCOMPARE(plain_latex(open).size(), open.size());
    const std::string deep = std::string(5000, '{') + "x" + std::string(5000, '}');
    QVERIFY(plain_latex(deep).find('x') != std::string::npos);
    QVERIFY(plain_latex(deep).size() < deep.size());
    QCOMPARE(plain_latex("a{b"), std::string("a{b"));
    QCOMPARE(plain_latex("{{{x}}}"), std::string("x"));
  }

  void phrases_are_found_in_either_case() {
    PhraseOptions options{{"Wait", "LET me"}, {"User: "}, 2, 1, 20};
    QCOMPARE(phrase_reward("wait, Let me see", options), 1.0);
    QCOMPARE(phrase_reward("wait, let me see. user: hm", options), 0.0);
    options.penalties = {""};
    QCOMPARE(phrase_reward("wait, let me see", options), 1.0);
  }

  void a_model_that_cannot_take_the_features_names_the_cure() {
    QTemporaryDir folder;
    torch::jit::Module model("Model");
    model.register_parameter("weight", at::full({1, 4}, 0.5), false);
    model.register_attribute("training", c10::BoolType::get(), true);
    model.define("def forward(self, x):\n    return torch.mm(x, self.weight.t())\n");
    const std::string path = folder.filePath(QStringLiteral("m.pt")).toStdString();
    model.save(path);
    const auto fired = [&](const at::Tensor& given) {
      Bench bench("reward.torchscript", {{"file", path}});
      Features features;
      features.features = given;
      bench.connect("features", {Value::of(features)});
      bench.fire();
      return totals(bench);
    };
    QCOMPARE(fired(at::ones({2, 4}, at::kFloat)), (std::vector<double>{2, 2}));
    const Problem type = failure([&] { fired(at::ones({2, 4}, at::kDouble)); });
    QCOMPARE(type.code, std::string("torchscript-call"));
    QVERIFY(has(type.text, "fails on [2, 4] float64"));
    QVERIFY(has(type.help, "its parameter weight is float32, the features are float64"));
    const Problem width = failure([&] { fired(at::ones({2, 3}, at::kFloat)); });
    QVERIFY(has(width.help, "its parameter weight is [1, 4], the features are [2, 3]"));
    QVERIFY(has(width.help, "give features of 4 columns"));
    Bench missing("reward.torchscript", {{"file", path + ".none"}});
    missing.connect("features", {Value::of(Features{})});
    QVERIFY(has(failure([&] { missing.fire(); }).text, "there is no " + path + ".none"));
  }
};

}  // namespace rewardloom

using rewardloom::TestAnswerForms;
REWARDLOOM_TEST(TestAnswerForms)
#include "test_answer_forms.moc"
