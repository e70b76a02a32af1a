// What holds for every loss node: gradients, masks, micro-batches, padding, shapes.
#include <fmt/format.h>
#include <torch/types.h>

#include <QStringList>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "engine/core/registry.h"
#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/nodes/loss_bench.h"
#include "tests/nodes/loss_cases_policy.h"
#include "tests/nodes/loss_cases_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

const std::vector<LossCase>& cases() {
  static const std::vector<LossCase> all = LossCases::all();
  return all;
}

Package with_totals(Package inputs, const std::map<std::string, double>& totals) {
  for (const auto& [name, value] : totals) {
    inputs.tensors[name] = at::full({}, value, at::kDouble);
  }
  return inputs;
}

Package rows_between(const LossCase& c, std::int64_t start, std::int64_t end) {
  Package part;
  for (const auto& [name, tensor] : c.inputs.tensors) {
    part.tensors[name] = c.shares(name) ? tensor : tensor.slice(0, start, end);
  }
  return part;
}

/// The batch seven times over in float32: 42 rows, two vectors and ten more.
Package repeated(const LossCase& c) {
  const bool ranks = c.type.ends_with("_cov");  // rows alike would tie
  Package out;
  for (const auto& [name, tensor] : c.inputs.tensors) {
    std::vector<std::int64_t> times(static_cast<std::size_t>(tensor.dim()), 1);
    if (!c.shares(name) && !ranks) times[0] = 7;
    const at::Tensor rows = tensor.repeat(times);
    out.tensors[name] = at::isFloatingType(rows.scalar_type()) ? rows.to(at::kFloat) : rows;
  }
  return out;
}

Package in_double(const Package& inputs) {
  Package out;
  for (const auto& [name, tensor] : inputs.tensors) {
    const bool real = at::isFloatingType(tensor.scalar_type());
    out.tensors[name] = real ? tensor.to(at::kDouble) : tensor;
  }
  return out;
}

}  // namespace

