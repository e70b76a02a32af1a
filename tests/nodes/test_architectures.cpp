#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <QTemporaryDir>
#include <fstream>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/text/aten_network.h"
#include "tests/nodes/model_files.h"
#include "tests/nodes/reference_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::reference_models;
namespace fs = std::filesystem;

namespace {

Json config_of(const std::string& name) { return goldens().at(name)["config"]; }

/// A model's files in a folder of their own, to be damaged.
class ModelFolder {
 public:
  explicit ModelFolder(const std::string& name, std::int64_t shard_bytes = 5'000'000'000)
      : path_(folder_.path().toStdString()), decoder_(decoder_of(name)) {
    SaveOptions options;
    options.shard_bytes = shard_bytes;
    save_model(path_, decoder_.config(), decoder_.weights(), options);
  }
  const fs::path& path() const { return path_; }
  const Decoder& decoder() const { return decoder_; }
  QString load_refusal() const {
    return refusal([&] { Decoder::load(path_); });
  }
  void write(const WeightMap& weights) const {
    Package package;
    package.tensors = weights;
    write_safetensors(path_ / "model.safetensors", package);
  }
  void change_config(const std::string& key, const Json& value) const {
    Json json = read_json(path_ / "config.json");
    json[key] = value;
    write_durably(path_ / "config.json", json.dump());
  }

 private:
  QTemporaryDir folder_;
  fs::path path_;
  Decoder decoder_;
};

bool same_weights(const Decoder& a, const Decoder& b) {
  if (a.weights().size() != b.weights().size()) return false;
  for (const auto& [name, tensor] : a.weights()) {
    if (!b.weights().at(name).equal(tensor)) return false;
  }
  return true;
}

void add_language_models() {
  QTest::addColumn<QString>("model");
  for (const char* name :
       {"gpt2", "gemma2", "llama3-scaling", "linear-scaling", "mistral-window", "qwen2-window"}) {
    QTest::newRow(name) << QString(name);
  }
}

}  // namespace

class TestArchitectures : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  // ---- against the reference ----

  void outputs_and_gradients_match_the_reference_data() {
    QTest::addColumn<QString>("model");
    for (const auto& [name, golden] : goldens().items()) {
      QTest::newRow(name.c_str()) << QString::fromStdString(name);
    }
  }
  void outputs_and_gradients_match_the_reference() {
    QFETCH(QString, model);
    const std::string name = model.toStdString();
    const Decoder decoder = decoder_of(name);
    const at::Tensor want = golden_outputs(name);
    const auto pass = decoder.score(sequences_of(name), true);
    QVERIFY(largest_difference(pass->logits().reshape(-1), want) < 5e-6);
    WeightMap gradients = decoder.zero_gradients();
    pass->backward(cosines(pass->logits().sizes().vec()).to(at::kFloat), gradients);
    QVERIFY(worst_gradient(name, gradients) < 2e-5);
    // Adapters' gradients alone where there are adapters, all of the reference's elsewhere.
    const bool lora = decoder.config().lora.has_value();
    for (const auto& [tensor, numbers] : goldens().at(name)["gradients"].items()) {
      const bool wanted =
          !lora || tensor.find(".lora_") != std::string::npos || tensor.starts_with("score.");
      QCOMPARE(gradients.contains(tensor), wanted);
    }
  }

  void operators_in_double_precision_match_the_reference_data() {
    outputs_and_gradients_match_the_reference_data();
  }
  void operators_in_double_precision_match_the_reference() {
    QFETCH(QString, model);
    const std::string name = model.toStdString();
    const Decoder decoder = decoder_of(name);
    WeightMap leaves;
    for (const auto& [tensor, value] : decoder.weights()) {
      leaves[tensor] = value.to(at::kDouble).requires_grad_();
    }
    std::vector<at::Tensor> outputs;
    for (const auto& row : sequences_of(name).tokens) {
      outputs.push_back(decoder.forward(at::tensor(row).unsqueeze(0), {}, leaves).reshape(-1));
    }
    const at::Tensor joined = at::cat(outputs);
    // Rotations are kept in single precision.
    QVERIFY(largest_difference(joined.detach(), golden_outputs(name)) < 1e-6);
    (joined * cosines(joined.sizes().vec())).sum().backward();
    WeightMap gradients;
    for (const auto& [tensor, leaf] : leaves) gradients[tensor] = leaf.grad();
    QCOMPARE(gradients.size(), goldens().at(name)["gradients"].size());
    QVERIFY(worst_gradient(name, gradients) < 2e-6);
  }

