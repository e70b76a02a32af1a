// Presets of the losses, numbers that papers work out, and settings that say nothing.
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <set>

#include "engine/core/registry.h"
#include "nodes/all_nodes.h"
#include "tests/nodes/loss_bench.h"
#include "tests/qt_test.h"

namespace rewardloom {

using namespace testing;

class TestLossSettings : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }
  void presets_are_what_they_say_data();
  void presets_are_what_they_say();
  void every_preset_is_in_the_table();
  void worked_examples_of_papers_data();
  void worked_examples_of_papers();
  void settings_without_meaning_are_refused();

 private:
  Registry registry_;
};

namespace {

/// A preset: what it must equal, and a batch on which its settings matter.
struct PresetCase {
  std::string type, preset;
  Json equals;
  Json also = Json::object();
  bool is_default = false;
};

std::vector<PresetCase> preset_cases() {
  const Json mean = "seq_mean_token_mean";
  return {
      {"loss.policy_clip", "verl", {{"dual", 3.0}}, {}, false},
      {"loss.policy_clip",
       "trl_grpo",
       {{"log_ratio_clamp", nullptr}, {"aggregate", mean}, {"empty_rows", "count"}},
       {},
       false},
      {"loss.policy_clip", "trl_bnpo", {{"log_ratio_clamp", nullptr}}, {}, false},
      {"loss.policy_clip", "trl_dapo", {{"log_ratio_clamp", nullptr}, {"high", 0.28}}, {}, false},
      {"loss.policy_clip",
       "trl_dr_grpo",
       {{"log_ratio_clamp", nullptr}, {"aggregate", "seq_mean_token_sum_norm"}},
       {{"norm_length", 7}},
       false},
      {"loss.policy_clip", "openrlhf", Json::object(), {}, true},
      {"loss.policy_clip",
       "r1_reward",
       {{"log_ratio_clamp", std::log(1000.0)}, {"aggregate", mean}},
       {},
       false},
      {"loss.gspo",
       "verl",
       {{"gradient", "token"}, {"aggregate", mean}, {"log_ratio_max", 10.0}},
       {},
       false},
      {"loss.gspo", "openrlhf", {{"aggregate", mean}}, {}, false},
      {"loss.gspo", "trl", {{"aggregate", mean}, {"empty_rows", "count"}}, {}, false},
      {"loss.gspo", "trl_luspo", {{"length_weighted", true}}, {}, false},
      {"loss.cispo", "verl", Json::object(), {}, true},
      {"loss.cispo",
       "trl",
       {{"bound", "absolute"}, {"low", nullptr}, {"high", 5.0}, {"log_ratio_clamp", nullptr}},
       {},
       false},
      {"loss.sapo", "verl", {{"aggregate", mean}}, {}, false},
      {"loss.sapo",
       "trl",
       {{"aggregate", mean}, {"empty_rows", "count"}, {"log_ratio_clamp", nullptr}},
       {},
       false},
      {"loss.kl", "verl", {{"input_clamp", 20.0}, {"output_clamp", 10.0}}, {}, true},
      {"loss.kl",
       "openrlhf",
       {{"input_clamp", nullptr}, {"output_clamp", 10.0}},
       {{"estimator", "k1"}},
       true},
      {"loss.kl",
       "nemo",
       {{"input_clamp", 20.0}, {"output_clamp", 10.0}},
       {{"estimator", "k1"}},
       true},
      {"loss.kl", "trl", {{"input_clamp", nullptr}, {"output_clamp", nullptr}}, {}, false},
      {"loss.dpo", "trl", Json::object(), {{"variant", "ipo"}}, true},
      {"loss.dpo", "trl-0.19", {{"bco_delta", "batch_mean"}}, {{"variant", "bco_pair"}}, false},
      {"loss.dpo", "openrlhf", {{"length_normalise", false}}, {{"variant", "ipo"}}, false},
  };
}

/// Far from the old policy and the reference, with rows without tokens.
Package preset_batch(const std::string& type) {
  if (type == "loss.dpo") {
    return package({{"chosen_log_probs", numbers({-4, -9, -6})},
                    {"rejected_log_probs", numbers({-7, -5, -3})},
                    {"ref_chosen_log_probs", numbers({-5, -8, -4})},
                    {"ref_rejected_log_probs", numbers({-5, -6, -5})},
                    {"chosen_lengths", integers({3, 5, 2})},
                    {"rejected_lengths", integers({2, 2, 4})}});
  }
  const at::Tensor old = numbers({-1, -40, -1, -1, -2, -2, -9, -1, -1}, {3, 3});
  const at::Tensor now = numbers({-1.5, -1, -0.9, -0.8, -2.5, -1.2, -1, -1, -1}, {3, 3});
  Package p =
      package({{"log_probs", now}, {"mask", truths({1, 1, 1, 1, 1, 0, 0, 0, 0}).reshape({3, 3})}});
  if (type == "loss.kl") {
    p.tensors["ref_log_probs"] = old - 20 * (old < -30).to(at::kDouble);
    p.tensors["log_probs"] = now - 39 * (now < -1.3).to(at::kDouble);
    return p;
  }
  p.tensors["old_log_probs"] = old;
  p.tensors["advantages"] = numbers({1, -1, 2, 1, -2, 1, 1, 1, 1}, {3, 3});
  return p;
}

}  // namespace