class TestLossGradients : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void every_loss_node_has_a_case() {
    std::set<std::string> known;
    for (const LossCase& c : cases()) known.insert(c.type);
    for (const auto& [id, node] : registry_.catalogue().nodes()) {
      if (id.starts_with("loss.")) QVERIFY2(known.contains(id), id.c_str());
    }
  }

  void gradients_agree_with_central_differences_data() { each_case(); }
  void gradients_agree_with_central_differences() {
    const LossCase& c = chosen();
    const EvaluateResult result = run(c, c.inputs);
    int differentiated = 0;
    for (const auto& argument : arguments(c)) {
      const auto it = c.inputs.tensors.find(argument.name);
      if (it == c.inputs.tensors.end() || !at::isFloatingType(it->second.scalar_type())) continue;
      const at::Tensor gradient = gradient_of(result, argument.name);
      if (!argument.differentiable) {
        QVERIFY2(gradient.eq(0).all().item<bool>(), argument.name.c_str());
        continue;
      }
      ++differentiated;
      QVERIFY2(gradient.ne(0).any().item<bool>(), argument.name.c_str());
      if (!c.straight_through) compare_slopes(c, argument.name, gradient);
    }
    QVERIFY(differentiated > 0);
  }

  void micro_batches_add_up_data() { each_case(); }
  void micro_batches_add_up() {
    const LossCase& c = chosen();
    if (c.cuts.empty()) {
      const Package part = with_totals(rows_between(c, 0, 3), c.totals);
      QCOMPARE(code_of([&] { run(c, part); }), std::string("not-separable"));
      const EvaluateResult whole = run(c, with_totals(c.inputs, c.totals));
      QVERIFY(std::abs(loss_of(whole) - loss_of(run(c, c.inputs))) < 1e-12);
      return;
    }
    const EvaluateResult once = run(c, c.inputs);
    for (const auto& cut : c.cuts) {
      double sum = 0;
      std::map<std::string, std::vector<at::Tensor>> gradients;
      std::int64_t start = 0;
      for (const std::int64_t size : cut) {
        const EvaluateResult part =
            run(c, with_totals(rows_between(c, start, start + size), c.totals));
        sum += loss_of(part);
        for (const std::string& name : differentiated(c)) {
          gradients[name].push_back(gradient_of(part, name));
        }
        start += size;
      }
      QVERIFY2(std::abs(sum - loss_of(once)) < 1e-12,
               fmt::format("{} against {}", sum, loss_of(once)).c_str());
      for (const auto& [name, parts] : gradients) {
        QVERIFY2(at::allclose(at::cat(parts), gradient_of(once, name), 1e-12, 1e-12), name.c_str());
      }
    }
  }

  void what_does_not_count_has_no_influence_and_no_gradient_data() { each_case(); }
  void what_does_not_count_has_no_influence_and_no_gradient() {
    const LossCase& c = chosen();
    if (c.without_influence.empty()) return;
    const EvaluateResult clean = run(c, c.inputs);
    for (const double rubbish : {std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity(), std::nan("")}) {
      Package dirty = c.inputs;
      for (const auto& [name, where] : c.without_influence) {
        dirty.tensors[name] = dirty.tensors[name].masked_fill(where, rubbish);
      }
      const EvaluateResult result = run(c, dirty);
      QCOMPARE(loss_of(result), loss_of(clean));
      for (const std::string& name : differentiated(c)) {
        const at::Tensor gradient = gradient_of(result, name);
        QVERIFY2(gradient.equal(gradient_of(clean, name)), name.c_str());
        const auto where = c.without_influence.find(name);
        if (where == c.without_influence.end()) continue;
        QVERIFY(gradient.masked_select(where->second).eq(0).all().item<bool>());
      }
    }
  }

  void padding_changes_nothing_data() { each_case(); }
  void padding_changes_nothing() {
    const LossCase& c = chosen();
    if (c.padded.empty()) return;
    const std::int64_t left = c.padded_left ? 2 : 0;
    Package wide = c.inputs;
    for (const std::string& name : c.padded) {
      std::vector<std::int64_t> pad{left, 3};
      if (wide.tensors[name].dim() == 3) pad = {0, 0, left, 3};
      wide.tensors[name] = at::constant_pad_nd(wide.tensors[name], pad, 0);
    }
    const EvaluateResult narrow = run(c, c.inputs), padded = run(c, wide);
    QVERIFY(std::abs(loss_of(narrow) - loss_of(padded)) < 1e-13);
    for (const std::string& name : differentiated(c)) {
      const at::Tensor want = gradient_of(narrow, name);
      const at::Tensor got = gradient_of(padded, name).slice(1, left, left + want.size(1));
      QVERIFY2(at::allclose(got, want, 1e-12, 1e-13), name.c_str());
    }
  }

  void the_order_of_rows_does_not_matter_data() { each_case(); }
  void the_order_of_rows_does_not_matter() {
    const LossCase& c = chosen();
    std::int64_t rows = 0;
    for (const auto& [name, tensor] : c.inputs.tensors) {
      if (!c.shares(name)) rows = tensor.size(0);
    }
    const at::Tensor order = (at::arange(rows) * (rows == 6 ? 5 : 3) + 2) % rows;
    Package moved = c.inputs;
    for (auto& [name, tensor] : moved.tensors) {
      if (!c.shares(name)) tensor = tensor.index_select(0, order);
    }
    const EvaluateResult straight = run(c, c.inputs), shuffled = run(c, moved);
    QVERIFY(std::abs(loss_of(straight) - loss_of(shuffled)) < 1e-13);
    for (const std::string& name : differentiated(c)) {
      at::Tensor want = gradient_of(straight, name);
      if (!c.shares(name)) want = want.index_select(0, order);
      QVERIFY2(at::allclose(gradient_of(shuffled, name), want, 1e-12, 1e-13), name.c_str());
    }
  }

  void extreme_inputs_stay_finite_data() { each_case(); }
  void extreme_inputs_stay_finite() {
    const LossCase& c = chosen();
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      for (int pattern = 0; pattern < 6; ++pattern) {
        const EvaluateResult result = run(c, extreme(c, pattern, type));
        QVERIFY2(std::isfinite(loss_of(result)), fmt::format("pattern {}", pattern).c_str());
        for (const std::string& name : differentiated(c)) {
          QVERIFY2(at::isfinite(gradient_of(result, name)).all().item<bool>(),
                   fmt::format("{} pattern {}", name, pattern).c_str());
        }
      }
    }
  }

  void single_precision_gives_what_double_gives_data() { each_case(); }
  void single_precision_gives_what_double_gives() {
    const LossCase& c = chosen();
    const Package narrow = repeated(c), wide = in_double(narrow);
    const EvaluateResult exact = run(c, wide), single = run(c, narrow);
    for (const auto& [name, want] : exact.outputs.tensors) {
      const at::Tensor got = single.outputs.tensors.at(name).to(at::kDouble);
      QVERIFY2(at::allclose(got, want.to(at::kDouble), 3e-5, 3e-6),
               fmt::format("{}: {} against {}", name, got.flatten()[0].item<double>(),
                           want.flatten()[0].item<double>())
                   .c_str());
    }
  }

  void an_edge_stays_in_its_row_data() { each_case(); }
  void an_edge_stays_in_its_row() {
    const LossCase& c = chosen();
    if (c.cuts.empty()) return;  // its rows depend on each other
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr std::int64_t row = 18;
    for (const std::string& name : differentiated(c)) {
      if (c.shares(name)) continue;
      for (const double edge : {infinity, -infinity, std::nan(""), -std::nan("")}) {
        const Package narrow = repeated(c);
        narrow.tensors.at(name)[row].flatten()[0] = edge;
        const std::string refusal = code_of([&] { run(c, in_double(narrow)); });
        QCOMPARE(code_of([&] { run(c, narrow); }), refusal);
        if (!refusal.empty()) continue;
        const EvaluateResult exact = run(c, in_double(narrow)), single = run(c, narrow);
        QCOMPARE(std::isfinite(loss_of(single)), std::isfinite(loss_of(exact)));
        for (const std::string& trained : differentiated(c)) {
          at::Tensor got = gradient_of(single, trained).to(at::kDouble);
          const at::Tensor want = gradient_of(exact, trained);
          if (!c.shares(trained)) got[row] = want[row];
          QVERIFY2(at::allclose(got, want, 1e-4, 1e-5, true),
                   fmt::format("{} by {}, where {} is {}", c.name(), trained, name, edge).c_str());
        }
      }
    }
  }

  void views_give_what_their_copies_give_data() { each_case(); }
  void views_give_what_their_copies_give() {
    const LossCase& c = chosen();
    const Package plain = repeated(c);
    Package views;
    for (const auto& [name, tensor] : plain.tensors) {
      views.tensors[name] = at::stack({tensor, at::zeros_like(tensor)}, -1).select(-1, 0);
    }
    const EvaluateResult want = run(c, plain), got = run(c, views);
    for (const auto& [name, tensor] : want.outputs.tensors) {
      QVERIFY2(got.outputs.tensors.at(name).equal(tensor), name.c_str());
    }
  }

  void no_rows_give_the_same_in_both_precisions_data() { each_case(); }
  void no_rows_give_the_same_in_both_precisions() {
    const LossCase& c = chosen();
    Package none = repeated(c);
    for (auto& [name, tensor] : none.tensors) {
      if (!c.shares(name)) tensor = tensor.slice(0, 0, 0);
    }
    const EvaluateResult single = run(c, none), exact = run(c, in_double(none));
    for (const auto& [name, want] : exact.outputs.tensors) {
      const at::Tensor got = single.outputs.tensors.at(name);
      QVERIFY2(at::allclose(got.to(at::kDouble), want.to(at::kDouble), 1e-6, 0, true),
               name.c_str());
    }
  }

  void wrong_shapes_are_refused_data() { each_case(); }
  void wrong_shapes_are_refused() {
    const LossCase& c = chosen();
    for (const auto& [name, tensor] : c.inputs.tensors) {
      for (std::int64_t d = 0; d < std::min<std::int64_t>(tensor.dim(), 2); ++d) {
        const bool free =
            std::find(c.any_width.begin(), c.any_width.end(), name) != c.any_width.end();
        if (tensor.size(d) < 2 || (d == 1 && free)) continue;
        Package bad = c.inputs;
        bad.tensors[name] = tensor.slice(d, 0, tensor.size(d) - 1).clone();
        const std::string code = code_of([&] { run(c, bad); });
        QVERIFY2(code == "bad-shape" || code == "too-few-steps",
                 fmt::format("{} without the last of dimension {}: {}", name, d, code).c_str());
      }
    }
  }

  void missing_arguments_are_named_data() { each_case(); }
  void missing_arguments_are_named() {
    const LossCase& c = chosen();
    for (const auto& argument : arguments(c)) {
      if (argument.optional || !c.inputs.tensors.contains(argument.name)) continue;
      Package less = c.inputs;
      less.tensors.erase(argument.name);
      QCOMPARE(code_of([&] { run(c, less); }), std::string("loss-argument-missing"));
    }
  }

  void ranks_of_what_is_no_number_and_of_zeros_are_those_of_sort();
  void an_impossible_answer_in_last_place_costs_nothing();
  void a_pixel_without_label_is_not_in_the_consistency();
  void labels_are_classes_where_their_picture_counts();
  void active_clamps_have_no_gradient();
  void constants_of_the_gradient_are_constant();
  void clip_cov_drops_as_many_tokens_as_it_may();

 private:
  static void each_case() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases().size(); ++i) {
      QTest::addRow("%s", cases()[i].name().c_str()) << static_cast<int>(i);
    }
  }
  static const LossCase& chosen() {
    QFETCH(int, index);
    return cases()[static_cast<std::size_t>(index)];
  }
  EvaluateResult run(const LossCase& c, const Package& inputs) const {
    return evaluate(registry_, c.type, c.params, inputs);
  }
  std::vector<LossArgumentDeclaration> arguments(const LossCase& c) const {
    return registry_.catalogue().node(c.type)->loss_arguments;
  }
  /// The inputs of a case that a loss has a gradient for.
  std::vector<std::string> differentiated(const LossCase& c) const {
    std::vector<std::string> out;
    for (const auto& argument : arguments(c)) {
      if (argument.differentiable && c.inputs.tensors.contains(argument.name)) {
        out.push_back(argument.name);
      }
    }
    return out;
  }
  void compare_slopes(const LossCase& c, const std::string& name, const at::Tensor& gradient) const;
  static Package extreme(const LossCase& c, int pattern, at::ScalarType type);

  Registry registry_;
};

