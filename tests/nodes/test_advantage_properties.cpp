// What must hold for every advantage node, whatever its formula: order and names of rows and groups
// mean nothing, padding is nothing, constants carry no signal, what does not fit is refused.
#include <fmt/format.h>
#include <torch/types.h>

#include <limits>
#include <map>

#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "nodes/advantage/groups.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using Fields = std::map<std::string, at::Tensor>;

/// A node with the fields of a batch that go to its inputs.
struct Subject {
  const char* type;
  Json params;
  std::vector<std::pair<const char*, const char*>> inputs;  ///< key of the node, field of the batch
  std::vector<const char*> outputs;
};

const std::vector<Subject>& subjects() {
  static const std::vector<std::pair<const char*, const char*>> rewards{{"rewards", "reward"},
                                                                        {"group", "group"}};
  static const std::vector<std::pair<const char*, const char*>> masked{
      {"rewards", "reward"}, {"group", "group"}, {"mask", "mask"}};
  static const std::vector<std::pair<const char*, const char*>> episodes{
      {"rewards", "token_reward"},
      {"mask", "mask"},
      {"done", "done"},
      {"terminated", "terminated"},
      {"next_values", "next_value"}};
  const auto with = [](auto list, std::initializer_list<std::pair<const char*, const char*>> more) {
    list.insert(list.end(), more);
    return list;
  };
  static const std::vector<Subject> all{
      {"advantage.group", {}, rewards, {"advantages"}},
      {"advantage.group", {{"scale", "batch_std"}, {"clip", 1.5}}, rewards, {"advantages"}},
      {"advantage.leave_one_out",
       {{"scale", "leave_one_out_std"}},
       rewards,
       {"advantages", "baseline", "std"}},
      {"advantage.whiten", {}, {{"values", "value"}, {"mask", "mask"}}, {"whitened"}},
      {"advantage.gae",
       {{"gamma", 0.9}, {"whiten", "sample"}},
       {{"rewards", "token_reward"}, {"values", "value"}, {"mask", "mask"}},
       {"advantages", "returns"}},
      {"advantage.gae",
       {{"gamma", 0.9}},
       with(episodes, {{"values", "value"}}),
       {"advantages", "returns"}},
      {"advantage.td_lambda", {}, episodes, {"returns"}},
      {"advantage.vtrace",
       {{"rho_clip", 1.2}},
       with(episodes,
            {{"values", "value"}, {"log_probs", "log_probs"}, {"behavior_log_probs", "behavior"}}),
       {"advantages", "targets"}},
      {"advantage.reinforce_pp",
       {{"gamma", 1.0}},
       {{"rewards", "token_reward"}, {"mask", "mask"}},
       {"advantages", "returns"}},
      {"advantage.reinforce_pp_baseline", {}, masked, {"advantages"}},
      {"advantage.remax",
       {},
       {{"rewards", "token_reward"}, {"baseline", "reward"}, {"mask", "mask"}},
       {"advantages", "returns"}},
      {"advantage.opo", {}, masked, {"advantages"}},
      {"advantage.gpg", {}, rewards, {"advantages"}},
      {"advantage.pass_at_k", {}, rewards, {"advantages"}},
      {"advantage.maxrl", {}, rewards, {"advantages"}},
      {"advantage.jepo", {}, rewards, {"advantages", "answer_weights"}},
      {"advantage.group_decoupled",
       {},
       {{"components", "components"}, {"group", "group"}},
       {"advantages"}},
      {"advantage.multi_source",
       {{"process_normalise", "batch_max"}, {"gamma_process", 1.0}},
       {{"process_rewards", "token_reward"},
        {"outcome_rewards", "reward"},
        {"group", "group"},
        {"mask", "mask"}},
       {"advantages", "returns"}},
      {"advantage.group_returns",
       {{"baseline", "whole"}},
       {{"token_rewards", "token_reward"}, {"group", "group"}, {"mask", "mask"}},
       {"advantages"}},
      {"advantage.episode_step",
       {{"step_weight", 0.5}, {"step_baseline", "all_rows"}},
       {{"episode_rewards", "episode_reward"},
        {"step_rewards", "reward"},
        {"group", "group"},
        {"trajectory", "trajectory"}},
       {"advantages"}},
      {"advantage.process_group",
       {},
       {{"step_rewards", "step_reward"},
        {"step_end", "step_end"},
        {"step_mask", "step_mask"},
        {"group", "group"},
        {"mask", "mask"}},
       {"advantages"}},
      {"advantage.optimal_token_baseline",
       {},
       {{"rewards", "token_reward"},
        {"mask", "mask"},
        {"group", "group"},
        {"log_probs", "log_probs"},
        {"sum_pi_squared", "sum_pi_squared"}},
       {"advantages", "returns"}},
      {"advantage.optimal_token_baseline",
       {{"multi_turn", true}, {"handle_zero_tail", true}},
       {{"rewards", "token_reward"},
        {"mask", "mask"},
        {"group", "group"},
        {"log_probs", "log_probs"},
        {"sum_pi_squared", "sum_pi_squared"}},
       {"advantages", "returns"}},
  };
  return all;
}

