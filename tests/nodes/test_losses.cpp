// Properties of the loss nodes that no table of numbers shows.
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

at::Tensor draws(Random random, std::vector<std::int64_t> shape, double low, double high) {
  at::Tensor out = at::empty(shape, at::kDouble);
  double* const data = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) data[i] = low + (high - low) * random.uniform();
  return out;
}

/// Right-padded rows of different lengths, one of them with a hole (an observation).
at::Tensor ragged_mask(std::int64_t rows, std::int64_t tokens) {
  at::Tensor mask = at::zeros({rows, tokens}, at::kBool);
  for (std::int64_t row = 0; row < rows; ++row) {
    mask[row].slice(0, 0, 1 + (row * 3) % tokens).fill_(true);
  }
  mask[rows - 1][0] = false;
  return mask;
}

Package policy_batch(std::int64_t rows, std::int64_t tokens) {
  Random random(RandomKey{11, 0, 0});
  Package p;
  p.tensors["log_probs"] = draws(random.at(0), {rows, tokens}, -3, 0);
  p.tensors["old_log_probs"] =
      p.tensors["log_probs"] + draws(random.at(1), {rows, tokens}, -0.6, 0.6);
  p.tensors["advantages"] = draws(random.at(2), {rows}, -2, 2);
  p.tensors["ref_log_probs"] = draws(random.at(3), {rows, tokens}, -3, 0);
  p.tensors["mask"] = ragged_mask(rows, tokens);
  return p;
}

Package only(const Package& from, const std::vector<std::string>& names) {
  Package out;
  for (const std::string& name : names) out.tensors[name] = from.tensors.at(name);
  return out;
}

/// The loss types and their arguments.
struct LossCase {
  std::string type;
  Json params;
  std::vector<std::string> arguments;
};

std::vector<LossCase> loss_cases() {
  std::vector<LossCase> out;
  const Json sum_norm = {{"aggregate", "seq_mean_token_sum_norm"}, {"norm_length", 7}};
  for (Json params : {Json{{"aggregate", "token_mean"}}, Json{{"aggregate", "seq_mean_token_sum"}},
                      Json{{"aggregate", "seq_mean_token_mean"}}, sum_norm,
                      Json{{"aggregate", "token_sum_norm"}, {"norm_length", 7}}}) {
    out.push_back({"loss.kl", params, {"log_probs", "ref_log_probs", "mask"}});
    out.push_back({"loss.nll", params, {"log_probs", "mask"}});
    params["dual"] = 1.5;
    out.push_back(
        {"loss.policy_clip", params, {"log_probs", "old_log_probs", "advantages", "mask"}});
  }
  return out;
}

double loss_of(const EvaluateResult& result) {
  return result.outputs.tensors.at("loss").item<double>();
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

}  // namespace

