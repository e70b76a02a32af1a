// Layers computed again in the backward pass, and passes in bfloat16 over float32 weights.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <numeric>

#include "nodes/text/aten_network.h"
#include "nodes/text/decoder.h"
#include "nodes/text/matrix_product.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

struct Variant {
  ComputeType compute = ComputeType::float32;
  bool recomputes_layers = false;
};

Decoder decoder_of(const std::string& architecture, const Variant& variant) {
  Json json = Json::object();
  json["architectures"] = {architecture};
  json["vocab_size"] = 23;
  json["hidden_size"] = 32;
  json["intermediate_size"] = 48;
  json["num_hidden_layers"] = 3;
  json["num_attention_heads"] = 4;
  json["num_key_value_heads"] = 2;
  json["head_dim"] = 8;
  json["max_position_embeddings"] = 64;
  json["tie_word_embeddings"] = true;
  json["initializer_range"] = 0.2;
  if (architecture == "GPT2LMHeadModel") {
    json["n_embd"] = 32;
    json["n_layer"] = 3;
    json["n_head"] = 4;
    json["n_positions"] = 64;
    json["activation_function"] = "gelu_new";
  }
  if (architecture == "Gemma2ForCausalLM") {
    json["sliding_window"] = 4;
    json["query_pre_attn_scalar"] = 8;
  }
  ModelConfig config = model_config(json);
  config.compute = variant.compute;
  config.recomputes_layers = variant.recomputes_layers;
  WeightMap weights = random_weights(config, {3, 1, 0});
  return Decoder(std::move(config), std::move(weights));
}

TokenSequences rows() {
  TokenSequences sequences;
  sequences.tokens = {{3, 1, 4, 1, 5, 9, 2, 6, 5}, {2}, {20, 0, 20, 22, 7}};
  sequences.wanted = {{0, 3, 8}, {0}, {1, 2, 4}};
  return sequences;
}

struct Passed {
  at::Tensor logits;
  WeightMap gradients;
};

Passed passed(const Decoder& decoder) {
  Passed out;
  const auto pass = decoder.score(rows(), true);
  out.logits = pass->logits().clone();
  out.gradients = decoder.zero_gradients();
  pass->backward(at::linspace(-1, 1, out.logits.numel()).view(out.logits.sizes()), out.gradients);
  return out;
}

at::Tensor flat(const WeightMap& tensors) {
  std::vector<at::Tensor> parts;
  for (const auto& [name, tensor] : tensors) parts.push_back(tensor.flatten().to(at::kDouble));
  return at::cat(parts);
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

const QStringList kArchitectures{"LlamaForCausalLM", "Qwen3ForCausalLM", "GPT2LMHeadModel",
                                 "Gemma2ForCausalLM"};

void architectures() {
  QTest::addColumn<QString>("architecture");
  for (const QString& name : kArchitectures) QTest::newRow(qPrintable(name)) << name;
}

}  // namespace