void TestLossSettings::presets_are_what_they_say_data() {
  QTest::addColumn<int>("index");
  const auto table = preset_cases();
  for (std::size_t i = 0; i < table.size(); ++i) {
    QTest::addRow("%s %s", table[i].type.c_str(), table[i].preset.c_str()) << static_cast<int>(i);
  }
}

void TestLossSettings::presets_are_what_they_say() {
  QFETCH(int, index);
  const PresetCase c = preset_cases()[static_cast<std::size_t>(index)];
  const auto loss = [&](Json params) {
    if (c.also.is_object()) params.update(c.also);
    return evaluate(registry_, c.type, params, preset_batch(c.type));
  };
  const EvaluateResult preset = loss({{"preset", c.preset}}), spelled = loss(c.equals);
  QCOMPARE(loss_of(preset), loss_of(spelled));
  for (const auto& [name, tensor] : spelled.outputs.tensors) {
    QVERIFY2(tensor.equal(preset.outputs.tensors.at(name)), name.c_str());
  }
  Json nothing = Json::object();
  if (c.also.contains("norm_length")) nothing["aggregate"] = "token_mean";
  QCOMPARE(loss_of(loss(nothing)) == loss_of(preset), c.is_default);
}

void TestLossSettings::every_preset_is_in_the_table() {
  std::set<std::pair<std::string, std::string>> known;
  for (const PresetCase& c : preset_cases()) known.emplace(c.type, c.preset);
  for (const auto& [id, node] : registry_.catalogue().nodes()) {
    if (!id.starts_with("loss.")) continue;
    for (const PresetDeclaration& preset : node.presets) {
      QVERIFY2(known.contains({id, preset.name}), (id + " " + preset.name).c_str());
    }
  }
}

