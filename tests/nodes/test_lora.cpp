#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <QTemporaryDir>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/optimize/adamw.h"
#include "nodes/text/language_model.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/reference_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::reference_models;
using rewardloom::testing::Bench;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> adapted{"llama-lora", "gpt2-lora", "sequence-lora"};
void add_adapted() {
  QTest::addColumn<QString>("model");
  for (const std::string& name : adapted) {
    QTest::newRow(name.c_str()) << QString::fromStdString(name);
  }
}

/// The same weights without adapters.
Decoder base_of(const std::string& name) {
  const ModelConfig config = model_config(goldens().at(name)["config"]);
  return Decoder(config, reference_weights(config));
}

/// An adapter folder as PEFT writes it: names and entries spelt out, nothing by our own writer.
void write_peft(const fs::path& folder, const Decoder& decoder, const Json& changes) {
  Package package;
  for (const auto& [name, tensor] : decoder.weights()) {
    const bool stored = name.find(".lora_") != std::string::npos || name == "score.weight";
    if (stored) package.tensors["base_model.model." + name] = tensor;
  }
  write_safetensors(folder / "adapter_model.safetensors", package);
  const LoraConfig& lora = *decoder.config().lora;
  Json json = Json::parse(R"({"auto_mapping": null, "base_model_name_or_path": "somewhere",
      "bias": "none", "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
      "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_dropout": 0.05,
      "megatron_config": null, "modules_to_save": null, "peft_type": "LORA", "alpha_pattern": {},
      "rank_pattern": {}, "revision": null, "task_type": "CAUSAL_LM", "use_dora": false,
      "use_rslora": false})");
  json["r"] = lora.rank;
  json["lora_alpha"] = lora.alpha;
  json["target_modules"] = lora.source["target_modules"];
  json.update(changes);
  write_durably(folder / "adapter_config.json", json.dump(2));
}

/// One step of AdamW on sum_k cos(k) y_k.
void train(Decoder& decoder, const TokenSequences& sequences) {
  const auto pass = decoder.score(sequences, true);
  WeightMap gradients = decoder.zero_gradients(), weights = decoder.weights();
  pass->backward(cosines(pass->logits().sizes().vec()).to(at::kFloat), gradients);
  AdamW adam;
  AdamWOptions options;
  options.learning_rate = 1e-2;
  adam.step(weights, gradients, options);
  decoder.weights_changed();
}

}  // namespace