void TestLossGradients::compare_slopes(const LossCase& c, const std::string& name,
                                       const at::Tensor& gradient) const {
  constexpr double kStep = 1e-6;
  const auto it = c.together.find(name);
  const at::Tensor point = c.inputs.tensors.at(name);
  for (std::int64_t i = 0; i < point.numel(); ++i) {
    double values[2];
    for (const int side : {0, 1}) {
      Package moved = c.inputs;
      std::vector<std::string> names{name};
      if (it != c.together.end()) names.insert(names.end(), it->second.begin(), it->second.end());
      for (const std::string& other : names) {
        at::Tensor value = c.inputs.tensors.at(other).clone();
        value.view(-1)[i] += side == 0 ? -kStep : kStep;
        moved.tensors[other] = value;
      }
      values[side] = loss_of(run(c, moved));
    }
    const double slope = (values[1] - values[0]) / (2 * kStep);
    const double given = gradient.flatten()[i].item<double>();
    QVERIFY2(std::abs(slope - given) < 1e-6 * (1 + std::abs(slope)),
             fmt::format("{}[{}]: {} against {}", name, i, given, slope).c_str());
  }
}

/// Every floating-point input with a row dimension at +-1e4, or 0 and -1e4 for log-probs, in a
/// pattern of its own; counts, labels and weights keep their values.
Package TestLossGradients::extreme(const LossCase& c, int pattern, at::ScalarType type) {
  static const std::set<std::string> kept{"weights", "weight",     "labels",    "label",
                                          "outcome", "advantages", "base_loss", "delta"};
  Package out = c.inputs;
  int input = 0;
  for (auto& [name, tensor] : out.tensors) {
    if (!at::isFloatingType(tensor.scalar_type())) continue;
    ++input;
    if (kept.contains(name)) {
      tensor = tensor.to(type);
      continue;
    }
    const at::Tensor index = at::arange(tensor.numel()).reshape(tensor.sizes());
    const at::Tensor up = ((index + pattern * input) / (1 + pattern % 3) % 2).eq(0);
    const bool log_probs = name.find("log_probs") != std::string::npos;
    const bool errors = name.find("error") != std::string::npos;
    const double low = errors ? 0 : -1e4, high = log_probs ? 0 : 1e4;
    tensor =
        at::where(up, at::full({}, high, at::kDouble), at::full({}, low, at::kDouble)).to(type);
  }
  return out;
}

