#include <ATen/ATen.h>

#include <QTemporaryDir>
#include <set>

#include "nodes/judge/judging.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/scripted_server.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

const std::string kScore = R"(\[\[\s*([-+]?\d+(?:\.\d+)?)\s*\]\])";

Json node_params(const std::string& url) {
  Json p = Json::object();
  p["base_url"] = url;
  p["model"] = "judge";
  p["timeout"] = 0.3;
  p["deadline"] = 3;
  p["retries"] = 2;
  p["backoff"] = 0.01;
  return p;
}

Json compare_params(const std::string& url) {
  Json p = node_params(url);
  p["task"] = "compare";
  p["template"] = "{answer_a}|{answer_b}";
  return p;
}

Value four_answers() {
  Completions c;
  c.tokens = at::ones({4, 2}, at::kLong);
  c.kinds = at::full({4, 2}, 2, at::kChar);
  c.group = at::tensor(std::vector<std::int64_t>{7, 3, 7, 3});
  c.text = {"aaa", "b", "a", "bb"};
  c.prompt_text = {"A?", "B?", "A?", "B?"};
  c.reference = {"aa", "bb", "aa", "bb"};
  c.batch = 5;
  return Value::of(std::move(c));
}

Bench bench(const Json& params) {
  Bench b("judge.remote", params, "judge");
  b.connect("completions", {four_answers()});
  return b;
}

ServerAct say(const std::string& text) {
  Json choice = {{"index", 0}, {"message", {{"content", text}}}, {"finish_reason", "stop"}};
  return respond({{"choices", {choice}}});
}
std::string asked(const SeenRequest& request) {
  return request.body["messages"].back()["content"].get<std::string>();
}

/// Prefers the longer answer, wherever it stands.
ServerAct longer_wins(const SeenRequest& request) {
  const std::string text = asked(request);
  const std::size_t a = text.find('|'), b = text.size() - a - 1;
  return say(a == b ? "[[tie]]" : a > b ? "I weigh [[B]] ... no: [[A]]" : "[[ b ]]");
}

std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor t = tensor.to(at::kDouble).contiguous();
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

std::string code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "none";
}

}  // namespace

