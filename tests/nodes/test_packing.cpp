// Several sequences in one row of a pass in LibTorch's operators.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "nodes/text/aten_network.h"
#include "tests/nodes/reference_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::reference_models;

namespace {

/// Lengths that fill rows in several ways: 9, 4, 5, 2, 2, 1, 8.
TokenSequences ragged() {
  std::vector<std::vector<std::int64_t>> tokens;
  for (const std::int64_t length : {4, 9, 5, 2, 2, 1, 8}) {
    auto& row = tokens.emplace_back();
    for (std::int64_t t = 0; t < length; ++t) row.push_back((3 * t + length) % 11);
  }
  return all_positions(std::move(tokens));
}

TokenSequences one_of(const TokenSequences& all, std::size_t i) {
  return {{all.tokens[i]}, {all.wanted[i]}};
}

WeightMap doubles_of(const WeightMap& weights) {
  WeightMap out;
  for (const auto& [name, tensor] : weights) out[name] = tensor.to(at::kDouble);
  return out;
}

WeightMap zeros_of(const WeightMap& weights) {
  WeightMap out;
  for (const auto& [name, tensor] : weights) out[name] = at::zeros_like(tensor);
  return out;
}

struct Passed {
  at::Tensor logits;
  WeightMap gradients;
};

std::set<std::string> names_of(const WeightMap& weights) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : weights) names.insert(name);
  return names;
}

at::Tensor loss_gradient(const at::Tensor& logits) {
  return at::arange(logits.numel(), logits.options()).cos().view(logits.sizes());
}

Passed together(const ModelConfig& config, const WeightMap& weights) {
  const auto pass = score_with_operators(config, weights, ragged(), names_of(weights));
  Passed out{pass->logits(), zeros_of(weights)};
  pass->backward(loss_gradient(out.logits), out.gradients);
  return out;
}

/// Each sequence in a pass of its own: nothing is packed.
Passed apart(const ModelConfig& config, const WeightMap& weights, const at::Tensor& d_logits) {
  Passed out{{}, zeros_of(weights)};
  std::vector<at::Tensor> logits;
  std::int64_t first = 0;
  const TokenSequences all = ragged();
  for (std::size_t i = 0; i < all.tokens.size(); ++i) {
    const auto pass = score_with_operators(config, weights, one_of(all, i), names_of(weights));
    logits.push_back(pass->logits());
    pass->backward(d_logits.narrow(0, first, logits.back().size(0)), out.gradients);
    first += logits.back().size(0);
  }
  out.logits = at::cat(logits);
  return out;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return largest_difference(a, b) / (1 + b.abs().max().item<double>());
}

}  // namespace

class TestPacking : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void packed_rows_give_what_single_ones_give_data() {
    QTest::addColumn<QString>("model");
    QTest::addColumn<bool>("recomputes");
    for (const char* name : {"gpt2", "gemma2", "llama3-scaling", "mistral-window"}) {
      for (const bool recomputes : {false, true}) {
        QTest::addRow("%s%s", name, recomputes ? ", recomputed" : "") << name << recomputes;
      }
    }
  }
  void packed_rows_give_what_single_ones_give() {
    QFETCH(QString, model);
    QFETCH(bool, recomputes);
    const Decoder decoder = decoder_of(model.toStdString());
    ModelConfig config = decoder.config();
    config.recomputes_layers = recomputes;
    for (const bool in_double : {false, true}) {
      const WeightMap weights = in_double ? doubles_of(decoder.weights()) : decoder.weights();
      const double tolerance = in_double ? 1e-12 : 1e-6;
      // Gradients are summed over the rows in another order.
      const double of_sums = in_double ? 1e-12 : 1e-5;
      const Passed packed = together(config, weights);
      const Passed single = apart(config, weights, loss_gradient(packed.logits));
      const double logits = relative(packed.logits, single.logits);
      QVERIFY2(logits <= tolerance, qPrintable(QString::number(logits)));
      for (const auto& [name, gradient] : single.gradients) {
        const double fault = relative(packed.gradients.at(name), gradient);
        QVERIFY2(fault <= of_sums, qPrintable(QString("%1: %2").arg(name.c_str()).arg(fault)));
      }
    }
  }

  void a_sequence_sees_nothing_of_its_neighbours() {
    const Decoder decoder = decoder_of("llama3-scaling");
    TokenSequences other = ragged();
    for (std::size_t i = 0; i < other.tokens.size(); ++i) {
      if (i == 2) continue;
      for (std::int64_t& token : other.tokens[i]) token = (token + 5) % 11;
    }
    const auto logits_of = [&](const TokenSequences& sequences) {
      return score_with_operators(decoder.config(), decoder.weights(), sequences, {})->logits();
    };
    // Sequence 2 is read behind the 4 + 9 positions of the first two.
    const at::Tensor before = logits_of(ragged()).narrow(0, 13, 5);
    QVERIFY(before.equal(logits_of(other).narrow(0, 13, 5)));
    QVERIFY(!logits_of(ragged()).equal(logits_of(other)));
  }
};

REWARDLOOM_TEST(TestPacking)
#include "test_packing.moc"