at::Tensor ids(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}

at::Tensor normal(const Random& random, at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::kDouble);
  Random stream = random;
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<double>()[i] = stream.normal();
  return out;
}

constexpr std::int64_t kTokens = 7;

/// Twelve rows in ragged groups of any ids, two or more to a trajectory, with masks that have gaps.
Fields batch(std::uint64_t seed = 1) {
  const auto stream = [seed](std::uint64_t n) { return Random(RandomKey{seed, n, 0}); };
  Fields f;
  f["group"] = ids({40, -7, 40, 3, -7, 40, 3, 40, -7, 3, 40, 3});
  f["trajectory"] = ids({1, 1, 2, 1, 1, 1, 2, 2, 2, 2, 3, 1});
  const std::int64_t rows = f["group"].size(0);
  f["reward"] = normal(stream(1), {rows}).abs();
  f["episode_reward"] = f["trajectory"].to(at::kDouble) * 0.5 - f["group"].to(at::kDouble) * 0.01;
  f["components"] = normal(stream(2), {rows, 3});
  std::uint64_t n = 3;
  for (const char* name : {"token_reward", "value", "next_value"}) {
    f[name] = normal(stream(n++), {rows, kTokens});
  }
  f["log_probs"] = -normal(stream(n++), {rows, kTokens}).abs();
  f["behavior"] = -normal(stream(n++), {rows, kTokens}).abs();
  f["sum_pi_squared"] = normal(stream(n++), {rows, kTokens}).abs().clamp_max(1);
  f["mask"] = normal(stream(n++), {rows, kTokens}) > -0.8;
  f["mask"].select(1, 2).fill_(true);
  f["done"] = normal(stream(n++), {rows, kTokens}) > 1;
  f["terminated"] = f["done"].logical_and(normal(stream(n++), {rows, kTokens}) > 0);
  f["step_reward"] = normal(stream(n++), {rows, 3});
  f["step_end"] = ids({1, 3, 6}).expand({rows, 3}).contiguous();
  f["step_mask"] = normal(stream(n++), {rows, 3}) > -1;
  return f;
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

/// Columns that stand for padding: not in the mask, and full of what must have no influence.
at::Tensor padded(const at::Tensor& x, std::int64_t left, std::int64_t right) {
  const auto columns = [&](std::int64_t n) {
    return x.scalar_type() == at::kBool
               ? at::zeros({x.size(0), n}, x.options())
               : at::full({x.size(0), n}, std::numeric_limits<double>::quiet_NaN(), x.options());
  };
  return at::cat({columns(left), x, columns(right)}, 1);
}

bool has(const Subject& subject, std::string_view field) {
  for (const auto& [key, name] : subject.inputs) {
    if (name == field) return true;
  }
  return false;
}

}  // namespace

