#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <QTemporaryDir>
#include <cmath>

#include "engine/core/problem.h"
#include "nodes/optimize/adamw.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "nodes/text/own_tokens.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/reference_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::reference_models;
using rewardloom::testing::Bench;
namespace fs = std::filesystem;

namespace {

/// Rows with padding on both sides, an observation between actions, and one row of padding alone.
Completions sample_rows() {
  Completions c;
  c.tokens = at::tensor({0, 0, 3, 4, 5, 6, 7, 0,  //
                         1, 2, 3, 4, 5, 6, 7, 8,  //
                         0, 0, 0, 0, 0, 0, 0, 0,  //
                         0, 9, 8, 7, 6, 0, 0, 0},
                        at::kLong)
                 .view({4, 8});
  c.kinds = at::tensor({0, 0, 1, 1, 2, 2, 2, 0,  //
                        1, 1, 1, 2, 3, 3, 2, 2,  //
                        0, 0, 0, 0, 0, 0, 0, 0,  //
                        0, 1, 1, 1, 2, 0, 0, 0},
                       at::kChar)
                .view({4, 8});
  c.prompt = at::zeros({4}, at::kLong);
  c.group = at::tensor({0, 0, 1, 1}, at::kLong);
  c.batch = 77;
  return c;
}
TokenRows rows_of(const Completions& c) { return token_rows(c.tokens, c.kinds); }

std::shared_ptr<const Tokenizer> letters() {
  return character_tokenizer("abcdefghijklmnopqrstuvwxy");  // with the specials 29 tokens
}
std::shared_ptr<LanguageModel> model_of(const std::string& golden) {
  return std::make_shared<LanguageModel>(decoder_of(golden), letters());
}
Value reward_handle(std::shared_ptr<HandleState> model) {
  return Value::of<RewardModel>(RewardModel{{std::move(model)}});
}
Value value_handle(std::shared_ptr<HandleState> model) {
  return Value::of<ValueModel>(ValueModel{{std::move(model)}});
}
Value policy_handle(std::shared_ptr<HandleState> model) {
  return Value::of<Policy>(Policy{{std::move(model)}});
}

/// What one sequence alone gives at each of its tokens, [T, labels].
at::Tensor alone(const Decoder& decoder, const std::vector<std::int64_t>& tokens) {
  return decoder.score(all_positions({tokens}), false)->logits();
}

double bradley_terry(const at::Tensor& scores) {
  const at::Tensor margin = scores.select(0, 0) - scores.select(0, 1);
  return -at::log_sigmoid(margin).item<double>();
}

/// Steps of AdamW on -log sigmoid(r(better) - r(worse)); the losses before each and at the end.
std::vector<double> train_preference(Decoder& decoder, int steps, double rate) {
  AdamW adam;
  AdamWOptions options;
  options.learning_rate = rate;
  const TokenSequences pair{{{3, 1, 4, 1, 5}, {3, 1, 4, 9, 2, 6}}, {{4}, {5}}};
  std::vector<double> losses;
  for (int i = 0; i <= steps; ++i) {
    const auto pass = decoder.score(pair, true);
    const at::Tensor scores = pass->logits().squeeze(1);
    losses.push_back(bradley_terry(scores));
    if (i == steps) break;
    const double d = -1.0 / (1.0 + std::exp((scores[0] - scores[1]).item<double>()));
    WeightMap gradients = decoder.zero_gradients();
    pass->backward(at::tensor({d, -d}).view({2, 1}).to(at::kFloat), gradients);
    WeightMap weights = decoder.weights();
    adam.step(weights, gradients, options);
    decoder.weights_changed();
  }
  return losses;
}

}  // namespace

