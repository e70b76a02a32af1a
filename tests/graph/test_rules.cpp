// Rules that hold a parameter against another one, against edges, against a syntax.
#include "engine/graph/parameters.h"
#include "engine/graph/regex_syntax.h"
#include "engine/graph/rules.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

ParameterDeclaration parameter(const char* name, Json value) {
  ParameterDeclaration p;
  p.name = name;
  p.kind = ParameterKind::number;
  p.default_value = std::move(value);
  return p;
}

NodeDeclaration node_with(RuleDeclaration rule) {
  NodeDeclaration node;
  node.id = "test.node";
  node.params = {parameter("low", nullptr), parameter("high", 2.0), parameter("weights", nullptr),
                 parameter("pattern", "")};
  node.inputs.push_back({.name = "rewards", .type = "Rewards"});
  rule.text = "rule";
  rule.help = "cure";
  node.rules.push_back(std::move(rule));
  return node;
}

std::vector<RuleFault> faults(const RuleDeclaration& rule, const Json& params, int edges = 2) {
  const NodeDeclaration node = node_with(rule);
  return rule_faults(
      {node, params, [&](const std::string&) { return static_cast<std::size_t>(edges); }});
}

}  // namespace

class TestRules : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void aBoundMayBeAnotherParameter() {
    RuleDeclaration rule;
    rule.when = {{"low", {{"set", true}}}};
    rule.require = {{"low", {{"max", "$high"}}}};
    QVERIFY(faults(rule, {{"low", 2}}).empty());
    QVERIFY(faults(rule, Json::object()).empty());
    const auto found = faults(rule, {{"low", 3}});
    QCOMPARE(found.size(), std::size_t{1});
    QCOMPARE(found[0].place, std::string("low"));
    QCOMPARE(found[0].text, std::string("rule: low is 3, high is 2.0"));
    QCOMPARE(found[0].help, std::string("cure"));
    QVERIFY(faults(rule, {{"low", 3}, {"high", nullptr}}).empty());  // no bound
    QVERIFY(faults(rule, {{"low", "$unknown"}}).empty());            // reported elsewhere
  }

  void aSizeMayBeTheNumberOfEdges() {
    RuleDeclaration rule;
    rule.when = {{"weights", {{"set", true}}}};
    rule.require = {{"weights", {{"size", {{"edges", "rewards"}}}}}};
    const Json three = {{"weights", {1, 2, 3}}};
    QVERIFY(faults(rule, three, 3).empty());
    QVERIFY(faults(rule, Json::object()).empty());
    QCOMPARE(faults(rule, three).at(0).text, std::string("rule: weights has 3, rewards has 2"));
    const NodeDeclaration node = node_with(rule);
    QVERIFY(rule_faults({node, three, {}}).empty());  // nobody knows the edges
  }

  void aTextMayHaveToCompile() {
    RuleDeclaration rule;
    rule.require = {{"pattern", {{"syntax", "regex"}}}};
    QVERIFY(faults(rule, {{"pattern", "(a+)+$"}}).empty());
    const auto found = faults(rule, {{"pattern", "(unclosed"}});
    QCOMPARE(found.size(), std::size_t{1});
    QVERIFY(found[0].text.find("\"(unclosed\" is wrong at character 9") != std::string::npos);
    QVERIFY(regex_fault("[a") && !regex_fault("[a]"));
    QVERIFY(!satisfies(3, {{"syntax", "regex"}}));
  }

  void itemsMayHaveToBeSet() {
    const Json condition = {{"items", {{"set", true}}}};
    QVERIFY(satisfies(Json::array({"a"}), condition));
    QVERIFY(satisfies(Json::array(), condition));
    QVERIFY(!satisfies(Json::array({"a", ""}), condition));
  }
};

REWARDLOOM_TEST(TestRules)
#include "test_rules.moc"
