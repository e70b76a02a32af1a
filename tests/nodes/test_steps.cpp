// Answers as steps: where they end, what they are worth, and how process rewards are bounded.
#include <ATen/ATen.h>

#include <set>

#include "engine/graph/checker.h"
#include "engine/graph/document.h"
#include "nodes/advantage/group_returns.h"
#include "nodes/data/step_sum.h"
#include "nodes/reward/clip_delta.h"
#include "nodes/reward/place_steps.h"
#include "nodes/reward/step_labels.h"
#include "nodes/reward/step_sum.h"
#include "nodes/text/language_model.h"
#include "nodes/text/step_boundaries.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

namespace {

const Json line_model = {{"init", "random"},
                         {"characters", "0123456789+=ok\n"},
                         {"config",
                          {{"hidden_size", 16},
                           {"intermediate_size", 32},
                           {"num_hidden_layers", 1},
                           {"num_attention_heads", 2},
                           {"num_key_value_heads", 2},
                           {"max_position_embeddings", 64}}}};

std::shared_ptr<Bench> made(const std::string& type) {
  auto bench = std::make_shared<Bench>(type, line_model, "model");
  bench->fire();
  return bench;
}
std::shared_ptr<Bench> line_writer() { return made("text.policy"); }
const LanguageModel& model_of(const Bench& bench) {
  return dynamic_cast<const LanguageModel&>(*bench.out<Policy>("policy").state);
}

/// Answers of one prompt token, then their characters and, where finished, the end token.
Completions written(const LanguageModel& model, const std::vector<std::string>& texts,
                    const std::vector<bool>& finished) {
  std::vector<std::vector<std::int64_t>> rows;
  std::size_t width = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    rows.push_back(model.tokenizer().encode(texts[i]));
    if (finished[i]) rows.back().push_back(model.end_tokens().front());
    width = std::max(width, rows.back().size() + 1);
  }
  Completions c;
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(texts.size()),
                                        static_cast<std::int64_t>(width)};
  c.tokens = at::full(shape, model.padding_token(), at::kLong);
  c.kinds = at::zeros(shape, at::kChar);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    c.tokens[row][0] = 4;
    c.kinds[row][0] = 1;
    for (std::size_t t = 0; t < rows[i].size(); ++t) {
      c.tokens[row][static_cast<std::int64_t>(t) + 1] = rows[i][t];
      c.kinds[row][static_cast<std::int64_t>(t) + 1] = 2;
    }
    c.prompt_text.push_back("0");
    c.reference.push_back("17");
  }
  c.text = texts;
  c.prompt = at::arange(shape[0], at::kLong);
  c.group = at::zeros({shape[0]}, at::kLong);
  c.batch = 77;
  return c;
}

std::vector<std::int64_t> numbers(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kLong).contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

using Ids = std::vector<std::int64_t>;

StepRewards scores_of(const std::vector<double>& scores) {
  StepRewards s;
  s.rewards = doubles(scores, {1, static_cast<std::int64_t>(scores.size())});
  s.boundaries = at::arange(s.rewards.size(1), at::kLong).unsqueeze(0);
  return s;
}

at::Tensor refined(const std::vector<double>& q, ClipDeltaMode mode, double eta) {
  const at::Tensor scores = doubles(q, {1, static_cast<std::int64_t>(q.size())});
  return clip_delta(scores, at::ones_like(scores, at::kBool), mode, eta, 1)[0];
}

bool all_near(const at::Tensor& given, const std::vector<double>& wanted) {
  return given.numel() == static_cast<std::int64_t>(wanted.size()) &&
         at::allclose(given, doubles(wanted), 1e-12, 1e-12);
}