void TestLossGradients::ranks_of_what_is_no_number_and_of_zeros_are_those_of_sort() {
  const double none = std::nan("");
  for (const std::vector<double>& chosen : {std::vector<double>{0.5, -none, -0.75, 0.25},
                                            {none, -2, -0.0, 0},
                                            {0, -0.0, 1, -HUGE_VAL}}) {
    const Package exact = package(
        {{"chosen_log_probs", numbers(chosen)}, {"rejected_log_probs", numbers({3, -1, 2, 0.5})}});
    const Json params{{"variant", "aot_unpaired"}, {"beta", 1.0}, {"reference_free", true}};
    const EvaluateResult wide = evaluate(registry_, "loss.dpo", params, exact);
    Package single;
    for (const auto& [name, x] : exact.tensors) single.tensors[name] = x.to(at::kFloat);
    const EvaluateResult narrow = evaluate(registry_, "loss.dpo", params, single);
    for (const char* name : {"losses", "chosen_log_probs.grad", "rejected_log_probs.grad"}) {
      const at::Tensor want = wide.outputs.tensors.at(name);
      QVERIFY2(
          at::allclose(narrow.outputs.tensors.at(name).to(at::kDouble), want, 1e-5, 1e-6, true),
          name);
    }
  }
}

void TestLossGradients::an_impossible_answer_in_last_place_costs_nothing() {
  const auto ranked = [&](std::vector<double> scores, std::vector<double> rewards) {
    const std::int64_t rows = static_cast<std::int64_t>(scores.size());
    return evaluate(registry_, "loss.group_ranking", {{"tau", 0.0}},
                    package({{"scores", numbers(std::move(scores))},
                             {"rewards", numbers(std::move(rewards))},
                             {"group", at::zeros({rows}, at::kLong)}}));
  };
  const EvaluateResult with = ranked({1, 0.5, -HUGE_VAL}, {3, 2, 1}),
                       without = ranked({1, 0.5}, {3, 2});
  QVERIFY(std::abs(loss_of(with) - loss_of(without)) < 1e-14);
  const at::Tensor slopes = gradient_of(with, "scores");
  QVERIFY(at::allclose(slopes.slice(0, 0, 2), gradient_of(without, "scores"), 1e-13, 1e-14));
  QCOMPARE(slopes[2].item<double>(), 0.0);
}

