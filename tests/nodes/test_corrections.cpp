// Which tokens and rows the corrections for off-policy data keep.
#include <fmt/format.h>
#include <torch/types.h>

#include <map>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "nodes/correction/off_policy_sequence.h"
#include "nodes/correction/rejection.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

at::Tensor matrix(const std::vector<std::vector<double>>& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(at::ArrayRef<double>(flat), at::dtype(at::kDouble))
      .reshape({static_cast<std::int64_t>(rows.size()), -1});
}

at::Tensor normal(std::uint64_t stream, at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::kDouble);
  Random random(RandomKey{17, stream, 0});
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<double>()[i] = random.normal();
  return out;
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

std::map<std::string, double> statistics(const std::vector<double>& x) {
  std::map<std::string, double> out;
  for (const double v : x) {
    const double k1 = -v, k2 = v * v / 2, k3 = std::exp(v) - 1 - v;
    out["seq_sum_k1"] += k1;
    out["seq_sum_k2"] += k2;
    out["seq_sum_k3"] += k3;
    out["seq_max_k2"] = std::max(out["seq_max_k2"], k2);
    out["seq_max_k3"] = std::max(out["seq_max_k3"], k3);
  }
  const auto count = static_cast<double>(std::max<std::size_t>(1, x.size()));
  for (const char* k : {"k1", "k2", "k3"}) {
    out[std::string("seq_mean_") + k] = out[std::string("seq_sum_") + k] / count;
  }
  return out;
}

}  // namespace

