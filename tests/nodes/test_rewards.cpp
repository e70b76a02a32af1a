// Reward nodes: what earns what, and what is refused.
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/step.h"
#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "nodes/reward/answer_match.h"
#include "nodes/reward/combine.h"
#include "nodes/reward/prefix_match.h"
#include "nodes/text/language_model.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

at::Tensor doubles(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
}
at::Tensor ids(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// Completions of a character tokenizer: each character is a token, then an end token if it ended.
Package written(const std::vector<std::string>& answers, const std::vector<std::string>& references,
                const std::vector<bool>& ended) {
  constexpr std::int64_t kPrompt = 2;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    longest = std::max(longest, answers[i].size() + (ended[i] ? 1 : 0));
  }
  const auto rows = static_cast<std::int64_t>(answers.size());
  at::Tensor kinds = at::zeros({rows, kPrompt + static_cast<std::int64_t>(longest)}, at::kChar);
  kinds.slice(1, 0, kPrompt).fill_(static_cast<std::int64_t>(TokenKind::prompt));
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const auto length = static_cast<std::int64_t>(answers[row].size()) + (ended[row] ? 1 : 0);
    kinds[i]
        .slice(0, kPrompt, kPrompt + length)
        .fill_(static_cast<std::int64_t>(TokenKind::action));
  }
  Package out;
  out.tensors["completions.kinds"] = kinds;
  out.tensors["completions.group"] = at::zeros({rows}, at::kLong);
  out.meta["completions.text"] = answers;
  out.meta["completions.reference"] = references;
  return out;
}

/// What a node that needs nothing of a run sees of it.
class NoRun final : public StepContext {
 public:
  std::int64_t alarms = 0;
  void metric(std::string_view, double) override {}
  void alarm(std::string_view, std::string_view) override { ++alarms; }
  bool cancelled() const override { return false; }
  StateHolder& state(std::string_view, const std::function<StateHolder()>&) override { throw 1; }
  void parallel(std::size_t, const std::function<void(std::size_t)>&) override {}
  NamedValues run_body(std::size_t, const BodyCall&) override { return {}; }
  void fail_row(std::int64_t, std::string_view) override {}
};

/// A model over the characters of digit sequences: 0 separator, 1 end, 2 padding, 3 unknown, 4 =
/// '0'.
std::shared_ptr<LanguageModel> digit_model() {
  const Json config = {{"architectures", {"LlamaForCausalLM"}},
                       {"vocab_size", 16},
                       {"hidden_size", 16},
                       {"intermediate_size", 16},
                       {"num_hidden_layers", 1},
                       {"num_attention_heads", 2},
                       {"num_key_value_heads", 2},
                       {"max_position_embeddings", 32},
                       {"eos_token_id", 1}};
  return make_language_model({.random = true, .config = config, .characters = "0123456789,:"});
}

}  // namespace