void TestLossGradients::a_pixel_without_label_is_not_in_the_consistency() {
  at::Tensor logits = at::zeros({2, 3, 1, 2}, at::kFloat);
  logits[0][1][0][1] = std::nan("");
  at::Tensor labels = at::ones({2, 1, 2}, at::kLong);
  labels[0][0][1] = 255;
  const EvaluateResult result =
      evaluate(registry_, "loss.uncertain_consistency", {{"step", 5000}},
               package({{"logits", logits},
                        {"second_logits", at::zeros({2, 3, 1, 2}, at::kFloat)},
                        {"labels", labels},
                        {"timesteps", integers({0, 0})}}));
  const double consistency = result.outputs.tensors.at("consistency").item<double>();
  QVERIFY(std::abs(consistency - std::log(3.0)) < 1e-6);
  QVERIFY(std::isnan(loss_of(result)));
  QVERIFY(at::isfinite(gradient_of(result, "logits")[1]).all().item<bool>());
}

void TestLossGradients::labels_are_classes_where_their_picture_counts() {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const std::int64_t label : {3, -1}) {
      const auto code = [&](std::int64_t timestep) {
        return code_of([&] {
          evaluate(registry_, "loss.uncertain_consistency", {{"step", 5000}},
                   package({{"logits", at::zeros({1, 3, 1, 2}, type)},
                            {"second_logits", at::zeros({1, 3, 1, 2}, type)},
                            {"labels", at::full({1, 1, 2}, label, at::kLong)},
                            {"timesteps", integers({timestep})}}));
        });
      };
      QCOMPARE(code(0), std::string("bad-index"));
      QCOMPARE(code(700), std::string());
    }
  }
}

