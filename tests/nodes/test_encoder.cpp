#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <QTemporaryDir>
#include <cmath>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/text/sentence_encoder.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/reference_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::reference_models;
using rewardloom::testing::Bench;
namespace fs = std::filesystem;

namespace {

fs::path data() { return fs::path(REWARDLOOM_SOURCE_DIR) / "tests" / "nodes" / "data"; }
const Json& encoder_golden() {
  static const Json json = read_json(data() / "encoder.json");
  return json;
}
const Json& word_golden() {
  static const Json json = read_json(data() / "word_piece.json");
  return json;
}

std::string tokenizer_json(const std::string& name) {
  Json json = word_golden()["tokenizers"][name];
  json["model"]["vocab"] = word_golden()["vocabulary"];
  return json.dump();
}

EncoderConfig golden_config() { return encoder_config(encoder_golden()["config"]); }
WeightMap golden_weights(const EncoderConfig& config) {
  WeightMap weights;
  for (const WeightShape& w : encoder_shapes(config, false)) {
    const bool scale = w.shape.size() == 1 && w.name.ends_with(".weight");
    weights[w.name] = reference_weight(w.name, w.shape, scale ? 1.0 : 0.0);
  }
  return weights;
}

at::Tensor numbers(const Json& list) {
  const auto values = list.get<std::vector<double>>();
  return at::tensor(at::ArrayRef<double>(values), at::TensorOptions().dtype(at::kDouble));
}

/// The golden rows as one padded batch.
struct Batch {
  at::Tensor tokens, mask;
};
Batch golden_batch() {
  const auto ids = encoder_golden()["ids"].get<std::vector<std::vector<std::int64_t>>>();
  Batch b{at::zeros({3, 8}, at::kLong), at::zeros({3, 8}, at::kBool)};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::size_t t = 0; t < ids[i].size(); ++t) {
      b.tokens[i][t] = ids[i][t];
      b.mask[i][t] = true;
    }
  }
  return b;
}

/// A sentence-transformers folder of an encoder whose vocabulary is the golden one.
class EncoderFolder {
 public:
  EncoderFolder() : path_(folder_.path().toStdString()) {
    Json json = encoder_golden()["config"];
    json["vocab_size"] = word_golden()["vocabulary"].size();
    const EncoderConfig config = encoder_config(json);
    save_encoder(path_, config, golden_weights(config));
    write_durably(path_ / "tokenizer.json", tokenizer_json("uncased"));
  }
  const fs::path& path() const { return path_; }
  void put(const std::string& file, const Json& json) const {
    fs::create_directories((path_ / file).parent_path());
    write_durably(path_ / file, json.dump());
  }
  void put_modules(const std::string& pooling, bool normalise) const {
    Json modules = Json::array();
    modules.push_back(
        {{"idx", 0}, {"path", ""}, {"type", "sentence_transformers.models.Transformer"}});
    modules.push_back(
        {{"idx", 1}, {"path", "1_Pooling"}, {"type", "sentence_transformers.models.Pooling"}});
    if (normalise) {
      modules.push_back({{"idx", 2},
                         {"path", "2_Normalize"},
                         {"type", "sentence_transformers.models.Normalize"}});
    }
    put("modules.json", modules);
    Json config{{"word_embedding_dimension", 24}};
    for (const char* mode : {"cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"}) {
      config[std::string("pooling_mode_") + mode] = pooling == mode;
    }
    put("1_Pooling/config.json", config);
  }

 private:
  QTemporaryDir folder_;
  fs::path path_;
};

}  // namespace