  void kernels_are_used_where_they_cover_the_network() {
    for (const char* name : {"llama3-scaling", "linear-scaling", "mistral-window", "qwen2-window",
                             "llama-sequence", "mistral-token", "llama-lora"}) {
      QVERIFY2(decoder_of(name).config().has_own_kernels(), name);
    }
    for (const char* name : {"gpt2", "gemma2", "gemma2-sequence", "gpt2-token", "gpt2-lora"}) {
      QVERIFY2(!decoder_of(name).config().has_own_kernels(), name);
    }
  }

 private:
  /// The session writes `row` behind its first three tokens, beside another prompt.
  static void follow(const Decoder& decoder, const std::vector<std::int64_t>& row,
                     DecodingSession& session, double allowed) {
    const at::Tensor whole = decoder.score(all_positions({row}), false)->logits();
    const std::vector<std::int64_t> prompt(row.begin(), row.begin() + 3);
    at::Tensor logits = session.prefill({{5, 6, 7, 8, 9, 10, 11}, prompt}, {1, 0, 1});
    for (std::size_t t = 3; t <= row.size(); ++t) {
      const at::Tensor want = whole[static_cast<std::int64_t>(t) - 1];
      QVERIFY(largest_difference(logits[0], want) <= allowed);
      QVERIFY(largest_difference(logits[-1], want) <= allowed);
      if (t == row.size()) break;
      // Slot 1 is left behind half-way, so that the cache is compacted.
      if (t < 8) {
        logits = session.step({0, 1, 2}, {row[t], 3, row[t]});
      } else {
        logits = session.step({0, 2}, {row[t], row[t]});
      }
    }
  }

 private Q_SLOTS:
  // ---- decoding ----

  void decoding_gives_what_a_whole_pass_gives_data() { add_language_models(); }
  void decoding_gives_what_a_whole_pass_gives() {
    QFETCH(QString, model);
    const Decoder decoder = decoder_of(model.toStdString());
    const auto row = sequences_of(model.toStdString()).tokens[0];
    const auto places = static_cast<std::int64_t>(row.size());
    follow(decoder, row, *decoder.decode(3, places),
           decoder.config().has_own_kernels() ? 0.0 : 5e-6);
    for (const bool recorded : {false, true}) {
      follow(decoder, row,
             *decode_with_operators(decoder.config(), decoder.weights(), 3, places, recorded),
             5e-6);
    }
  }

  void recorded_steps_see_more_as_rows_grow() {
    Json json = {{"architectures", {"GPT2LMHeadModel"}}, {"vocab_size", 17}, {"n_embd", 16}};
    json.update({{"n_layer", 2}, {"n_head", 2}, {"n_positions", 300}});
    const ModelConfig config = model_config(json);
    const Decoder decoder(config, random_weights(config, {1, 2, 3}));
    const std::int64_t places = config.max_positions;
    std::vector<std::int64_t> row{1, 2};
    const auto session =
        decode_with_operators(decoder.config(), decoder.weights(), 1, places, true);
    at::Tensor logits = session->prefill({row}, {0});
    while (static_cast<std::int64_t>(row.size()) < places) {
      row.push_back(static_cast<std::int64_t>(row.size()) % 7);
      logits = session->step({0}, {row.back()});
    }
    const at::Tensor whole = decoder.score({{row}, {{places - 1}}}, false)->logits()[0];
    QVERIFY(largest_difference(logits[0], whole) < 5e-6);
  }

