#include <ATen/ATen.h>

#include <QTemporaryDir>
#include <cmath>
#include <fstream>

#include "nodes/preference/pairs.h"
#include "tests/nodes/trained_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

class TestPreferenceData : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void pairs_are_made_within_groups() {
    const std::vector<double> scores{1, 3, 2, 5, 5, 0};
    const std::vector<std::int64_t> first{0, 1, 2}, second{3, 4}, third{5};
    const Random random({1, 2, 3});
    const auto best = labelled_pairs(scores, first, {}, random);
    QCOMPARE(best.size(), std::size_t{1});
    QCOMPARE(best[0].chosen, 1);
    QCOMPARE(best[0].rejected, 0);
    QVERIFY(labelled_pairs(scores, second, {}, random).empty());
    QVERIFY(labelled_pairs(scores, third, {}, random).empty());
    QCOMPARE(labelled_pairs(scores, first, {.pairs = PairChoice::all}, random).size(),
             std::size_t{3});
    QCOMPARE(labelled_pairs(scores, first, {.pairs = PairChoice::all, .min_gap = 1}, random).size(),
             std::size_t{1});
    const auto drawn =
        labelled_pairs(scores, first, {.pairs = PairChoice::random, .per_group = 2}, random);
    QCOMPARE(drawn.size(), std::size_t{2});
    QVERIFY(drawn[0].chosen != drawn[1].chosen || drawn[0].rejected != drawn[1].rejected);
  }

  void sampled_labels_follow_bradley_terry() {
    const std::vector<double> scores{0, 1};
    const std::vector<std::int64_t> rows{0, 1};
    const auto share = [&](const PairOptions& options) {
      double turned = 0;
      for (std::uint64_t i = 0; i < 20000; ++i) {
        turned += labelled_pairs(scores, rows, options, Random({7, 7, 7}, i)).at(0).flipped;
      }
      return turned / 20000;
    };
    PairOptions options;
    options.label = PairLabel::sampled;
    options.temperature = 0.5;
    const double wrong = 1 / (1 + std::exp(2.0));
    // Four standard errors of 20000 draws.
    QVERIFY(std::abs(share(options) - wrong) < 0.0095);
    options.noise = 0.25;
    QVERIFY(std::abs(share(options) - (0.75 * wrong + 0.25 * (1 - wrong))) < 0.0135);
    options.label = PairLabel::reward;
    QVERIFY(std::abs(share(options) - 0.25) < 0.0123);
  }

  void preferences_come_from_rewards() {
    const Completions c = answers_to(4);
    Rewards r = Rewards::of(c, at::arange(c.rows(), at::kFloat));
    r.absent = at::zeros({c.rows()}, at::kBool);
    r.absent[2] = true;
    Bench make("preference.from_rewards", {{"margin", true}}, "pairs");
    make.connect("completions", {Value::of(c)});
    make.connect("rewards", {Value::of(r)});
    make.fire();
    const Preferences& p = make.out<Preferences>("preferences");
    QCOMPARE(p.chosen, (std::vector<std::string>{c.text[1], c.text[5], c.text[8], c.text[11]}));
    QCOMPARE(p.rejected, (std::vector<std::string>{c.text[0], c.text[3], c.text[6], c.text[9]}));
    QCOMPARE(p.prompt[3], c.prompt_text[9]);
    QVERIFY(p.margin.equal(at::tensor({1, 2, 2, 2}, at::kDouble)));
    r.batch += 1;
    make.connect("rewards", {Value::of(r)});
    QVERIFY(!refusal([&] { make.fire(); }).isEmpty());
  }

  void transcripts_and_messages_become_pairs() {
    QTemporaryDir folder;
    const std::string file = folder.path().toStdString() + "/pairs.jsonl";
    const Json user = {{"role", "user"}, {"content", "hi"}};
    const auto says = [](const char* text) {
      return Json{{"role", "assistant"}, {"content", text}};
    };
    std::ofstream(file)
        << Json{{"prompt", "1+1="}, {"chosen", "2"}, {"rejected", "3"}}.dump() << "\n"
        << Json{{"chosen", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: good"},
                {"rejected", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: bad"}}
               .dump()
        << "\n"
        << Json{{"prompt", Json::array({user})},
                {"chosen", Json::array({says("yes")})},
                {"rejected", Json::array({says("no")})}}
               .dump()
        << "\n"
        << Json{{"chosen", Json::array({user, says("yes")})},
                {"rejected", Json::array({user, says("no")})}}
               .dump()
        << "\n";
    Bench data("data.preferences", {{"file", file}}, "data");
    data.fire();
    const Preferences& p = data.out<Preferences>("preferences");
    const std::string hi = "\n\nHuman: hi\n\nAssistant:";
    QCOMPARE(p.prompt,
             (std::vector<std::string>{
                 "1+1=", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", hi, hi}));
    QCOMPARE(p.chosen, (std::vector<std::string>{"2", " good", " yes", " yes"}));
    QCOMPARE(p.rejected, (std::vector<std::string>{"3", " bad", " no", " no"}));
    std::ofstream(file) << R"({"chosen": "a", "rejected": "b"})"
                        << "\n";
    Bench bad("data.preferences", {{"file", file}}, "data");
    QCOMPARE(refusal([&] { bad.fire(); }), "data-field");
    std::ofstream(file) << R"({"prompt": "x", "chosen": "a"})"
                        << "\n";
    Bench missing("data.preferences", {{"file", file}}, "data");
    QCOMPARE(refusal([&] { missing.fire(); }), "data-field");
  }
};

REWARDLOOM_TEST(TestPreferenceData)
#include "test_preference_data.moc"