void TestLossGradients::active_clamps_have_no_gradient() {
  const auto ratio_case = [](std::vector<double> log_ratio, std::vector<double> advantages) {
    const std::int64_t n = static_cast<std::int64_t>(log_ratio.size());
    return package({{"log_probs", numbers(log_ratio, {1, n}) - 1},
                    {"old_log_probs", at::full({1, n}, -1.0, at::kDouble)},
                    {"advantages", numbers(advantages, {1, n})},
                    {"mask", at::ones({1, n}, at::kBool)}});
  };
  const auto moves = [&](const char* type, const Json& params, const Package& inputs,
                         const char* name = "log_probs") {
    return gradient_of(evaluate(registry_, type, params, inputs), name)
        .ne(0)
        .to(at::kLong)
        .flatten();
  };
  const Package apart = ratio_case({0.5, -0.5, 0.5, -0.5}, {1, 1, -1, -1});
  QVERIFY(moves("loss.policy_clip", Json::object(), apart).equal(integers({0, 1, 1, 0})));
  // one ratio of the row: mean log-ratio 0.5 is beyond 0.2 where A > 0 alone
  const Package high = ratio_case({0.4, 0.6}, {1, 1}), low = ratio_case({0.4, 0.6}, {-1, -1});
  const Json wide{{"low", 0.2}, {"high", 0.2}};
  QVERIFY(moves("loss.gspo", wide, high).equal(integers({0, 0})));
  QVERIFY(moves("loss.gspo", wide, low).equal(integers({1, 1})));
  Json held = wide;
  held["log_ratio_max"] = 0.3;
  held["gradient"] = "token";
  QVERIFY(moves("loss.gspo", held, low).equal(integers({0, 0})));
  const Package raised = ratio_case({0.5, -0.5, 0.1}, {1, 1, 1});
  const Package lowered = ratio_case({0.5, -0.5, 0.1}, {-1, -1, -1});
  QVERIFY(moves("loss.geo_mean", Json::object(), raised).equal(integers({0, 1, 1})));
  QVERIFY(moves("loss.geo_mean", Json::object(), lowered).equal(integers({1, 0, 1})));
  QVERIFY(moves("loss.cispo", Json::object(), apart).equal(integers({1, 1, 1, 1})));
  const Package far = ratio_case({3, 0.1}, {1, 1});
  QVERIFY(moves("loss.sapo", {{"log_ratio_clamp", 2.0}}, far).equal(integers({0, 1})));
  QVERIFY(moves("loss.cispo", {{"low", nullptr}, {"log_ratio_clamp", 2.0}}, far)
              .equal(integers({1, 1})));
  Package reference = far;
  reference.tensors.erase("advantages");
  reference.tensors["ref_log_probs"] = reference.tensors["old_log_probs"];
  reference.tensors.erase("old_log_probs");
  QVERIFY(moves("loss.kl", {{"input_clamp", 2.0}}, reference).equal(integers({0, 1})));
  const Package critic = package({{"values", numbers({0.5, 0.1, 0.5}, {1, 3})},
                                  {"old_values", at::zeros({1, 3}, at::kDouble)},
                                  {"returns", numbers({1, 1, -1}, {1, 3})},
                                  {"mask", at::ones({1, 3}, at::kBool)}});
  QVERIFY(moves("loss.value_clip", Json::object(), critic, "values").equal(integers({0, 1, 1})));
  const Package images = package({{"real", numbers({2, 0.5})}, {"fake", numbers({-0.5, -2})}});
  QVERIFY(moves("loss.discriminator", Json::object(), images, "real").equal(integers({0, 1})));
  QVERIFY(moves("loss.discriminator", Json::object(), images, "fake").equal(integers({1, 0})));
  const Package pairs =
      package({{"chosen_log_probs", numbers({-1, -3})}, {"rejected_log_probs", numbers({-9, -2})}});
  QVERIFY(moves("loss.simpo", {{"variant", "hinge"}}, pairs, "chosen_log_probs")
              .equal(integers({0, 1})));
  QVERIFY(moves("loss.dpo", {{"variant", "hinge"}, {"beta", 1.0}, {"reference_free", true}}, pairs,
                "rejected_log_probs")
              .equal(integers({0, 1})));
}