  void padding_changes_nothing_data() { add_language_models(); }
  void padding_changes_nothing() {
    QFETCH(QString, model);
    const Decoder decoder = decoder_of(model.toStdString());
    const c10::NoGradGuard no_gradient;
    const at::Tensor tokens = at::tensor(sequences_of(model.toStdString()).tokens[0]).unsqueeze(0);
    const std::int64_t t = tokens.size(1);
    const at::Tensor want = decoder.forward(tokens, {}, decoder.weights());
    const at::Tensor pad = at::zeros({1, 4}, at::kLong), none = at::zeros({1, 4}, at::kBool);
    const at::Tensor all = at::ones({1, t}, at::kBool);
    const at::Tensor left =
        decoder.forward(at::cat({pad, tokens}, 1), at::cat({none, all}, 1), decoder.weights());
    QVERIFY(largest_difference(left.narrow(1, 4, t), want) < 5e-6);
    const at::Tensor right =
        decoder.forward(at::cat({tokens, pad}, 1), at::cat({all, none}, 1), decoder.weights());
    QVERIFY(largest_difference(right.narrow(1, 0, t), want) < 5e-6);
  }

  void a_window_hides_what_lies_before_it() {
    const Decoder decoder = decoder_of("mistral-window");
    // Two layers of a window of 5 see 8 tokens back, not 9.
    std::vector<std::int64_t> row(16, 4);
    const auto last = [&] { return decoder.score({{row}, {{15}}}, false)->logits(); };
    const at::Tensor before = last();
    row[6] = 9;
    QVERIFY(last().equal(before));
    row[7] = 9;
    QVERIFY(!last().equal(before));
  }

  void a_window_as_long_as_the_sequence_changes_no_bit() {
    Json json = config_of("mistral-window");
    const TokenSequences sequences = sequences_of("mistral-window");
    json["sliding_window"] = sequences.tokens[0].size();
    const ModelConfig wide = model_config(json);
    json["sliding_window"] = nullptr;
    const ModelConfig open = model_config(json);
    QCOMPARE(open.sliding_window, 0);
    const auto a = Decoder(wide, reference_weights(wide)).score(sequences, false);
    const auto b = Decoder(open, reference_weights(open)).score(sequences, false);
    QVERIFY(a->logits().equal(b->logits()));
  }

  void long_sequences_through_a_window_agree_with_operators_data() {
    QTest::addColumn<int>("window");
    for (const int window : {1, 5, 16, 17, 40})
      QTest::newRow(qPrintable(QString::number(window))) << window;
  }
  void long_sequences_through_a_window_agree_with_operators() {
    QFETCH(int, window);
    Json json = config_of("mistral-window");
    json["sliding_window"] = window;
    const ModelConfig config = model_config(json);
    const Decoder decoder(config, reference_weights(config));
    std::vector<std::int64_t> row(61);
    for (std::size_t t = 0; t < row.size(); ++t) row[t] = static_cast<std::int64_t>(t * t % 29);
    const auto pass = decoder.score(all_positions({row}), true);
    const at::Tensor weight = cosines(pass->logits().sizes().vec());
    WeightMap got = decoder.zero_gradients(), leaves;
    pass->backward(weight.to(at::kFloat), got);
    for (const auto& [name, tensor] : decoder.weights()) {
      leaves[name] = tensor.to(at::kDouble).requires_grad_();
    }
    const at::Tensor logits = decoder.forward(at::tensor(row).unsqueeze(0), {}, leaves)[0];
    QVERIFY(largest_difference(pass->logits(), logits.detach()) < 5e-6);
    (logits * weight).sum().backward();
    for (const auto& [name, leaf] : leaves) {
      const double scale = 1e-3 + leaf.grad().abs().max().item<double>();
      QVERIFY2(largest_difference(got.at(name), leaf.grad()) < 2e-5 * scale, name.c_str());
    }
    const auto session = decoder.decode(1, 61);
    at::Tensor next = session->prefill({{row[0], row[1]}}, {0});
    for (std::int64_t t = 2; t < 61; ++t) {
      QVERIFY(next[0].equal(pass->logits()[t - 1]));
      next = session->step({0}, {row[t]});
    }
  }

