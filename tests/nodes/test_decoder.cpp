#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <QTemporaryDir>
#include <cmath>
#include <set>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/text/decoder.h"
#include "nodes/text/matrix_product.h"
#include "nodes/text/token_statistics.h"
#include "tests/nodes/model_files.h"
#include "tests/qt_test.h"

using namespace rewardloom;
namespace fs = std::filesystem;

namespace {

ModelConfig small_config(const std::string& architecture) {
  Json json = Json::object();
  json["architectures"] = {architecture};
  json["vocab_size"] = 21;
  json["hidden_size"] = 24;
  json["intermediate_size"] = 40;
  json["num_hidden_layers"] = 2;
  json["num_attention_heads"] = 4;
  json["num_key_value_heads"] = 2;
  json["head_dim"] = 10;
  json["max_position_embeddings"] = 64;
  json["tie_word_embeddings"] = architecture == "Qwen2ForCausalLM";
  json["initializer_range"] = 0.3;
  if (architecture == "LlamaForCausalLM") {
    json["attention_bias"] = true;
    json["mlp_bias"] = true;
  }
  return model_config(json);
}

/// Random everywhere, so that no bias or norm hides at 0 or 1.
Decoder small_decoder(const std::string& architecture) {
  const ModelConfig config = small_config(architecture);
  WeightMap weights = random_weights(config, {7, 1, 0});
  std::uint64_t index = 0;
  for (auto& [name, tensor] : weights) {
    if (tensor.dim() > 1) continue;
    Random random({7, 2, index++});
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] += static_cast<float>(0.2 * random.normal());
    }
  }
  return Decoder(config, std::move(weights));
}

TokenSequences all_positions(std::vector<std::vector<std::int64_t>> tokens) {
  TokenSequences sequences{std::move(tokens), {}};
  for (const auto& row : sequences.tokens) {
    std::vector<std::int64_t> wanted;
    for (std::size_t t = 0; t < row.size(); ++t) wanted.push_back(static_cast<std::int64_t>(t));
    sequences.wanted.push_back(wanted);
  }
  return sequences;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor golden_logits(const Json& sequence) {
  const auto values = sequence["logits"].get<std::vector<double>>();
  const auto shape = sequence["shape"].get<std::vector<std::int64_t>>();
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble)).view(shape);
}

const std::vector<std::vector<std::int64_t>> ragged{
    {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3}, {2}, {2, 7, 1, 8, 2}, {20, 0, 20}};

}  // namespace