class TestHeads : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  // ---- what is read where ----

  void values_stand_before_the_action_they_are_for() {
    const Decoder decoder = decoder_of("mistral-token");
    const TokenRows rows = rows_of(sample_rows());
    const at::Tensor values = score_states(decoder, rows, 2, in_turn);
    QCOMPARE(values.sizes(), at::IntArrayRef({4, 8}));
    const at::Tensor first = alone(decoder, {3, 4, 5, 6, 7}).squeeze(1);
    QVERIFY(values[0].narrow(0, 4, 3).equal(first.narrow(0, 1, 3)));
    const at::Tensor second = alone(decoder, {1, 2, 3, 4, 5, 6, 7, 8}).squeeze(1);
    for (const std::int64_t t : {3, 6, 7}) QVERIFY(values[1][t].equal(second[t - 1]));
    // Prompts, observations and padding have none.
    const at::Tensor others = rows.kinds.ne(2);
    QCOMPARE(values.masked_select(others).abs().sum().item<double>(), 0.0);
  }

  void rewards_are_read_at_the_last_token() {
    const Decoder decoder = decoder_of("llama-sequence");
    const TokenRows rows = rows_of(sample_rows());
    const at::Tensor scores = score_sequences(decoder, rows, 3, in_turn);
    QCOMPARE(scores.sizes(), at::IntArrayRef({4, 3}));
    QVERIFY(scores[0].equal(alone(decoder, {3, 4, 5, 6, 7})[4]));
    QVERIFY(scores[1].equal(alone(decoder, {1, 2, 3, 4, 5, 6, 7, 8})[7]));
    QVERIFY(scores[2].isnan().all().item<bool>());
    QVERIFY(scores[3].equal(alone(decoder, {9, 8, 7, 6})[3]));
  }

  void chunks_and_operators_change_nothing() {
    const TokenRows rows = rows_of(sample_rows());
    for (const char* name : {"llama-sequence", "gemma2-sequence"}) {
      const Decoder decoder = decoder_of(name);
      const at::Tensor one = score_sequences(decoder, rows, 1, in_turn).nan_to_num();
      const at::Tensor all = score_sequences(decoder, rows, 9, in_turn).nan_to_num();
      QVERIFY(largest_difference(one, all) < 2e-6);
    }
  }

  void heads_of_another_kind_are_refused() {
    const TokenRows rows = rows_of(sample_rows());
    QVERIFY(refusal([&] {
              score_states(decoder_of("gpt2"), rows, 4, in_turn);
            }).startsWith("model-head"));
    QVERIFY(refusal([&] {
              score_sequences(decoder_of("gpt2"), rows, 4, in_turn);
            }).startsWith("model-head"));
    const QString three =
        refusal([&] { score_states(decoder_of("llama-sequence"), rows, 4, in_turn); });
    QVERIFY(three.contains("3 outputs"));
    const QString writes = refusal([&] { decoder_of("llama-sequence").decode(1, 8); });
    QVERIFY(writes.contains("LlamaForSequenceClassification"));
  }

  // ---- Hugging Face forms ----

  void labels_come_from_the_config() {
    Json json = goldens().at("llama-sequence")["config"];
    QCOMPARE(model_config(json).labels, 3);
    json.erase("id2label");
    QCOMPARE(model_config(json).labels, 2);  // what files without the entry mean
    json["num_labels"] = 5;
    QCOMPARE(model_config(json).labels, 5);
    const ModelConfig one = with_score_head(model_config(json), HeadKind::token, 1);
    QCOMPARE(one.architecture, std::string("LlamaForTokenClassification"));
    QCOMPARE(model_config(to_json(one)).labels, 1);
  }

  void score_tensors_have_the_usual_names() {
    const auto last_two = [](const std::string& model, HeadKind kind) {
      const auto shapes = weight_shapes(with_score_head(decoder_of(model).config(), kind, 4));
      std::vector<std::string> names{shapes[shapes.size() - 2].name, shapes.back().name};
      return names;
    };
    using Names = std::vector<std::string>;
    QCOMPARE(last_two("gemma2", HeadKind::sequence), (Names{"model.norm.weight", "score.weight"}));
    QCOMPARE(last_two("gemma2", HeadKind::token), (Names{"score.weight", "score.bias"}));
    QCOMPARE(last_two("gpt2", HeadKind::sequence),
             (Names{"transformer.ln_f.bias", "score.weight"}));
    QCOMPARE(last_two("gpt2", HeadKind::token), (Names{"classifier.weight", "classifier.bias"}));
  }

  void a_language_model_gives_its_trunk_to_a_new_head() {
    const Decoder policy = decoder_of("gemma2");
    const Decoder critic = policy.with_score_head(HeadKind::token, 1, NewHead{false, {1, 2, 3}});
    for (const auto& [name, tensor] : critic.weights()) {
      if (name.starts_with("score.")) continue;
      QVERIFY(tensor.equal(policy.weights().at(name)));
      QVERIFY(tensor.data_ptr() != policy.weights().at(name).data_ptr());
    }
    const at::Tensor head = critic.weights().at("score.weight");
    QVERIFY(head.abs().max().item<double>() > 0);
    QVERIFY(head.abs().max().item<double>() < 0.2);
    const Decoder zeros = policy.with_score_head(HeadKind::sequence, 2, NewHead{true, {}});
    QCOMPARE(alone(zeros, {1, 2, 3}).abs().max().item<double>(), 0.0);
  }

  // ---- training ----

  void trunk_and_head_train_together_data() {
    QTest::addColumn<QString>("model");
    for (const char* name : {"gemma2-sequence", "mistral-token", "sequence-lora"}) {
      QTest::newRow(name) << QString(name);
    }
  }
  void trunk_and_head_train_together() {
    QFETCH(QString, model);
    Decoder decoder = decoder_of(model.toStdString());
    const Decoder before = decoder.copy();
    const std::vector<double> losses = train_preference(decoder, 20, 1e-2);
    QVERIFY(losses.back() < 0.2 * losses.front());
    const std::set<std::string> trained = decoder.trained_names();
    for (const auto& [name, tensor] : decoder.weights()) {
      if (!trained.contains(name)) QVERIFY(tensor.equal(before.weights().at(name)));
    }
    const auto changed = [&](const char* name) {
      return !decoder.weights().at(name).equal(before.weights().at(name));
    };
    QVERIFY(changed("score.weight"));
    if (decoder.config().lora) {
      QVERIFY(changed("model.layers.0.mlp.up_proj.lora_A.weight"));
      QCOMPARE(trained.size(), std::size_t{9});
    } else {
      QVERIFY(changed("model.embed_tokens.weight"));
      QCOMPARE(trained.size(), decoder.weights().size());
    }
  }

  void a_head_can_be_trained_alone() {
    for (const char* name : {"mistral-token", "gemma2-sequence"}) {
      Decoder decoder = decoder_of(name);
      decoder.train(TrainedPart::head);
      const Decoder before = decoder.copy();
      QCOMPARE(before.trained_part(), TrainedPart::head);
      const std::vector<double> losses = train_preference(decoder, 10, 1e-2);
      QVERIFY(losses.back() < losses.front());
      for (const auto& [weight, tensor] : decoder.weights()) {
        if (weight.starts_with("score.")) continue;
        QVERIFY2(tensor.equal(before.weights().at(weight)), weight.c_str());
      }
    }
    Decoder tied = decoder_of("gpt2");
    QVERIFY(refusal([&] { tied.train(TrainedPart::head); }).startsWith("frozen-head"));
  }

  // ---- nodes ----

  void value_models_come_from_a_policy_or_a_folder() {
    const auto policy = model_of("llama3-scaling");
    Bench from_policy("model.value", {{"head_init", "zeros"}});
    from_policy.connect("policy", {policy_handle(policy)});
    from_policy.fire();
    const auto critic =
        std::dynamic_pointer_cast<LanguageModel>(from_policy.out<ValueModel>("value_model").state);
    QCOMPARE(critic->decoder().config().architecture, std::string("LlamaForTokenClassification"));
    QVERIFY(critic->decoder()
                .weights()
                .at("model.norm.weight")
                .equal(policy->decoder().weights().at("model.norm.weight")));

    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    save_model(path, policy->decoder().config(), policy->decoder().weights());
    letters()->save(path);
    Bench from_folder("model.value", {{"model", path.string()}, {"train", "head"}});
    from_folder.fire();
    const auto read =
        std::dynamic_pointer_cast<LanguageModel>(from_folder.out<ValueModel>("value_model").state);
    QCOMPARE(read->decoder().trained_names(),
             (std::set<std::string>{"score.bias", "score.weight"}));
    QVERIFY(!read->decoder().weights().contains("lm_head.weight"));
  }

  void saved_reward_models_are_read_with_their_head() {
    QTemporaryDir folder;
    const std::string path = folder.path().toStdString();
    const auto model = model_of("gemma2-sequence");
    Bench save("model.save", {{"path", path}});
    save.connect("reward_model", {reward_handle(model)});
    save.fire();
    Bench load("model.reward", {{"model", path}});
    load.fire();
    const auto again =
        std::dynamic_pointer_cast<LanguageModel>(load.out<RewardModel>("reward_model").state);
    for (const auto& [name, tensor] : model->decoder().weights()) {
      QVERIFY(again->decoder().weights().at(name).equal(tensor));
    }
    Bench many("model.reward", {{"model", path}, {"labels", 3}});
    QVERIFY(refusal([&] { many.fire(); }).contains("1 outputs, 3 are wanted"));
    Bench policy("text.policy", {{"model", path}});
    QVERIFY(refusal([&] { policy.fire(); }).contains("is no language model"));
  }

  void values_and_rewards_flow_through_nodes() {
    const Completions c = sample_rows();
    Bench values("text.values", Json::object());
    values.connect("value_model", {value_handle(model_of("mistral-token"))});
    values.connect("completions", {Value::of<Completions>(c)});
    values.fire();
    QCOMPARE(values.out<Values>("values").batch, c.batch);
    QVERIFY(values.out<Values>("values").values.equal(
        score_states(decoder_of("mistral-token"), rows_of(c), 16, in_turn)));

    Completions three = sample_rows();
    for (at::Tensor* t : {&three.tokens, &three.kinds, &three.prompt, &three.group}) {
      *t = t->index_select(0, at::tensor({0, 1, 3}, at::kLong));
    }
    const at::Tensor want =
        score_sequences(decoder_of("llama-sequence"), rows_of(three), 16, in_turn);
    const auto reward = [&](const Json& params) {
      Bench bench("reward.model", params);
      bench.connect("reward_model", {reward_handle(model_of("llama-sequence"))});
      bench.connect("completions", {Value::of<Completions>(three)});
      bench.fire();
      return bench.out<Rewards>("rewards");
    };
    const Rewards plain = reward({{"label", 2}});
    QVERIFY(plain.total.equal(want.select(1, 2)));
    QVERIFY(plain.group.equal(three.group));
    QCOMPARE(plain.components.size(), std::size_t{3});
    QCOMPARE(plain.components[1].first, std::string("reward.model/LABEL_1"));
    QVERIFY(plain.components[1].second.equal(want.select(1, 1)));
    const Rewards probability = reward({{"label", 1}, {"read", "probability"}});
    QVERIFY(largest_difference(probability.total, want.softmax(1).select(1, 1)) < 1e-6);
    const Rewards log_probability = reward({{"read", "log_probability"}});
    QVERIFY(largest_difference(log_probability.total, want.log_softmax(1).select(1, 0)) < 1e-6);
    QVERIFY(largest_difference(reward({{"read", "mean"}}).total, want.mean(1)) < 1e-6);
    QVERIFY(refusal([&] { reward({{"label", 3}}); }).contains("no output 3"));
  }

  void rows_that_do_not_fit_fail_by_row() {
    Completions c = sample_rows();
    Bench bench("reward.model", Json::object());
    bench.connect("reward_model", {reward_handle(model_of("gemma2-sequence"))});
    bench.connect("completions", {Value::of<Completions>(c)});
    const QString text = refusal([&] { bench.fire(); });
    QVERIFY2(text.contains("0 tokens, the reward model reads 1 to 64"), qPrintable(text));
  }

  void texts_are_read_with_the_models_own_tokenizer() {
    const auto model = model_of("gemma2-sequence");
    Completions c;
    c.tokens = at::full({2, 3}, 1000, at::kLong);  // ids of some other tokenizer
    c.kinds = at::full({2, 3}, 2, at::kChar);
    c.kinds.select(1, 0).fill_(1);
    c.prompt_text = {"ab", "b"};
    c.text = {"cd", "abc"};
    const auto reward = [&](const char* rows) {
      Bench bench("reward.model", {{"rows", rows}});
      bench.connect("reward_model", {reward_handle(model)});
      bench.connect("completions", {Value::of<Completions>(c)});
      bench.fire();
      return bench.out<Rewards>("rewards").total;
    };
    const Tokenizer& t = model->tokenizer();
    const auto want = [&](const char* prompt, const char* answer) {
      std::vector<std::int64_t> ids = t.encode_prompt(prompt);
      for (const std::int64_t id : t.encode_answer(prompt, answer)) ids.push_back(id);
      ids.push_back(*t.special().end);
      return alone(model->decoder(), ids)[-1][0].item<double>();
    };
    const at::Tensor got = reward("text");
    QVERIFY(std::abs(got[0].item<double>() - want("ab", "cd")) < 2e-6);
    QVERIFY(std::abs(got[1].item<double>() - want("b", "abc")) < 2e-6);
    QVERIFY(refusal([&] { reward("tokens"); }).startsWith("other-tokenizer"));
  }

  void ids_of_another_tokenizer_are_told_by_their_texts() {
    const auto model = model_of("gemma2-sequence");
    const std::vector<std::int64_t> ids = model->tokenizer().encode_answer("a", "cabbed");
    Completions c;
    c.tokens = at::tensor(at::ArrayRef<std::int64_t>(ids), at::kLong).unsqueeze(0);
    c.kinds = at::full_like(c.tokens, 2, at::kChar);
    c.prompt_text = {"a"};
    const auto told = [&](const std::string& text) {
      c.text = {text};
      return refusal([&] { require_own_tokens(*model, c, "help"); });
    };
    QCOMPARE(told("cabbed"), QString());
    QCOMPARE(told(" Cab-bed! and what a stop string cut off"), QString());
    QCOMPARE(told("bbe"), QString());
    QCOMPARE(told(""), QString());
    const QString other = told("dabbed");
    QVERIFY2(other.contains("row 0 was written as \"dabbed\"") && other.contains("\"cabbed\""),
             qPrintable(other));
    c.tokens.fill_(model->tokenizer().size());  // beyond the vocabulary
    QVERIFY(told("cabbed").startsWith("other-tokenizer"));
  }
};

REWARDLOOM_TEST(TestHeads)
#include "test_heads.moc"