namespace {

struct WorkedExample {
  std::string name, type;
  Json params;
  Package inputs;
  double loss;
  double tolerance = 1e-6;
};

Package align_example() {
  return package({{"teacher_logits", numbers({2, 1, 0}, {1, 1, 3})},
                  {"ref_logits", numbers({1, 1.5, 0.5}, {1, 1, 3})},
                  {"logits", numbers({1.2, 1.2, 0.4}, {1, 1, 3})},
                  {"mask", truths({1}).reshape({1, 1})}});
}

Package ranking_example(std::vector<double> scores, std::vector<double> rewards) {
  const std::vector<std::int64_t> group(scores.size(), 3);
  return package({{"scores", numbers(std::move(scores))},
                  {"rewards", numbers(std::move(rewards))},
                  {"group", integers(group)}});
}

Package trajectory_example() {
  return package({{"log_ratio", numbers({0.4, -0.2, 0.1, 0.3, -0.5}, {5, 1})},
                  {"mask", at::ones({5, 1}, at::kBool)},
                  {"outcome", numbers({1, 1, 1, 0, 0})},
                  {"group", at::zeros({5}, at::kLong)},
                  {"trajectory", integers({1, 1, 1, 2, 2})}});
}

/// Numbers worked out by hand or in the papers' own terms, where no reference code was run.
std::vector<WorkedExample> worked_examples() {
  const std::vector<double> s{0.2, -0.1, 0.5, 0.0}, r{0.9, 0.7, 0.1, 0.95};
  const Package clear = ranking_example({0.3, -0.2}, {1, 0});
  const Package level = ranking_example({1, 1, 1, 1, 1, 1}, {6, 5, 4, 3, 2, 1});
  const Package dpo = package({{"chosen_log_probs", numbers({-3.5})},
                               {"rejected_log_probs", numbers({-2.2})},
                               {"ref_chosen_log_probs", numbers({-3.9})},
                               {"ref_rejected_log_probs", numbers({-2.1})}});
  const Package errors = package({{"error", numbers({0.010, 0.012, 0.020, 0.015})},
                                  {"ref_error", numbers({0.011, 0.0115, 0.018, 0.016})},
                                  {"desirable", truths({1, 1, 0, 0})}});
  const auto soft = [](double label) {
    return package({{"chosen_error", numbers({0.0})},
                    {"rejected_error", numbers({0.4})},
                    {"ref_chosen_error", numbers({0.0})},
                    {"ref_rejected_error", numbers({0.0})},
                    {"label", numbers({label})}});
  };
  const Package constant = package({{"step_rewards", numbers({2, 2, 2, 9}, {1, 4})},
                                    {"returns", numbers({6})},
                                    {"lengths", integers({3})},
                                    {"steps", integers({0, 2}).reshape({1, 2})}});
  const Package odd = package({{"step_rewards", numbers({1, 3, 0, 0}, {1, 4})},
                               {"returns", numbers({8})},
                               {"lengths", integers({4})},
                               {"steps", integers({0, 1}).reshape({1, 2})}});
  return {
      {"GDRO top1", "loss.group_ranking", {{"form", "top1"}}, ranking_example(s, r), 1.510351},
      {"GDRO full", "loss.group_ranking", Json::object(), ranking_example(s, r), 3.681622},
      {"GDRO tau 0.5", "loss.group_ranking", {{"tau", 0.5}}, ranking_example(s, r), 3.586874},
      {"GDRO two rows", "loss.group_ranking", {{"tau", 0.0}}, clear, std::log1p(std::exp(-0.5))},
      {"GDRO equal scores", "loss.group_ranking", {{"tau", 0.0}}, level, 6.579251},
      {"DPO", "loss.dpo", Json::object(), dpo, 0.668460},
      {"Diffusion-KTO", "loss.denoise_pair", {{"kl_offset", "batch_mean"}}, errors, 0.4354156},
      {"RPO right", "loss.denoise_pair", {{"kind", "soft_dpo"}, {"beta", 1.0}}, soft(1), 0.5130153},
      {"RPO wrong", "loss.denoise_pair", {{"kind", "soft_dpo"}, {"beta", 1.0}}, soft(0), 0.9130153},
      {"AlignDistil 10", "loss.align_distill", {{"scale", 10.0}}, align_example(), 0.085025},
      {"AlignDistil 15", "loss.align_distill", Json::object(), align_example(), 0.086270},
      {"AlignDistil theorem 1",
       "loss.align_distill",
       {{"form", "theorem1"}, {"scale", 0.05}},
       align_example(),
       0.036330},
      {"iStar mean",
       "loss.implicit_process",
       {{"form", "pairs_mean"}},
       trajectory_example(),
       std::log1p(std::exp(-0.05 * (0.1 + 0.1)))},
      {"iStar sum",
       "loss.implicit_process",
       {{"form", "pairs_sum"}},
       trajectory_example(),
       0.6807253},
      {"RRD constant", "loss.return_decomposition", {{"form", "sampled_unbiased"}}, constant, 0},
      {"RRD variance", "loss.return_decomposition", {{"form", "sampled_unbiased"}}, odd, -0.5},
      {"KL per row",
       "loss.distill",
       {{"beta", 0.0}, {"reduce", "batch_mean"}},
       package({{"logits", numbers({std::log(3.0), 0, std::log(3.0), 0}, {1, 2, 2})},
                {"teacher_logits", at::zeros({1, 2, 2}, at::kDouble)},
                {"mask", truths({1, 1}).reshape({1, 2})}}),
       std::log(4.0 / 3)},
      {"GAN cross-entropy",
       "loss.discriminator",
       {{"kind", "bce"}},
       package({{"real", numbers({0})}, {"fake", numbers({0})}}),
       std::log(2.0)},
      {"ORPO",
       "loss.orpo",
       {{"coefficient", 1.0}},
       package({{"chosen_log_probs", numbers({std::log(0.5)})},
                {"rejected_log_probs", numbers({std::log(0.2)})}}),
       std::log1p(0.25)},
  };
}

}  // namespace

