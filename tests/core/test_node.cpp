// Declared once: ports, parameters, presets, rules; configuring and refusing.
#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

enum class Scale { group_std, none };
constexpr auto choices(Scale) {
  return std::to_array<Choice<Scale>>(
      {{Scale::group_std, "group_std", "by the spread"}, {Scale::none, "none", "not at all"}});
}

struct Sample final : Node {
  Input<Rewards> rewards{
      this, "rewards", "one reward per row", {.needs = {{"group_size", {{"min", 2}}}}}};
  Inputs<Scalar> extras{this, "extras", "added", 0};
  Optional<Text> note{this, "note", "a remark"};
  Output<Advantages> advantages{this, "advantages", "one per row"};
  Param<Scale> scale{this, "scale", Scale::group_std, "what divides"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread", {.min = 0}};
  Param<std::optional<double>> clip{
      this, "clip", std::nullopt, "bound", {.min = 0, .exclusive_min = true}};
  Param<std::vector<double>> weights{this, "weights", {}, "one per reward"};
  Param<std::string> preset{this, "preset", "none", "as others do it"};
  Preset wide{this, "wide", {{"epsilon", 0.1}, {"scale", "none"}}};
  TraitsMember traits{this, {.pure = true}};
  void run(Step& step) const override {
    step[advantages] = Advantages(step[rewards].total * epsilon(), step[rewards]);
  }
};

struct Needy final : Node {
  Param<std::string> path{this, "path", required, "a folder"};
  void run(Step&) const override {}
};

Registry registry() {
  Registry r;
  r.add<Sample>("test.sample", "A sample", "nobody 2026");
  r.add<Needy>("test.needy", "A needy node", "");
  return r;
}

std::string refusal(const Registry& r, const char* type, const Json& params) {
  try {
    r.make(type, params);
  } catch (const Failure& failure) {
    return failure.problem().code + ": " + failure.problem().where.port + ": " +
           failure.problem().text;
  }
  return "accepted";
}

}  // namespace

class TestNode : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void declarationHoldsWhatTheMembersSay() {
    const Registry r = registry();
    const NodeDeclaration& d = *r.catalogue().node("test.sample");
    QCOMPARE(d.title, std::string("A sample"));
    QCOMPARE(d.inputs.size(), std::size_t{3});
    QVERIFY(d.input("extras")->variadic && d.input("extras")->at_least == 0);
    QVERIFY(d.input("note")->optional);
    QCOMPARE(d.param("scale")->choices.size(), std::size_t{2});
    QVERIFY(d.param("clip")->nullable && d.param("clip")->default_value.is_null());
    QVERIFY(d.traits.pure);
  }
  void declarationsSurviveJson() {
    const Registry r = registry();
    const Json json = r.catalogue().to_json();
    QVERIFY(Catalogue::from_json(json).to_json() == json);
  }
  void parametersAreConverted() {
    const auto node =
        registry().make("test.sample", {{"epsilon", 1}, {"scale", "none"}, {"weights", {1, 2.5}}});
    const auto& sample = dynamic_cast<const Sample&>(*node);
    QCOMPARE(sample.epsilon(), 1.0);
    QVERIFY(sample.scale() == Scale::none);
    QCOMPARE(sample.weights()[1], 2.5);
    QVERIFY(sample.epsilon.is_given() && !sample.clip.is_given());
  }
  void explicitParametersWinOverThePreset() {
    const auto node = registry().make("test.sample", {{"preset", "wide"}, {"epsilon", 0.5}});
    const auto& sample = dynamic_cast<const Sample&>(*node);
    QCOMPARE(sample.epsilon(), 0.5);
    QVERIFY(sample.scale() == Scale::none);
  }
  void badParametersAreRefused_data() {
    QTest::addColumn<QString>("params");
    QTest::addColumn<QString>("message");
    QTest::newRow("range") << R"({"epsilon": -1})"
                           << "param-range: epsilon: -1 is below the minimum 0";
    QTest::newRow("type") << R"({"epsilon": "x"})"
                          << "param-type: epsilon: expects a number, but is \"x\"";
    QTest::newRow("choice") << R"({"scale": "std"})"
                            << "param-choice: scale: \"std\" is none of group_std and none";
    QTest::newRow("unknown") << R"({"eps": 1})"
                             << "unknown-parameter: eps: test.sample has no parameter of this name";
    QTest::newRow("above") << R"({"clip": 0})"
                           << "param-range: clip: 0 must be above 0";
    QTest::newRow("list")
        << R"({"weights": [1, "a"]})"
        << "param-type: weights: expects a list of which every item is a number, but holds \"a\"";
  }
  void badParametersAreRefused() {
    QFETCH(QString, params);
    QFETCH(QString, message);
    QCOMPARE(QString::fromStdString(
                 refusal(registry(), "test.sample", Json::parse(params.toStdString()))),
             message);
  }
  void aRequiredParameterMustBeGiven() {
    QCOMPARE(refusal(registry(), "test.needy", Json::object()),
             std::string("missing-parameter: path: has no default"));
  }
  void unknownTypesNameNearOnes() {
    try {
      registry().make("test.sampel", Json::object());
      QFAIL("made");
    } catch (const Failure& failure) {
      QVERIFY(failure.problem().help.find("test.sample") != std::string::npos);
    }
  }
  void twoNodesOfOneNameAreRefused() {
    Registry r = registry();
    QVERIFY_EXCEPTION_THROWN(r.add<Needy>("test.needy", "", ""), Failure);
  }
  void aPluginThatIsNoneIsRefused() {
    Registry r;
    try {
      r.load_plugin("libm.so.6");
      QFAIL("loaded");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("plugin-load"));
    }
    QVERIFY_EXCEPTION_THROWN(r.load_plugin("/nowhere.so"), Failure);
  }
  void problemsArePrintedAsTheDesignSays() {
    const Problem p{Severity::error,
                    "type-mismatch",
                    {"graphs/x.json", "adv", "rewards"},
                    "expects Rewards [N], but kl.token_rewards gives TokenRewards [N,T]",
                    "put reward.sum_tokens between them, or connect kl.rewards",
                    {}};
    QCOMPARE(format(p),
             std::string("error[type-mismatch]: graphs/x.json: adv.rewards\n"
                         "  expects Rewards [N], but kl.token_rewards gives TokenRewards [N,T]\n"
                         "  help: put reward.sum_tokens between them, or connect kl.rewards"));
    QVERIFY(problem_from_json(to_json(p)) == p);
  }
};

REWARDLOOM_TEST(TestNode)
#include "test_node.moc"
