// Conditions of rules, and what a graph file must write so that it reads the same value again.
#include "engine/graph/parameters.h"
#include "tests/qt_test.h"

using namespace rewardloom;

class TestConditions : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void anEmptyListIsNotSet() {
    const Json set = {{"set", true}};
    QVERIFY(!satisfies(Json::array(), set));
    QVERIFY(!satisfies("", set));
    QVERIFY(!satisfies(nullptr, set));
    QVERIFY(satisfies(Json::array({0}), set));
    QVERIFY(satisfies(0, set));
  }

  void listsAreHeldAgainstSizeAndItems() {
    const Json betas = {{"size", 2}, {"items", {{"min", 0}, {"below", 1}}}};
    QVERIFY(satisfies(Json::array({0, 0.999}), betas));
    QVERIFY(!satisfies(Json::array({0.9}), betas));
    QVERIFY(!satisfies(Json::array({0.9, 1}), betas));
    QVERIFY(!satisfies(Json::array({-0.1, 0.9}), betas));
    const Json operations = {{"items", {"+", "-"}}};
    QVERIFY(satisfies(Json::array({"-", "-"}), operations));
    QVERIFY(!satisfies(Json::array({"+", "?"}), operations));
    QVERIFY(!satisfies("+", operations));
    QCOMPARE(condition_text(betas),
             std::string("2 values and a list of values that are each at least 0 and below 1"));
  }

  void objectsAreHeldAgainstTheirEntries() {
    const Json size = {{"whole", true}, {"min", 1}};
    Json condition = {{"entries", {{"width", size}, {"heads", size}, {"groups", size}}}};
    condition["entries"]["name"] = Json::object();
    condition["multiples"] = Json::array();
    condition["multiples"].push_back(Json::array({"heads", "groups"}));
    QVERIFY(satisfies(nullptr, condition));
    QVERIFY(satisfies(Json{{"width", 8}, {"heads", 4}, {"groups", 2}, {"name", 1.5}}, condition));
    QVERIFY(satisfies(Json{{"width", nullptr}}, condition));
    QVERIFY(!satisfies(3, condition));

    const auto unknown = entry_fault({{"widht", 8}}, condition);
    QVERIFY(unknown.has_value());
    QCOMPARE(unknown->text, std::string("there is no entry \"widht\""));
    QCOMPARE(unknown->help, std::string("did you mean width"));
    QVERIFY(!satisfies(Json{{"widht", 8}}, condition));

    const auto negative = entry_fault({{"width", -4}}, condition);
    QVERIFY(negative.has_value());
    QCOMPARE(negative->text, std::string("width is -4"));
    QCOMPARE(negative->help, std::string("it must be a whole number and at least 1"));
    QVERIFY(entry_fault({{"width", "x"}}, condition).has_value());
    QVERIFY(entry_fault({{"width", 1.5}}, condition).has_value());
    QVERIFY(entry_fault({{"heads", 3}, {"groups", 2}}, condition).has_value());
    QVERIFY(!entry_fault({{"heads", 3}}, condition).has_value());
  }

  void wholeNumbersFitIn64Bits() {
    ParameterDeclaration count;
    count.kind = ParameterKind::integer;
    QVERIFY(!fault_of(count, Json::parse("9223372036854775807")));
    QVERIFY(!fault_of(count, Json::parse("-9223372036854775808")));
    QVERIFY(!fault_of(count, Json::parse("1e3")));
    for (const char* wide : {"9223372036854775808", "18446744073709551616", "1e30", "-1e30"}) {
      QCOMPARE(fault_code(count, Json::parse(wide)), std::string("param-range"));
    }
    ParameterDeclaration list;
    list.kind = ParameterKind::list;
    list.element = ParameterKind::integer;
    QVERIFY(!fault_of(list, Json::array({1, 2})));
    QCOMPARE(fault_code(list, Json::parse("[1, 1e30]")), std::string("param-range"));
    ParameterDeclaration number;
    number.kind = ParameterKind::number;
    QVERIFY(!fault_of(number, 1e30));
  }

  void aTextLikeAReferenceIsWrittenSoThatItStaysAText() {
    const Json value = {{"a", "$name"}, {"b", {"$$", "$x^2$", "plain", 3}}};
    const Json parameters = {{"name", 1}};
    QVERIFY(substitute(as_written(value), parameters) == value);
    QVERIFY(as_written("plain") == "plain");
    QVERIFY(as_written("$name") == "$$name");
  }
};

REWARDLOOM_TEST(TestConditions)
#include "test_conditions.moc"
