// Log-probs at sampling and at training, over many tokens; min-p by its formula; micro-batches by
// memory.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "engine/core/estimate.h"
#include "nodes/sample/sampler.h"
#include "nodes/text/aten_network.h"
#include "nodes/text/pass_cost.h"
#include "nodes/text/row_scores.h"
#include "tests/nodes/trained_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

/// A model of 0.1 M parameters whose answers end by chance only.
const Json wider_model = {{"init", "random"},
                          {"characters", "0123456789+="},
                          {"config",
                           {{"hidden_size", 64},
                            {"intermediate_size", 176},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", 4},
                            {"num_key_value_heads", 2},
                            {"initializer_range", 0.2},
                            {"max_position_embeddings", 128}}}};

Prompts numbered_prompts(std::int64_t count) {
  Prompts prompts;
  for (std::int64_t i = 0; i < count; ++i) {
    prompts.id.push_back(std::to_string(i));
    prompts.text.push_back(std::to_string(7 * i) + "+" + std::to_string(i % 13) + "=");
    prompts.reference.push_back("0");
  }
  return prompts;
}

Value answers_of(const Value& policy, const Prompts& prompts, std::int64_t group,
                 std::int64_t iteration, std::int64_t micro_batch = 0) {
  Bench generate("sample.generate", {{"group_size", group}, {"max_tokens", 48}}, "rollout");
  generate.settings().micro_batch = micro_batch;
  generate.connect("policy", {policy});
  generate.connect("prompts", {Value::of(prompts)});
  generate.fire(iteration);
  return generate.value("completions");
}

Value made_up_advantages(const Completions& c) {
  Advantages a;
  a.advantages = at::sin(at::arange(c.rows(), at::kFloat) * 1.7);
  a.batch = c.batch;
  return Value::of(std::move(a));
}

/// Log-probs [S] of the written tokens in LibTorch's operators.
at::Tensor operator_log_probs(const Decoder& decoder, const TokenRows& rows) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(rows.rows()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const RowBatch batch = row_batch(rows, all);
  const auto pass = score_with_operators(decoder.config(), decoder.weights(), batch.sequences, {});
  return token_statistics(pass->logits(), batch.targets, {}).log_probs;
}

}  // namespace

