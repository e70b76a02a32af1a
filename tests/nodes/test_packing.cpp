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
  // The same numbers in either precision.
  const at::Tensor d = loss_gradient(out.logits.to(at::kFloat));
  pass->backward(d.to(out.logits.scalar_type()), out.gradients);
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

at::Tensor flat(const WeightMap& tensors) {
  std::vector<at::Tensor> parts;
  for (const auto& [name, tensor] : tensors) parts.push_back(tensor.flatten().to(at::kDouble));
  return at::cat(parts);
}

/// Of the difference, relative to the norm.
double relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}
double relative(const WeightMap& a, const WeightMap& b) { return relative(flat(a), flat(b)); }

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
    const auto near = [](const char* what, double fault, double allowed) {
      QVERIFY2(fault <= allowed, qPrintable(QString("%1: %2").arg(what).arg(fault)));
    };
    const WeightMap doubles = doubles_of(decoder.weights());
    const Passed exact = together(config, doubles);
    const at::Tensor d = loss_gradient(exact.logits.to(at::kFloat));
    const Passed exact_single = apart(config, doubles, d.to(at::kDouble));
    near("logits in double", relative(exact.logits, exact_single.logits), 1e-12);
    near("gradient in double", relative(exact.gradients, exact_single.gradients), 1e-12);
    for (const auto& [name, gradient] : exact_single.gradients) {
      near(name.c_str(), largest_difference(exact.gradients.at(name), gradient), 1e-11);
    }
    // In single precision they differ by what each of them rounds, which is another thing on every
    // processor: its products sum in an order of their own.
    constexpr double rounding = 5e-6;
    const Passed packed = together(config, decoder.weights());
    const Passed single = apart(config, decoder.weights(), d);
    near("logits", relative(packed.logits, single.logits), rounding);
    near("packed gradient against the exact one", relative(packed.gradients, exact.gradients),
         rounding);
    near("gradient against the exact one", relative(single.gradients, exact.gradients), rounding);
    near("gradient", relative(packed.gradients, single.gradients), rounding);
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
