#include <ATen/ATen.h>

#include <cmath>
#include <set>
#include <thread>

#include "engine/core/port_types.h"
#include "engine/core/problem.h"
#include "nodes/sample/generation.h"
#include "nodes/sample/sampler.h"
#include "nodes/text/row_scores.h"
#include "tests/nodes/model_files.h"
#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

using Ids = std::vector<std::int64_t>;

Decoder small_decoder(const std::string& architecture = "LlamaForCausalLM",
                      ComputeType compute = ComputeType::float32) {
  Json json = Json::object();
  json["architectures"] = {architecture};
  json["vocab_size"] = 17;
  json["hidden_size"] = 32;
  json["intermediate_size"] = 48;
  json["num_hidden_layers"] = 2;
  json["num_attention_heads"] = 4;
  json["num_key_value_heads"] = 2;
  json["max_position_embeddings"] = 64;
  json["initializer_range"] = 0.4;
  if (architecture == "Gemma2ForCausalLM") {
    json["head_dim"] = 8;
    json["sliding_window"] = 5;
    json["query_pre_attn_scalar"] = 8;
  }
  ModelConfig config = model_config(json);
  config.compute = compute;
  return Decoder(config, random_weights(config, {3, 4, 5}));
}

void one_by_one(std::size_t count, const std::function<void(std::size_t)>& call) {
  for (std::size_t i = 0; i < count; ++i) call(i);
}

/// From the last to the first, each in a thread of its own.
void backwards_in_threads(std::size_t count, const std::function<void(std::size_t)>& call) {
  std::vector<std::thread> threads;
  for (std::size_t i = count; i-- > 0;) threads.emplace_back([&call, i] { call(i); });
  for (std::thread& thread : threads) thread.join();
}

std::vector<Ids> prompts() { return {{1, 2, 3}, {4}, {5, 6, 7, 8, 9, 10}}; }

Ids grouped(std::int64_t groups, std::int64_t size) {
  Ids rows;
  for (std::int64_t g = 0; g < groups; ++g) rows.insert(rows.end(), size, g);
  return rows;
}

/// Rows of very uneven lengths: the end token is seldom.
GenerationOptions uneven() {
  GenerationOptions options;
  options.max_tokens = 40;
  options.stop_tokens = {0};
  return options;
}

bool same(const GeneratedRow& a, const GeneratedRow& b) {
  return a.tokens == b.tokens && a.log_probs == b.log_probs && a.entropy == b.entropy &&
         a.finished == b.finished;
}

at::Tensor uniforms(std::int64_t count) {
  at::Tensor u = at::empty({count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) u.data_ptr<double>()[i] = Random({9, 9, 9}, i).uniform();
  return u;
}

}  // namespace

