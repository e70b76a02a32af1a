// What probes record of a value.
#include <torch/types.h>

#include <cmath>

#include "engine/core/json.h"
#include "engine/core/port_types.h"
#include "engine/run/probe_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

const ProbeComponent* named(const std::vector<ProbeComponent>& components, const char* name) {
  for (const ProbeComponent& component : components) {
    if (component.name == name) return &component;
  }
  return nullptr;
}

/// Two prompts with two answers each; of four tokens the last two or three are the policy's.
Completions answers() {
  Completions c;
  c.tokens = torch::arange(16, torch::kLong).view({4, 4});
  c.kinds = torch::full({4, 4}, static_cast<int>(TokenKind::action), torch::kChar);
  c.kinds.select(1, 0).fill_(static_cast<int>(TokenKind::prompt));
  c.kinds[1][1] = static_cast<int>(TokenKind::prompt);
  c.group = torch::tensor({0, 0, 1, 1}, torch::kLong);
  c.log_probs = torch::arange(16, torch::kFloat).view({4, 4}) * -0.5;
  c.text = {"a", "b", "c", "d"};
  c.prompt_text = {"p", "p", "q", "q"};
  c.batch = 77;
  return c;
}

}  // namespace

class TestProbeRows : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void groups_alike_are_absent_from_the_spread() {
    Rewards rewards;
    rewards.total = torch::tensor({1.0, 3.0, 2.0, 2.0, 5.0, 9.0, 9.0});
    rewards.group = torch::tensor({4, 4, 1, 1, 8, 9, 9}, torch::kLong);
    rewards.absent = torch::tensor({false, false, false, false, false, false, true});
    const auto components = probe_components(Value::of(Rewards(rewards)));
    const ProbeComponent* spread = named(components, kWithinGroupStd);
    QVERIFY(spread != nullptr);
    // Groups 8 and 9 have one scored row each: they say nothing about spread.
    QCOMPARE(spread->values.numel(), std::int64_t{2});
    QCOMPARE(spread->values[0].item<double>(), 0.0);
    QCOMPARE(spread->values[1].item<double>(), 1.0);
    QCOMPARE(spread->present[0].item<bool>(), false);
    QCOMPARE(spread->present[1].item<bool>(), true);
    rewards.group = at::Tensor();
    QVERIFY(named(probe_components(Value::of(Rewards(rewards))), kWithinGroupStd) == nullptr);
  }

  void tokens_of_a_sample_are_those_the_policy_wrote() {
    BatchTexts texts;
    texts.remember(Value::of(answers()));
    LogProbs given;
    given.log_probs = torch::arange(16, torch::kFloat).view({4, 4}) * -1.0;
    given.batch = 77;
    const auto rows = sample_rows(Value::of(LogProbs(given)), texts, 4, RandomKey{1, 2, 3});
    QCOMPARE(rows.size(), std::size_t{4});
    const Json first = Json::parse(rows[0].data);
    QCOMPARE(first.at("tokens"), Json({1, 2, 3}));
    QCOMPARE(first.at("log_probs"), Json({-1.0, -2.0, -3.0}));
    QCOMPARE(first.at("behaviour_log_probs"), Json({-0.5, -1.0, -1.5}));
    QCOMPARE(first.at("batch"), Json(77));
    QCOMPARE(Json::parse(rows[1].data).at("tokens"), Json({6, 7}));
    // Of a batch that is not known, everything is kept as it is.
    given.batch = 5;
    const auto unknown = sample_rows(Value::of(LogProbs(given)), texts, 4, RandomKey{1, 2, 3});
    QCOMPARE(Json::parse(unknown[0].data).at("log_probs").size(), std::size_t{4});
    QVERIFY(!Json::parse(unknown[0].data).contains("tokens"));
  }

  void branches_with_one_batch_id_keep_their_own_texts() {
    const auto branch = [](std::vector<std::string> names) {
      return std::make_shared<const std::vector<std::string>>(std::move(names));
    };
    const Branches one = branch({"s[lr=0]"});
    const Branches two = branch({"s[lr=1]"});
    const Branches deep = branch({"s[lr=1]", "s[lr=1]/t[seed=0]"});
    BatchTexts texts;
    Completions other = answers();
    other.text = {"w", "x", "y", "z"};
    texts.remember(Value::of(answers()), {}, one);
    texts.remember(Value::of(std::move(other)), {}, two);
    Rewards rewards;
    rewards.total = torch::arange(4, torch::kFloat);
    rewards.components = {{"s[lr=1]/check", rewards.total}};
    rewards.batch = 77;
    const Value value = Value::of(std::move(rewards));
    const auto first_of = [&](const Branches& branches) {
      return Json::parse(sample_rows(value, texts, 4, RandomKey{1, 2, 3}, branches)[0].data);
    };
    const Json in_one = first_of(one);
    const Json in_two = first_of(two);
    QCOMPARE(in_one.at("completion"), Json("a"));
    QCOMPARE(in_two.at("completion"), Json("w"));
    QVERIFY(in_one.at("batch") != in_two.at("batch"));
    // What comes from around a branch is the same batch within it.
    QCOMPARE(first_of(deep).at("completion"), Json("w"));
    QCOMPARE(first_of(deep).at("batch"), in_two.at("batch"));
    // Outside of the branches their texts are unknown.
    QVERIFY(!first_of({}).contains("completion"));
    QCOMPARE(first_of({}).at("batch"), Json(77));
    // Components are called as within the branch.
    QVERIFY(in_two.contains("check"));
    QVERIFY(named(probe_components(value, two), "check") != nullptr);
    QCOMPARE(within_branches("s[lr=1]/t[seed=0]/clip/loss", deep), std::string("clip/loss"));
  }

  void one_branch_does_not_push_out_the_texts_of_another() {
    const auto branch = [](int i) {
      return std::make_shared<const std::vector<std::string>>(
          std::vector<std::string>{"s[n=" + std::to_string(i) + "]"});
    };
    BatchTexts texts;
    for (int i = 0; i < 40; ++i) texts.remember(Value::of(answers()), {}, branch(i));
    for (int i = 0; i < 40; ++i) QVERIFY(texts.find(77, branch(i)).batch != nullptr);
  }

  void token_texts_are_what_each_token_says() {
    BatchTexts texts;
    // A character of three bytes in two tokens, as byte pairs may cut it.
    texts.remember(Value::of(answers()), [](std::int64_t id) -> std::string {
      if (id == 1) return "\xe2\x82";
      if (id == 2) return "\xac";
      return id == 3 ? " forty" : "";
    });
    LogProbs given;
    given.log_probs = torch::zeros({4, 4});
    given.batch = 77;
    const auto rows = sample_rows(Value::of(LogProbs(given)), texts, 4, RandomKey{1, 2, 3});
    QCOMPARE(Json::parse(rows[0].data).at("token_texts"), Json({"\\xe2\\x82", "\\xac", " forty"}));
    QCOMPARE(Json::parse(rows[1].data).at("token_texts"), Json({"", ""}));
    // With a reward of the whole answer too, without what is only known per token.
    Rewards rewards;
    rewards.total = torch::arange(4, torch::kFloat);
    rewards.batch = 77;
    const auto rewarded = sample_rows(Value::of(Rewards(rewards)), texts, 4, RandomKey{1, 2, 3});
    const Json first = Json::parse(rewarded[0].data);
    QCOMPARE(first.at("tokens"), Json({1, 2, 3}));
    QCOMPARE(first.at("token_texts").size(), std::size_t{3});
    QCOMPARE(first.at("total"), Json(0.0));
    QVERIFY(!first.contains("behaviour_log_probs"));
    // Policies without texts, such as those of token worlds: the ids alone.
    BatchTexts ids;
    ids.remember(Value::of(answers()));
    const auto plain = sample_rows(Value::of(Rewards(rewards)), ids, 4, RandomKey{1, 2, 3});
    QCOMPARE(Json::parse(plain[0].data).at("tokens"), Json({1, 2, 3}));
    QVERIFY(!Json::parse(plain[0].data).contains("token_texts"));
  }

  void bytes_that_are_no_characters_are_escaped() {
    QCOMPARE(printable_utf8("a\u20ac\U0001f600"), std::string("a\u20ac\U0001f600"));
    QCOMPARE(printable_utf8("\xc3"), std::string("\\xc3"));
    QCOMPARE(printable_utf8("\xa9 \xf0\x9f\x98"), std::string("\\xa9 \\xf0\\x9f\\x98"));
    QCOMPARE(printable_utf8("\xed\xa0\x80"), std::string("\\xed\\xa0\\x80"));
    QCOMPARE(printable_utf8("\xc0\xaf"), std::string("\\xc0\\xaf"));
  }

  void ports_of_one_batch_keep_the_same_rows() {
    const BatchTexts none;
    Rewards rewards;
    rewards.total = torch::arange(200, torch::kFloat);
    Advantages advantages;
    advantages.advantages = torch::arange(200, torch::kFloat) * 2;
    const auto a = sample_rows(Value::of(std::move(rewards)), none, 8, RandomKey{1, 2, 3});
    const auto b = sample_rows(Value::of(std::move(advantages)), none, 8, RandomKey{1, 2, 3});
    QCOMPARE(a.size(), std::size_t{8});
    for (std::size_t i = 0; i < a.size(); ++i) QCOMPARE(a[i].row, b[i].row);
  }
};

}  // namespace rewardloom

using rewardloom::TestProbeRows;
REWARDLOOM_TEST(TestProbeRows)
#include "test_probe_rows.moc"