class TestRewards : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void answers_match_as_they_are_compared() {
    const auto same = [](const char* a, const char* b, MatchOptions options = {}) {
      return matches(a, b, options);
    };
    QVERIFY(same("46", "46"));
    QVERIFY(same(" 46\n", "46"));
    QVERIFY(!same(" 46", "46", {.strip = false}));
    QVERIFY(!same("046", "46"));
    QVERIFY(same("", ""));
    QVERIFY(same("Yes", "yes", {.ignore_case = true}));
    QVERIFY(!same("Yes", "yes"));
    QVERIFY(same("a  b\nc", "a b c", {.compare = Compare::words}));
    QVERIFY(!same("ab c", "a b c", {.compare = Compare::words}));
    const MatchOptions number{.compare = Compare::number};
    QVERIFY(same("1,000", "1000", number));
    QVERIFY(same("7.0", "7", number));
    QVERIFY(same("+7", "7", number));
    QVERIFY(same("1e3", "1000", number));
    QVERIFY(!same("1,00", "100", number));
    QVERIFY(!same("7x", "7", number));
    QVERIFY(same("seven", "seven", number));
    const MatchOptions last{.compare = Compare::number, .extract = Extract::last_number};
    QVERIFY(same("12 + 34 makes 46.", "46", last));
    QVERIFY(same("so x = -3", "-3", last));
    QVERIFY(same("10-3", "3", last));
    QVERIFY(same("$1,234.50 in all", "1234.5", last));
    QVERIFY(!same("no number", "0", last));
    QVERIFY(same("46\n12+34=46", "46", {.extract = Extract::first_line}));
  }

  void exact_match_scores_rows_and_keeps_their_groups() {
    Package in = written({"46", "45", ""}, {"46", "46", ""}, {true, true, true});
    in.tensors["completions.group"] = ids({3, 3, 5});
    const EvaluateResult r =
        evaluate(registry_, "reward.exact_match", {{"right", 2.0}, {"wrong", -1.0}}, in);
    QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{2, -1, 2}));
    QVERIFY(r.outputs.tensors.at("rewards.group").equal(ids({3, 3, 5})));
    QCOMPARE(r.outputs.tensors.at("rewards").scalar_type(), at::kFloat);
  }

  void answers_without_texts_or_references_are_refused() {
    Package in = written({"46", "45"}, {"46", "46"}, {true, true});
    Package no_reference = in;
    no_reference.meta.erase("completions.reference");
    QCOMPARE(
        code_of([&] { evaluate(registry_, "reward.exact_match", Json::object(), no_reference); }),
        std::string("no-references"));
    Package no_text = in;
    no_text.meta.erase("completions.text");
    QCOMPARE(code_of([&] { evaluate(registry_, "reward.exact_match", Json::object(), no_text); }),
             std::string("no-text"));
    Package other_rows = in;
    other_rows.meta["completions.text"] = {"1", "2", "3"};
    QCOMPARE(
        code_of([&] { evaluate(registry_, "reward.exact_match", Json::object(), other_rows); }),
        std::string("bad-shape"));
  }

  /// The rule of verl's end-to-end test, case by case: L = 7 for 7,2,6,1, so a share is 1/8.
  void the_digit_completion_preset_pays_as_verl_does() {
    const std::string right = "7,2,6,1";
    const Package in = written({right, right, "7,2", "7,2", "7,3,6,1", "", "7,2,6,15", "x"},
                               std::vector<std::string>(8, right),
                               {true, false, true, false, true, true, true, false});
    const EvaluateResult r =
        evaluate(registry_, "reward.prefix_match", {{"preset", "verl_digit_completion"}}, in);
    const std::vector<double> want{1, 7. / 8, 4. / 8, 3. / 8, 2. / 8, 0, 7. / 8, 0};
    QCOMPARE(list(r.outputs.tensors.at("rewards")), want);
    const at::Tensor tokens = r.outputs.tensors.at("token_rewards");
    QVERIFY(at::allclose(tokens.sum(-1).to(at::kDouble), doubles(want)));
    QVERIFY(tokens.slice(1, 0, 2).eq(0).all().item<bool>());
    QCOMPARE(list(tokens[2]), (std::vector<double>{0, 0, .125, .125, .125, .125, 0, 0, 0, 0, 0}));
    QVERIFY(r.alarms.empty());
  }

  void an_empty_right_answer_earns_one() {
    const Package in = written({"", "5"}, {"", ""}, {true, true});
    const EvaluateResult verl =
        evaluate(registry_, "reward.prefix_match", {{"preset", "verl_digit_completion"}}, in);
    QCOMPARE(list(verl.outputs.tensors.at("rewards")), (std::vector<double>{1, 0}));
    for (const char* end : {"if_complete", "none"}) {
      const EvaluateResult r = evaluate(registry_, "reward.prefix_match", {{"end", end}}, in);
      QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{1, 0}));
    }
  }

  void an_early_end_is_paid_only_where_asked() {
    const Package in = written({"12", "1234"}, {"1234", "1234"}, {true, true});
    const auto rewards = [&](const char* end) {
      return list(evaluate(registry_, "reward.prefix_match", {{"end", end}}, in)
                      .outputs.tensors.at("rewards"));
    };
    QVERIFY(std::abs(rewards("if_complete")[0] - 0.4) < 1e-6);
    QVERIFY(std::abs(rewards("repeat_last")[0] - 0.6) < 1e-6);
    QVERIFY(std::abs(rewards("none")[0] - 0.5) < 1e-6);
    for (const char* end : {"if_complete", "repeat_last", "none"}) QCOMPARE(rewards(end)[1], 1.0);
  }

  void with_the_tokenizer_special_tokens_match_nothing_and_hide_no_character() {
    Policy handle;
    handle.state = digit_model();
    Completions c;
    // 5 3 end | 5 unknown 3 end | 5 3 (cut); the text of the second shows no unknown token.
    c.tokens = ids({4, 9, 7, 1, 2, 4, 9, 3, 7, 1, 4, 9, 7, 2, 2}).reshape({3, 5});
    c.kinds = ids({1, 2, 2, 2, 0, 1, 2, 2, 2, 2, 1, 2, 2, 0, 0}).reshape({3, 5}).to(at::kChar);
    c.text = {"53", "53", "53"};
    c.reference = {"53", "53", "53"};
    c.finished = ids({1, 1, 0}).to(at::kBool);
    const auto node = registry_.make("reward.prefix_match", {{"preset", "verl_digit_completion"}});
    const Value completions = Value::of<Completions>(c);
    const Value policy = Value::of<Policy>(handle);
    const std::vector<std::vector<const Value*>> inputs{{&completions}, {&policy}};
    std::vector<Value> outputs(2);
    NoRun run;
    StepSettings settings;
    Step step(settings, run, inputs, outputs, {}, 0);
    node->run(step);
    QVERIFY(
        at::allclose(outputs[0].get<Rewards>().total, doubles({1, 1. / 3, 2. / 3}).to(at::kFloat)));
    const double third = 1. / 3;
    const at::Tensor want =
        doubles({0, third, third, third, 0, 0, third, 0, 0, 0, 0, third, third, 0, 0});
    QVERIFY(
        at::allclose(outputs[1].get<TokenRewards>().rewards, want.reshape({3, 5}).to(at::kFloat)));
    QCOMPARE(run.alarms, std::int64_t{0});
  }

  void text_that_is_not_one_character_per_token_is_told() {
    Package in = written({"12"}, {"12"}, {true});
    in.meta["completions.text"] = {"12345"};
    const EvaluateResult r = evaluate(registry_, "reward.prefix_match", Json::object(), in);
    QCOMPARE(r.alarms.size(), std::size_t{1});
    QCOMPARE(r.alarms[0].code, std::string("no-token-per-character"));
    QVERIFY(
        evaluate(registry_, "reward.prefix_match", {{"place", "last_token"}}, in).alarms.empty());
  }

  void token_rewards_sum_to_rewards() {
    Package in;
    in.tensors["token_rewards"] = at::arange(6, at::kDouble).reshape({2, 3});
    in.tensors["token_rewards.mask"] = ids({1, 1, 0, 0, 1, 1}).reshape({2, 3}).to(at::kBool);
    const EvaluateResult r = evaluate(registry_, "reward.sum_tokens", Json::object(), in);
    QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{1, 9}));
  }

  void combining_keeps_the_parts() {
    Package in;
    in.tensors["rewards.0"] = doubles({1, 0, 1});
    in.tensors["rewards.0.components.check"] = doubles({1, 0, 1});
    in.tensors["rewards.0.group"] = ids({4, 4, 5});
    in.tensors["rewards.1"] = doubles({0.5, 0.5, 0.25});
    in.tensors["rewards.2"] = doubles({1, 2, 3});
    in.tensors["rewards.2.components.check"] = doubles({1, 2, 3});
    const EvaluateResult r =
        evaluate(registry_, "reward.combine", {{"weights", {1.0, 2.0, 0.0}}}, in);
    QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{2, 1, 1.5}));
    QCOMPARE(list(r.outputs.tensors.at("rewards.components.check")),
             (std::vector<double>{1, 0, 1}));
    QVERIFY(r.outputs.tensors.contains("rewards.components.reward_2"));
    QVERIFY(r.outputs.tensors.contains("rewards.components.check_2"));
    QVERIFY(r.outputs.tensors.at("rewards.group").equal(ids({4, 4, 5})));
    QVERIFY(!r.outputs.tensors.contains("rewards.absent"));
  }

  void absent_rows_are_never_zero_when_combined() {
    Package in;
    in.tensors["rewards.0"] = doubles({1, 9, 9});
    in.tensors["rewards.0.absent"] = ids({0, 1, 1}).to(at::kBool);
    in.tensors["rewards.1"] = doubles({3, 3, 9});
    in.tensors["rewards.1.absent"] = ids({0, 0, 1}).to(at::kBool);
    const EvaluateResult any = evaluate(registry_, "reward.combine", {{"op", "mean"}}, in);
    QVERIFY(any.outputs.tensors.at("rewards.absent").equal(ids({0, 1, 1}).to(at::kBool)));
    for (const auto& [op, want] :
         {std::pair{"mean", 3.0}, {"sum", 3.0}, {"min", 3.0}, {"product", 3.0}}) {
      const EvaluateResult all =
          evaluate(registry_, "reward.combine", {{"op", op}, {"absent", "all"}}, in);
      QVERIFY(all.outputs.tensors.at("rewards.absent").equal(ids({0, 0, 1}).to(at::kBool)));
      QCOMPARE(all.outputs.tensors.at("rewards")[1].item<double>(), want);
      QCOMPARE(all.outputs.tensors.at("rewards")[2].item<double>(), 0.0);
    }
  }

  void rewards_of_other_rows_are_not_combined() {
    Package in;
    in.tensors["rewards.0"] = doubles({1, 2});
    in.tensors["rewards.1"] = doubles({1, 2, 3});
    const auto code = [&] {
      return code_of([&] { evaluate(registry_, "reward.combine", Json::object(), in); });
    };
    QCOMPARE(code(), std::string("bad-shape"));
    in.tensors["rewards.1"] = doubles({1, 2});
    QCOMPARE(code(), std::string(""));
    in.meta["rewards.0.batch"] = 7;
    in.meta["rewards.1.batch"] = 8;
    QCOMPARE(code(), std::string("other-rows"));
    QCOMPARE(code_of([&] { evaluate(registry_, "reward.combine", Json::object(), Package{}); }),
             std::string("node-failed"));
    QCOMPARE(code_of([] {
               combine_rewards(at::zeros({2, 2}, at::kDouble), {}, {1.0}, {}, CombineOp::sum);
             }),
             std::string("bad-shape"));
    QCOMPARE(
        code_of([] {
          combine_rewards(at::zeros({2, 2}, at::kDouble), {}, {}, {}, CombineOp::log_sigmoid_sum);
        }),
        std::string("no-reference-rewards"));
  }

  void log_sigmoids_do_not_overflow() {
    const at::Tensor r = combine_rewards(doubles({-1000, 1000}).reshape({1, 2}), {}, {},
                                         doubles({0, 0}), CombineOp::log_sigmoid_sum);
    QCOMPARE(r.item<double>(), -1000.0);
  }

  void length_counts_the_policy_s_own_tokens() {
    const Package in = written({"12345", "1"}, {"", ""}, {true, true});
    const EvaluateResult r =
        evaluate(registry_, "reward.length", {{"per_token", 0.5}, {"free_length", 3}}, in);
    QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{-1.5, 0}));
  }

  void the_length_penalty_is_a_component_of_its_own() {
    Package in = written({"12345", "1"}, {"", ""}, {true, true});
    in.tensors["rewards"] = doubles({1, 1});
    const EvaluateResult r =
        evaluate(registry_, "reward.length_penalty", {{"per_token", 0.5}, {"free_length", 3}}, in);
    QCOMPARE(list(r.outputs.tensors.at("rewards")), (std::vector<double>{-0.5, 1}));
    QCOMPARE(list(r.outputs.tensors.at("rewards.components.reward.length_penalty")),
             (std::vector<double>{-1.5, 0}));
  }

  void the_outcome_stands_at_the_last_action_token() {
    Package in;
    in.tensors["rewards"] = doubles({3, 5, 7});
    in.tensors["rewards.absent"] = ids({0, 0, 1}).to(at::kBool);
    in.tensors["log_probs"] = at::zeros({3, 4}, at::kDouble);
    in.tensors["ref_log_probs"] = at::zeros({3, 4}, at::kDouble);
    in.tensors["log_probs.mask"] =
        ids({0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1}).reshape({3, 4}).to(at::kBool);
    const EvaluateResult r = evaluate(registry_, "reward.kl_penalty", Json::object(), in);
    QCOMPARE(list(r.outputs.tensors.at("token_rewards")),
             (std::vector<double>{0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    QVERIFY(r.outputs.tensors.at("token_rewards.mask")[2].logical_not().all().item<bool>());
  }

  void accuracy_counts_what_was_scored() {
    const Package texts =
        written({"1", "2", "3", "4"}, {"1", "2", "3", "9"}, {true, true, true, true});
    const EvaluateResult r = evaluate(registry_, "eval.accuracy", Json::object(), texts);
    QCOMPARE(r.outputs.tensors.at("accuracy").item<double>(), 0.75);
    Package scored;
    scored.tensors["rewards"] = doubles({1, 0, 1, 1});
    scored.tensors["rewards.absent"] = ids({0, 0, 1, 1}).to(at::kBool);
    const EvaluateResult s = evaluate(registry_, "eval.accuracy", Json::object(), scored);
    QCOMPARE(s.outputs.tensors.at("accuracy").item<double>(), 0.5);
    QCOMPARE(s.outputs.tensors.at("absent").item<double>(), 2.0);
    scored.tensors["rewards.absent"] = at::ones({4}, at::kBool);
    const EvaluateResult none = evaluate(registry_, "eval.accuracy", Json::object(), scored);
    QVERIFY(!none.outputs.tensors.contains("accuracy"));
    QCOMPARE(none.alarms.size(), std::size_t{1});
  }

  void keys_that_name_nothing_or_too_much_are_refused() {
    Package in;
    in.tensors["rewards"] = doubles({1, 2});
    in.tensors["grup"] = ids({0, 0});
    const auto code = [&](const char* type) {
      return code_of([&] { evaluate(registry_, type, Json::object(), in); });
    };
    QCOMPARE(code("advantage.group"), std::string("unknown-input"));
    in.tensors.erase("grup");
    in.tensors.erase("rewards");
    QCOMPARE(code("advantage.group"), std::string("missing-input"));
    in.tensors["group"] = ids({0, 0});
    QCOMPARE(code("reward.kl_penalty"), std::string("ambiguous-input"));
  }

  void json_lists_are_as_good_as_tensors() {
    Package in;
    in.meta["rewards"] = {1.0, 3.0};
    in.meta["group"] = {7, 7};
    const EvaluateResult r = evaluate(registry_, "advantage.group", {{"scale", "none"}}, in);
    QCOMPARE(list(r.outputs.tensors.at("advantages")), (std::vector<double>{-1, 1}));
    in.meta["group"] = Json::array({7, Json::array({7})});
    QCOMPARE(code_of([&] { evaluate(registry_, "advantage.group", Json::object(), in); }),
             std::string("bad-value"));
  }

 private:
  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestRewards;
REWARDLOOM_TEST(TestRewards)
#include "test_rewards.moc"