class TestGenerate : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void frequencies_follow_the_distribution_data() {
    QTest::addColumn<double>("temperature");
    QTest::addColumn<int>("top_k");
    QTest::addColumn<double>("top_p");
    QTest::newRow("plain") << 1.0 << 0 << 1.0;
    QTest::newRow("hot") << 2.0 << 0 << 1.0;
    QTest::newRow("top_k") << 1.0 << 3 << 1.0;
    QTest::newRow("top_p") << 0.8 << 0 << 0.75;
    QTest::newRow("both") << 1.0 << 4 << 0.8;
  }
  void frequencies_follow_the_distribution() {
    QFETCH(double, temperature);
    QFETCH(int, top_k);
    QFETCH(double, top_p);
    const std::int64_t draws = 40000;
    const at::Tensor row = at::tensor({0.3, -1.0, 1.7, 0.3, 2.0, -3.0, 0.9}).to(at::kFloat);
    // The definition, step by step, on sorted probabilities.
    at::Tensor p = (row.to(at::kDouble) / temperature).softmax(0);
    const auto [sorted, order] = p.sort(true, 0, true);
    double kept = 0, total = 0;
    std::vector<double> want(7, 0.0);
    double allowed = 0;
    for (int i = 0; i < (top_k > 0 ? top_k : 7); ++i) allowed += sorted[i].item<double>();
    for (int i = 0; i < (top_k > 0 ? top_k : 7); ++i) {
      if (kept >= top_p * allowed) break;
      kept += sorted[i].item<double>();
      want[order[i].item<std::int64_t>()] = sorted[i].item<double>();
    }
    for (const double w : want) total += w;
    const SamplingOptions options{temperature, top_k, top_p};
    const SampledTokens got = sample_tokens(row.repeat({draws, 1}), uniforms(draws), options);
    double entropy = 0;
    for (std::int64_t v = 0; v < 7; ++v) {
      const double expected = want[v] / total;
      const at::Tensor here = got.tokens.eq(v);
      const double share = here.to(at::kDouble).mean().item<double>();
      const double error = 4 * std::sqrt(expected * (1 - expected) / draws) + 1e-12;
      QVERIFY2(std::abs(share - expected) <= error,
               qPrintable(QString("%1: %2 %3").arg(v).arg(share).arg(expected)));
      if (expected == 0) continue;
      entropy -= expected * std::log(expected);
      QVERIFY(std::abs(got.log_probs.masked_select(here)[0].item<double>() - std::log(expected)) <
              2e-6);
    }
    QVERIFY(std::abs(got.entropy[0].item<double>() - entropy) < 2e-6);
    // The operators of other devices draw the same.
    const SampledTokens elsewhere =
        sample_tokens(row.to(at::kDouble).repeat({draws, 1}), uniforms(draws), options);
    QVERIFY(elsewhere.tokens.ne(got.tokens).sum().item<std::int64_t>() <= 2);
  }

  void greedy_takes_the_first_of_equals() {
    const at::Tensor logits = at::tensor({1.0, 3.0, 3.0, 2.0}).to(at::kFloat).unsqueeze(0);
    const SampledTokens got =
        sample_tokens(logits, at::full({1}, 0.99, at::kDouble), {0.0, 0, 1.0});
    QCOMPARE(got.tokens[0].item<std::int64_t>(), 1);
  }

  void logits_without_a_distribution_are_refused() {
    at::Tensor logits = at::zeros({2, 3});
    logits[1][2] = std::nan("");
    try {
      sample_tokens(logits, uniforms(2), {});
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QVERIFY(QString(failure.what()).contains("row 1"));
    }
    QVERIFY_EXCEPTION_THROWN(sample_tokens(at::zeros({1, 3}), uniforms(1), {-1.0, 0, 1.0}),
                             Failure);
  }

  void answers_of_no_token_are_refused() {
    GenerationOptions options;
    options.max_tokens = 0;
    try {
      generate(small_decoder(), prompts(), {0}, options, Random({1, 1, 1}), one_by_one);
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("sampling-options"));
      QVERIFY(QString(failure.what()).contains("max_tokens must be at least 1"));
    }
  }

  void rows_do_not_depend_on_chunks_threads_or_neighbours() {
    const Decoder decoder = small_decoder();
    const Ids rows = grouped(3, 21);
    GenerationOptions options;
    options.max_tokens = 12;
    options.stop_tokens = {0, 1};
    options.sampling = {0.9, 12, 0.95};
    const Random random({1, 2, 3});
    options.batch_rows = 64;
    const auto want = generate(decoder, prompts(), rows, options, random, one_by_one);
    for (const std::int64_t chunk : {1, 5, 16}) {
      options.batch_rows = chunk;
      const auto got = generate(decoder, prompts(), rows, options, random, backwards_in_threads);
      for (std::size_t i = 0; i < rows.size(); ++i) QVERIFY(same(got[i], want[i]));
    }
    const auto alone = generate(decoder, prompts(), {rows[0]}, options, random, one_by_one);
    QVERIFY(same(alone[0], want[0]));
    std::set<Ids> different;
    for (std::size_t i = 0; i < 21; ++i) different.insert(want[i].tokens);
    QVERIFY(different.size() > 10);
  }

  void rows_that_end_leave_their_places_to_the_next_data() {
    QTest::addColumn<int>("compute");
    QTest::newRow("float32") << static_cast<int>(ComputeType::float32);
    QTest::newRow("bfloat16") << static_cast<int>(ComputeType::bfloat16);
  }
  void rows_that_end_leave_their_places_to_the_next() {
    QFETCH(int, compute);
    const Decoder decoder = small_decoder("LlamaForCausalLM", static_cast<ComputeType>(compute));
    GenerationOptions options = uneven();
    options.top_tokens = 3;
    // Groups of one size, and prompts that come back later.
    Ids rows = grouped(3, 20);
    for (const std::int64_t p : {0, 2, 0, 1, 1, 2, 0}) rows.push_back(p);
    const Random random({4, 4, 4});
    options.batch_rows = 67;
    const auto want = generate(decoder, prompts(), rows, options, random, one_by_one);
    std::set<std::size_t> lengths;
    for (const GeneratedRow& row : want) lengths.insert(row.tokens.size());
    QVERIFY(lengths.size() > 8);
    for (const std::int64_t slots : {1, 2, 3, 7, 33}) {
      options.batch_rows = slots;
      for (const bool threads : {false, true}) {
        const auto got =
            threads ? generate(decoder, prompts(), rows, options, random, backwards_in_threads)
                    : generate(decoder, prompts(), rows, options, random, one_by_one);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          QVERIFY(same(got[i], want[i]));
          QCOMPARE(got[i].top_tokens, want[i].top_tokens);
          QVERIFY(got[i].top_log_probs == want[i].top_log_probs);
        }
      }
    }
  }

  void operators_refill_as_well() {
    const Decoder decoder = small_decoder("Gemma2ForCausalLM");
    QVERIFY(!decoder.has_own_kernels());
    GenerationOptions options = uneven();
    const Ids rows = grouped(3, 40);
    options.batch_rows = 120;
    const auto want = generate(decoder, prompts(), rows, options, Random({6, 6, 6}), one_by_one);
    for (const std::int64_t slots : {1, 4, 5, -5, -120}) {
      options.recorded = slots < 0;
      options.batch_rows = std::abs(slots);
      const auto got = generate(decoder, prompts(), rows, options, Random({6, 6, 6}), one_by_one);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        QCOMPARE(got[i].tokens, want[i].tokens);
        for (std::size_t t = 0; t < got[i].tokens.size(); ++t) {
          QVERIFY(std::abs(got[i].log_probs[t] - want[i].log_probs[t]) < 1e-5f);
        }
      }
    }
  }

  void large_models_share_their_passes_among_threads() {
    Json json = Json::object();
    json["architectures"] = {"LlamaForCausalLM"};
    json["vocab_size"] = 61;
    json["hidden_size"] = 512;
    json["intermediate_size"] = 1376;
    json["num_hidden_layers"] = 3;
    json["num_attention_heads"] = 8;
    json["max_position_embeddings"] = 32;
    const ModelConfig config = model_config(json);
    QVERIFY(config.parameter_count() * 4 > 32 * 1024 * 1024);
    QCOMPARE(decoding_sessions(config, c10::Device(c10::kCPU), 1000, 64), 1);
    const Decoder decoder(config, random_weights(config, {1, 2, 3}));
    GenerationOptions options;
    options.max_tokens = 4;
    options.stop_tokens = {0, 1, 2, 3, 4, 5, 6, 7};
    options.batch_rows = 5;
    const Ids rows = grouped(3, 3);
    const auto alone = generate(decoder, prompts(), rows, options, Random({2, 2, 2}), one_by_one);
    const auto shared =
        generate(decoder, prompts(), rows, options, Random({2, 2, 2}), backwards_in_threads);
    for (std::size_t i = 0; i < rows.size(); ++i) QVERIFY(same(alone[i], shared[i]));
  }

  void slots_begin_anew_beside_others_data() {
    QTest::addColumn<QString>("architecture");
    QTest::addColumn<double>("allowed");
    QTest::newRow("kernels") << "LlamaForCausalLM" << 0.0;
    QTest::newRow("operators") << "Gemma2ForCausalLM" << 5e-6;
  }
  void slots_begin_anew_beside_others() {
    QFETCH(QString, architecture);
    QFETCH(double, allowed);
    const Decoder decoder = small_decoder(architecture.toStdString());
    const auto session = decoder.decode(4, 12);
    std::vector<Ids> written(4);
    const auto check = [&](const at::Tensor& logits, const Ids& order) {
      for (std::size_t i = 0; i < order.size(); ++i) {
        const Ids& row = written[order[i]];
        const std::int64_t last = static_cast<std::int64_t>(row.size()) - 1;
        const at::Tensor want = decoder.score({{row}, {{last}}}, false)->logits()[0];
        const double off = (logits[static_cast<std::int64_t>(i)] - want).abs().max().item<double>();
        QVERIFY2(off <= allowed, qPrintable(QString("row %1: %2").arg(i).arg(off)));
      }
    };
    const std::vector<Ids> given = prompts();
    const auto begin = [&](std::vector<SlotStart>& starts, std::int64_t slot, std::size_t prompt) {
      starts.push_back({slot, &given[prompt]});
      written[slot] = given[prompt];
    };
    std::vector<SlotStart> starts;
    begin(starts, 0, 0);
    begin(starts, 1, 0);
    begin(starts, 2, 1);
    check(session->advance(starts, {}, {}), {0, 1, 2});
    const auto append = [&](const Ids& slots) {
      Ids tokens;
      for (const std::int64_t slot : slots) {
        tokens.push_back((3 * slot + static_cast<std::int64_t>(written[slot].size())) % 17);
        written[slot].push_back(tokens.back());
      }
      return tokens;
    };
    for (int i = 0; i < 3; ++i) check(session->step({2, 0, 1}, append({2, 0, 1})), {2, 0, 1});
    // Slot 2 ends and begins with another prompt, slot 3 with the one that slot 2 held.
    starts.clear();
    begin(starts, 3, 1);
    begin(starts, 2, 2);
    check(session->advance(starts, {1, 0}, append({1, 0})), {3, 2, 1, 0});
    check(session->step({0, 3}, append({0, 3})), {0, 3});
    check(session->step({3}, append({3})), {3});
    // What began last is known: here in a slot that has gone on since, and in one that has ended.
    starts.clear();
    begin(starts, 0, 2);
    begin(starts, 1, 2);
    check(session->advance(starts, {3}, append({3})), {0, 1, 3});
    check(session->step({0, 1, 3}, append({0, 1, 3})), {0, 1, 3});
    starts.clear();
    begin(starts, 1, 2);
    begin(starts, 0, 2);
    begin(starts, 3, 0);
    check(session->advance(starts, {}, {}), {1, 0, 3});
    check(session->step({3, 0, 1}, append({3, 0, 1})), {3, 0, 1});
  }

  void likely_tokens_agree_with_the_operators_data() { frequencies_follow_the_distribution_data(); }
  void likely_tokens_agree_with_the_operators() {
    QFETCH(double, temperature);
    QFETCH(int, top_k);
    QFETCH(double, top_p);
    const SamplingOptions options{temperature, top_k, top_p};
    at::Tensor logits = at::empty({6, 23});
    for (std::int64_t i = 0; i < logits.numel(); ++i) {
      logits.data_ptr<float>()[i] = static_cast<float>(2 * Random({5, 6, 7}, i).normal());
    }
    logits[2].narrow(0, 3, 6).fill_(4.0);  // equals
    const TopTokens got = top_tokens(logits, 5, options);
    const TopTokens want = top_tokens(logits.to(at::kDouble), 5, options);
    QVERIFY(got.tokens.equal(want.tokens));
    QVERIFY((got.log_probs - want.log_probs).abs().max().item<double>() < 2e-6);
    const at::Tensor support = support_of(logits, options);
    for (std::int64_t r = 0; r < 6; ++r) {
      const std::int64_t kept = support[r].sum().item<std::int64_t>();
      QCOMPARE(got.tokens[r].ge(0).sum().item<std::int64_t>(), std::min<std::int64_t>(kept, 5));
      for (std::int64_t k = 0; k < std::min<std::int64_t>(kept, 5); ++k) {
        const TokenStatistics one =
            token_statistics(logits.narrow(0, r, 1), got.tokens[r].narrow(0, k, 1), options);
        QVERIFY(one.log_probs[0].equal(got.log_probs[r][k]));
      }
    }
    QVERIFY(top_tokens(logits, 30, options).tokens.narrow(1, 23, 7).eq(-1).all().item<bool>());
  }

  void likely_tokens_stand_beside_the_written_ones() {
    testing::Bench actor("text.policy", {{"init", "random"}, {"characters", "0123456789"}});
    actor.fire();
    Prompts given;
    given.text = {"12", "345", "6"};
    testing::Bench rollout(
        "sample.generate",
        {{"alternatives", 4}, {"group_size", 5}, {"max_tokens", 9}, {"batch_rows", 4}});
    rollout.connect("policy", {actor.value("policy")});
    rollout.connect("prompts", {Value::of(given)});
    rollout.fire();
    const Completions& c = rollout.out<Completions>("completions");
    const at::Tensor ids = rollout.out<Values>("top_tokens").values;
    const at::Tensor log_probs = rollout.out<Values>("top_log_probs").values;
    QCOMPARE(ids.sizes().vec(), (Ids{15, c.tokens.size(1), 4}));
    const at::Tensor mask = c.mask();
    QVERIFY(ids.ge(0).all(-1).equal(mask));
    QVERIFY(log_probs.masked_select(mask.logical_not().unsqueeze(-1)).eq(0).all().item<bool>());
    QVERIFY(log_probs.diff(1, -1).le(0).all().item<bool>());
    // A written token among the likely ones has the log-prob that it was written with.
    const at::Tensor here = ids.eq(c.tokens.unsqueeze(-1)).logical_and(mask.unsqueeze(-1));
    QVERIFY(here.any().item<bool>());
    QVERIFY(log_probs.masked_select(here).equal(
        c.log_probs.unsqueeze(-1).expand_as(ids).masked_select(here)));
    const LogProbs& best = rollout.out<LogProbs>("best_log_probs");
    QVERIFY(best.log_probs.equal(log_probs.select(2, 0)) && best.mask.equal(mask));
    QVERIFY(best.log_probs.ge(c.log_probs).masked_select(mask).all().item<bool>());
    QCOMPARE(best.batch, c.batch);
    const double mass =
        log_probs.to(at::kDouble).exp().sum(-1).masked_select(mask).mean().item<double>();
    QVERIFY(std::abs(rollout.context.metrics.at("top_mass") - mass) < 1e-9);
    testing::Bench plain("sample.generate", {{"group_size", 5}, {"max_tokens", 9}},
                         "sample.generate");
    plain.connect("policy", {actor.value("policy")});
    plain.connect("prompts", {Value::of(given)});
    plain.fire();
    QVERIFY(plain.out<Completions>("completions").tokens.equal(c.tokens));
    QVERIFY(!plain.value("top_tokens"));
  }

  void rows_end_at_their_stop_token_or_at_the_limit() {
    const Decoder decoder = small_decoder();
    GenerationOptions options;
    options.max_tokens = 9;
    options.stop_tokens = {2, 3, 4};
    const auto rows =
        generate(decoder, prompts(), grouped(3, 40), options, Random({5, 5, 5}), one_by_one);
    std::size_t finished = 0;
    for (const GeneratedRow& row : rows) {
      for (std::size_t t = 0; t < row.tokens.size(); ++t) {
        const bool stop = row.tokens[t] >= 2 && row.tokens[t] <= 4;
        QCOMPARE(stop, row.finished && t + 1 == row.tokens.size());
      }
      QVERIFY(row.finished || row.tokens.size() == 9);
      QCOMPARE(row.log_probs.size(), row.tokens.size());
      finished += row.finished;
    }
    QVERIFY(finished > 10 && finished < rows.size());
  }

  void stop_conditions_see_what_was_written() {
    GenerationOptions options;
    options.max_tokens = 10;
    options.stops = [](const Ids& written) { return written.size() == 4; };
    const auto rows =
        generate(small_decoder(), prompts(), {0, 1, 2}, options, Random({1, 1, 1}), one_by_one);
    for (const GeneratedRow& row : rows) {
      QVERIFY(row.finished);
      QCOMPARE(row.tokens.size(), std::size_t{4});
    }
  }

  void sampling_and_scoring_give_the_same_log_probs() {
    const Decoder decoder = small_decoder();
    const std::vector<SamplingOptions> all{
        {1.0, 0, 1.0}, {0.7, 0, 1.0}, {1.0, 5, 1.0}, {1.2, 0, 0.8}};
    for (const SamplingOptions& sampling : all) {
      GenerationOptions options;
      options.max_tokens = 20;
      options.stop_tokens = {0};
      options.sampling = sampling;
      const Ids of_row = grouped(3, 8);
      const auto rows =
          generate(decoder, prompts(), of_row, options, Random({8, 1, 2}), one_by_one);
      const std::int64_t n = static_cast<std::int64_t>(rows.size()), before = 6,
                         width = before + 20;
      at::Tensor tokens = at::zeros({n, width}, at::kLong),
                 kinds = at::zeros({n, width}, at::kChar), behaviour = at::zeros({n, width});
      for (std::int64_t i = 0; i < n; ++i) {
        const Ids prompt = prompts()[of_row[i]];
        for (std::size_t t = 0; t < prompt.size(); ++t) {
          tokens[i][before - prompt.size() + t] = prompt[t];
          kinds[i][before - prompt.size() + t] = static_cast<int>(TokenKind::prompt);
        }
        for (std::size_t t = 0; t < rows[i].tokens.size(); ++t) {
          tokens[i][before + t] = rows[i].tokens[t];
          kinds[i][before + t] = static_cast<int>(TokenKind::action);
          behaviour[i][before + t] = rows[i].log_probs[t];
        }
      }
      const TokenStatistics scored =
          score_rows(decoder, token_rows(tokens, kinds), sampling, 5, backwards_in_threads);
      QVERIFY(scored.log_probs.equal(behaviour));
    }
  }

  void a_real_model_tells_its_story() {
    if (!model_files::available()) QSKIP("no model here");
    const Decoder decoder = Decoder::load(model_files::folder("stories260K"));
    const Json greedy = model_files::golden("stories260K")["greedy"][0];
    GenerationOptions options;
    options.sampling.temperature = 0;
    const Ids want = greedy["continuation"];
    options.max_tokens = static_cast<std::int64_t>(want.size());
    const auto rows = generate(decoder, {greedy["prompt"].get<Ids>()}, {0, 0, 0}, options,
                               Random({1, 1, 1}), one_by_one);
    for (const GeneratedRow& row : rows) QCOMPARE(row.tokens, want);
  }

  void rows_with_holes_are_refused() {
    const at::Tensor tokens = at::ones({1, 4}, at::kLong);
    const auto kinds = [](std::vector<std::int64_t> list) {
      return at::tensor(list).to(at::kChar).unsqueeze(0);
    };
    QVERIFY_EXCEPTION_THROWN(token_rows(tokens, kinds({1, 0, 2, 2})), Failure);
    QVERIFY_EXCEPTION_THROWN(token_rows(tokens, kinds({0, 2, 2, 2})), Failure);
    token_rows(tokens, kinds({0, 1, 2, 0}));
  }
};

REWARDLOOM_TEST(TestGenerate)
#include "test_generate.moc"