class TestMismatch : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void ten_thousand_tokens_agree_between_sampling_and_training() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    const Value answers = answers_of(actor->value("policy"), numbered_prompts(90), 8, 0);
    const Completions& c = answers.get<Completions>();
    const std::int64_t tokens = c.mask().sum().item<std::int64_t>();
    QVERIFY2(tokens >= 10'000, qPrintable(QString::number(tokens)));
    Bench update("optimize.policy", {{"learning_rate", 1e-3}}, "update");
    update.connect("policy", {actor->value("policy")});
    update.connect("completions", {answers});
    update.connect("advantages", {made_up_advantages(c)});
    update.connect("terms", {term("loss.policy_clip")});
    // The same answers in LibTorch's operators, which share no code with the sampler's kernels.
    const TokenRows rows = token_rows(c.tokens, c.kinds);
    const at::Tensor sampled = c.log_probs.masked_select(c.mask());
    const at::Tensor by_operators = operator_log_probs(writer(*actor).decoder(), rows);
    const double apart = (sampled - by_operators).abs().max().item<double>();
    QVERIFY2(apart > 0 && apart <= 1e-5, qPrintable(QString::number(apart)));
    update.fire();
    QVERIFY(update.context.metrics.at("mismatch/max") <= 1e-5);
    QVERIFY(update.context.metrics.at("mismatch/token_mult_prob_error") <= 1 + 1e-5);
    QVERIFY(update.context.alarms.empty());
  }

  void at_learning_rate_zero_the_mismatch_stays_flat() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    Bench update("optimize.policy", {{"learning_rate", 0.0}}, "update");
    std::vector<double> largest;
    const at::Tensor before = writer(*actor).decoder().weights().begin()->second.clone();
    for (std::int64_t iteration = 0; iteration < 6; ++iteration) {
      const Value answers = answers_of(actor->value("policy"), numbered_prompts(4), 4, iteration);
      update.connect("policy", {actor->value("policy")});
      update.connect("completions", {answers});
      update.connect("advantages", {made_up_advantages(answers.get<Completions>())});
      update.connect("terms", {term("loss.policy_clip")});
      update.fire(iteration);
      largest.push_back(update.context.metrics.at("mismatch/max"));
      QCOMPARE(update.context.metrics.at("staleness"), 0.0);
    }
    for (const double value : largest) QCOMPARE(value, largest[0]);
    QVERIFY(largest[0] <= 1e-5);
    QVERIFY(before.equal(writer(*actor).decoder().weights().begin()->second));
    QCOMPARE(writer(*actor).weight_version(), 0);
  }

  void batches_of_one_and_of_sixty_four_give_the_same_samples() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    const Prompts prompts = numbered_prompts(64);
    const Value one = answers_of(actor->value("policy"), prompts, 1, 3, 1);
    const Value all = answers_of(actor->value("policy"), prompts, 1, 3, 64);
    const Completions &a = one.get<Completions>(), &b = all.get<Completions>();
    QVERIFY(a.tokens.equal(b.tokens));
    QVERIFY(a.kinds.equal(b.kinds));
    QVERIFY(a.log_probs.equal(b.log_probs));
    QVERIFY(a.entropy.equal(b.entropy));
  }

  void min_p_keeps_what_its_formula_says_data() {
    QTest::addColumn<double>("temperature");
    QTest::addColumn<int>("top_k");
    QTest::addColumn<double>("top_p");
    QTest::addColumn<double>("min_p");
    QTest::newRow("alone") << 1.0 << 0 << 1.0 << 0.2;
    QTest::newRow("hot") << 2.5 << 0 << 1.0 << 0.3;
    QTest::newRow("behind top_k") << 1.0 << 3 << 1.0 << 0.05;
    QTest::newRow("behind top_p") << 0.7 << 0 << 0.9 << 0.1;
    QTest::newRow("only the likeliest") << 1.0 << 0 << 1.0 << 1.0;
  }
  void min_p_keeps_what_its_formula_says() {
    QFETCH(double, temperature);
    QFETCH(int, top_k);
    QFETCH(double, top_p);
    QFETCH(double, min_p);
    const std::vector<double> logits{0.3, -1.0, 1.7, 0.3, 2.0, -3.0, 0.9};
    // Without min_p, then: p_i >= min_p * max p, and what is left renormalised.
    const at::Tensor row = at::tensor(logits).to(at::kFloat).unsqueeze(0);
    const at::Tensor before = support_of(row, {temperature, top_k, top_p, 0.0})[0];
    std::vector<double> p;
    double total = 0, most = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      p.push_back(std::exp(static_cast<double>(static_cast<float>(logits[i])) / temperature));
      most = std::max(most, p[i]);
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      const bool kept = before[static_cast<std::int64_t>(i)].item<bool>() && p[i] >= min_p * most;
      if (!kept) p[i] = 0;
      total += p[i];
    }
    const SamplingOptions options{temperature, top_k, top_p, min_p};
    const std::int64_t draws = 4000;
    at::Tensor uniform = at::empty({draws}, at::kDouble);
    for (std::int64_t i = 0; i < draws; ++i) {
      uniform.data_ptr<double>()[i] = (static_cast<double>(i) + 0.5) / draws;
    }
    const SampledTokens got = sample_tokens(row.repeat({draws, 1}), uniform, options);
    for (std::size_t i = 0; i < p.size(); ++i) {
      const at::Tensor here = got.tokens.eq(static_cast<std::int64_t>(i));
      const double share = here.to(at::kDouble).mean().item<double>();
      QVERIFY(std::abs(share - p[i] / total) <= 1.0 / draws);
      if (p[i] == 0) continue;
      const double log_p = got.log_probs.masked_select(here)[0].item<double>();
      QVERIFY(std::abs(log_p - std::log(p[i] / total)) < 2e-6);
    }
    // The gradient treats the support as given.
    const at::Tensor leaf = row.to(at::kDouble).requires_grad_();
    const at::Tensor support = support_of(row, options);
    leaf.masked_fill(support.logical_not(), -1e30).div(temperature).log_softmax(1)[0][4].backward();
    const at::Tensor by_hand =
        token_statistics_backward(row, ids_of({4}), options, at::ones({1}), {});
    QVERIFY((leaf.grad() - by_hand.to(at::kDouble)).abs().max().item<double>() < 1e-6);
  }

  void sampling_and_scoring_agree_under_min_p() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    Bench generate("sample.generate", {{"group_size", 4}, {"max_tokens", 20}, {"min_p", 0.1}});
    generate.connect("policy", {actor->value("policy")});
    generate.connect("prompts", {Value::of(numbered_prompts(6))});
    generate.fire();
    Bench score("text.log_probs", {{"min_p", 0.1}});
    score.connect("policy", {actor->value("policy")});
    score.connect("completions", {generate.value("completions")});
    score.fire();
    QVERIFY(score.out<LogProbs>("log_probs")
                .log_probs.equal(generate.out<Completions>("completions").log_probs));
    QCOMPARE(refusal([] { Bench("sample.generate", {{"min_p", 1.5}}); }), QString("param-range"));
  }

  void greedy_groups_raise_an_alarm() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    for (const std::int64_t group : {1, 3}) {
      Bench generate("sample.generate", {{"group_size", group}, {"temperature", 0.0}});
      generate.connect("policy", {actor->value("policy")});
      generate.connect("prompts", {Value::of(numbered_prompts(2))});
      generate.fire();
      QCOMPARE(generate.context.alarms,
               group == 1 ? std::vector<std::string>{} : std::vector<std::string>{"greedy-group"});
    }
  }

  void automatic_micro_batches_are_those_that_fit() {
    const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
    actor->fire();
    const ModelConfig config = writer(*actor).decoder().config();
    const auto bytes = [&](std::int64_t units, std::int64_t rows) {
      return training_bytes(config, pass_size(units * rows, 50, 50), true).total();
    };
    for (const std::int64_t rows : {1, 2}) {
      for (const std::int64_t units : {1, 3, 17}) {
        QCOMPARE(units_within(config, bytes(units, rows), rows, 50, 1000), units);
        QCOMPARE(units_within(config, bytes(units, rows) - 1, rows, 50, 1000),
                 std::max<std::int64_t>(1, units - 1));
      }
      QCOMPARE(units_within(config, 1e15, rows, 50, 40), 40);
    }
  }

  void an_automatic_micro_batch_changes_nothing_beyond_rounding() {
    std::vector<WeightMap> weights;
    std::vector<double> sizes;
    Prompts prompts = numbered_prompts(40);
    for (const std::int64_t micro : {std::int64_t{16}, automatic_micro_batch}) {
      for (const bool threads : {false, true}) {
        const auto actor = std::make_shared<Bench>("text.policy", wider_model, "actor");
        actor->fire();
        Bench update("optimize.sft",
                     {{"learning_rate", 1e-4}, {"epsilon", 1e-4}, {"memory_budget", 1.0}}, "train");
        update.settings().micro_batch = micro;
        update.context.threads = threads;
        update.connect("policy", {actor->value("policy")});
        update.connect("prompts", {Value::of(prompts)});
        update.fire();
        weights.push_back(writer(*actor).decoder().copy().weights());
        if (micro == automatic_micro_batch) {
          sizes.push_back(update.context.metrics.at("micro_batch"));
        } else {
          QVERIFY(!update.context.metrics.contains("micro_batch"));
        }
      }
    }
    QCOMPARE(sizes[0], sizes[1]);
    QVERIFY2(sizes[0] > 1 && sizes[0] < 40, qPrintable(QString::number(sizes[0])));
    for (std::size_t i = 1; i < weights.size(); ++i) {
      const double difference = largest_difference(weights[0], weights[i]);
      QVERIFY2(difference < 1e-6, qPrintable(QString::number(difference)));
    }
    // Chosen from shapes alone: threads change no bit.
    for (const auto& [name, tensor] : weights[2]) QVERIFY(tensor.equal(weights[3].at(name)));
  }

  void a_row_beyond_the_budget_raises_an_alarm() {
    const auto actor = std::make_shared<Bench>("text.policy",
                                               Json{{"init", "random"},
                                                    {"characters", "0123456789+="},
                                                    {"config",
                                                     {{"hidden_size", 512},
                                                      {"num_attention_heads", 4},
                                                      {"num_key_value_heads", 4},
                                                      {"intermediate_size", 2048},
                                                      {"num_hidden_layers", 2}}}},
                                               "actor");
    actor->fire();
    Prompts prompts;
    prompts.id = {"0"};
    prompts.text = {std::string(100, '1')};
    prompts.reference = {"1"};
    Bench update("optimize.sft", {{"memory_budget", 1.0}}, "train");
    update.settings().micro_batch = automatic_micro_batch;
    update.connect("policy", {actor->value("policy")});
    update.connect("prompts", {Value::of(prompts)});
    update.fire();
    QCOMPARE(update.context.alarms, std::vector<std::string>{"micro-batch-budget"});
    QCOMPARE(update.context.metrics.at("micro_batch"), 1.0);
  }

 private:
  static at::Tensor ids_of(const std::vector<std::int64_t>& list) {
    return at::tensor(list, at::TensorOptions().dtype(at::kLong));
  }
};

REWARDLOOM_TEST(TestMismatch)
#include "test_mismatch.moc"