class TestPrecision : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void layers_computed_again_give_the_same_gradients_data() { architectures(); }
  void layers_computed_again_give_the_same_gradients() {
    QFETCH(QString, architecture);
    const std::string name = architecture.toStdString();
    const Decoder keeps = decoder_of(name, {}),
                  again = decoder_of(name, {.recomputes_layers = true});
    const Passed one = passed(keeps), other = passed(again);
    QVERIFY(at::equal(one.logits, other.logits));
    QVERIFY(one.gradients.size() > 5);
    for (const auto& [weight, gradient] : one.gradients) {
      QVERIFY(gradient.abs().max().item<double>() > 0);
      if (keeps.config().has_own_kernels()) {
        QVERIFY2(at::equal(gradient, other.gradients.at(weight)), weight.c_str());
      } else {
        QVERIFY2(relative(other.gradients.at(weight), gradient) < 1e-6, weight.c_str());
      }
    }
  }

  void the_operators_recompute_as_the_kernels_do() {
    const Decoder kernels = decoder_of("LlamaForCausalLM", {});
    ModelConfig config = kernels.config();
    config.recomputes_layers = true;
    const auto pass =
        score_with_operators(config, kernels.weights(), rows(), kernels.trained_names());
    WeightMap gradients = kernels.zero_gradients();
    pass->backward(at::linspace(-1, 1, pass->logits().numel()).view(pass->logits().sizes()),
                   gradients);
    QVERIFY(relative(flat(gradients), flat(passed(kernels).gradients)) < 1e-5);
  }

  void bfloat16_passes_stay_near_float32_and_leave_the_weights_alone_data() { architectures(); }
  void bfloat16_passes_stay_near_float32_and_leave_the_weights_alone() {
    QFETCH(QString, architecture);
    const std::string name = architecture.toStdString();
    const Decoder wide = decoder_of(name, {});
    const Passed exact = passed(wide);
    for (const bool recomputes : {false, true}) {
      const Decoder narrow =
          decoder_of(name, {.compute = ComputeType::bfloat16, .recomputes_layers = recomputes});
      const Passed rough = passed(narrow);
      QCOMPARE(rough.logits.scalar_type(), at::kFloat);
      const double off = relative(rough.logits, exact.logits);
      QVERIFY2(off > 1e-5 && off < 0.05, qPrintable(QString::number(off)));
      const double gradients_off = relative(flat(rough.gradients), flat(exact.gradients));
      QVERIFY2(gradients_off < 0.1, qPrintable(QString::number(gradients_off)));
      for (const auto& [weight, gradient] : rough.gradients) {
        QCOMPARE(gradient.scalar_type(), at::kFloat);
        QVERIFY(at::equal(narrow.weights().at(weight), wide.weights().at(weight)));
      }
    }
  }

  void bfloat16_decoding_agrees_with_its_own_scoring() {
    const Decoder narrow = decoder_of("LlamaForCausalLM", {.compute = ComputeType::bfloat16});
    TokenSequences whole;
    whole.tokens = {{3, 1, 4, 1, 5, 9, 2, 6}};
    whole.wanted = {{3, 4, 5, 6, 7}};
    const at::Tensor scored = narrow.score(whole, false)->logits();
    const auto session = narrow.decode(1, 16);
    std::vector<at::Tensor> steps{session->prefill({{3, 1, 4, 1}}, {0})};
    for (const std::int64_t token : {5, 9, 2, 6}) steps.push_back(session->step({0}, {token}));
    const at::Tensor decoded = at::cat(steps);
    QCOMPARE(decoded.scalar_type(), at::kFloat);
    QVERIFY(decoded.equal(scored));
  }

  void bfloat16_kernels_agree_with_operators_on_rounded_weights() {
    const Decoder narrow = decoder_of("LlamaForCausalLM", {.compute = ComputeType::bfloat16});
    ModelConfig wide = narrow.config();
    wide.compute = ComputeType::float32;
    WeightMap rounded;
    for (const auto& [name, weight] : narrow.weights()) {
      const bool matrix = weight.dim() == 2;
      rounded[name] = matrix ? weight.to(at::kBFloat16).to(at::kDouble) : weight.to(at::kDouble);
    }
    const at::Tensor got = narrow.score(rows(), false)->logits();
    const at::Tensor want = score_with_operators(wide, rounded, rows(), {})->logits();
    // What is left is the rounding of activations to 8 bits before each product.
    QVERIFY(relative(got.to(at::kDouble), want) < 0.01);
    QVERIFY(relative(passed(narrow).logits.to(at::kDouble), want) > 1e-5);
  }

  void bfloat16_products_round_the_factors_alone() {
    Random random({4, 5, 6});
    for (const auto& [m, k, n] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1},
                                                                          {1, 64, 160},
                                                                          {2, 65, 97},
                                                                          {3, 33, 64},
                                                                          {5, 7, 31},
                                                                          {9, 300, 33},
                                                                          {16, 640, 40},
                                                                          {41, 17, 95}}) {
      at::Tensor a = at::empty({m, k}), b = at::empty({k, n});
      for (at::Tensor* const x : {&a, &b}) {
        for (std::int64_t i = 0; i < x->numel(); ++i) {
          x->data_ptr<float>()[i] = static_cast<float>(random.normal());
        }
      }
      const at::Tensor want =
          at::mm(a.to(at::kBFloat16).to(at::kDouble), b.to(at::kBFloat16).to(at::kDouble));
      const PackedMatrix packed(b.data_ptr<float>(), k, n, n, 1, FactorType::bfloat16);
      const at::Tensor across = a.t().contiguous(), over = b.t().contiguous();
      const PackedMatrix turned(over.data_ptr<float>(), k, n, 1, k, FactorType::bfloat16);
      at::Tensor c = at::full({m, n}, 0.5f), d = at::full({m, n}, 0.5f);
      matrix_product(m, {a.data_ptr<float>(), k, 1}, packed, c.data_ptr<float>(), n, true);
      matrix_product(m, {across.data_ptr<float>(), 1, m}, turned, d.data_ptr<float>(), n, true);
      QVERIFY(c.equal(d));
      QVERIFY((c.to(at::kDouble) - want - 0.5).abs().max().item<double>() < 2e-6 * k + 1e-6);
      for (std::int64_t r = 0; r < m; ++r) {
        at::Tensor one = at::full({n}, 0.5f);
        matrix_product(1, {a.data_ptr<float>() + r * k, k, 1}, packed, one.data_ptr<float>(), n,
                       true);
        QVERIFY(one.equal(c[r]));
      }
    }
  }

  void threads_that_share_a_product_change_no_bit() {
    const ParallelCalls backwards = [](std::size_t count, const auto& call) {
      QVERIFY(count > 1);
      for (std::size_t i = count; i-- > 0;) call(i);
    };
    const at::Tensor a = at::linspace(-1, 1, 11 * 500).view({11, 500}).contiguous();
    const at::Tensor b = at::linspace(-2, 3, 500 * 1100).cos().view({500, 1100}).contiguous();
    for (const FactorType type : {FactorType::float32, FactorType::bfloat16}) {
      const PackedMatrix packed(b.data_ptr<float>(), 500, 1100, 1100, 1, type);
      for (const std::int64_t rows : {1, 2, 3, 11}) {
        at::Tensor alone = at::empty({rows, 1100}), shared = at::empty({rows, 1100});
        matrix_product(rows, {a.data_ptr<float>(), 500, 1}, packed, alone.data_ptr<float>(), 1100,
                       false);
        matrix_product(rows, {a.data_ptr<float>(), 500, 1}, packed, shared.data_ptr<float>(), 1100,
                       false, &backwards);
        QVERIFY(alone.equal(shared));
      }
    }
    const Decoder decoder = decoder_of("Qwen3ForCausalLM", {});
    const auto decoded = [&](const ParallelCalls* parallel) {
      const auto session = decoder.decode(9, 12, parallel);
      std::vector<std::int64_t> slots(9, 0), tokens{3, 1, 4, 1, 5, 9, 2, 6, 5};
      const at::Tensor first = session->prefill({{3, 1, 4, 1}}, slots);
      std::iota(slots.begin(), slots.end(), std::int64_t{0});
      return at::cat({first, session->step(slots, tokens)});
    };
    const ParallelCalls in_turn_backwards = [](std::size_t count, const auto& call) {
      for (std::size_t i = count; i-- > 0;) call(i);
    };
    QVERIFY(decoded(nullptr).equal(decoded(&in_turn_backwards)));
  }
};

REWARDLOOM_TEST(TestPrecision)
#include "test_precision.moc"