class TestEncoder : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  // ---- tokens ----

  void word_pieces_match_the_reference_data() {
    QTest::addColumn<QString>("tokenizer");
    for (const auto& [name, json] : word_golden()["tokenizers"].items()) {
      QTest::newRow(name.c_str()) << QString::fromStdString(name);
    }
  }
  void word_pieces_match_the_reference() {
    QFETCH(QString, tokenizer);
    const std::string name = tokenizer.toStdString();
    const auto t = json_tokenizer(tokenizer_json(name), Json::object());
    const Json& texts = word_golden()["texts"];
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string text = texts[i].get<std::string>();
      const auto want = word_golden()["ids"][name][i].get<std::vector<std::int64_t>>();
      QVERIFY2(t->encode_whole(text) == want, text.c_str());
    }
  }

  // ---- the network ----

  void hidden_states_match_the_reference() {
    const EncoderConfig config = golden_config();
    const WeightMap weights = golden_weights(config);
    const Batch b = golden_batch();
    const at::Tensor hidden = encoder_hidden(config, weights, b.tokens, b.mask);
    WeightMap precise;
    for (const auto& [name, tensor] : weights) precise[name] = tensor.to(at::kDouble);
    const at::Tensor exact = encoder_hidden(config, precise, b.tokens, b.mask);
    for (std::int64_t i = 0; i < 3; ++i) {
      const at::Tensor want = numbers(encoder_golden()["hidden"][i]).view({-1, 24});
      QVERIFY(largest_difference(hidden[i].narrow(0, 0, want.size(0)), want) < 5e-6);
      const double difference = largest_difference(exact[i].narrow(0, 0, want.size(0)), want);
      QVERIFY2(difference < 1e-6, qPrintable(QString::number(difference)));
    }
  }

  void pooling_matches_the_reference() {
    const EncoderConfig config = golden_config();
    const Batch b = golden_batch();
    const at::Tensor hidden = encoder_hidden(config, golden_weights(config), b.tokens, b.mask);
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto close = [&](const at::Tensor& rows, const char* name) {
        return largest_difference(rows[i], numbers(encoder_golden()[name][i])) < 5e-6;
      };
      const at::Tensor mean = pooled(hidden, b.mask, Pooling::mean);
      QVERIFY(close(mean, "mean"));
      QVERIFY(close(unit_rows(mean), "unit_mean"));
      QVERIFY(close(pooled(hidden, b.mask, Pooling::cls), "cls"));
      QVERIFY(close(pooled(hidden, b.mask, Pooling::max), "max"));
    }
    QCOMPARE(unit_rows(at::zeros({1, 3})).abs().sum().item<double>(), 0.0);
  }

  // ---- folders ----

  void saved_encoders_load_bit_equal() {
    const EncoderFolder folder;
    const auto a = SentenceEncoder::load(folder.path());
    QTemporaryDir copy;
    const fs::path path = copy.path().toStdString();
    save_encoder(path, a->config(), a->weights());
    a->tokenizer().save(path);
    const auto b = SentenceEncoder::load(path);
    QCOMPARE(b->weights().size(), a->weights().size());
    for (const auto& [name, tensor] : a->weights()) QVERIFY(b->weights().at(name).equal(tensor));
    QVERIFY(a->embed({"the cat"}, 4, in_turn).equal(b->embed({"the cat"}, 4, in_turn)));
  }

  void checkpoints_that_others_write_are_read() {
    const EncoderFolder folder;
    const auto a = SentenceEncoder::load(folder.path());
    Package package;
    for (const auto& [name, tensor] : a->weights()) package.tensors["bert." + name] = tensor;
    package.tensors["bert.embeddings.position_ids"] = at::arange(24).unsqueeze(0);
    package.tensors["bert.pooler.dense.weight"] = at::ones({24, 24});
    package.tensors["bert.pooler.dense.bias"] = at::ones({24});
    package.tensors["cls.predictions.bias"] = at::ones({5});
    write_safetensors(folder.path() / "model.safetensors", package);
    QVERIFY(
        refusal([&] { SentenceEncoder::load(folder.path()); }).contains("cls.predictions.bias"));
    Json config = read_json(folder.path() / "config.json");
    config["architectures"] = {"BertForMaskedLM"};
    folder.put("config.json", config);
    const auto b = SentenceEncoder::load(folder.path());
    QVERIFY(a->embed({"the cat"}, 4, in_turn).equal(b->embed({"the cat"}, 4, in_turn)));
  }

  void modules_say_how_to_pool() {
    const EncoderFolder folder;
    const auto options = [&] { return SentenceEncoder::load(folder.path())->options(); };
    QVERIFY(options().pooling == Pooling::mean && !options().normalise);
    QCOMPARE(options().max_tokens, 24);
    folder.put_modules("cls_token", true);
    folder.put("sentence_bert_config.json", {{"max_seq_length", 7}, {"do_lower_case", false}});
    QVERIFY(options().pooling == Pooling::cls && options().normalise);
    QCOMPARE(options().max_tokens, 7);
    folder.put("sentence_bert_config.json", {{"max_seq_length", 512}});
    QCOMPARE(options().max_tokens, 24);
    folder.put_modules("max_tokens", false);
    QVERIFY(options().pooling == Pooling::max && !options().normalise);
    folder.put("1_Pooling/config.json", {{"pooling_mode", "mean"}});
    QVERIFY(options().pooling == Pooling::mean);
    folder.put_modules("mean_sqrt_len_tokens", false);
    QVERIFY(refusal(options).contains("mean_sqrt_len_tokens"));
    folder.put("modules.json", Json::array({{{"type", "sentence_transformers.models.Dense"}}}));
    QVERIFY(refusal(options).contains("Dense"));
  }

  void what_does_not_fit_is_refused() {
    const EncoderFolder folder;
    const Json honest = read_json(folder.path() / "config.json");
    const auto with = [&](const char* key, const Json& value) {
      Json json = honest;
      json[key] = value;
      folder.put("config.json", json);
      return refusal([&] { SentenceEncoder::load(folder.path()); });
    };
    QVERIFY(with("architectures", {"RobertaModel"}).contains("RobertaModel"));
    QVERIFY(with("position_embedding_type", "relative_key").contains("relative_key"));
    QVERIFY(with("num_attention_heads", 5).contains("5 heads"));
    QVERIFY(with("hidden_act", "relu").contains("relu"));
    QVERIFY(with("layer_norm_eps", "tiny").startsWith("model-config"));
    QVERIFY(
        with("num_hidden_layers", 3).contains("encoder.layer.2.output.dense.weight is missing"));
    QVERIFY(with("vocab_size", 9).contains("the config needs [9, 24]"));
    QVERIFY(refusal([] { SentenceEncoder::load("/nowhere"); }).contains("/nowhere"));
    EncoderConfig config = golden_config();
    config.vocab_size = 8;
    QVERIFY(refusal([&] {
              SentenceEncoder(config, golden_weights(config),
                              json_tokenizer(tokenizer_json("uncased"), Json::object()), {});
            }).startsWith("model-tokenizer"));
  }

  // ---- texts ----

  void long_texts_are_cut_before_the_end_token() {
    const EncoderFolder folder;
    const auto encoder = SentenceEncoder::load(folder.path());
    std::string text;
    for (int i = 0; i < 50; ++i) text += "cat ";
    const auto ids = encoder->encode(text);
    QCOMPARE(ids.size(), std::size_t{24});
    QCOMPARE(ids.front(), 2);
    QCOMPARE(ids[22], word_golden()["vocabulary"]["cat"].get<std::int64_t>());
    QCOMPARE(ids.back(), 3);
  }

  void a_text_gets_its_vector_in_any_company() {
    const EncoderFolder folder;
    const auto encoder = SentenceEncoder::load(folder.path());
    const std::vector<std::string> texts{"playing the cat", "", "hello world 2020", "a", "un-able"};
    const at::Tensor all = encoder->embed(texts, 2, in_turn);
    QCOMPARE(all.sizes(), at::IntArrayRef({5, 24}));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const at::Tensor one = encoder->embed({texts[i]}, 1, in_turn)[0];
      QVERIFY(largest_difference(all[static_cast<std::int64_t>(i)], one) < 2e-6);
    }
    QCOMPARE(encoder->embed({}, 4, in_turn).size(0), 0);
  }

  void nodes_embed_completions_and_prompts() {
    const EncoderFolder folder;
    folder.put_modules("cls_token", false);
    Bench make("text.encoder", {{"model", folder.path().string()},
                                {"pooling", "mean"},
                                {"normalise", true},
                                {"max_tokens", 6}});
    make.fire();
    const auto encoder =
        std::dynamic_pointer_cast<SentenceEncoder>(make.out<Encoder>("encoder").state);
    QVERIFY(encoder->options().pooling == Pooling::mean && encoder->options().normalise);
    QCOMPARE(encoder->options().max_tokens, 6);

    Completions c;
    c.tokens = at::zeros({2, 1}, at::kLong);
    c.prompt_text = {"the ", "a "};
    c.text = {"cat", "world"};
    c.reference = {"hello", "hello"};
    c.batch = 5;
    const auto features = [&](const char* text) {
      Bench embed("text.embed", {{"text", text}});
      embed.connect("encoder", {make.value("encoder")});
      embed.connect("completions", {Value::of<Completions>(c)});
      embed.fire();
      return embed.out<Features>("features");
    };
    QCOMPARE(features("answer").batch, 5);
    QVERIFY(features("answer").features.equal(encoder->embed({"cat", "world"}, 32, in_turn)));
    QVERIFY(features("prompt").features.equal(encoder->embed({"the ", "a "}, 32, in_turn)));
    QVERIFY(features("conversation")
                .features.equal(encoder->embed({"the cat", "a world"}, 32, in_turn)));
    const at::Tensor same = features("reference").features;
    // Some matrix libraries round rows of one product differently.
    QVERIFY(at::allclose(same[0], same[1], 0, 1e-6));
    QVERIFY(std::abs(same[0].norm().item<double>() - 1) < 1e-6);
    c.text.pop_back();
    QVERIFY(refusal([&] { features("answer"); }).contains("2 rows, but 1 answer texts"));

    Prompts p;
    p.text = {"hello world"};
    p.batch = 6;
    Bench embed("text.embed", Json::object());
    embed.connect("encoder", {make.value("encoder")});
    embed.connect("prompts", {Value::of<Prompts>(p)});
    embed.fire();
    QVERIFY(embed.out<Features>("features")
                .features.equal(encoder->embed({"hello world"}, 32, in_turn)));
    Bench long_one("text.encoder", {{"model", folder.path().string()}, {"max_tokens", 25}});
    QVERIFY(refusal([&] { long_one.fire(); }).contains("3 to 24 tokens"));
  }

  void checkpoints_restore_the_weights() {
    const EncoderFolder folder;
    const auto a = SentenceEncoder::load(folder.path());
    const auto b = SentenceEncoder::load(folder.path());
    Package package;
    static_cast<const SentenceEncoder&>(*a).save(package);
    for (auto& [name, tensor] : package.tensors) tensor.add_(0.01);
    b->load(package);
    QVERIFY(!a->embed({"the cat"}, 1, in_turn).equal(b->embed({"the cat"}, 1, in_turn)));
    package.tensors.erase("embeddings.LayerNorm.bias");
    QVERIFY(refusal([&] { b->load(package); }).contains("embeddings.LayerNorm.bias is missing"));
  }
};

REWARDLOOM_TEST(TestEncoder)
#include "test_encoder.moc"
