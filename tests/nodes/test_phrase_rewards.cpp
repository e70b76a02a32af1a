// Sums with visible carries, noise on scores, and what raises low ones (arXiv:2505.22653).
#include <cmath>
#include <set>
#include <sstream>

#include "nodes/data/carry_sums.h"
#include "nodes/reward/phrases.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Random draws(std::uint64_t k) { return Random({5, hash_name("carries"), k}, 0, 0); }

const std::vector<std::string> kWords{"first", "then", "so", "hence", "wait"};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream{text};
  std::vector<std::string> out;
  for (std::string word; stream >> word;) out.push_back(word);
  return out;
}

Bench noisy(const Rewards& rewards, const Json& params, std::uint64_t seed = 0) {
  Bench bench("reward.noise", params);
  bench.connect("rewards", {Value::of(rewards)});
  bench.fire(0, seed);
  return bench;
}

}  // namespace

class TestPhraseRewards : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void steps_add_ones_and_then_tens_with_the_carry() {
    using Steps = std::vector<std::string>;
    QCOMPARE(carry_steps({37, 8}), (Steps{"7+8=15", "3+1=4"}));
    QCOMPARE(carry_steps({30, 0}), (Steps{"0+0=0", "3+0=3"}));
  }

  void demonstrations_are_worked_and_right_as_often_as_said() {
    const PaddedSum sum{37, 8};
    const CarryAnswerSpread spread{kWords, 2, 0.3, 0.8, 0.25};
    int worked = 0, worked_right = 0, direct_right = 0;
    for (std::uint64_t k = 0; k < 4000; ++k) {
      const auto words = words_of(draw_carry_answer(sum, spread, draws(k)));
      const bool right = words.back() == "45";
      QVERIFY(std::abs(std::stoi(words.back()) - 45) <= 9);
      if (words.size() == 1) {
        direct_right += right;
        continue;
      }
      ++worked;
      worked_right += right;
      QVERIFY(words.size() >= 6 && words.size() <= 10 && words.size() % 2 == 0);
      std::set<std::string> markers;
      for (std::size_t i = 0; i < words.size(); i += 2) markers.insert(words[i]);
      QCOMPARE(markers.size(), words.size() / 2);
      QCOMPARE(words[1], std::string("7+8=15"));
      QCOMPARE(words[3], std::string("3+1=4"));
      for (std::size_t i = 5; i + 1 < words.size(); i += 2)
        QVERIFY(words[i] == "7+8=15" || words[i] == "3+1=4");
    }
    QVERIFY(std::abs(worked - 1200) < 120);
    QVERIFY(std::abs(worked_right / static_cast<double>(worked) - 0.8) < 0.04);
    QVERIFY(std::abs(direct_right / (4000.0 - worked) - 0.25) < 0.04);
  }

  void held_out_sums_stay_apart_and_the_same() {
    Bench train("data.carry_sums", {{"batch", 400}, {"reference", "demonstration"}});
    Bench exam("data.carry_sums", {{"batch", 100}, {"split", "held_out"}});
    train.fire();
    exam.fire();
    const Prompts first = exam.out<Prompts>("prompts");
    const auto seen = train.out<Prompts>("prompts").text;
    const std::set<std::string> known(seen.begin(), seen.end());
    for (std::size_t i = 0; i < first.text.size(); ++i) {
      QVERIFY(!known.contains(first.text[i]));
      QCOMPARE(first.reference[i], std::to_string(first.fields[i]["answer"].get<int>()));
    }
    exam.fire(3, 9);
    QVERIFY(exam.out<Prompts>("prompts").text == first.text);
    train.fire(1);
    QVERIFY(train.out<Prompts>("prompts").text != seen);
  }

  void markers_must_be_enough_and_different() {
    const auto fails = [](const Json& params) {
      Bench bench("data.carry_sums", params);
      return !code_of([&] { bench.fire(); }).empty();
    };
    QVERIFY(fails({{"markers", {"a", "b", "c", "d"}}, {"most_checks", 2}}));
    QVERIFY(fails({{"markers", {"a", "b", "c", "a"}}, {"most_checks", 0}}));
    QVERIFY(fails({{"markers", {"a", "b", ""}}, {"most_checks", 0}}));
    QVERIFY(fails({{"split", "held_out"}, {"held_out", 0.0}}));
    QVERIFY(!fails({{"markers", {"a", "b", "c"}}, {"most_checks", 0}}));
  }

  void no_phrases_is_an_error_and_penalties_are_in_lower_case() {
    Bench bench("reward.phrases", {{"phrases", Json::array()}});
    bench.connect("completions", {Value::of(answers_of({"wait"}))});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("param-range"));
    const PhraseOptions options{{"wait", "so "}, {"user: "}, 2, 1, 20};
    QCOMPARE(phrase_reward("wait so User: x", options), 0.0);
    QCOMPARE(phrase_reward("wait so user x", options), 1.0);
    // As in the authors' think_reward: each phrase once, at most 1 before the penalties.
    QCOMPARE(phrase_reward("WAIT wait", {{"wait", "hence"}, {}, 20, 1, 20}), 0.05);
    QCOMPARE(phrase_reward("wait hence", {{"wait", "hence"}, {}, 1, 1, 20}), 1.0);
  }

  void noise_has_the_spread_that_was_asked_for() {
    const std::vector<double> flat(4000, 0.8);
    Rewards rewards = rewards_of(flat);
    const at::Tensor out = noisy(rewards, {{"std", 0.1}}).out<Rewards>("rewards").total;
    QVERIFY(std::abs(out.mean().item<double>() - 0.8) < 0.006);
    QVERIFY(std::abs(out.std().item<double>() - 0.1) < 0.005);
    QVERIFY(noisy(rewards, {{"std", 0.1}}).out<Rewards>("rewards").total.equal(out));
    QVERIFY(!noisy(rewards, {{"std", 0.1}}, 1).out<Rewards>("rewards").total.equal(out));
    QVERIFY(noisy(rewards, {{"std", 0.0}}).out<Rewards>("rewards").total.equal(rewards.total));
    rewards = rewards_of({0.5, 0.0}, {}, {0, 1});
    const Bench absent = noisy(rewards, {{"std", 0.1}});
    QCOMPARE(totals(absent)[1], 0.0);
    QVERIFY(absent.out<Rewards>("rewards").absent[1].item<bool>());
  }

  void only_low_scores_are_raised_and_hard_ones_are_reported() {
    const auto calibrated = [](const std::vector<double>& scores) {
      Bench bench("reward.calibrate", {{"weight", 0.1}, {"below", 0.5}});
      bench.connect("rewards", {Value::of(rewards_of(scores))});
      bench.connect("bonus", {Value::of(rewards_of(std::vector<double>(scores.size(), 1)))});
      bench.fire();
      return bench;
    };
    const Bench soft = calibrated({0.2, 0.49, 0.5, 0.8});
    const auto raised = totals(soft);
    QVERIFY(near(raised[0], 0.3) && near(raised[1], 0.59) && near(raised[2], 0.5));
    QVERIFY(near(raised[3], 0.8));
    QVERIFY(soft.context.alarms.empty());
    QCOMPARE(calibrated({0, 1, 1}).context.alarms, std::vector<std::string>{"hard-rewards"});
  }
};

}  // namespace rewardloom

using rewardloom::TestPhraseRewards;
REWARDLOOM_TEST(TestPhraseRewards)
#include "test_phrase_rewards.moc"
