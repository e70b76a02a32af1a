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
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

using Ids = std::vector<std::int64_t>;

Decoder small_decoder() {
  Json json = Json::object();
  json["architectures"] = {"LlamaForCausalLM"};
  json["vocab_size"] = 17;
  json["hidden_size"] = 32;
  json["intermediate_size"] = 48;
  json["num_hidden_layers"] = 2;
  json["num_attention_heads"] = 4;
  json["num_key_value_heads"] = 2;
  json["max_position_embeddings"] = 64;
  json["initializer_range"] = 0.4;
  const ModelConfig config = model_config(json);
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
    options.chunk_rows = 64;
    const auto want = generate(decoder, prompts(), rows, options, random, one_by_one);
    for (const std::int64_t chunk : {1, 5, 16}) {
      options.chunk_rows = chunk;
      const auto got = generate(decoder, prompts(), rows, options, random, backwards_in_threads);
      for (std::size_t i = 0; i < rows.size(); ++i) QVERIFY(same(got[i], want[i]));
    }
    const auto alone = generate(decoder, prompts(), {rows[0]}, options, random, one_by_one);
    QVERIFY(same(alone[0], want[0]));
    std::set<Ids> different;
    for (std::size_t i = 0; i < 21; ++i) different.insert(want[i].tokens);
    QVERIFY(different.size() > 10);
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