class TestDecoder : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void matrix_products_agree_with_double_precision() {
    for (const auto& [m, k, n] : std::vector<std::array<std::int64_t, 3>>{
             {1, 1, 1}, {3, 5, 7}, {8, 64, 32}, {13, 300, 33}, {70, 17, 95}, {9, 600, 31}}) {
      Random random({1, 2, static_cast<std::uint64_t>(m)});
      std::vector<float> a(m * k), b(k * n), c(m * n, 0.5f);
      for (float& x : a) x = static_cast<float>(random.normal());
      for (float& x : b) x = static_cast<float>(random.normal());
      matrix_product(m, {a.data(), k, 1}, PackedMatrix(b.data(), k, n, n, 1), c.data(), n, true);
      const at::Tensor want = at::mm(at::from_blob(a.data(), {m, k}).to(at::kDouble),
                                     at::from_blob(b.data(), {k, n}).to(at::kDouble)) +
                              0.5;
      QVERIFY(largest_difference(at::from_blob(c.data(), {m, n}), want) <
              1e-5 * static_cast<double>(k));
    }
  }

  void a_row_of_a_product_does_not_depend_on_the_others() {
    Random random({1, 3, 0});
    std::vector<float> a(37 * 129), b(129 * 70), whole(37 * 70), one(70);
    for (float& x : a) x = static_cast<float>(random.normal());
    for (float& x : b) x = static_cast<float>(random.normal());
    const PackedMatrix packed(b.data(), 129, 70, 70, 1);
    matrix_product(37, {a.data(), 129, 1}, packed, whole.data(), 70, false);
    for (std::int64_t r = 0; r < 37; ++r) {
      matrix_product(1, {a.data() + r * 129, 129, 1}, packed, one.data(), 70, false);
      QVERIFY(std::equal(one.begin(), one.end(), whole.begin() + r * 70));
    }
  }

  void logits_match_the_golden_numbers_data() {
    QTest::addColumn<QString>("model");
    for (const char* name :
         {"stories260K", "tinyzero-arith", "tiny-random-qwen2", "tiny-random-qwen3"}) {
      QTest::newRow(name) << QString(name);
    }
  }
  void logits_match_the_golden_numbers() {
    if (!model_files::available()) QSKIP("no golden numbers here");
    QFETCH(QString, model);
    const std::string name = model.toStdString();
    const Decoder decoder = Decoder::load(model_files::folder(name));
    const Json golden = model_files::golden(name);
    for (const Json& sequence : golden["sequences"]) {
      const auto ids = sequence["ids"].get<std::vector<std::int64_t>>();
      const at::Tensor want = golden_logits(sequence).log_softmax(-1);
      const auto pass = decoder.score(all_positions({ids}), false);
      QVERIFY2(largest_difference(pass->logits().to(at::kDouble).log_softmax(-1), want) < 3e-5,
               "kernels");
      const c10::NoGradGuard no_gradient;
      const at::Tensor tokens = at::tensor(ids).unsqueeze(0);
      const at::Tensor logits = decoder.forward(tokens, {}, decoder.weights())[0];
      QVERIFY2(largest_difference(logits.to(at::kDouble).log_softmax(-1), want) < 3e-5,
               "operators");
      const auto entropy = sequence["entropy"].get<std::vector<double>>();
      const TokenStatistics statistics =
          token_statistics(pass->logits(), at::zeros({logits.size(0)}, at::kLong), {});
      QVERIFY(largest_difference(statistics.entropy, at::tensor(entropy, at::kDouble)) < 3e-5);
    }
  }

  void greedy_continuations_match_the_golden_ones_data() { logits_match_the_golden_numbers_data(); }
  void greedy_continuations_match_the_golden_ones() {
    if (!model_files::available()) QSKIP("no golden numbers here");
    QFETCH(QString, model);
    const Decoder decoder = Decoder::load(model_files::folder(model.toStdString()));
    const Json golden = model_files::golden(model.toStdString());
    for (const Json& greedy : golden["greedy"]) {
      const auto want = greedy["continuation"].get<std::vector<std::int64_t>>();
      const auto prompt = greedy["prompt"].get<std::vector<std::int64_t>>();
      const auto session =
          decoder.decode(1, static_cast<std::int64_t>(prompt.size() + want.size()));
      std::vector<std::int64_t> got;
      at::Tensor logits = session->prefill({prompt}, {0});
      while (got.size() < want.size()) {
        got.push_back(logits[0].argmax().item<std::int64_t>());
        if (got.size() < want.size()) logits = session->step({0}, {got.back()});
      }
      QCOMPARE(got, want);
    }
  }

  void kernels_and_operators_agree_in_value_and_gradient_data() {
    QTest::addColumn<QString>("architecture");
    for (const std::string& name : known_architectures()) {
      QTest::newRow(name.c_str()) << QString::fromStdString(name);
    }
  }
  void kernels_and_operators_agree_in_value_and_gradient() {
    QFETCH(QString, architecture);
    const Decoder decoder = small_decoder(architecture.toStdString());
    const TokenSequences sequences = all_positions(ragged);
    const auto pass = decoder.score(sequences, true);
    const at::Tensor weight =
        at::sin(at::arange(pass->logits().numel(), at::kFloat)).view(pass->logits().sizes());
    WeightMap got = decoder.zero_gradients();
    pass->backward(weight, got);

    WeightMap leaves;
    for (const auto& [name, tensor] : decoder.weights())
      leaves[name] = tensor.to(at::kDouble).requires_grad_();
    std::vector<at::Tensor> logits;
    for (const auto& row : ragged) {
      logits.push_back(decoder.forward(at::tensor(row).unsqueeze(0), {}, leaves)[0]);
    }
    const at::Tensor joined = at::cat(logits);
    QVERIFY(largest_difference(pass->logits(), joined.detach()) < 2e-5);
    (joined * weight).sum().backward();
    for (const auto& [name, leaf] : leaves) {
      const double scale = 1e-3 + leaf.grad().abs().max().item<double>();
      const double difference = largest_difference(got.at(name), leaf.grad()) / scale;
      QVERIFY2(difference < 2e-5, qPrintable(QString("%1: %2").arg(name.c_str()).arg(difference)));
    }
  }

  void left_padding_changes_nothing() {
    const Decoder decoder = small_decoder("Qwen3ForCausalLM");
    const c10::NoGradGuard no_gradient;
    const at::Tensor tokens = at::tensor(ragged[2]).unsqueeze(0);
    const at::Tensor padded = at::cat({at::zeros({1, 4}, at::kLong), tokens}, 1);
    const at::Tensor mask = at::cat({at::zeros({1, 4}, at::kBool), at::ones({1, 5}, at::kBool)}, 1);
    const at::Tensor want = decoder.forward(tokens, {}, decoder.weights());
    const at::Tensor got = decoder.forward(padded, mask, decoder.weights()).narrow(1, 4, 5);
    QVERIFY(largest_difference(got, want) < 1e-5);
  }

  void a_sequence_gets_the_same_bits_in_any_batch() {
    const Decoder decoder = small_decoder("LlamaForCausalLM");
    const at::Tensor together = decoder.score(all_positions(ragged), false)->logits();
    std::int64_t first = 0;
    for (const auto& row : ragged) {
      const at::Tensor alone = decoder.score(all_positions({row}), false)->logits();
      QVERIFY(alone.equal(together.narrow(0, first, alone.size(0))));
      first += alone.size(0);
    }
  }

  void decoding_gives_the_bits_of_a_whole_pass() {
    const Decoder decoder = small_decoder("Qwen2ForCausalLM");
    const auto& row = ragged[0];
    const at::Tensor whole = decoder.score(all_positions({row}), false)->logits();
    const auto session = decoder.decode(3, static_cast<std::int64_t>(row.size()));
    const std::vector<std::int64_t> prompt(row.begin(), row.begin() + 4);
    at::Tensor logits = session->prefill({{5, 6}, prompt}, {1, 0, 1});
    for (std::size_t t = 4; t <= row.size(); ++t) {
      QVERIFY(logits[0].equal(whole[static_cast<std::int64_t>(t) - 1]));
      QVERIFY(logits[-1].equal(logits[0]));
      if (t == row.size()) break;
      if (t % 2 == 0)
        logits = session->step({0, 1, 2}, {row[t], 3, row[t]});
      else
        logits = session->step({0, 2}, {row[t], row[t]});
    }
  }

  void saved_models_load_bit_equal() {
    QTemporaryDir folder;
    for (const std::string& name : known_architectures()) {
      const fs::path path = fs::path(folder.path().toStdString()) / name;
      const Decoder decoder = small_decoder(name);
      save_model(path, decoder.config(), decoder.weights());
      const Decoder again = Decoder::load(path);
      QCOMPARE(again.weights().size(), decoder.weights().size());
      for (const auto& [key, tensor] : decoder.weights())
        QVERIFY(again.weights().at(key).equal(tensor));
      QCOMPARE(to_json(again.config()).value("initializer_range", 0.0), 0.3);
    }
  }

  void sharded_weights_load_as_one() {
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    const Decoder decoder = small_decoder("LlamaForCausalLM");
    save_model(path, decoder.config(), decoder.weights());
    fs::remove(path / "model.safetensors");
    Package parts[2];
    Json map = Json::object();
    std::size_t i = 0;
    for (const auto& [name, tensor] : decoder.weights()) {
      parts[i % 2].tensors[name] = tensor;
      map[name] = i++ % 2 == 0 ? "a.safetensors" : "b.safetensors";
    }
    write_safetensors(path / "a.safetensors", parts[0]);
    write_safetensors(path / "b.safetensors", parts[1]);
    Json index = Json::object();
    index["weight_map"] = map;
    write_durably(path / "model.safetensors.index.json", index.dump());
    const Decoder again = Decoder::load(path);
    for (const auto& [name, tensor] : decoder.weights())
      QVERIFY(again.weights().at(name).equal(tensor));
  }

  void every_wrong_tensor_is_named() {
    const Decoder decoder = small_decoder("LlamaForCausalLM");
    WeightMap weights = decoder.weights();
    weights.erase("model.norm.weight");
    weights["model.layers.0.mlp.up_proj.weight"] = at::zeros({3, 4});
    weights["surplus"] = at::zeros({1});
    try {
      check_weights(decoder.config(), weights);
      QFAIL("accepted");
    } catch (const Failure& failure) {
      const QString text = failure.what();
      QVERIFY(text.contains("model.norm.weight is missing"));
      QVERIFY(text.contains("up_proj.weight is [3, 4], the config needs [40, 24]"));
      QVERIFY(text.contains("surplus is not expected"));
    }
  }

  void an_unknown_network_is_refused_by_name() {
    Json json = small_config("LlamaForCausalLM").source;
    json["architectures"] = {"MambaForCausalLM"};
    try {
      model_config(json);
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QVERIFY(QString(failure.what()).contains("MambaForCausalLM"));
      QVERIFY(QString(failure.what()).contains("Qwen3ForCausalLM"));
    }
  }

  void llama3_scaling_stretches_the_slow_rotations() {
    Json json = small_config("LlamaForCausalLM").source;
    json["head_dim"] = 128;
    json["rope_theta"] = 500000.0;
    const std::vector<double> plain = rotary_frequencies(model_config(json));
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
    const std::vector<double> scaled = rotary_frequencies(model_config(json));
    std::set<int> regions;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      // By wavelengths, as the model's authors put it.
      const double wavelength = 2 * 3.14159265358979323846 / plain[i];
      double want = plain[i];
      if (wavelength > 8192.0) {
        want = plain[i] / 8;
        regions.insert(0);
      } else if (wavelength < 2048.0) {
        regions.insert(1);
      } else {
        const double smooth = (8192.0 / wavelength - 1) / 3;
        want = (1 - smooth) * plain[i] / 8 + smooth * plain[i];
        regions.insert(2);
      }
      QVERIFY(std::abs(scaled[i] - want) < 1e-12 * want);
    }
    QCOMPARE(regions.size(), std::size_t{3});
    json["rope_scaling"]["rope_type"] = "yarn";
    QVERIFY_EXCEPTION_THROWN(model_config(json), Failure);
  }

  void unknown_entries_of_the_config_survive() {
    Json json = small_config("Qwen3ForCausalLM").source;
    json["rms_norm_eps"] = 1e-6;
    json["rope_theta"] = 10000;
    json["somebody_elses"] = {{"deep", 1}};
    QVERIFY(to_json(model_config(json)) == json);
  }

  void tokens_outside_the_vocabulary_are_refused() {
    const Decoder decoder = small_decoder("LlamaForCausalLM");
    QVERIFY_EXCEPTION_THROWN(decoder.score(all_positions({{1, 21}}), false), Failure);
    QVERIFY_EXCEPTION_THROWN(decoder.decode(1, 65), Failure);
  }

  void statistics_have_the_gradient_of_their_formula_data() {
    QTest::addColumn<double>("temperature");
    QTest::addColumn<int>("top_k");
    QTest::addColumn<double>("top_p");
    QTest::newRow("plain") << 1.0 << 0 << 1.0;
    QTest::newRow("cold") << 0.5 << 0 << 1.0;
    QTest::newRow("top_k") << 1.3 << 5 << 1.0;
    QTest::newRow("top_p") << 1.0 << 0 << 0.7;
  }
  void statistics_have_the_gradient_of_their_formula() {
    QFETCH(double, temperature);
    QFETCH(int, top_k);
    QFETCH(double, top_p);
    const SamplingOptions options{temperature, top_k, top_p};
    const at::Tensor logits = 3 * at::sin(at::arange(7 * 19, at::kFloat) * 1.7).view({7, 19});
    const at::Tensor targets = logits.argsort(1, true).select(1, 1).contiguous();
    const at::Tensor leaf = logits.to(at::kDouble).requires_grad_();
    at::Tensor z = leaf / temperature;
    if (options.truncates()) z = z.masked_fill(support_of(logits, options).logical_not(), -1e30);
    const at::Tensor log_p = z.log_softmax(1);
    const at::Tensor log_probs = log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
    const at::Tensor entropy = -(log_p.exp() * log_p).sum(1);
    const at::Tensor d_log_probs = at::cos(at::arange(7, at::kFloat)),
                     d_entropy = at::sin(at::arange(7, at::kFloat));
    ((log_probs * d_log_probs).sum() + (entropy * d_entropy).sum()).backward();
    const TokenStatistics got = token_statistics(logits, targets, options);
    QVERIFY(largest_difference(got.log_probs, log_probs.detach()) < 2e-6);
    QVERIFY(largest_difference(got.entropy, entropy.detach()) < 2e-6);
    const at::Tensor d =
        token_statistics_backward(logits, targets, options, d_log_probs, d_entropy);
    QVERIFY(largest_difference(d, leaf.grad()) < 2e-6);
    const at::Tensor by_operators =
        token_statistics_backward(logits.to(at::kDouble), targets, options, d_log_probs, d_entropy);
    QVERIFY(largest_difference(by_operators, leaf.grad()) < 2e-6);
  }
};

REWARDLOOM_TEST(TestDecoder)
#include "test_decoder.moc"