  void windows_go_to_the_layers_that_the_family_says() {
    const std::vector<bool> alternating{true, false, true};
    QCOMPARE(decoder_of("gemma2").config().windowed, alternating);
    QCOMPARE(decoder_of("qwen2-window").config().windowed, (std::vector<bool>{false, true}));
    Json json = config_of("gemma2");
    json["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
    QCOMPARE(model_config(json).windowed, (std::vector<bool>{false, true, false}));
    json["layer_types"] = {"full_attention"};
    QVERIFY(refusal([&] { model_config(json); }).contains("layer_types"));
    json = config_of("qwen2-window");
    json["use_sliding_window"] = false;
    QCOMPARE(model_config(json).sliding_window, 0);
  }

  // ---- configs ----

  void entries_of_newer_files_are_read() {
    Json json = config_of("llama3-scaling");
    const auto want = rotary_frequencies(model_config(json));
    Json parameters = json["rope_scaling"];
    parameters["rope_theta"] = json["rope_theta"];
    json.erase("rope_scaling");
    json.erase("rope_theta");
    json["rope_parameters"] = parameters;
    QCOMPARE(rotary_frequencies(model_config(json)), want);
    QVERIFY(to_json(model_config(json)) == json);
  }

  void null_caps_are_no_caps() {
    Json json = config_of("gemma2");
    json["attn_logit_softcapping"] = nullptr;
    json["final_logit_softcapping"] = nullptr;
    QCOMPARE(model_config(json).attention_cap, 0.0);
    QCOMPARE(model_config(json).logit_cap, 0.0);
    json.erase("attn_logit_softcapping");
    QCOMPARE(model_config(json).attention_cap, 50.0);
  }

  void what_is_not_supported_is_refused_by_name() {
    const auto refused = [](const std::string& model, const std::string& key, const Json& value) {
      Json json = config_of(model);
      json[key] = value;
      return refusal([&] { model_config(json); });
    };
    for (const char* type : {"dynamic", "yarn", "longrope"}) {
      Json scaling = Json::object();
      scaling["type"] = type;
      scaling["factor"] = 2.0;
      QVERIFY(refused("llama3-scaling", "rope_scaling", scaling).contains(type));
    }
    QVERIFY(refused("llama3-scaling", "hidden_act", "relu").contains("relu"));
    QVERIFY(refused("llama3-scaling", "rope_scaling", 3).contains("rope_scaling"));
    QVERIFY(refused("gpt2", "scale_attn_by_inverse_layer_idx", true)
                .contains("scale_attn_by_inverse_layer_idx"));
    QVERIFY(refused("gpt2", "n_head", 7).contains("7 heads"));
    QVERIFY(refused("gemma2", "num_key_value_heads", 3).contains("3 key-value heads"));
    QVERIFY(refused("gpt2", "n_layer", -1).contains("num_hidden_layers"));
    QVERIFY(refused("gpt2", "vocab_size", "many").contains("vocab_size"));
    const QString unknown = refused("gpt2", "architectures", {"MambaForCausalLM"});
    QVERIFY(unknown.startsWith("model-architecture"));
    for (const std::string& known : known_architectures()) {
      QVERIFY2(unknown.contains(known.c_str()), known.c_str());
    }
  }

  void a_model_type_stands_for_its_language_model() {
    Json json = config_of("gpt2");
    json.erase("architectures");
    QCOMPARE(model_config(json).architecture, std::string("GPT2LMHeadModel"));
    json = config_of("gemma2");
    json.erase("architectures");
    QCOMPARE(model_config(json).architecture, std::string("Gemma2ForCausalLM"));
  }

  // ---- files ----

  void saved_models_load_bit_equal_data() {
    QTest::addColumn<QString>("model");
    for (const auto& [name, golden] : goldens().items()) {
      if (!golden.contains("lora")) QTest::newRow(name.c_str()) << QString::fromStdString(name);
    }
  }
  void saved_models_load_bit_equal() {
    QFETCH(QString, model);
    const ModelFolder folder(model.toStdString());
    const Decoder again = Decoder::load(folder.path());
    QVERIFY(same_weights(again, folder.decoder()));
    QCOMPARE(again.config().architecture, folder.decoder().config().architecture);
    QCOMPARE(again.config().labels, folder.decoder().config().labels);
    const TokenSequences sequences = sequences_of(model.toStdString());
    QVERIFY(again.score(sequences, false)
                ->logits()
                .equal(folder.decoder().score(sequences, false)->logits()));
  }

  void shards_are_written_and_read() {
    const ModelFolder folder("gemma2", 4000);
    QVERIFY(!fs::exists(folder.path() / "model.safetensors"));
    const Json index = read_json(folder.path() / "model.safetensors.index.json");
    std::set<std::string> files;
    std::int64_t total = 0;
    for (const auto& [tensor, file] : index["weight_map"].items()) files.insert(file);
    for (const auto& [name, tensor] : folder.decoder().weights()) total += 4 * tensor.numel();
    QVERIFY(files.size() > 5);
    QCOMPARE(index["metadata"]["total_size"].get<std::int64_t>(), total);
    for (const std::string& file : files) {
      QVERIFY(fs::file_size(folder.path() / file) < 8000);
      QVERIFY(file.ends_with(fmt::format("of-{:05}.safetensors", files.size())));
    }
    QVERIFY(same_weights(Decoder::load(folder.path()), folder.decoder()));
    // Saved again as one file: no shard may be left to be read.
    save_model(folder.path(), folder.decoder().config(), folder.decoder().weights());
    QVERIFY(!fs::exists(folder.path() / "model.safetensors.index.json"));
    for (const std::string& file : files) QVERIFY(!fs::exists(folder.path() / file));
    QVERIFY(same_weights(Decoder::load(folder.path()), folder.decoder()));
  }

  void half_precision_files_load_as_their_numbers() {
    for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
      const ModelFolder folder("gpt2");
      save_model(folder.path(), folder.decoder().config(), folder.decoder().weights(), type);
      const Decoder again = Decoder::load(folder.path());
      for (const auto& [name, tensor] : folder.decoder().weights()) {
        QVERIFY(again.weights().at(name).equal(tensor.to(type).to(at::kFloat)));
      }
      const std::string named = type == at::kHalf ? "float16" : "bfloat16";
      QCOMPARE(read_json(folder.path() / "config.json")["torch_dtype"].get<std::string>(), named);
    }
  }