class TestLosses : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void any_split_into_micro_batches_adds_up() {
    const Package whole = policy_batch(9, 6);
    for (const LossCase& c : loss_cases()) {
      Package all = only(whole, c.arguments);
      const EvaluateResult once = evaluate(registry_, c.type, c.params, all);
      for (const std::vector<std::int64_t>& cuts :
           {std::vector<std::int64_t>{9}, {1, 8}, {4, 5}, {2, 3, 4}, {1, 1, 1, 1, 1, 1, 1, 1, 1}}) {
        check_split(c, all, once, cuts);
      }
    }
  }

  void gradients_agree_with_finite_differences() {
    const Package whole = policy_batch(5, 4);
    for (const LossCase& c : loss_cases()) {
      Package inputs = only(whole, c.arguments);
      const at::Tensor gradient =
          evaluate(registry_, c.type, c.params, inputs).outputs.tensors.at("log_probs.grad");
      const at::Tensor at_point = inputs.tensors["log_probs"];
      for (std::int64_t i = 0; i < at_point.numel(); ++i) {
        const double slope = central_difference(c, inputs, at_point, i);
        const double given = gradient.flatten()[i].item<double>();
        QVERIFY2(
            std::abs(slope - given) < 1e-6 * (1 + std::abs(slope)),
            fmt::format("{} {} element {}: {} against {}", c.type, c.params.dump(), i, given, slope)
                .c_str());
      }
    }
  }

  void what_stands_outside_the_mask_has_no_influence() {
    const Package whole = policy_batch(6, 5);
    for (const LossCase& c : loss_cases()) {
      Package clean = only(whole, c.arguments);
      Package dirty = clean;
      const at::Tensor outside = clean.tensors["mask"].logical_not();
      for (const char* name : {"log_probs", "old_log_probs", "ref_log_probs"}) {
        if (!dirty.tensors.contains(name)) continue;
        dirty.tensors[name] = dirty.tensors[name].masked_fill(
            outside, std::string(name) == "log_probs" ? -std::numeric_limits<double>::infinity()
                                                      : std::nan(""));
      }
      const EvaluateResult a = evaluate(registry_, c.type, c.params, clean);
      const EvaluateResult b = evaluate(registry_, c.type, c.params, dirty);
      QCOMPARE(loss_of(a), loss_of(b));
      QVERIFY(b.outputs.tensors.at("log_probs.grad").equal(a.outputs.tensors.at("log_probs.grad")));
      const at::Tensor leaked = b.outputs.tensors.at("log_probs.grad").masked_select(outside);
      QVERIFY(leaked.eq(0).all().item<bool>());
    }
  }

  void padding_changes_nothing() {
    const Package whole = policy_batch(6, 5);
    for (const LossCase& c : loss_cases()) {
      Package narrow = only(whole, c.arguments);
      Package wide = narrow;
      for (auto& [name, tensor] : wide.tensors) {
        if (tensor.dim() == 2) tensor = at::constant_pad_nd(tensor, {2, 3});
      }
      QVERIFY(std::abs(loss_of(evaluate(registry_, c.type, c.params, narrow)) -
                       loss_of(evaluate(registry_, c.type, c.params, wide))) < 1e-14);
    }
  }

  void order_of_rows_does_not_matter() {
    const Package whole = policy_batch(6, 5);
    const at::Tensor order = at::tensor({3, 0, 5, 1, 4, 2}, at::kLong);
    for (const LossCase& c : loss_cases()) {
      const Package straight = only(whole, c.arguments);
      Package shuffled = straight;
      for (auto& [name, tensor] : shuffled.tensors) tensor = tensor.index_select(0, order);
      QVERIFY(std::abs(loss_of(evaluate(registry_, c.type, c.params, straight)) -
                       loss_of(evaluate(registry_, c.type, c.params, shuffled))) < 1e-14);
    }
  }

  void a_batch_without_any_token_gives_zero_and_no_gradient() {
    for (const LossCase& c : loss_cases()) {
      Package inputs = only(policy_batch(3, 4), c.arguments);
      inputs.tensors["mask"] = at::zeros({3, 4}, at::kBool);
      const EvaluateResult result = evaluate(registry_, c.type, c.params, inputs);
      QCOMPARE(loss_of(result), 0.0);
      QVERIFY(result.outputs.tensors.at("log_probs.grad").eq(0).all().item<bool>());
    }
  }

  void rows_without_tokens_count_only_where_asked() {
    Package inputs = only(policy_batch(4, 3), {"log_probs", "mask"});
    inputs.tensors["mask"] =
        at::tensor({1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, at::kLong).reshape({4, 3}).to(at::kBool);
    const Json without = {{"aggregate", "seq_mean_token_mean"}};
    const Json counted = {{"aggregate", "seq_mean_token_mean"}, {"empty_rows", "count"}};
    const double two_rows = loss_of(evaluate(registry_, "loss.nll", without, inputs));
    const double four_rows = loss_of(evaluate(registry_, "loss.nll", counted, inputs));
    QVERIFY(std::abs(two_rows - 2 * four_rows) < 1e-14);
  }

  void advantages_per_row_and_per_token_agree() {
    Package per_row =
        only(policy_batch(6, 5), {"log_probs", "old_log_probs", "advantages", "mask"});
    Package per_token = per_row;
    per_token.tensors["advantages"] =
        per_row.tensors["advantages"].unsqueeze(-1).expand({6, 5}).contiguous();
    QCOMPARE(loss_of(evaluate(registry_, "loss.policy_clip", Json::object(), per_row)),
             loss_of(evaluate(registry_, "loss.policy_clip", Json::object(), per_token)));
  }

  void clipped_tokens_have_no_gradient() {
    Package p;
    p.tensors["log_probs"] = at::tensor({0.5, -0.5, 0.5, -0.5}, at::kDouble).reshape({1, 4}) - 1;
    p.tensors["old_log_probs"] = at::full({1, 4}, -1.0, at::kDouble);
    p.tensors["advantages"] = at::tensor({1.0, 1.0, -1.0, -1.0}, at::kDouble).reshape({1, 4});
    p.tensors["mask"] = at::ones({1, 4}, at::kBool);
    const EvaluateResult r = evaluate(registry_, "loss.policy_clip", Json::object(), p);
    const at::Tensor moves = r.outputs.tensors.at("log_probs.grad").ne(0).to(at::kLong);
    QVERIFY(moves.equal(at::tensor({0, 1, 1, 0}, at::kLong).reshape({1, 4})));
    QCOMPARE(r.outputs.tensors.at("clip_fraction").item<double>(), 0.5);
  }

  void the_cap_of_trl_holds_the_ratio_whatever_the_sign() {
    Package p;
    p.tensors["log_probs"] = at::full({1, 2}, std::log(10.0), at::kDouble);
    p.tensors["old_log_probs"] = at::zeros({1, 2}, at::kDouble);
    p.tensors["advantages"] = at::tensor({1.0, -1.0}, at::kDouble).reshape({1, 2});
    p.tensors["mask"] = at::ones({1, 2}, at::kBool);
    // A = 1: the clip holds at 1.2; A = -1: the cap holds at 4.
    const EvaluateResult r = evaluate(registry_, "loss.policy_clip", {{"ratio_cap", 4.0}}, p);
    QVERIFY(std::abs(loss_of(r) - (-1.2 + 4.0) / 2) < 1e-12);
    QVERIFY(r.outputs.tensors.at("log_probs.grad").eq(0).all().item<bool>());
  }

  void presets_set_what_their_frameworks_set() {
    const Package p = only(policy_batch(6, 5), {"log_probs", "ref_log_probs", "mask"});
    Package far = p;
    far.tensors["log_probs"] = p.tensors.at("log_probs") - 40;
    const auto mean = [&](const Json& params) {
      return evaluate(registry_, "loss.kl", params, far)
          .outputs.tensors.at("kl_mean")
          .item<double>();
    };
    QCOMPARE(mean({{"preset", "verl"}, {"estimator", "k3"}}), 10.0);
    QVERIFY(mean({{"preset", "verl"}, {"estimator", "k1"}}) < -35);
    QCOMPARE(mean({{"preset", "openrlhf"}, {"estimator", "k1"}}), -10.0);
    QCOMPARE(mean({{"preset", "nemo"}, {"estimator", "k1"}}), -10.0);
    QVERIFY(mean({{"preset", "trl"}}) > 1e10);
    QCOMPARE(mean({{"preset", "verl"}, {"estimator", "k1"}, {"output_clamp", 3.0}}), -3.0);
  }

  void straight_through_estimators_keep_their_value_and_take_the_gradient_of_k2() {
    const Package p = only(policy_batch(6, 5), {"log_probs", "ref_log_probs", "mask"});
    const Json free = {{"input_clamp", nullptr}, {"output_clamp", nullptr}};
    const auto run = [&](const char* estimator) {
      Json params = free;
      params["estimator"] = estimator;
      return evaluate(registry_, "loss.kl", params, p);
    };
    const at::Tensor want = run("k2").outputs.tensors.at("log_probs.grad");
    for (const auto& [plus, plain] : {std::pair{"k1+", "k1"}, {"k3+", "k3"}}) {
      const EvaluateResult r = run(plus);
      QVERIFY(std::abs(loss_of(r) - loss_of(run(plain))) < 1e-14);
      QVERIFY(at::allclose(r.outputs.tensors.at("log_probs.grad"), want, 1e-12, 1e-14));
    }
  }

  void entropy_of_impossible_tokens_is_that_of_the_rest() {
    Package p;
    p.tensors["mask"] = at::ones({1, 1}, at::kBool);
    const double never = -std::numeric_limits<double>::infinity();
    p.tensors["logits"] = at::tensor({1.0, 1.0, never, never}, at::kDouble).reshape({1, 1, 4});
    const EvaluateResult r = evaluate(registry_, "loss.entropy", Json::object(), p);
    QVERIFY(std::abs(loss_of(r) - std::log(2.0)) < 1e-12);
    QVERIFY(at::isfinite(r.outputs.tensors.at("logits.grad")).all().item<bool>());
  }

  void arguments_that_do_not_fit_are_refused() {
    const Package good =
        only(policy_batch(4, 3), {"log_probs", "old_log_probs", "advantages", "mask"});
    const auto refused = [&](const char* name, const at::Tensor& value) {
      Package bad = good;
      bad.tensors[name] = value;
      return code_of([&] { evaluate(registry_, "loss.policy_clip", Json::object(), bad); });
    };
    QCOMPARE(refused("mask", at::ones({4, 2}, at::kBool)), std::string("bad-shape"));
    QCOMPARE(refused("mask", at::ones({4}, at::kBool)), std::string("bad-shape"));
    QCOMPARE(refused("old_log_probs", at::zeros({3, 3}, at::kDouble)), std::string("bad-shape"));
    QCOMPARE(refused("advantages", at::zeros({5}, at::kDouble)), std::string("bad-shape"));
    QCOMPARE(refused("old_log_prob", at::zeros({4, 3}, at::kDouble)), std::string("unknown-input"));
    Package less = good;
    less.tensors.erase("old_log_probs");
    QCOMPARE(code_of([&] { evaluate(registry_, "loss.policy_clip", Json::object(), less); }),
             std::string("loss-argument-missing"));
    QCOMPARE(code_of([&] {
               evaluate(registry_, "loss.policy_clip", {{"aggregate", "token_sum_norm"}}, good);
             }),
             std::string("norm-length-missing"));
  }

 private:
  void check_split(const LossCase& c, const Package& all, const EvaluateResult& once,
                   const std::vector<std::int64_t>& cuts) {
    const at::Tensor mask = all.tensors.at("mask");
    double sum = 0;
    std::vector<at::Tensor> gradients;
    std::int64_t start = 0;
    for (const std::int64_t size : cuts) {
      Package part;
      for (const auto& [name, tensor] : all.tensors) {
        part.tensors[name] = tensor.slice(0, start, start + size);
      }
      part.tensors["total_tokens"] = mask.sum().to(at::kDouble);
      part.tensors["total_sequences"] = mask.any(-1).sum().to(at::kDouble);
      const EvaluateResult result = evaluate(registry_, c.type, c.params, part);
      sum += loss_of(result);
      gradients.push_back(result.outputs.tensors.at("log_probs.grad"));
      start += size;
    }
    const std::string what = fmt::format("{} {} in {}", c.type, c.params.dump(), cuts.size());
    QVERIFY2(std::abs(sum - loss_of(once)) < 1e-12, what.c_str());
    QVERIFY2(
        at::allclose(at::cat(gradients), once.outputs.tensors.at("log_probs.grad"), 1e-12, 1e-14),
        what.c_str());
  }

  double central_difference(const LossCase& c, Package inputs, const at::Tensor& at_point,
                            std::int64_t element) {
    constexpr double kStep = 1e-6;
    double values[2];
    for (const int side : {0, 1}) {
      at::Tensor moved = at_point.clone();
      moved.flatten()[element] += side == 0 ? -kStep : kStep;
      inputs.tensors["log_probs"] = moved;
      values[side] = loss_of(evaluate(registry_, c.type, c.params, inputs));
    }
    return (values[1] - values[0]) / (2 * kStep);
  }

  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestLosses;
REWARDLOOM_TEST(TestLosses)
#include "test_losses.moc"