class TestLora : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void new_adapters_change_nothing_data() { add_adapted(); }
  void new_adapters_change_nothing() {
    QFETCH(QString, model);
    const std::string name = model.toStdString();
    const Decoder base = base_of(name);
    const ModelConfig config = with_adapters(base.config(), {4, 8, false, {"all-linear"}});
    WeightMap weights = base.weights();
    weights.merge(new_adapters(config, {3, 1, 4}));
    const Decoder adapted_model(config, weights);
    const TokenSequences sequences = sequences_of(name);
    QVERIFY(adapted_model.score(sequences, false)
                ->logits()
                .equal(base.score(sequences, false)->logits()));
    for (const auto& [tensor, value] : new_adapters(config, {3, 1, 4})) {
      const double largest = value.abs().max().item<double>();
      if (tensor.ends_with("lora_B.weight")) {
        QCOMPARE(largest, 0.0);
      } else {
        const double bound = 1.0 / std::sqrt(static_cast<double>(value.size(1)));
        QVERIFY(largest <= bound && largest > 0.7 * bound);
      }
    }
  }

  void merging_gives_the_adapted_outputs_data() { add_adapted(); }
  void merging_gives_the_adapted_outputs() {
    QFETCH(QString, model);
    const Decoder decoder = decoder_of(model.toStdString());
    const Decoder merged = decoder.merged();
    QVERIFY(!merged.config().lora);
    for (const auto& [name, tensor] : merged.weights())
      QVERIFY(!(name.find(".lora_") != std::string::npos));
    const TokenSequences sequences = sequences_of(model.toStdString());
    const at::Tensor outputs = merged.score(sequences, false)->logits();
    QVERIFY(largest_difference(outputs.reshape(-1), golden_outputs(model.toStdString())) < 5e-6);
    QVERIFY(largest_difference(
                outputs, base_of(model.toStdString()).score(sequences, false)->logits()) > 1e-3);
  }

  void only_adapters_and_a_score_head_are_trained_data() { add_adapted(); }
  void only_adapters_and_a_score_head_are_trained() {
    QFETCH(QString, model);
    Decoder decoder = decoder_of(model.toStdString());
    const Decoder before = decoder.copy();
    train(decoder, sequences_of(model.toStdString()));
    for (const auto& [name, tensor] : decoder.weights()) {
      const bool trains = (name.find(".lora_") != std::string::npos) || name == "score.weight";
      QCOMPARE(!tensor.equal(before.weights().at(name)), trains);
    }
  }

  void trained_adapters_reach_the_sampler_data() { add_adapted(); }
  void trained_adapters_reach_the_sampler() {
    QFETCH(QString, model);
    Decoder decoder = decoder_of(model.toStdString());
    if (decoder.config().head != HeadKind::language_model) return;
    const std::vector<std::int64_t> row{3, 14, 15, 9, 26};
    decoder.decode(1, 8)->prefill({row}, {0});  // a network is made and kept
    const at::Tensor old = decoder.score(all_positions({row}), false)->logits()[-1];
    train(decoder, all_positions({row}));
    const at::Tensor scored = decoder.score(all_positions({row}), true)->logits()[-1];
    const at::Tensor sampled = decoder.decode(1, 8)->prefill({row}, {0})[0];
    QVERIFY(largest_difference(scored, old) > 1e-3);
    QVERIFY(largest_difference(sampled, scored) < 1e-6);
  }

  void rank_stabilised_adapters_scale_by_the_root() {
    LoraConfig lora;
    lora.rank = 16;
    lora.alpha = 8;
    QCOMPARE(lora.scale(), 0.5);
    lora.rank_stabilised = true;
    QCOMPARE(lora.scale(), 2.0);
  }

  // ---- PEFT's files ----

  void peft_folders_are_read_data() { add_adapted(); }
  void peft_folders_are_read() {
    QFETCH(QString, model);
    QTemporaryDir folder;
    const std::string name = model.toStdString();
    const Decoder want = decoder_of(name);
    write_peft(folder.path().toStdString(), want, Json::object());
    const Decoder base = base_of(name);
    WeightMap weights = base.weights();
    const ModelConfig config = load_adapters(folder.path().toStdString(), base.config(), weights);
    const Decoder read(config, weights);
    QCOMPARE(read.weights().size(), want.weights().size());
    QVERIFY(largest_difference(read.score(sequences_of(name), false)->logits().reshape(-1),
                               golden_outputs(name)) < 5e-6);
  }

  void patterns_select_layers_as_in_peft() {
    const Decoder base = base_of("llama-lora");
    QTemporaryDir folder;
    const auto modules = [&](const Json& targets) {
      write_peft(folder.path().toStdString(), decoder_of("llama-lora"),
                 {{"target_modules", targets}});
      WeightMap weights = base.weights();
      try {
        return load_adapters(folder.path().toStdString(), base.config(), weights)
            .lora->modules.size();
      } catch (const Failure&) {
        return std::size_t{0};
      }
    };
    QCOMPARE(modules(".*\\.(q_proj|v_proj|down_proj)"), std::size_t{6});
    QCOMPARE(modules({"self_attn.q_proj", "v_proj", "model.layers.0.mlp.down_proj",
                      "model.layers.1.mlp.down_proj"}),
             std::size_t{6});
    QCOMPARE(modules({"proj"}), std::size_t{0});
    QCOMPARE(modules("(q_proj"), std::size_t{0});
  }

  void written_adapters_load_bit_equal_data() { add_adapted(); }
  void written_adapters_load_bit_equal() {
    QFETCH(QString, model);
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    const Decoder decoder = decoder_of(model.toStdString());
    save_adapters(path, decoder.config(), decoder.weights(), "base/folder");
    const Json json = read_json(path / "adapter_config.json");
    QCOMPARE(json["peft_type"].get<std::string>(), std::string("LORA"));
    QCOMPARE(json["r"].get<std::int64_t>(), decoder.config().lora->rank);
    QCOMPARE(json["base_model_name_or_path"].get<std::string>(), std::string("base/folder"));
    QCOMPARE(json["fan_in_fan_out"].get<bool>(), model.startsWith("gpt2"));
    const bool scores = model.startsWith("sequence");
    QCOMPARE(json["task_type"].get<std::string>(), std::string(scores ? "SEQ_CLS" : "CAUSAL_LM"));
    for (const auto& [name, tensor] :
         read_safetensors(path / "adapter_model.safetensors").tensors) {
      QVERIFY(name.starts_with("base_model.model."));
    }
    WeightMap weights = base_of(model.toStdString()).weights();
    const ModelConfig config = load_adapters(path, base_of(model.toStdString()).config(), weights);
    QCOMPARE(weights.size(), decoder.weights().size());
    for (const auto& [name, tensor] : decoder.weights()) QVERIFY(weights.at(name).equal(tensor));
    QCOMPARE(config.lora->scale(), decoder.config().lora->scale());
  }

  void what_peft_files_may_hold_beyond_lora_is_refused() {
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    const Decoder base = base_of("llama-lora");
    const auto refused = [&](const Json& changes) {
      write_peft(path, decoder_of("llama-lora"), changes);
      WeightMap weights = base.weights();
      return refusal([&] { load_adapters(path, base.config(), weights); });
    };
    QCOMPARE(refused(Json::object()), QString());
    QVERIFY(refused({{"peft_type", "IA3"}}).contains("IA3"));
    QVERIFY(refused({{"use_dora", true}}).contains("use_dora"));
    QVERIFY(refused({{"bias", "all"}}).contains("bias is \"all\""));
    QVERIFY(refused({{"rank_pattern", {{"q_proj", 4}}}}).contains("rank_pattern"));
    QVERIFY(refused({{"r", 0}}).contains("positive rank"));
    QVERIFY(refused({{"r", 5}}).contains("lora_A.weight is [3, 24], the config needs [5, 24]"));
    QVERIFY(refused({{"target_modules", {"q_proj"}}}).contains("is not expected"));
    const QString unknown = refused({{"target_modules", {"c_attn"}}});
    QVERIFY(unknown.contains("c_attn names no linear layer"));
    QVERIFY(unknown.contains("down_proj"));
    QVERIFY(refused({{"target_modules", nullptr}}).contains("target_modules"));
    QVERIFY(refused({{"lora_alpha", "much"}}).startsWith("lora"));
    Package package = read_safetensors(path / "adapter_model.safetensors");
    package.tensors["base_model.model.lm_head.weight"] = at::zeros({29, 24});
    write_peft(path, decoder_of("llama-lora"), Json::object());
    write_safetensors(path / "adapter_model.safetensors", package);
    WeightMap weights = base.weights();
    QVERIFY(refusal([&] { load_adapters(path, base.config(), weights); }).contains("lm_head"));
    fs::remove(path / "adapter_model.safetensors");
    QVERIFY(
        refusal([&] { load_adapters(path, base.config(), weights); }).startsWith("file-not-found"));
  }

  // ---- nodes ----

  void a_policy_with_adapters_is_saved_merged_or_apart() {
    QTemporaryDir folder;
    const fs::path root = folder.path().toStdString();
    const Json sizes{{"hidden_size", 32}, {"num_hidden_layers", 1}};
    Bench policy("text.policy", {{"init", "random"},
                                 {"characters", "abcdefgh"},
                                 {"config", sizes},
                                 {"lora", {{"rank", 2}, {"targets", {"q_proj", "up_proj"}}}}});
    policy.fire();
    const auto model = std::dynamic_pointer_cast<LanguageModel>(policy.out<Policy>("policy").state);
    QCOMPARE(model->decoder().config().lora->alpha, 4.0);
    QCOMPARE(model->decoder().trained_names().size(), std::size_t{4});
    train(model->decoder(), all_positions({{4, 5, 6, 7}}));
    const auto save = [&](const char* form) {
      Bench bench("model.save", {{"path", (root / form).string()}, {"adapters", form}});
      bench.connect("policy", {policy.value("policy")});
      bench.fire();
    };
    save("merged");
    save("separate");
    const auto outputs = [](const LanguageModel& m) {
      return m.decoder().score(all_positions({{4, 5, 6, 7}}), false)->logits();
    };
    Bench merged("text.policy", {{"model", (root / "merged").string()}});
    merged.fire();
    const auto whole = std::dynamic_pointer_cast<LanguageModel>(merged.out<Policy>("policy").state);
    QVERIFY(!whole->decoder().config().lora);
    QVERIFY(outputs(*whole).equal(outputs(*model)));
    QVERIFY(!fs::exists(root / "separate" / "model.safetensors"));

    Bench again("text.policy", {{"init", "random"},
                                {"characters", "abcdefgh"},
                                {"config", sizes},
                                {"adapter", (root / "separate").string()}});
    again.fire();
    const auto apart = std::dynamic_pointer_cast<LanguageModel>(again.out<Policy>("policy").state);
    QVERIFY(outputs(*apart).equal(outputs(*model)));
  }

  void a_copy_keeps_its_adapters() {
    const Decoder decoder = decoder_of("gpt2-lora");
    Decoder twin = decoder.copy();
    train(twin, sequences_of("gpt2-lora"));
    const TokenSequences sequences = sequences_of("gpt2-lora");
    QVERIFY(largest_difference(decoder.score(sequences, false)->logits().reshape(-1),
                               golden_outputs("gpt2-lora")) < 5e-6);
    QVERIFY(largest_difference(twin.score(sequences, false)->logits(),
                               decoder.score(sequences, false)->logits()) > 1e-3);
  }

  void wrong_settings_are_refused() {
    const auto refused = [](const Json& lora) { return refusal([&] { lora_targets(lora); }); };
    QVERIFY(refused({{"rnk", 3}}).contains("rnk"));
    QVERIFY(refused({{"rank", 0}}).contains("below 1"));
    QVERIFY(refused({{"rank", "two"}}).startsWith("lora"));
    QCOMPARE(lora_targets({{"rank", 3}}).alpha, 6.0);
    const ModelConfig config = base_of("llama-lora").config();
    QVERIFY(refusal([&] {
              with_adapters(config, {2, 4, false, {"qproj"}});
            }).contains("there are q_proj"));
    QVERIFY(refusal([&] { with_adapters(config, {2, 4, false, {}}); }).contains("no layer"));
  }
};

REWARDLOOM_TEST(TestLora)
#include "test_lora.moc"