class TestJudge : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void templates_are_filled_in_one_pass() {
    const std::string text =
        fill_template(R"({answer} of {prompt}, {"score": 1} {other} {answer} {)",
                      {{"prompt", "{answer}"}, {"answer", "{prompt}{"}});
    QCOMPARE(text, std::string(R"({prompt}{ of {answer}, {"score": 1} {other} {prompt}{ {)"));
    QVERIFY(has_slot("x {answer} y", "answer") && !has_slot("x {answer_a} y", "answer"));
  }

  void the_last_verdict_counts() {
    const Pattern score(kScore, {.ignore_case = true});
    QCOMPARE(read_score(score, "at first [[3]], all in all: [[ 7.5 ]].", 1, 10), 7.5);
    QCOMPARE(read_score(score, "[[+2]]", 1, 10), 2.0);
    QCOMPARE(read_score(score, "[[-2]]", -5, 5), -2.0);
    QCOMPARE(read_score(Pattern(R"(\d+)"), "8 of 10", 1, 10), 10.0);
    QCOMPARE(code_of([] { read_score(Pattern(R"((\d)|none)"), "4 none", 1, 10); }),
             std::string("judge-answer"));
    for (const char* bad : {"", "[[ ]]", "[[11]]", "[[0]]", "7", "[[7/10]]", "[[nan]]"}) {
      QCOMPARE(code_of([&] { read_score(score, bad, 1, 10); }), std::string("judge-answer"));
    }
    const Pattern verdict(R"(<(\w+)>)");
    QCOMPARE(read_preference(verdict, "<a>"), 1.0);
    QCOMPARE(read_preference(verdict, "<B>"), 0.0);
    QCOMPARE(read_preference(verdict, "<C>"), 0.5);
    QCOMPARE(read_preference(verdict, "<A> or <Tie>"), 0.5);
    QCOMPARE(code_of([&] { read_preference(verdict, "<D>"); }), std::string("judge-answer"));
  }

  void a_pattern_that_runs_away_gives_no_verdict() {
    const Pattern slow("((a+)+)c$");
    QCOMPARE(code_of([&] { verdict_in(slow, std::string(64, 'a') + "bc"); }),
             std::string("judge-answer"));
  }

  void comparisons_stay_within_groups() {
    const std::vector<std::int64_t> group = {5, 2, 5, 5, 2, 9};
    const auto pairs = [&](ComparedWith with) {
      std::vector<std::pair<std::int64_t, std::int64_t>> out;
      for (const Comparison& c : plan_comparisons(group, with)) out.emplace_back(c.row, c.other);
      return out;
    };
    using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;
    QVERIFY((pairs(ComparedWith::all) == Pairs{{2, 0}, {3, 0}, {3, 2}, {4, 1}}));
    QVERIFY((pairs(ComparedWith::first) == Pairs{{2, 0}, {3, 0}, {4, 1}}));
    QVERIFY((pairs(ComparedWith::reference) ==
             Pairs{{0, -1}, {1, -1}, {2, -1}, {3, -1}, {4, -1}, {5, -1}}));
  }

  void win_rates_count_answered_comparisons() {
    const auto rates = win_rates({{1, 0, 1.0, true}, {2, 0, 0.5, true}, {2, 1, 0.0, false}}, 4);
    QCOMPARE(rates[0].value(), 0.25);
    QCOMPARE(rates[1].value(), 1.0);
    QCOMPARE(rates[2].value(), 0.5);
    QVERIFY(!rates[3]);
  }

  void order_effects_are_measured() {
    const OrderEffect always_first = order_effect({{1, 1}, {1, 1}});
    QCOMPARE(always_first.position_bias, 0.5);
    QCOMPARE(always_first.disagreement, 1.0);
    const OrderEffect fair = order_effect({{1, 0}, {0, 1}, {0.5, 0.5}});
    QCOMPARE(fair.position_bias, 0.0);
    QCOMPARE(fair.disagreement, 0.0);
    const OrderEffect second = order_effect({{0, 0}, {1, 0}});
    QCOMPARE(second.position_bias, -0.25);
    QCOMPARE(second.disagreement, 0.5);
  }

  void scores_become_rewards_and_preferences() {
    const ScriptedServer server([](const SeenRequest& request) {
      return say("[[" + std::to_string(asked(request).size()) + "]]");
    });
    Json params = node_params(server.url());
    params["template"] = "{answer}";
    params["system"] = "You grade.";
    Bench b = bench(params);
    b.fire();
    const Rewards& r = b.out<Rewards>("rewards");
    QVERIFY((list(r.total) == std::vector<double>{3, 1, 1, 2}));
    QVERIFY(!r.absent.defined());
    QCOMPARE(r.components[0].first, std::string("judge"));
    QVERIFY(r.group.equal(four_answers().get<Completions>().group) && r.batch == 5);
    const Preferences& p = b.out<Preferences>("preferences");
    QVERIFY((p.prompt == std::vector<std::string>{"A?", "B?"}));
    QVERIFY((p.chosen == std::vector<std::string>{"aaa", "bb"}));
    QVERIFY((p.rejected == std::vector<std::string>{"a", "b"}));
    QVERIFY((list(p.margin) == std::vector<double>{2, 1}));
    const double nan = std::nan("");
    const at::Tensor table = b.out<Values>("table").values;
    QVERIFY((table.sizes() == at::IntArrayRef{4, 4, 2}) && table.isfinite().sum().item<int>() == 8);
    QVERIFY((list(table[0][2]) == std::vector<double>{3, 1}));
    QVERIFY((list(table[2][0]) == std::vector<double>{1, 3}));
    QVERIFY(at::allclose(table[0][1], at::tensor({nan, nan}), 0, 0, true));
    const Json body = server.seen()[0].body;
    QVERIFY(body["temperature"] == 0.0 && body["max_tokens"] == 1024 && !body.contains("n"));
    QCOMPARE(body["messages"][0]["content"].get<std::string>(), std::string("You grade."));
  }

  void the_plain_question_shows_task_and_answer() {
    const ScriptedServer server([](const SeenRequest&) { return say("[[10]]"); });
    Bench b = bench(node_params(server.url()));
    b.fire();
    bool found = false;
    for (const SeenRequest& request : server.seen()) {
      const std::string text = asked(request);
      found = found || (text.find("Task:\nB?\n") != std::string::npos &&
                        text.find("Answer:\nbb\n") != std::string::npos);
    }
    QVERIFY(found);
    QCOMPARE(list(b.out<Rewards>("rewards").total)[0], 10.0);
  }

  void an_answer_without_a_verdict_is_asked_for_again() {
    std::mutex mutex;
    std::map<std::string, std::set<std::int64_t>> seeds;
    const ScriptedServer server([&](const SeenRequest& request) {
      const std::lock_guard lock(mutex);
      auto& tried = seeds[asked(request)];
      tried.insert(request.body["seed"].get<std::int64_t>());
      return say(tried.size() < 3 ? "hard to say" : "[[4]]");
    });
    Json params = node_params(server.url());
    params["template"] = "{prompt}{answer}";
    Bench b = bench(params);
    b.fire();
    QVERIFY((list(b.out<Rewards>("rewards").total) == std::vector<double>{4, 4, 4, 4}));
    QCOMPARE(b.context.metrics["requests/unusable"], 8.0);
    QCOMPARE(b.context.metrics["absent"], 0.0);
  }

  void an_answer_that_stays_without_is_absent_not_zero() {
    const ScriptedServer server([](const SeenRequest& request) {
      return say(asked(request) == "bb" ? "[[99]]" : "[[4]]");
    });
    Json params = node_params(server.url());
    params["template"] = "{answer}";
    Bench b = bench(params);
    b.context.skip_rows = true;
    b.fire();
    const Rewards& r = b.out<Rewards>("rewards");
    QVERIFY(r.absent.equal(at::tensor(std::vector<std::int64_t>{0, 0, 0, 1}).to(at::kBool)));
    QCOMPARE(b.context.metrics["absent"], 1.0);
    QVERIFY(b.context.alarms == std::vector<std::string>{"absent-rewards"});
    QCOMPARE(b.context.failed_rows.at(3),
             std::string("3 tries: the judge's score 99 is not within 1 and 10"));
    QVERIFY(b.out<Preferences>("preferences").chosen.empty());
    b.context.skip_rows = false;
    QCOMPARE(code_of([&] { b.fire(1); }), std::string("row-failed"));
  }

  void a_judge_that_never_answers_ends_by_the_deadline() {
    const ScriptedServer server([](const SeenRequest&) { return ServerAct{.hang = true}; });
    Json params = node_params(server.url());
    params["timeout"] = 60;
    params["deadline"] = 0.4;
    Bench b = bench(params);
    b.context.skip_rows = true;
    const auto start = std::chrono::steady_clock::now();
    b.fire();
    QVERIFY(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(900));
    QVERIFY(b.out<Rewards>("rewards").absent.all().item<bool>());
    QCOMPARE(b.context.metrics["absent"], 4.0);
  }

  void pairs_are_asked_in_both_orders() {
    const ScriptedServer server(longer_wins);
    Bench b = bench(compare_params(server.url()));
    b.fire();
    QVERIFY((list(b.out<Rewards>("rewards").total) == std::vector<double>{1, 0, 0, 1}));
    std::set<std::string> texts;
    for (const SeenRequest& request : server.seen()) texts.insert(asked(request));
    QVERIFY((texts == std::set<std::string>{"aaa|a", "a|aaa", "b|bb", "bb|b"}));
    const Preferences& p = b.out<Preferences>("preferences");
    QVERIFY((p.chosen == std::vector<std::string>{"aaa", "bb"}));
    QVERIFY((list(p.margin) == std::vector<double>{1, 1}));
    QCOMPARE(b.context.metrics["position_bias"], 0.0);
    QCOMPARE(b.context.metrics["order_disagreement"], 0.0);
    QCOMPARE(b.context.metrics["comparisons"], 2.0);
  }

  void a_judge_that_likes_the_first_is_found_out() {
    const ScriptedServer server([](const SeenRequest&) { return say("[[A]]"); });
    Bench b = bench(compare_params(server.url()));
    b.fire();
    QVERIFY((list(b.out<Rewards>("rewards").total) == std::vector<double>{0.5, 0.5, 0.5, 0.5}));
    QVERIFY(b.out<Preferences>("preferences").chosen.empty());
    const at::Tensor table = b.out<Values>("table").values;
    QVERIFY((list(table[2][0]) == std::vector<double>{1, 0}));
    QVERIFY((list(table[0][2]) == std::vector<double>{1, 0}));
    QCOMPARE(b.context.metrics["position_bias"], 0.5);
    QCOMPARE(b.context.metrics["order_disagreement"], 1.0);
    QCOMPARE(b.context.metrics["ties"], 1.0);
  }

  void one_order_alone_does_not_count() {
    const ScriptedServer server([](const SeenRequest& request) {
      return asked(request) == "a|aaa"   ? longer_wins(request)
             : asked(request) == "aaa|a" ? respond(400, "{}")
                                         : longer_wins(request);
    });
    Bench b = bench(compare_params(server.url()));
    b.context.skip_rows = true;
    b.fire();
    const Rewards& r = b.out<Rewards>("rewards");
    QVERIFY(r.absent.equal(at::tensor(std::vector<std::int64_t>{1, 0, 1, 0}).to(at::kBool)));
    QCOMPARE(b.context.metrics["comparisons"], 1.0);
  }

  void without_swap_the_order_is_drawn() {
    const ScriptedServer server(longer_wins);
    Json params = compare_params(server.url());
    params["swap"] = false;
    Bench b = bench(params);
    std::set<std::string> texts;
    for (int i = 0; i < 12; ++i) {
      b.fire(i);
      QVERIFY((list(b.out<Rewards>("rewards").total) == std::vector<double>{1, 0, 0, 1}));
    }
    for (const SeenRequest& request : server.seen()) texts.insert(asked(request));
    QCOMPARE(server.seen().size(), std::size_t{24});
    QVERIFY(texts.contains("aaa|a") && texts.contains("a|aaa"));
    QVERIFY(!b.context.metrics.contains("position_bias"));
  }

  void references_are_met_one_by_one() {
    const ScriptedServer server(longer_wins);
    Json params = compare_params(server.url());
    params["compare_with"] = "reference";
    Bench b = bench(params);
    b.fire();
    QVERIFY((list(b.out<Rewards>("rewards").total) == std::vector<double>{1, 0, 0, 0.5}));
    const Preferences& p = b.out<Preferences>("preferences");
    QVERIFY((p.chosen == std::vector<std::string>{"aaa", "bb", "aa"}));
    QVERIFY((p.rejected == std::vector<std::string>{"aa", "b", "a"}));
  }

  void verdicts_are_kept_for_a_replay() {
    QTemporaryDir folder;
    std::atomic<int> count = 0;
    const ScriptedServer server(
        [&](const SeenRequest&) { return say("[[" + std::to_string(++count % 10 + 1) + "]]"); });
    Json params = node_params(server.url());
    params["cache"] = "judge.jsonl";
    const auto play = [&] {
      Bench b = bench(params);
      b.settings().run_dir = folder.path().toStdString();
      b.context.skip_rows = true;
      b.fire(0);
      const auto first = list(b.out<Rewards>("rewards").total);
      b.fire(1);
      return std::make_pair(first, list(b.out<Rewards>("rewards").total));
    };
    const auto played = play();
    QVERIFY(played.first != played.second);
    const int before = count;
    QVERIFY(play() == played);
    QCOMPARE(count.load(), before);
  }

  void what_cannot_be_judged_is_refused_before_asking() {
    const ScriptedServer server([](const SeenRequest&) { return say("[[5]]"); });
    const auto code = [&](Json params, const Value& completions) {
      Bench b("judge.remote", params, "judge");
      b.connect("completions", {completions});
      return code_of([&] { b.fire(); });
    };
    Json params = node_params(server.url());
    params["template"] = "How good is {answr}?";
    QCOMPARE(code(params, four_answers()), std::string("judge-template"));
    params = compare_params(server.url());
    params["template"] = "{answer_a}";
    QCOMPARE(code(params, four_answers()), std::string("judge-template"));
    params = node_params(server.url());
    params["lowest"] = 10;
    QCOMPARE(code(params, four_answers()), std::string("judge-range"));
    Completions c = four_answers().get<Completions>();
    c.prompt_text.clear();
    QCOMPARE(code(node_params(server.url()), Value::of(c)), std::string("no-prompts"));
    c.reference.clear();
    params = node_params(server.url());
    params["template"] = "{answer} {reference}";
    QCOMPARE(code(params, Value::of(c)), std::string("no-references"));
    params["pattern"] = "(";
    QCOMPARE(code(params, Value::of(c)), std::string("bad-pattern"));
    c.group = at::arange(4);
    QCOMPARE(code(compare_params(server.url()), Value::of(c)), std::string("judge-no-pairs"));
    QVERIFY(server.seen().empty());
  }
};

REWARDLOOM_TEST(TestJudge)
#include "test_judge.moc"