class TestCorrections : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void every_statistic_keeps_what_its_definition_keeps_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<int>("statistic");
    for (const auto& choice : choices(RejectionStatistic{})) {
      QTest::newRow(choice.name) << QString(choice.name) << static_cast<int>(choice.value);
    }
  }
  void every_statistic_keeps_what_its_definition_keeps() {
    QFETCH(QString, name);
    QFETCH(int, statistic);
    const std::int64_t rows = 40, tokens = 9;
    const at::Tensor p = -normal(1, {rows, tokens}).abs();
    const at::Tensor scale = at::arange(rows, at::kDouble).unsqueeze(1) / 20;
    const at::Tensor q = p - normal(2, {rows, tokens}) * scale;
    at::Tensor mask = normal(3, {rows, tokens}) > -0.5;
    mask.select(0, 4).fill_(false);
    const at::Tensor outside = mask.logical_not();
    const SampledLogProbs in{p.masked_fill(outside, std::nan("")), q, mask};
    int kept_some = 0, lost_some = 0;
    for (const double high : {1.05, 1.5, 3.0}) {
      const bool ratio = name.endsWith("k1");
      const RejectionOptions options{
          static_cast<RejectionStatistic>(statistic), {}, ratio ? high : high - 1};
      const at::Tensor kept = kept_tokens(in, options);
      QVERIFY(kept.equal(kept_tokens_by_operators(in, options)));
      const SampledLogProbs single{in.log_probs.to(at::kFloat), q.to(at::kFloat), mask};
      QVERIFY(kept.equal(kept_tokens(single, options)));
      for (std::int64_t i = 0; i < rows; ++i) {
        std::vector<double> x;
        for (std::int64_t t = 0; t < tokens; ++t) {
          if (mask[i][t].item<bool>()) x.push_back((p[i][t] - q[i][t]).item<double>());
        }
        std::size_t n = 0;
        for (std::int64_t t = 0; t < tokens; ++t) {
          if (!mask[i][t].item<bool>()) {
            QVERIFY(!kept[i][t].item<bool>());
            continue;
          }
          const double v = x[n++];
          const std::map<std::string, double> token{
              {"token_k1", -v}, {"token_k2", v * v / 2}, {"token_k3", std::exp(v) - 1 - v}};
          const std::string key = name.toStdString();
          const double s = token.contains(key) ? token.at(key) : statistics(x).at(key);
          const bool want = ratio ? std::abs(s) <= std::log(high) : s <= high - 1;
          QCOMPARE(kept[i][t].item<bool>(), want);
          ++(want ? kept_some : lost_some);
        }
      }
    }
    QVERIFY(kept_some > 0 && lost_some > 0);
  }

  void log_ratios_are_held_within_twenty() {
    const SampledLogProbs far{matrix({{-500, -30}}), matrix({{0, 0}}),
                              matrix({{1, 1}}).to(at::kBool)};
    // k2 of a log-ratio of 20 is 200, and the mean of both is the same.
    QVERIFY(kept_tokens(far, {RejectionStatistic::seq_mean_k2, {}, 200.0}).all().item<bool>());
    QVERIFY(kept_tokens(far, {RejectionStatistic::token_k3, {}, 20.0}).all().item<bool>());
    QVERIFY(!kept_tokens(far, {RejectionStatistic::token_k2, {}, 199.9}).any().item<bool>());
    const SampledLogProbs up{matrix({{0}}), matrix({{-500}}), matrix({{1}}).to(at::kBool)};
    const double most = std::expm1(20.0) - 20;
    QVERIFY(kept_tokens(up, {RejectionStatistic::seq_sum_k3, {}, most + 1e-6}).all().item<bool>());
    QVERIFY(kept_tokens(up, {RejectionStatistic::token_k3, {}, most + 1}).all().item<bool>());
    QVERIFY(!kept_tokens(up, {RejectionStatistic::seq_max_k3, {}, most - 1}).any().item<bool>());
  }

  void the_lower_bound_is_the_inverse_of_the_upper_unless_given() {
    const at::Tensor mask = matrix({{1}, {1}}).to(at::kBool);
    const SampledLogProbs in{matrix({{0.15}, {-0.15}}), matrix({{0}, {0}}), mask};
    const auto kept = [&](std::optional<double> low, double high) {
      const at::Tensor k = kept_tokens(in, {RejectionStatistic::seq_mean_k1, low, high});
      return std::pair(k[0].item<bool>(), k[1].item<bool>());
    };
    QCOMPARE(kept({}, 1.2), std::pair(true, true));
    QCOMPARE(kept({}, 1.1), std::pair(false, false));
    QCOMPARE(kept(0.95, 1.2), std::pair(false, true));
    QCOMPARE(kept(0.5, 1.1), std::pair(true, false));
  }

  void rejection_says_how_much_it_rejected_and_gives_weights() {
    Package in;
    in.tensors["log_probs"] = matrix({{0, 0, 0}, {0, 1, 9}});
    in.tensors["behavior_log_probs"] = matrix({{0, 0, 0}, {0, 0, 0}});
    in.tensors["mask"] = matrix({{1, 1, 1}, {1, 1, 0}}).to(at::kBool);
    const auto out =
        evaluate(registry_, "correction.rejection", {{"statistic", "token_k2"}, {"high", 0.1}}, in)
            .outputs.tensors;
    QCOMPARE(out.at("rejected_tokens").item<double>(), 0.2);
    QCOMPARE(out.at("rejected_rows").item<double>(), 0.5);
    QVERIFY(out.at("weights").equal(matrix({{1, 1, 1}, {1, 0, 0}})));
    QVERIFY(out.at("mask").equal(matrix({{1, 1, 1}, {1, 0, 0}}).to(at::kBool)));
  }

  void bad_rows_far_off_policy_are_dropped() {
    Package in;
    in.tensors["log_probs"] = matrix({{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}});
    in.tensors["behavior_log_probs"] = matrix({{0, 9}, {0, 9}, {-1, 9}, {-3, 9}});
    in.tensors["mask"] = matrix({{1, 0}, {1, 0}, {1, 0}, {1, 0}}).to(at::kBool);
    in.tensors["advantages"] = matrix({{1, -1, -1, -1}}).flatten();
    const auto out =
        evaluate(registry_, "correction.off_policy_sequence", Json::object(), in).outputs.tensors;
    QVERIFY(out.at("keep").equal(matrix({{1, 0, 1, 1}}).flatten().to(at::kBool)));
    QVERIFY(out.at("weights").equal(matrix({{1, 0}, {0, 0}, {1, 0}, {1, 0}})));
    QCOMPARE(out.at("dropped_rows").item<double>(), 0.25);
    // The threshold itself, and rows without tokens, are kept.
    const SampledLogProbs edge{matrix({{-1}, {-1}}), matrix({{-0.5}, {9}}),
                               matrix({{1}, {0}}).to(at::kBool)};
    QVERIFY(kept_sequences(matrix({{-1}, {-1}}), edge, 0.5).all().item<bool>());
  }

  void what_does_not_fit_is_refused() {
    const at::Tensor two = matrix({{0, 0}, {0, 0}});
    const at::Tensor mask = two.eq(0);
    const SampledLogProbs good{two, two, mask};
    const SampledLogProbs narrow{two, matrix({{0}, {0}}), mask};
    const SampledLogProbs short_mask{two, two, mask.narrow(0, 0, 1)};
    for (const SampledLogProbs& bad : {narrow, short_mask}) {
      QCOMPARE(code_of([&] { kept_tokens(bad, {}); }), std::string("bad-shape"));
      QCOMPARE(code_of([&] {
                 kept_sequences(matrix({{1, 1}}).flatten(), bad, 0.1);
               }),
               std::string("bad-shape"));
    }
    QCOMPARE(code_of([&] {
               kept_sequences(matrix({{1, 1, 1}}).flatten(), good, 0.1);
             }),
             std::string("bad-shape"));
    QCOMPARE(code_of([&] { kept_sequences(two, good, 0.1); }), std::string("bad-shape"));
    Package in;
    in.tensors["log_probs"] = two;
    in.tensors["behavior_log_probs"] = two;
    QCOMPARE(code_of([&] { evaluate(registry_, "correction.rejection", Json::object(), in); }),
             std::string("no-mask"));
    in.tensors.erase("behavior_log_probs");
    QCOMPARE(code_of([&] { evaluate(registry_, "correction.rejection", Json::object(), in); }),
             std::string("no-behavior-log-probs"));
  }

 private:
  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestCorrections;
REWARDLOOM_TEST(TestCorrections)
#include "test_corrections.moc"