void TestLossSettings::worked_examples_of_papers_data() {
  QTest::addColumn<int>("index");
  const auto examples = worked_examples();
  for (std::size_t i = 0; i < examples.size(); ++i) {
    QTest::addRow("%s", examples[i].name.c_str()) << static_cast<int>(i);
  }
}

void TestLossSettings::worked_examples_of_papers() {
  QFETCH(int, index);
  const WorkedExample e = worked_examples()[static_cast<std::size_t>(index)];
  const double got = loss_of(evaluate(registry_, e.type, e.params, e.inputs));
  QVERIFY2(std::abs(got - e.loss) < e.tolerance, fmt::format("{} not {}", got, e.loss).c_str());
}

void TestLossSettings::settings_without_meaning_are_refused() {
  const auto refused = [&](const std::string& type, const Json& params, const Package& inputs) {
    return code_of([&] { evaluate(registry_, type, params, inputs); });
  };
  const Package dpo = preset_batch("loss.dpo");
  QCOMPARE(refused("loss.dpo", {{"variant", "exo_pair"}}, dpo), std::string("label-smoothing"));
  QCOMPARE(refused("loss.dpo", {{"variant", "robust"}, {"label_smoothing", 0.5}}, dpo),
           std::string("label-smoothing"));
  QCOMPARE(refused("loss.dpo", {{"beta", 0.0}}, dpo), std::string("param-range"));
  Package turns = trajectory_example();
  turns.tensors["outcome"] = numbers({1, 1, 0, 0, 0});
  QCOMPARE(refused("loss.implicit_process", {{"form", "pairs_sum"}}, turns),
           std::string("outcome-varies"));
  Package steps = package({{"step_rewards", numbers({1, 2, 3}, {1, 3})},
                           {"returns", numbers({6})},
                           {"lengths", integers({2})},
                           {"steps", integers({2, 0}).reshape({1, 2})}});
  QCOMPARE(refused("loss.return_decomposition", {{"form", "sampled"}}, steps),
           std::string("bad-index"));
  steps.tensors["lengths"] = integers({4});
  QCOMPARE(refused("loss.return_decomposition", Json::object(), steps), std::string("bad-shape"));
  Package vocabulary = align_example();
  vocabulary.tensors["teacher_logits"] = numbers({1, 2, 3, 4}, {1, 1, 4});
  QCOMPARE(refused("loss.align_distill", Json::object(), vocabulary), std::string("bad-shape"));
}

}  // namespace rewardloom

using rewardloom::TestLossSettings;
REWARDLOOM_TEST(TestLossSettings)
#include "test_loss_settings.moc"