void TestLossGradients::constants_of_the_gradient_are_constant() {
  const auto same = [&](const std::string& type, const Json& a, const Package& x, const Json& b,
                        const Package& y, const std::vector<std::string>& names) {
    const EvaluateResult first = evaluate(registry_, type, a, x);
    const EvaluateResult second = evaluate(registry_, type, b, y);
    QVERIFY2(std::abs(loss_of(first) - loss_of(second)) < 1e-13, type.c_str());
    for (const std::string& name : names) {
      QVERIFY2(at::allclose(gradient_of(first, name), gradient_of(second, name), 1e-12, 1e-14),
               (type + " " + a.dump() + " " + name).c_str());
    }
  };
  for (const LossCase& c : cases()) {
    const Package& p = c.inputs;
    Json other = c.params;
    Package moved = p;
    if (c.type == "loss.gspo" && c.straight_through && p.tensors.at("advantages").dim() == 1) {
      other["gradient"] = "sequence";
      same(c.type, c.params, p, other, p, {"log_probs"});
    } else if (c.type == "loss.kto" && c.straight_through) {
      const at::Tensor x = p.tensors.at("log_probs") - p.tensors.at("ref_log_probs");
      other["kl"] = "mismatched";
      moved.tensors["kl_log_probs"] = x.mean().reshape({1});
      moved.tensors["ref_kl_log_probs"] = at::zeros({1}, at::kDouble);
      QVERIFY(x.mean().item<double>() > 0);
      same(c.type, c.params, p, other, moved, {"log_probs"});
    } else if (c.type == "loss.bco" && c.straight_through) {
      const at::Tensor x = p.tensors.at("log_probs") - p.tensors.at("ref_log_probs");
      other["delta"] = "given";
      moved.tensors["delta"] = 0.4 * x.mean();
      same(c.type, c.params, p, other, moved, {"log_probs"});
    } else if (c.type == "loss.denoise_pair" && c.straight_through) {
      const at::Tensor kl = evaluate(registry_, c.type, c.params, p).outputs.tensors.at("kl");
      other["kl_offset"] = "none";
      moved.tensors["ref_error"] = p.tensors.at("ref_error") - kl;
      same(c.type, c.params, p, other, moved, {"error"});
    } else if (c.type == "loss.dpo" && c.params.value("variant", "") == "bco_pair") {
      const Json with{{"variant", "bco_pair"}, {"beta", 0.4}, {"bco_delta", "batch_mean"}};
      const EvaluateResult r = evaluate(registry_, c.type, with, p);
      const at::Tensor delta = 0.5 * (r.outputs.tensors.at("chosen_rewards").mean() +
                                      r.outputs.tensors.at("rejected_rewards").mean());
      other["bco_delta"] = "none";
      for (const char* name : {"ref_chosen_log_probs", "ref_rejected_log_probs"}) {
        moved.tensors[name] = p.tensors.at(name) + delta / 0.4;
      }
      same(c.type, with, p, other, moved, {"chosen_log_probs", "rejected_log_probs"});
    }
  }
}

void TestLossGradients::clip_cov_drops_as_many_tokens_as_it_may() {
  Package p;
  for (const LossCase& c : cases()) {
    if (c.type == "loss.clip_cov") p = c.inputs;
  }
  const double tokens = count(p.tensors.at("mask"));
  const auto dropped = [&](double share, const Package& inputs) {
    const Json params{
        {"ratio", share}, {"cov_low", -9.0}, {"cov_high", 9.0}, {"low", 0.9}, {"high", 9.0}};
    const at::Tensor gradient =
        gradient_of(evaluate(registry_, "loss.clip_cov", params, inputs), "log_probs");
    return gradient.eq(0).logical_and(inputs.tensors.at("mask"));
  };
  QCOMPARE(count(dropped(1, p)), tokens);
  QCOMPARE(count(dropped(1e-9, p)), 1.0);
  const at::Tensor half = dropped(0.5, p);
  QCOMPARE(count(half), std::floor(0.5 * tokens));
  QVERIFY(dropped(0.5, p).equal(half));
  const at::Tensor order = integers({3, 1, 5, 0, 4, 2});
  Package moved = p;
  for (auto& [name, tensor] : moved.tensors) tensor = tensor.index_select(0, order);
  QVERIFY(dropped(0.5, moved).equal(half.index_select(0, order)));
  Package other = p;
  other.tensors["old_log_probs"] = p.tensors["old_log_probs"] + 0.01;
  QVERIFY(!dropped(0.5, other).equal(half));
}

}  // namespace rewardloom

using rewardloom::TestLossGradients;
REWARDLOOM_TEST(TestLossGradients)
#include "test_loss_gradients.moc"