class TestAdvantageProperties : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void every_advantage_node_is_here() {
    for (const auto& [id, node] : registry_.catalogue().nodes()) {
      if (!id.starts_with("advantage.")) continue;
      bool found = false;
      for (const Subject& subject : subjects()) found = found || id == subject.type;
      QVERIFY2(found, id.c_str());
    }
  }

  void permuting_rows_permutes_the_result_data() { add_subjects(""); }
  void permuting_rows_permutes_the_result() {
    const Subject& s = subject();
    const Fields f = batch();
    const at::Tensor order = ids({7, 0, 11, 4, 2, 9, 1, 10, 3, 8, 6, 5});
    Fields moved;
    for (const auto& [name, x] : f) moved[name] = x.index_select(0, order);
    if (std::string(s.type) == "advantage.episode_step")
      QVERIFY(s.params["step_baseline"] == "all_rows");
    const auto straight = run(s, f);
    const auto permuted = run(s, moved);
    for (const char* name : s.outputs) {
      close(straight.at(name).index_select(0, order), permuted.at(name), name);
    }
  }

  void group_ids_are_only_names_data() { add_subjects("group"); }
  void group_ids_are_only_names() {
    const Subject& s = subject();
    Fields f = batch();
    const auto before = run(s, f);
    const std::int64_t far = std::int64_t{1} << 60;
    at::Tensor renamed = at::empty_like(f["group"]);
    for (const auto& [from, to] :
         std::map<std::int64_t, std::int64_t>{{40, -far}, {-7, far}, {3, 0}}) {
      renamed.masked_fill_(f["group"].eq(from), to);
    }
    f["group"] = renamed;
    const auto after = run(s, f);
    for (const char* name : s.outputs) QVERIFY2(before.at(name).equal(after.at(name)), name);
  }

  void padding_changes_nothing_data() { add_subjects("mask"); }
  void padding_changes_nothing() {
    const Subject& s = subject();
    const auto plain = run(s, batch());
    for (const auto& [left, right] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {0, 9}, {1, 0}, {5, 3}}) {
      Fields f = batch();
      for (auto& [name, x] : f) {
        if (x.dim() == 2 && x.size(1) == kTokens) x = padded(x, left, right);
      }
      f["step_end"] = f["step_end"] + left;
      const auto wide = run(s, f);
      for (const char* name : s.outputs) {
        const at::Tensor& want = plain.at(name);
        const at::Tensor got = wide.at(name);
        close(want, want.dim() == 2 ? got.narrow(1, left, kTokens) : got, name);
        if (want.dim() == 2)
          QVERIFY2(got.masked_select(f["mask"].logical_not()).eq(0).all().item<bool>(), name);
      }
    }
  }

  void constant_groups_give_exactly_zero_data() { add_subjects("group"); }
  void constant_groups_give_exactly_zero() {
    const Subject& s = subject();
    if (s.type == std::string("advantage.group_returns")) QSKIP("returns fall along a row");
    for (const double value : {0.1, 0.7, 1.0 / 3, 1e8, 1e-9}) {
      for (const bool no_epsilon : {false, true}) {
        const auto out = run(with_epsilon(s, no_epsilon), constant(value));
        QVERIFY2(out.at("advantages").eq(0).all().item<bool>(),
                 c10::str(value, ": ", out.at("advantages")).c_str());
      }
    }
  }

  /// Float32 rewards such as 0.1 have means that round away from them.
  void constant_float_groups_give_exactly_zero_data() { add_subjects("group"); }
  void constant_float_groups_give_exactly_zero() {
    const Subject& s = subject();
    if (s.type == std::string("advantage.group_returns")) QSKIP("returns fall along a row");
    Fields f = constant(0.1);
    for (auto& [name, x] : f) x = x.scalar_type() == at::kDouble ? x.to(at::kFloat) : x;
    QVERIFY(run(with_epsilon(s, true), f).at("advantages").eq(0).all().item<bool>());
  }

  void a_group_of_one_has_no_signal_data() { add_subjects("group"); }
  void a_group_of_one_has_no_signal() {
    const Subject& s = subject();
    Fields f = batch();
    f["group"] = ids({40, -7, 40, 3, -7, 40, 3, 40, -7, 3, 40, 99});
    const at::Tensor alone = run(s, f).at("advantages").select(0, 11);
    QVERIFY(at::isfinite(alone).all().item<bool>());
    const std::string type = s.type;
    if (type == "advantage.gpg") {  // all rewards are positive, so alpha is 1: the raw reward
      QCOMPARE(alone.item<double>(), f["reward"][11].item<double>());
      Subject zero = s;
      zero.params["singleton"] = "zero";
      QCOMPARE(run(zero, f).at("advantages")[11].item<double>(), 0.0);
    } else if (type == "advantage.multi_source") {  // whitening moves 0 by the mean of the batch
      Subject plain = s;
      plain.params["whiten"] = false;
      QVERIFY(run(plain, f).at("advantages").select(0, 11).eq(0).all().item<bool>());
    } else if (type != "advantage.group_decoupled" && type != "advantage.process_group" &&
               type != "advantage.reinforce_pp_baseline") {
      // Those also compare with the batch, or with the row's own steps.
      QVERIFY(alone.eq(0).all().item<bool>());
    }
  }

  void absent_rows_are_as_if_they_were_not_there_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < subjects().size(); ++i) {
      const Subject& s = subjects()[i];
      if (!has(s, "reward") || std::string(s.type) == "advantage.remax") continue;
      QTest::addRow("%zu %s", i, s.type) << static_cast<int>(i);
    }
  }
  void absent_rows_are_as_if_they_were_not_there() {
    Subject s = subject();
    const std::string port = s.inputs.front().first == std::string("process_rewards")
                                 ? "outcome_rewards"
                                 : s.inputs.front().first;
    Fields f = batch();
    const at::Tensor kept = ids({0, 1, 3, 4, 5, 6, 7, 9, 10});
    f["absent"] = at::ones({12}, at::kBool).index_fill(0, kept, 0);
    Fields rest;
    for (const auto& [name, x] : f) rest[name] = x.index_select(0, kept);
    f["reward"] = f["reward"].masked_fill(f["absent"], std::nan(""));
    const auto without = run(s, rest);
    const std::string key = port + ".absent";
    s.inputs.emplace_back(key.c_str(), "absent");
    const auto with = run(s, f);
    for (const char* name : s.outputs) {
      close(with.at(name).index_select(0, kept), without.at(name), name);
    }
    QVERIFY(with.at("advantages").index_select(0, ids({2, 8, 11})).eq(0).all().item<bool>());
  }

  void rows_and_tokens_that_do_not_fit_are_refused_data() {
    QTest::addColumn<int>("index");
    QTest::addColumn<QString>("field");
    QTest::addColumn<int>("dimension");
    for (std::size_t i = 0; i < subjects().size(); ++i) {
      for (const auto& [key, field] : subjects()[i].inputs) {
        const std::int64_t dims = batch().at(field).dim();
        for (std::int64_t d = 0; d < dims; ++d) {
          if (d == 1 && (std::string(field) == "components" ||
                         (std::string(field) == "mask" && has(subjects()[i], "group") &&
                          !has(subjects()[i], "token_reward")))) {
            continue;  // any width will do
          }
          QTest::addRow("%zu %s %s %d", i, subjects()[i].type, key, static_cast<int>(d))
              << static_cast<int>(i) << QString(field) << static_cast<int>(d);
        }
      }
    }
  }
  void rows_and_tokens_that_do_not_fit_are_refused() {
    QFETCH(QString, field);
    QFETCH(int, dimension);
    const Subject& s = subject();
    Fields f = batch();
    at::Tensor& x = f.at(field.toStdString());
    x = x.narrow(dimension, 0, x.size(dimension) - 1).contiguous();
    try {
      run(s, f);
      QFAIL("was taken");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("bad-shape"));
      QVERIFY2(!failure.problem().help.empty(), failure.what());
    }
  }

  void a_missing_mask_or_group_is_named() {
    for (const Subject& s : subjects()) {
      Subject less = s;
      std::erase_if(less.inputs, [](const auto& i) { return i.second == std::string("group"); });
      if (less.inputs.size() < s.inputs.size()) {
        QCOMPARE(code_of([&] { run(less, batch()); }), std::string("no-groups"));
      }
    }
    Subject bare{"advantage.reinforce_pp", {}, {{"rewards", "token_reward"}}, {}};
    QCOMPARE(code_of([&] { run(bare, batch()); }), std::string("no-mask"));
  }

  void no_rows_give_no_advantages_data() { add_subjects(""); }
  void no_rows_give_no_advantages() {
    Fields none;
    for (const auto& [name, x] : batch()) none[name] = x.narrow(0, 0, 0).contiguous();
    const auto out = run(subject(), none);
    for (const char* name : subject().outputs) QCOMPARE(out.at(name).numel(), std::int64_t{0});
  }

  void inputs_are_left_as_they_were_data() { add_subjects(""); }
  void inputs_are_left_as_they_were() {
    const Fields f = batch();
    Fields copy;
    for (const auto& [name, x] : f) copy[name] = x.clone();
    run(subject(), f);
    for (const auto& [name, x] : f) QVERIFY2(x.equal(copy.at(name)), name.c_str());
  }

  void ids_close_together_and_far_apart_are_numbered_alike() {
    Random random(RandomKey{3, 1, 4});
    for (int round = 0; round < 30; ++round) {
      std::vector<std::int64_t> near, far;
      const std::uint64_t rows = random.below(50);
      for (std::uint64_t i = 0; i < rows; ++i) {
        near.push_back(static_cast<std::int64_t>(random.below(9)) - 4);
        far.push_back(near.back() * 1'000'000'007'000);
      }
      const Groups a(ids(near), {}, static_cast<std::int64_t>(rows));
      const Groups b(ids(far), {}, static_cast<std::int64_t>(rows));
      QCOMPARE(a.count(), b.count());
      for (std::size_t g = 0; g < a.count(); ++g) QVERIFY(std::ranges::equal(a.rows(g), b.rows(g)));
    }
    const std::int64_t low = std::numeric_limits<std::int64_t>::min();
    const std::int64_t high = std::numeric_limits<std::int64_t>::max();
    QCOMPARE(Groups(ids({low, high, low}), {}, 3).count(), std::size_t{2});
  }

  void many_groups_cost_no_more_than_many_rows() {
    const std::int64_t rows = 60'000;
    Fields f;
    const Fields small = batch();
    for (const auto& [name, x] : small) {
      f[name] = x.dim() == 1 ? x.repeat({rows / 12}) : x.repeat({rows / 12, 1});
    }
    f["group"] = at::arange(rows, at::kLong).floor_divide(3).mul(7919).remainder(1'000'003);
    for (const Subject& s : subjects()) {
      QElapsedTimer clock;
      clock.start();
      run(s, f);
      QVERIFY2(clock.elapsed() < 5000, fmt::format("{}: {} ms", s.type, clock.elapsed()).c_str());
    }
  }

 private:
  static void add_subjects(std::string_view field) {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < subjects().size(); ++i) {
      if (!field.empty() && !has(subjects()[i], field)) continue;
      QTest::addRow("%zu %s", i, subjects()[i].type) << static_cast<int>(i);
    }
  }
  static const Subject& subject() {
    QFETCH(int, index);
    return subjects()[static_cast<std::size_t>(index)];
  }

  std::map<std::string, at::Tensor> run(const Subject& s, const Fields& fields) const {
    Package in;
    for (const auto& [key, field] : s.inputs) in.tensors[key] = fields.at(field);
    const EvaluateResult result = evaluate(registry_, s.type, s.params, in);
    return {result.outputs.tensors.begin(), result.outputs.tensors.end()};
  }

  Subject with_epsilon(const Subject& s, bool none) const {
    Subject out = s;
    const NodeDeclaration* const node = registry_.catalogue().node(s.type);
    if (none && node->param("epsilon") != nullptr) out.params["epsilon"] = 0.0;
    return out;
  }

  /// All rewards of a group are equal; the groups differ.
  static Fields constant(double value) {
    Fields f = batch();
    const at::Tensor level = (f["group"].to(at::kDouble).remainder(5) + 1) * value;
    f["reward"] = level;
    f["episode_reward"] = level;
    f["components"] = level.unsqueeze(1).expand({12, 3}).contiguous();
    f["step_reward"] = f["components"];
    f["token_reward"] = level.unsqueeze(1).expand({12, kTokens}).contiguous();
    // Where returns are compared, equal rewards on the first token of all alone are equal returns.
    f["mask"].fill_(true);
    f["mask"].narrow(1, kTokens - 2, 2).fill_(false);
    return f;
  }

  static void close(const at::Tensor& a, const at::Tensor& b, const char* name) {
    QVERIFY2(at::isfinite(a).all().item<bool>(), name);
    QVERIFY2(at::allclose(a, b, 1e-10, 1e-10), c10::str(name, "\n", a, "\n", b).c_str());
  }

  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestAdvantageProperties;
REWARDLOOM_TEST(TestAdvantageProperties)
#include "test_advantage_properties.moc"