/// The problems of a graph in which one refinement follows another.
std::vector<Problem> problems_of_order(const char* first, const char* second) {
  const auto node = [](const char* type, const Json& params, const Json& inputs) {
    return Json{{"type", type}, {"params", params}, {"inputs", inputs}};
  };
  const Json none = Json::object();
  Json nodes = Json::object();
  nodes["rows"] = node("data.benchmark_scores", {{"model", "x"}}, none);
  nodes["a"] =
      node("reward.clip_delta", {{"mode", first}}, {{"step_rewards", "rows.step_rewards"}});
  nodes["b"] = node("reward.clip_delta", {{"mode", second}}, {{"step_rewards", "a.step_rewards"}});
  nodes["sum"] = node("reward.step_aggregate", none, {{"step_rewards", "b.step_rewards"}});
  nodes["grade"] = node("eval.accuracy", none, {{"rewards", "sum.rewards"}});
  const Json graph = {{"rewardloom", 1}, {"nodes", nodes}};
  return check(Document::parse(graph.dump()), all_nodes().catalogue()).problems;
}

}  // namespace

class TestSteps : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  // ---- the task ----

  void solutions_are_partial_sums_and_idle_lines_change_nothing() {
    QCOMPARE(step_sum_solution({3, 5, 9}, {}), std::string("8\n17\n=17"));
    QCOMPARE(step_sum_solution({3, 5, 9}, {1, 0, 2}), std::string("ok\n8\n17\nok\nok\n=17"));
    const auto idle = draw_idle_lines(3, 50, Random({1, 2, 3}));
    QCOMPARE(idle[0] + idle[1] + idle[2], std::int64_t{50});
    QVERIFY(idle[0] > 5 && idle[1] > 5 && idle[2] > 5);
  }

  void held_out_sums_are_never_trained_on() {
    const StepSumSpace space;
    QCOMPARE(space.is_held_out({3, 5, 9}), space.is_held_out({9, 3, 5}));
    Bench train("data.step_sum", {{"batch", 500}}),
        exam("data.step_sum", {{"batch", 500}, {"split", "held_out"}});
    train.fire();
    exam.fire();
    const auto multiset = [](const Json& fields) {
      auto n = fields["numbers"].get<Ids>();
      std::sort(n.begin(), n.end());
      return n;
    };
    std::set<Ids> seen;
    for (const Json& row : train.out<Prompts>("prompts").fields) seen.insert(multiset(row));
    for (const Json& row : exam.out<Prompts>("prompts").fields)
      QVERIFY(!seen.contains(multiset(row)));
    const auto first = exam.out<Prompts>("prompts").text;
    exam.fire(7, 9);
    QVERIFY(first == exam.out<Prompts>("prompts").text);
    train.fire(1);
    QVERIFY(train.out<Prompts>("prompts").text != first);
    Bench none("data.step_sum", {{"held_out", 0.0}, {"split", "held_out"}});
    QVERIFY(!problem_of([&] { none.fire(); }).code.empty());
  }

  void a_pool_is_the_same_for_every_seed_and_one_in_twenty_solutions_idles() {
    Bench tasks("data.step_sum", {{"batch", 4000}, {"pool", 40}, {"reference", "solution"}});
    std::set<std::string> pools[2];
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      tasks.fire(0, seed);
      const auto& all = tasks.out<Prompts>("prompts").reference;
      pools[seed].insert(all.begin(), all.end());
    }
    QVERIFY(pools[0] == pools[1] && pools[0].size() <= 40 && pools[0].size() > 30);
    Bench any("data.step_sum", {{"batch", 4000}, {"reference", "solution"}});
    any.fire();
    double idle = 0;
    for (const std::string& text : any.out<Prompts>("prompts").reference)
      idle += text.find("ok") != std::string::npos;
    QVERIFY2(std::abs(idle / 4000 - 0.05) < 0.012, qPrintable(QString::number(idle / 4000)));
  }

  void idle_lines_stay_right_and_nothing_is_right_after_a_mistake() {
    const auto verdicts = [](const char* text) { return right_so_far({3, 5, 9}, text); };
    using List = std::vector<double>;
    QCOMPARE(verdicts("8\n17\n=17"), (List{1, 1, 1}));
    QCOMPARE(verdicts("ok\n8\nok\nok\n17\n=17"), (List{1, 1, 1, 1, 1, 1}));
    QCOMPARE(verdicts("8\n16\nok\n=17"), (List{1, 0, 0, 0}));
    QCOMPARE(verdicts("8\n=17"), (List{1, 0}));
    QCOMPARE(verdicts("17\n\n=17\n"), (List{0, 0}));
    QCOMPARE(verdicts("o"), (List{0}));
    Completions c = answers_of({"8\nok\n=1"});
    c.fields = {{{"numbers", {3, 5, 9}}}};
    Bench bench("reward.step_sum", Json::object());
    bench.connect("completions", {Value::of(c)});
    bench.connect("step_end", {Value::of(Values{ids({1, 4, 7, -1}).reshape({1, 4}), 0})});
    bench.fire();
    QVERIFY(
        all_near(bench.out<StepRewards>("step_rewards").rewards[0].to(at::kDouble), {1, 1, 0, 0}));
    c.fields.clear();
    bench.connect("completions", {Value::of(c)});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("no-numbers"));
  }

  // ---- where steps end ----

  void a_step_ends_with_its_delimiter_and_the_end_token_opens_none() {
    const auto writer = line_writer();
    const Completions c = written(model_of(*writer), {"8\n17\n=17", "8\n17\n", "\n\n8\n", ""},
                                  {true, true, false, false});
    Bench split("text.steps", {{"min_tokens", 2}});
    split.connect("completions", {Value::of(c)});
    split.connect("policy", {writer->value("policy")});
    split.fire();
    // 8\n|17\n|=17E; 8\n|17\nE: the end token alone joins its line; \n\n|8\n: a blank line joins
    // the next.
    QCOMPARE(numbers(split.out<Values>("step_end").values),
             (Ids{2, 5, 9, 2, 6, -1, 2, 4, -1, -1, -1, -1}));
    QCOMPARE(numbers(split.out<Values>("step_index").values[0]),
             (Ids{-1, 0, 0, 1, 1, 1, 2, 2, 2, 2}));
    QCOMPARE(split.context.metrics["without_boundary"], 0.0);
    QVERIFY(near(split.context.metrics["steps"], 7.0 / 4));
  }

  void steps_end_at_token_ids_and_patterns_too() {
    const auto writer = line_writer();
    const LanguageModel& model = model_of(*writer);
    const Completions c = written(model, {"1ok2ok3"}, {true});
    Bench by_id("text.steps",
                {{"delimiter", "token"}, {"token_id", model.tokenizer().encode("k")[0]}});
    by_id.connect("completions", {Value::of(c)});
    by_id.fire();
    Bench by_pattern("text.steps", {{"delimiter", "regex"}, {"pattern", "[0-9]o"}});
    by_pattern.connect("completions", {Value::of(c)});
    QVERIFY(!problem_of([&] { by_pattern.fire(); }).code.empty());  // nothing says what tokens read
    by_pattern.connect("policy", {writer->value("policy")});
    by_pattern.fire();
    QCOMPARE(numbers(by_id.out<Values>("step_end").values), (Ids{3, 6, 8}));
    QCOMPARE(numbers(by_pattern.out<Values>("step_end").values), (Ids{2, 5, 8}));
  }

  void answers_without_any_boundary_are_one_step_and_must_not_be_most() {
    const auto writer = line_writer();
    const auto split = [&](const std::vector<std::string>& texts, Json params) {
      Bench bench("text.steps", params);
      bench.connect("completions",
                    {Value::of(written(model_of(*writer), texts, {true, true, true}))});
      bench.connect("policy", {writer->value("policy")});
      bench.fire();
      return std::make_pair(bench.context.metrics["without_boundary"],
                            numbers(bench.out<Values>("step_end").values));
    };
    const auto [count, ends] = split({"=17", "1\n2", "3\n4"}, Json::object());
    QCOMPARE(count, 1.0);
    QCOMPARE(ends, (Ids{4, -1, 2, 4, 2, 4}));
    const Problem problem = problem_of([&] { split({"=17", "=18", "3\n4"}, Json::object()); });
    QCOMPARE(problem.code, std::string("no-step-boundary"));
    QVERIFY(problem.text.find("2 of 3") != std::string::npos);
    QCOMPARE(split({"=17", "=18", "3\n4"}, {{"most_without", 1.0}}).first, 2.0);
  }

  void a_step_is_judged_in_the_state_behind_it_and_the_last_before_its_end() {
    const at::Tensor mask = flags({0, 1, 1, 1, 1, 0}).reshape({1, 6});
    const at::Tensor end = ids({2, 4, -1}).reshape({1, 3});
    QCOMPARE(numbers(step_states(end, mask)), (Ids{3, 4, -1}));
  }

  // ---- labels ----

  void labels_are_shares_of_right_continuations() {
    const at::Tensor reward = doubles({1, 0, 1, 0, 0, 9}), prefix = ids({0, 0, 2, 2, 1, 3});
    const at::Tensor absent = flags({0, 0, 0, 0, 0, 1});
    const at::Tensor soft = step_labels(reward, prefix, absent, 4, StepLabel::soft, 1);
    QVERIFY(all_near(soft.narrow(0, 0, 3), {0.5, 0, 0.5}) && std::isnan(soft[3].item<double>()));
    const at::Tensor hard = step_labels(reward, prefix, absent, 4, StepLabel::hard, 1);
    QVERIFY(all_near(hard.narrow(0, 0, 3), {1, 0, 1}));
    QCOMPARE(code_of([&] { step_labels(reward, prefix, absent, 2, StepLabel::soft, 1); }),
             std::string("bad-group"));
  }

  void continuations_begin_as_the_answer_did_and_their_verdicts_come_back_to_its_steps() {
    const auto writer = line_writer();
    const Completions c = written(model_of(*writer), {"8\n17\n=17", "3\n"}, {true, false});
    Bench split("text.steps", {{"min_tokens", 2}});
    split.connect("completions", {Value::of(c)});
    split.connect("policy", {writer->value("policy")});
    split.fire();
    Bench more("sample.continue_steps", {{"n_completions", 3}, {"max_tokens", 6}});
    more.connect("policy", {writer->value("policy")});
    more.connect("completions", {Value::of(c)});
    more.connect("step_end", {split.value("step_end")});
    more.fire();
    const Completions& whole = more.out<Completions>("completions");
    QCOMPARE(whole.rows(), std::int64_t{12});
    QCOMPARE(numbers(whole.group), (Ids{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}));
    const char* const beginnings[] = {"8\n", "8\n17\n", "8\n17\n=17", "3"};
    for (std::size_t i = 0; i < 12; ++i) QVERIFY(whole.text[i].starts_with(beginnings[i / 3]));

    Rewards verdicts = Rewards::of(whole, doubles({1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0}));
    verdicts.absent = flags({0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0});
    Bench fold("reward.step_labels", Json::object());
    fold.connect("rewards", {Value::of(verdicts)});
    fold.connect("completions", {Value::of(c)});
    fold.connect("step_end", {split.value("step_end")});
    fold.fire();
    const StepRewards& labels = fold.out<StepRewards>("labels");
    QVERIFY(at::allclose(labels.rewards.to(at::kDouble),
                         doubles({1.0 / 3, 1, 0, 2.0 / 3, 0, 0}, {2, 3}), 1e-6, 1e-6));
    QCOMPARE(numbers(labels.boundaries), (Ids{2, 5, -1, 2, -1, -1}));
    const at::Tensor state = fold.out<Completions>("states").mask();
    QCOMPARE(numbers(state.nonzero()), (Ids{0, 3, 0, 6, 1, 2}));
    QVERIFY(near(fold.out<Returns>("returns").returns[0][6].item<double>(), 1));
    QCOMPARE(fold.out<Returns>("returns").returns.count_nonzero().item<std::int64_t>(),
             std::int64_t{3});
  }

  void a_value_model_learns_the_labels() {
    const auto policy = line_writer();
    const auto critic_node = made("model.value");
    const Completions c = written(model_of(*policy), {"8\n17\n=17", "8\n18\n=18"}, {true, true});
    Completions states = c;
    states.kinds = c.kinds.clone().masked_fill(c.kinds.eq(2), 3);
    at::Tensor target = at::zeros(c.tokens.sizes());
    for (const std::int64_t row : {0, 1}) {
      states.kinds[row][6] = 2;
      target[row][6] = row == 0 ? 0.9 : 0.2;
    }
    Bench loss("loss.value_cross_entropy", Json::object());
    loss.connect("labels", {Value::of(Returns{target, c.batch})});
    loss.fire();
    Bench train("optimize.value", {{"learning_rate", 0.01}, {"epochs", 60}}, "train");
    train.connect("value_model", {critic_node->value("value_model")});
    train.connect("completions", {Value::of(states)});
    train.connect("returns", {Value::of(Returns{target, c.batch})});
    train.connect("terms", {loss.value("term")});
    train.fire();
    Bench read("text.values", Json::object());
    read.connect("value_model", {critic_node->value("value_model")});
    read.connect("completions", {Value::of(c)});
    read.fire();
    Bench scores("reward.step_scores", Json::object());
    scores.connect("values", {read.value("values")});
    scores.connect("step_end",
                   {Value::of(Values{ids({2, 5, 9, 2, 5, 9}).reshape({2, 3}), c.batch})});
    scores.connect("completions", {Value::of(c)});
    scores.fire();
    const at::Tensor q = scores.out<StepRewards>("step_rewards").rewards;
    QVERIFY2(std::abs(q[0][1].item<double>() - 0.9) < 0.05 &&
                 std::abs(q[1][1].item<double>() - 0.2) < 0.05,
             qPrintable(QString("%1 %2").arg(q[0][1].item<double>()).arg(q[1][1].item<double>())));
    QVERIFY(q.ge(0).logical_and(q.le(1)).all().item<bool>());
  }

  void cross_entropy_is_that_of_the_sigmoid() {
    const Tensors inputs{{"values", doubles({0.3, -40, 40, 7}, {1, 4})},
                         {"labels", doubles({0.25, 0, 1, 5}, {1, 4})},
                         {"mask", flags({1, 1, 1, 0}).reshape({1, 4})}};
    const double p = 1 / (1 + std::exp(-0.3));
    const double wanted = -(0.25 * std::log(p) + 0.75 * std::log(1 - p)) / 3;
    const auto result = testing::fire("loss.value_cross_entropy", Json::object(), inputs);
    QVERIFY(near(number(result, "loss"), wanted));
    QVERIFY(near(tensor(result, "values.grad").reshape({4})[0].item<double>(), (p - 0.25) / 3));
    Tensors outside = inputs;
    outside["mask"] = flags({1, 1, 1, 1}).reshape({1, 4});
    QCOMPARE(failure("loss.value_cross_entropy", Json::object(), outside),
             std::string("label-range"));
  }

  // ---- clip and delta ----

  void clip_and_delta_have_the_closed_forms() {
    const std::vector<double> q{0.9, 0.8, 0.2, 0.7};
    QVERIFY(all_near(refined(q, ClipDeltaMode::clip, 0.5), {0, 0, -0.3, 0}));
    QVERIFY(all_near(refined(q, ClipDeltaMode::delta, 0.5), {0.1, 0.6, 0.2, 0}));
    QVERIFY(all_near(refined(q, ClipDeltaMode::clip_delta, 0.5), {0, 0.3, -0.3, 0}));
    QVERIFY(all_near(refined(q, ClipDeltaMode::raw, 0.5), q));
    QVERIFY(all_near(refined(q, ClipDeltaMode::none, 0.5), {0, 0, 0, 0}));
    QVERIFY(all_near(refined({0.4}, ClipDeltaMode::delta, 0.5), {0}));
    QVERIFY(all_near(refined({0.4, 0.6}, ClipDeltaMode::delta, 0.5), {0.4, 0}));
  }

  void returns_of_delta_telescope_whatever_is_appended() {
    Random random({4, 5, 6});
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<double> q;
      for (std::uint64_t k = 0, count = 2 + random.below(6); k < count; ++k)
        q.push_back(random.uniform());
      const at::Tensor delta = refined(q, ClipDeltaMode::delta, 0.7);
      const at::Tensor both = refined(q, ClipDeltaMode::clip_delta, 0.7);
      for (std::size_t k = 0; k + 1 < q.size(); ++k) {
        const auto from = [&](const at::Tensor& r) {
          return r.narrow(0, static_cast<std::int64_t>(k), r.numel() - static_cast<std::int64_t>(k))
              .sum()
              .item<double>();
        };
        QVERIFY(near(from(delta), q[k]) && near(from(both), std::min(q[k] - 0.7, 0.0)));
      }
      const double raw = refined(q, ClipDeltaMode::raw, 0.7).sum().item<double>();
      q.insert(q.end(), 5, q.back());
      QVERIFY(near(refined(q, ClipDeltaMode::delta, 0.7).sum().item<double>(),
                   delta.sum().item<double>()));
      QVERIFY(near(refined(q, ClipDeltaMode::clip_delta, 0.7).sum().item<double>(),
                   both.sum().item<double>()));
      QVERIFY(refined(q, ClipDeltaMode::raw, 0.7).sum().item<double>() > raw);
    }
  }

  void a_threshold_by_quantile_stays_that_of_the_first_scores() {
    Bench bench("reward.clip_delta", {{"mode", "clip"}, {"eta_quantile", 0.5}});
    const auto punished = [&](const std::vector<double>& q) {
      StepRewards steps;
      steps.rewards = doubles(q).reshape({1, -1});
      bench.connect("step_rewards", {Value::of(steps)});
      bench.fire();
      return list(bench.out<StepRewards>("step_rewards").rewards);
    };
    QVERIFY(near(punished({0.2, 0.4, 0.9})[0], -0.2));
    QVERIFY(near(punished({0.1, 0.1, 0.1})[0], -0.3));
    QVERIFY(near(bench.context.metrics.at("eta"), 0.4));
  }

  void delta_can_keep_the_last_step() {
    const at::Tensor q = doubles({0.9, 0.8, 0.2}).reshape({1, 3});
    const at::Tensor all = at::ones_like(q, at::kBool);
    QVERIFY(all_near(clip_delta(q, all, ClipDeltaMode::delta, 0, 1, false)[0], {0.1, 0.6, 0.2}));
    QVERIFY(all_near(clip_delta(q, all, ClipDeltaMode::delta, 0, 1, true)[0], {0.1, 0.8, 0}));
  }

  void clip_wants_probabilities_and_says_when_it_punishes_all_or_nothing() {
    const auto run = [](const std::vector<double>& q, const char* mode) {
      Bench bench("reward.clip_delta", {{"mode", mode}, {"eta", 0.5}});
      bench.connect("step_rewards", {Value::of(scores_of(q))});
      bench.fire();
      return bench.context;
    };
    const Problem problem = problem_of([&] { run({0.2, 3.5}, "clip"); });
    QCOMPARE(problem.code, std::string("score-range"));
    QVERIFY(problem.text.find("0.2 .. 3.5") != std::string::npos);
    QVERIFY(problem.help.find("sigmoid") != std::string::npos);
    QCOMPARE(code_of([&] { run({-0.1, 0.5}, "clip_delta"); }), std::string("score-range"));
    QVERIFY(run({0.2, 3.5}, "delta").alarms.empty());
    QCOMPARE(run({0.1, 0.2}, "clip").alarms, std::vector<std::string>{"every-step-punished"});
    QCOMPARE(run({0.9, 0.8}, "clip").alarms, std::vector<std::string>{"no-step-punished"});
    const auto mixed = run({0.9, 0.2, 0.8, 0.7}, "clip");
    QVERIFY(mixed.alarms.empty());
    QCOMPARE(mixed.metrics.at("punished"), 0.25);
  }

  void delta_comes_once_and_last() {
    const auto refused = [](const char* first, const char* second) {
      for (const Problem& problem : problems_of_order(first, second)) {
        if (problem.code == "mode-before") return problem.where.node + "." + problem.where.port;
      }
      return std::string();
    };
    QCOMPARE(refused("delta", "clip"), std::string("b.step_rewards"));
    QCOMPARE(refused("delta", "delta"), std::string("b.step_rewards"));
    QCOMPARE(refused("clip_delta", "delta"), std::string("b.step_rewards"));
    QCOMPARE(refused("clip", "delta"), std::string());
  }

  // ---- on tokens ----

  void step_rewards_and_success_stand_where_they_are_earned() {
    const at::Tensor mask = flags({0, 1, 1, 1, 1, 0, 1, 1, 0, 0}).reshape({2, 5});
    const at::Tensor end = ids({2, 4, 2, -1}).reshape({2, 2});
    const at::Tensor placed = placed_steps(doubles({.1, .2, .3, 9}, {2, 2}), end, mask);
    QVERIFY(all_near(placed.flatten(), {0, 0, .1, 0, .2, 0, 0, .3, 0, 0}));
    QCOMPARE(code_of([&] {
               placed_steps(doubles({1}, {1, 1}), ids({9}).reshape({1, 1}), mask.narrow(0, 0, 1));
             }),
             std::string("bad-step"));

    Completions c = answers_of({"a", "b"});
    c.kinds = mask.to(at::kChar) * 2;
    c.tokens = at::zeros({2, 5}, at::kLong);
    StepRewards steps;
    steps.rewards = doubles({.1, .2, .3, 9}, {2, 2});
    steps.boundaries = end;
    Bench place("reward.place_steps", Json::object());
    place.connect("step_rewards", {Value::of(steps)});
    place.connect("completions", {Value::of(c)});
    const Problem problem = problem_of([&] { place.fire(); });
    QCOMPARE(problem.code, std::string("no-success"));
    QCOMPARE(problem.text,
             std::string("Delta drops the last step's reward and relies on a success reward"));
    Rewards success = rewards_of({1, 1}, {}, {0, 1});
    place.connect("success", {Value::of(success)});
    place.fire();
    const TokenRewards& out = place.out<TokenRewards>("token_rewards");
    QVERIFY(all_near(out.rewards.flatten(), {0, 0, .1, 0, 1.2, 0, 0, 0, 0, 0}));
    QVERIFY(!out.mask[1].any().item<bool>());
  }

  void returns_are_compared_at_the_same_step() {
    // Two answers to one prompt: steps of 1 and 2 tokens, and a third step that only the second
    // has.
    const at::Tensor rewards = doubles({0, 0, 1, 0, 0.5, 0, 0.5, 2}, {2, 4});
    const at::Tensor mask = flags({1, 1, 1, 0, 1, 1, 1, 1}).reshape({2, 4});
    const at::Tensor index = ids({0, 1, 1, -1, 0, 1, 1, 2}).reshape({2, 4});
    const at::Tensor group = ids({5, 5});
    const at::Tensor by_step =
        group_returns(rewards, mask, group, index, ReturnBaseline::same_step);
    // Returns 1 1 1 -; 3 2.5 2.5 2. Means 2 and 1.75.
    QVERIFY(all_near(by_step.flatten(), {-1, -.75, -.75, 0, 1, .75, .75, 0}));
    const at::Tensor whole = group_returns(rewards, mask, group, {}, ReturnBaseline::whole);
    QVERIFY(all_near(whole.flatten(), {-1, -1, -1, 0, 1, .5, .5, 0}));
    QVERIFY(group_returns(rewards, mask, ids({1, 2}), index, ReturnBaseline::same_step)
                .eq(0)
                .all()
                .item<bool>());
    QVERIFY(!code_of([&] {
               group_returns(rewards, mask, group, {}, ReturnBaseline::same_step);
             }).empty());
  }

  void lines_that_say_nothing_are_counted() {
    Bench watch("monitor.hacking", {{"idle", "ok"}});
    watch.connect("completions", {Value::of(answers_of({"8\nok\nok\n=8", "\n3\n"}))});
    watch.connect("success", {Value::of(rewards_of({1, 0}, {}, {0, 1}))});
    watch.fire();
    const auto& metrics = watch.context.metrics;
    QCOMPARE(metrics.at("lines"), 2.5);
    QCOMPARE(metrics.at("repeated"), 0.2);
    QCOMPARE(metrics.at("idle_rate"), 0.4);
    QCOMPARE(metrics.at("success"), 1.0);
  }
};

}  // namespace rewardloom

using rewardloom::TestSteps;
REWARDLOOM_TEST(TestSteps)
#include "test_steps.moc"