  void gpt2_files_without_prefix_and_with_masks_are_read() {
    const ModelFolder folder("gpt2");
    WeightMap bare;
    for (const auto& [name, tensor] : folder.decoder().weights()) {
      bare[name.substr(std::string("transformer.").size())] = tensor;
    }
    bare["h.0.attn.bias"] = at::ones({1, 1, 20, 20}, at::kByte);
    bare["h.1.attn.bias"] = at::ones({1, 1, 20, 20});
    bare["h.1.attn.masked_bias"] = at::ones({1});
    bare["lm_head.weight"] = bare.at("wte.weight").clone();
    folder.write(bare);
    QVERIFY(same_weights(Decoder::load(folder.path()), folder.decoder()));
  }

  void a_missing_shard_is_named() {
    const ModelFolder folder("gpt2", 4000);
    std::vector<fs::path> removed;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("model-00002") || name.starts_with("model-00003")) {
        removed.push_back(entry.path());
      }
    }
    QCOMPARE(removed.size(), std::size_t{2});
    for (const fs::path& path : removed) fs::remove(path);
    const QString text = folder.load_refusal();
    QVERIFY(text.startsWith("model-weights"));
    for (const fs::path& path : removed) {
      QVERIFY2(text.contains(path.filename().c_str()), qPrintable(text));
    }
  }

  void an_index_that_lies_is_refused() {
    const ModelFolder folder("gpt2", 4000);
    const fs::path path = folder.path() / "model.safetensors.index.json";
    const Json honest = read_json(path);
    const auto with = [&](const auto& change) {
      Json index = honest;
      change(index);
      write_durably(path, index.dump());
      return folder.load_refusal();
    };
    QVERIFY(with([](Json& i) {
              i["weight_map"]["ghost.weight"] = i["weight_map"]["transformer.wte.weight"];
            }).contains("ghost.weight in model-"));
    QVERIFY(with([](Json& i) {
              i["weight_map"]["transformer.wte.weight"] = "../elsewhere.safetensors";
            }).contains("../elsewhere.safetensors"));
    QVERIFY(with([](Json& i) { i.erase("weight_map"); }).contains("no weight_map"));
  }

  void every_tensor_that_does_not_fit_is_listed() {
    const ModelFolder folder("gemma2");
    WeightMap weights = folder.decoder().weights();
    weights.erase("model.layers.1.pre_feedforward_layernorm.weight");
    weights["model.layers.0.mlp.up_proj.weight"] = at::zeros({3, 4});
    weights["model.layers.0.self_attn.q_norm.weight"] = at::zeros({6});
    folder.write(weights);
    const QString text = folder.load_refusal();
    QVERIFY(text.contains("3 of the tensors"));
    QVERIFY(text.contains("pre_feedforward_layernorm.weight is missing"));
    QVERIFY(text.contains("up_proj.weight is [3, 4], the config needs [36, 20]"));
    QVERIFY(text.contains("q_norm.weight is not expected"));
  }

  void a_vocabulary_smaller_than_the_embedding_is_refused() {
    const ModelFolder folder("gpt2");
    folder.change_config("vocab_size", 16);
    QVERIFY(folder.load_refusal().contains("wte.weight is [29, 24], the config needs [16, 24]"));
  }

  void integers_are_refused_by_type() {
    const ModelFolder folder("llama-sequence");
    WeightMap weights = folder.decoder().weights();
    weights["score.weight"] = at::ones({3, 24}, at::kLong);
    weights["model.norm.weight"] = at::ones({24}, at::kChar);
    folder.write(weights);
    const QString text = folder.load_refusal();
    QVERIFY(text.contains("score.weight holds I64"));
    QVERIFY(text.contains("model.norm.weight holds I8"));
  }

  void damaged_files_are_refused() {
    const ModelFolder folder("gpt2");
    const fs::path path = folder.path() / "model.safetensors";
    const std::string whole = read_file(path);
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{7}, std::size_t{400}, whole.size() - 1}) {
      write_durably(path, whole.substr(0, size));
      QVERIFY2(folder.load_refusal().startsWith("safetensors-invalid"),
               qPrintable(QString::number(size)));
    }
    std::string lying = whole;
    lying.replace(lying.find("[29,24]"), 7, "[29,25]");
    write_durably(path, lying);
    QVERIFY(folder.load_refusal().startsWith("safetensors-invalid"));
    fs::remove(path);
    QVERIFY(folder.load_refusal().contains("neither model.safetensors nor"));
  }

  void tokens_and_lengths_out_of_range_are_refused() {
    for (const char* name : {"gpt2", "gemma2"}) {
      const Decoder decoder = decoder_of(name);
      QVERIFY(refusal([&] {
                decoder.score(all_positions({{1, 29}}), false);
              }).startsWith("token-range"));
      QVERIFY(
          refusal([&] { decoder.score(all_positions({{-1}}), false); }).startsWith("token-range"));
      QVERIFY(
          refusal([&] { decoder.score(all_positions({{}}), false); }).startsWith("empty-sequence"));
      const std::int64_t most = decoder.config().max_positions;
      QVERIFY(refusal([&] {
                decoder.score(all_positions({std::vector<std::int64_t>(most + 1, 2)}), false);
              }).startsWith("context-length"));
      QVERIFY(refusal([&] { decoder.decode(1, most + 1); }).startsWith("context-length"));
    }
  }

  void prompts_are_checked_before_they_are_read() {
    for (const char* name : {"gpt2", "llama3-scaling"}) {
      const Decoder decoder = decoder_of(name);
      QVERIFY(refusal([&] {
                decoder.decode(1, 10)->prefill({{1, 99}}, {0});
              }).startsWith("token-range"));
      QVERIFY(refusal([&] {
                decoder.decode(1, 10)->prefill({std::vector<std::int64_t>(11, 1)}, {0});
              }).startsWith("context-length"));
    }
  }
};

REWARDLOOM_TEST(TestArchitectures)
#include "test_architectures.moc"
