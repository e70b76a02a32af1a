// Image files, the flow generator: sampling, training by flow matching and by policy gradients, and
// its discriminator.
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "nodes/control/alternation.h"
#include "nodes/image/flow_sampler.h"
#include "nodes/image/image_rows.h"
#include "nodes/image/png.h"
#include "nodes/image/references.h"
#include "nodes/loss/policy_clip.h"
#include "nodes/model/head_net.h"
#include "nodes/optimize/flow_matching.h"
#include "nodes/optimize/flow_policy.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

const FlowNetShape kNet{
    .channels = 1, .height = 4, .width = 4, .classes = 3, .hidden = 8, .blocks = 2};
const std::vector<std::int64_t> kImages{6, 1, 4, 4};

/// Weights in double, none of them 0.
TensorMap double_weights(std::uint64_t seed) {
  TensorMap out;
  std::uint64_t stream = seed;
  for (const auto& [name, tensor] : draw_flow_weights(kNet, Random({seed, 1, 1}))) {
    out[name] = tensor.to(at::kDouble) + 0.1 * normals(++stream, tensor.sizes().vec());
  }
  return out;
}

struct ClipTerm final : LossFunction {
  double range = 0.2;
  LossResult evaluate(const LossBatch& batch) const override {
    PolicyClipOptions options;
    options.low = options.high = range;
    return policy_clip_loss(batch, options);
  }
  const std::vector<LossArgumentDeclaration>& arguments() const override {
    static const std::vector<LossArgumentDeclaration> none;
    return none;
  }
};

double loss_of(const NetworkObjective& objective, const TensorMap& weights) {
  const c10::AutoGradMode without_gradients(false);
  Gathered into;
  const NetworkBatch all{at::arange(objective.rows(), at::kLong),
                         static_cast<double>(objective.rows())};
  return objective.loss(weights, all, into).item<double>();
}

TensorMap gradients_of(const NetworkObjective& objective, const TensorMap& weights) {
  const c10::AutoGradMode with_gradients(true);
  TensorMap leaves = gradient_leaves(weights), out;
  Gathered into;
  const NetworkBatch all{at::arange(objective.rows(), at::kLong),
                         static_cast<double>(objective.rows())};
  add_gradients(objective.loss(leaves, all, into), leaves, out);
  return out;
}

/// Central differences at one number of every tensor.
void require_right_gradients(const NetworkObjective& objective, TensorMap weights) {
  const TensorMap gradients = gradients_of(objective, weights);
  for (auto& [name, tensor] : weights) {
    const std::int64_t place = tensor.numel() / 2;
    double& number = tensor.data_ptr<double>()[place];
    const double kept = number, h = 1e-5;
    number = kept + h;
    const double above = loss_of(objective, weights);
    number = kept - h;
    const double below = loss_of(objective, weights);
    number = kept;
    const double numeric = (above - below) / (2 * h);
    const double exact = gradients.at(name).data_ptr<double>()[place];
    QVERIFY2(std::abs(numeric - exact) < 1e-7 + 1e-5 * std::abs(numeric),
             fmt::format("{}: {} against {}", name, exact, numeric).c_str());
  }
}

/// Steps that these weights might have drawn.
FlowPolicyRows policy_rows(const TensorMap& weights, const FlowStepOptions& options) {
  const c10::AutoGradMode without_gradients(false);
  FlowPolicyRows rows;
  rows.sigmas = flow_sigmas(5);
  rows.labels = ids({0, 1, 2, 0, 1, 2});
  rows.advantages = doubles({1.5, -0.5, 0.25, -1, 0.75, -2});
  std::vector<at::Tensor> before, after, log_probs;
  at::Tensor x = normals(70, kImages);
  for (std::int64_t s = 0; s < 2; ++s) {
    const at::Tensor index = at::full({6}, s, at::kLong);
    const at::Tensor v =
        flow_velocity(weights, kNet, x, rows.sigmas.index_select(0, index), rows.labels);
    const FlowStep step = flow_step_at(x, v, rows.sigmas, index, options);
    before.push_back(x);
    x = flow_sample(step, normals(80 + static_cast<std::uint64_t>(s), kImages));
    after.push_back(x);
    log_probs.push_back(flow_log_prob(step, x, options.log_prob));
  }
  rows.before = at::stack(before, 1);
  rows.after = at::stack(after, 1);
  rows.old_log_probs = at::stack(log_probs, 1);
  return rows;
}

std::vector<UpdateTerm> clip_terms(const ClipTerm& term) { return {{"clip", &term, {}}}; }

const Json kGenerator{{"height", 4}, {"width", 4}, {"classes", 3}, {"hidden", 16}, {"blocks", 1}};

Value new_generator(std::uint64_t seed = 1) {
  Bench bench("image.generator", kGenerator);
  bench.fire(0, seed);
  auto net = std::dynamic_pointer_cast<FlowNet>(bench.out<Generator>("generator").state);
  net->weights.at("out.weight").copy_(0.3 * normals(5, {16, 16}));
  return bench.value("generator");
}

FlowNet& net_of(const Value& generator) {
  return dynamic_cast<FlowNet&>(*generator.get<Generator>().state);
}

Value class_prompts(const std::vector<std::string>& texts) {
  Prompts out;
  out.text = texts;
  return Value::of<Prompts>(std::move(out));
}

/// A sampler that has drawn once.
Bench drawn(const Value& generator, Json params, const std::vector<std::string>& prompts,
            bool threads = false) {
  params["images_per_prompt"] = params.value("images_per_prompt", 2);
  Bench bench("sample.flow", params);
  bench.context.threads = threads;
  bench.connect("generator", {generator});
  bench.connect("prompts", {class_prompts(prompts)});
  bench.fire(3, 9);
  return bench;
}

Value clip_term(double range = 0.2) {
  Bench bench("loss.policy_clip", {{"low", range}, {"high", range}});
  bench.fire();
  return bench.value("term");
}

/// An update on what `sample` drew; the first image of each pair is the better one.
Bench updating(const Value& generator, const Bench& sample, Json params) {
  Bench bench("optimize.flow_policy", params);
  bench.connect("generator", {generator});
  for (const char* port : {"images", "trajectories", "log_probs"}) {
    bench.connect(port, {sample.value(port)});
  }
  Advantages a;
  const std::int64_t rows = sample.out<Images>("images").images.size(0);
  a.advantages = 1 - 2 * at::arange(rows, at::kLong).remainder(2).to(at::kFloat);
  bench.connect("advantages", {Value::of<Advantages>(std::move(a))});
  bench.connect("terms", {clip_term()});
  return bench;
}

Value image_values(const at::Tensor& images, const at::Tensor& labels) {
  return Value::of<Images>(Images{images, {}, labels, 0});
}

Value features_of(const at::Tensor& values) {
  return Value::of<Features>(Features{values.to(at::kFloat), 0});
}
Value patches_of(const at::Tensor& values) {
  return Value::of<Latents>(Latents{values.to(at::kFloat), 0});
}

Value new_head(std::int64_t features) {
  Bench bench("model.discriminator", {{"features", features}, {"hidden", 8}});
  bench.fire();
  return bench.value("discriminator");
}

Bench head_update(const Value& head, const at::Tensor& real, const at::Tensor& fake, Json params) {
  Bench bench("optimize.discriminator", params);
  Bench loss("loss.discriminator", Json::object());
  loss.fire();
  const auto patches = [](const at::Tensor& rows) { return rows.unsqueeze(1).repeat({1, 3, 1}); };
  bench.connect("discriminator", {head});
  bench.connect("real", {features_of(real)});
  bench.connect("real_patches", {patches_of(patches(real))});
  bench.connect("fake", {features_of(fake)});
  bench.connect("fake_patches", {patches_of(patches(fake))});
  bench.connect("terms", {loss.value("term")});
  return bench;
}

std::string file_of(const QTemporaryDir& folder, const char* name, const std::string& bytes) {
  const std::string path = folder.filePath(name).toStdString();
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string idx(const std::vector<int>& head, const std::string& data) {
  std::string out;
  for (const int byte : head) out.push_back(static_cast<char>(byte));
  return out + data;
}

LabelledImages numbered_images(std::int64_t count) {
  return {at::full({count, 1, 2, 2}, 8, at::kByte), at::arange(count, at::kLong).remainder(10)};
}

}  // namespace

class TestFlowTraining : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void idx_files_are_read_and_broken_ones_named() {
    const QTemporaryDir folder;
    const auto images = [&](const std::string& bytes) { return file_of(folder, "i", bytes); };
    const auto labels = [&](const std::string& bytes) { return file_of(folder, "l", bytes); };
    const std::vector<int> head{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2};
    const std::string good = images(idx(head, "abcd"));
    const std::string classes = labels(idx({0, 0, 8, 1, 0, 0, 0, 2}, idx({1, 7}, "")));
    const LabelledImages read = read_idx(good, classes);
    QVERIFY(read.images.sizes() == at::IntArrayRef({2, 1, 1, 2}));
    QCOMPARE(read.images[1][0][0][1].item<int>(), int('d'));
    QVERIFY(read.labels.equal(ids({1, 7})));
    const auto code = [&](const std::string& bytes) {
      const std::string path = file_of(folder, "bad", bytes);
      return code_of([&] { read_idx(path, classes); });
    };
    QCOMPARE(code(idx({0x1f, 0x8b}, "xxxxxxxxxxxxxxxxxxx")), std::string("bad-idx"));
    QCOMPARE(code(idx(head, "abc")), std::string("bad-idx"));
    QCOMPARE(code(idx({0, 0, 9, 3}, std::string(16, 'x'))), std::string("bad-idx"));
    QCOMPARE(code(""), std::string("bad-idx"));
    const std::string three = labels(idx({0, 0, 8, 1, 0, 0, 0, 3}, "abc"));
    QCOMPARE(code_of([&] { read_idx(good, three); }), std::string("bad-idx"));
    QCOMPARE(code_of([&] { read_idx(good + "?", classes); }), std::string("file-not-found"));
  }

  void cifar_files_are_read_and_broken_ones_named() {
    const QTemporaryDir folder;
    std::string row(3073, '\0');
    row[0] = 9;
    row[1 + 1024] = 5;
    const LabelledImages read = read_cifar(file_of(folder, "data_batch_1.bin", row + row));
    QVERIFY(read.images.sizes() == at::IntArrayRef({2, 3, 32, 32}));
    QCOMPARE(read.images[1][1][0][0].item<int>(), 5);
    QCOMPARE(read.labels[0].item<std::int64_t>(), 9);
    QVERIFY(read_cifar(folder.path().toStdString()).images.equal(read.images));
    row[0] = 10;
    QCOMPARE(code_of([&] { read_cifar(file_of(folder, "a", row)); }), std::string("bad-cifar"));
    QCOMPARE(code_of([&] { read_cifar(file_of(folder, "b", "xy")); }), std::string("bad-cifar"));
    const QTemporaryDir empty;
    QCOMPARE(code_of([&] { read_cifar(empty.path().toStdString()); }),
             std::string("file-not-found"));
  }

  void splits_share_no_row_and_noise_hits_its_share() {
    const LabelledImages all = numbered_images(4000);
    const auto rows = [&](ImageSplit split, double noise = 0, std::int64_t per_class = 0) {
      return split_images(all, {split, 0.3, 0.1, per_class, noise}, 16, false);
    };
    const at::Tensor train = rows(ImageSplit::train).row, held = rows(ImageSplit::held_out).row,
                     reference = rows(ImageSplit::reference).row;
    const at::Tensor together = std::get<0>(at::cat({train, held, reference}).sort());
    QVERIFY(together.equal(at::arange(4000, at::kLong)));
    QVERIFY(std::abs(static_cast<double>(held.size(0)) - 1200) < 120);
    QCOMPARE(rows(ImageSplit::reference, 0, 8).row.size(0), std::int64_t{80});
    const SplitImages noisy = rows(ImageSplit::all, 0.2);
    const double wrong = noisy.labels.ne(all.labels).to(at::kDouble).mean().item<double>();
    QVERIFY2(std::abs(wrong - 0.18) < 0.03, qPrintable(QString::number(wrong)));
    QVERIFY(noisy.images.abs().max().item<float>() == 0);  // 8 of 16 is the middle
    QCOMPARE(code_of([&] {
               split_images(all, {ImageSplit::all, 0.8, 0.3}, 16, false);
             }),
             std::string("bad-split"));
    QCOMPARE(code_of([&] {
               split_images(all, {ImageSplit::held_out, 0, 0}, 16, false);
             }),
             std::string("data-empty"));
  }

  void a_png_is_laid_out_as_the_standard_says() {
    const at::Tensor sheet = image_grid(at::ones({3, 1, 2, 2}), 2, 3);
    QVERIFY(sheet.sizes() == at::IntArrayRef({13, 13}));
    QCOMPARE(sheet[0][0].item<int>(), 255);
    QCOMPARE(sheet[6][0].item<int>(), 128);
    const std::string bytes = png_bytes(sheet);
    QVERIFY(bytes.starts_with("\x89PNG\r\n\x1a\n"));
    QVERIFY(bytes.ends_with("IEND\xae\x42\x60\x82"));
    QCOMPARE(int(bytes[19]), 13);
    QCOMPARE(code_of([] { image_grid(at::ones({1, 2, 2, 2}), 2, 1); }), std::string("bad-shape"));
  }

  void gradients_of_flow_matching_are_those_of_differences() {
    const at::Tensor sigma = doubles({0.1, 0.3, 0.5, 0.7, 0.9, 1.0});
    const FlowMatching objective(kNet, normals(1, kImages), ids({0, 1, 2, 2, 1, 0}),
                                 normals(2, kImages), sigma);
    require_right_gradients(objective, double_weights(3));
  }

  void gradients_of_the_policy_loss_are_those_of_differences() {
    const TensorMap old = double_weights(3), now = double_weights(4);
    const FlowStepOptions options{FlowKind::sde, 0.7, FlowLogProb::gaussian};
    FlowNet reference;
    reference.weights = old;
    ClipTerm term;
    term.range = 5;  // no step is cut: the loss is smooth
    const FlowPolicyObjective objective(kNet, policy_rows(old, options), clip_terms(term), options,
                                        &reference, 0.3, MeanPenalty::gaussian);
    require_right_gradients(objective, now);
  }

  void at_ratio_one_the_loss_is_minus_the_mean_advantage() {
    const TensorMap weights = double_weights(3);
    const ClipTerm term;
    for (const FlowKind kind : {FlowKind::sde, FlowKind::cps}) {
      const FlowStepOptions options{kind, 0.7, FlowLogProb::gaussian};
      const FlowPolicyRows rows = policy_rows(weights, options);
      const FlowPolicyObjective objective(kNet, rows, clip_terms(term), options, nullptr, 0,
                                          MeanPenalty::squared);
      QVERIFY(std::abs(loss_of(objective, weights) + rows.advantages.mean().item<double>()) <
              1e-12);
    }
  }

  void the_penalty_against_the_same_field_is_nothing() {
    FlowNet reference;
    reference.weights = double_weights(3);
    const FlowStepOptions options{FlowKind::sde, 0.7, FlowLogProb::gaussian};
    const ClipTerm term;
    const FlowPolicyRows rows = policy_rows(reference.weights, options);
    const auto loss = [&](double kl, const TensorMap& weights) {
      return loss_of(FlowPolicyObjective(kNet, rows, clip_terms(term), options, &reference, kl,
                                         MeanPenalty::squared),
                     weights);
    };
    QCOMPARE(loss(100, reference.weights), loss(0, reference.weights));
    QVERIFY(loss(100, double_weights(4)) > loss(0, double_weights(4)));
  }

  /// E over the noise of d log p / d v = 0: the policy gradient needs no baseline to be unbiased.
  void the_score_has_mean_zero() {
    const std::int64_t draws = 20000;
    for (const FlowKind kind : {FlowKind::sde, FlowKind::cps}) {
      const c10::AutoGradMode with_gradients(true);
      const at::Tensor v = at::full({1}, -0.3, at::kDouble).requires_grad_();
      const at::Tensor x = at::full({draws, 1}, 0.5, at::kDouble);
      const FlowStep step =
          flow_step(x, v.expand({draws, 1}), at::full({draws}, 0.9, at::kDouble),
                    at::full({draws}, 0.8, at::kDouble), 0.9, {kind, 0.7, FlowLogProb::gaussian});
      const at::Tensor next = flow_sample(step, normals(21, {draws, 1})).detach();
      const at::Tensor each = flow_log_prob(step, next, FlowLogProb::gaussian);
      each.mean().backward();
      const double push = std::abs(kind == FlowKind::sde ? 0.12 : 0.2);
      const double spread = push / step.scale[0].item<double>();
      QVERIFY(std::abs(v.grad().item<double>()) < 4 * spread / std::sqrt(double(draws)));
    }
  }

  void without_noise_every_step_is_the_euler_step() {
    const Value generator = new_generator();
    const std::vector<std::string> prompts{"0", "2"};
    const at::Tensor euler =
        drawn(generator, {{"stochastic_steps", 0}}, prompts).out<Images>("images").images;
    for (const char* kind : {"sde", "cps"}) {
      const Bench none = drawn(generator,
                               {{"stochastic_steps", 4},
                                {"kind", kind},
                                {"noise_level", 0},
                                {"log_prob", "no_constants"}},
                               prompts);
      QVERIFY(at::allclose(none.out<Images>("images").images, euler, 1e-5, 1e-5));
    }
    QVERIFY(!drawn(generator, {{"stochastic_steps", 0}}, prompts).value("trajectories"));
  }

  void one_sigma_for_all_rows_gives_the_same_field() {
    const TensorMap weights = draw_flow_weights(kNet, Random({3, 1, 4}, 0, 0));
    TensorMap full = weights;
    full["out.weight"] = normals(9, weights.at("out.weight").sizes().vec()).to(at::kFloat);
    const at::Tensor x = normals(10, {5, kNet.channels, kNet.height, kNet.width}).to(at::kFloat);
    const at::Tensor labels = ids({0, 1, 1, 2, 0}).remainder(kNet.classes);
    const at::Tensor each = flow_velocity(full, kNet, x, at::full({5}, 0.3), labels);
    QVERIFY(each.abs().max().item<double>() > 0.1);
    QVERIFY(at::allclose(flow_velocity_at(full, kNet, x, 0.3, labels), each, 1e-5, 1e-6));
  }

  void a_row_is_drawn_alike_whatever_stands_beside_it() {
    const Value generator = new_generator();
    const std::vector<std::string> many(200, "1");
    const at::Tensor few =
        drawn(generator, Json::object(), {"1", "1"}).out<Images>("images").images;
    const Bench all = drawn(generator, Json::object(), many);
    QVERIFY(at::allclose(all.out<Images>("images").images.narrow(0, 0, 4), few, 1e-5, 1e-6));
    const Bench threaded = drawn(generator, Json::object(), many, true);
    QVERIFY(threaded.out<Images>("images").images.equal(all.out<Images>("images").images));
    QVERIFY(threaded.out<LogProbs>("log_probs")
                .log_probs.equal(all.out<LogProbs>("log_probs").log_probs));
    QVERIFY(all.out<Images>("images").group.eq(0).all().item<bool>());
  }

  void an_update_makes_better_images_likelier_whatever_the_threads() {
    std::vector<TensorMap> results;
    for (const std::int64_t micro : {64, 3, 3}) {
      const Value generator = new_generator();
      const Bench sample = drawn(generator, Json::object(), {"0", "1", "2", "1"});
      Bench bench = updating(generator, sample, {{"learning_rate", 1e-3}});
      bench.settings().micro_batch = micro;
      bench.context.threads = results.size() == 2;
      bench.fire(3, 9);
      QVERIFY(bench.context.metrics.at("mismatch") < 1e-4);
      QVERIFY(bench.context.metrics.at("grad_norm") > 0);
      results.push_back(net_of(generator).weights);
    }
    for (const auto& [name, tensor] : results[0]) {
      QVERIFY2(at::allclose(tensor, results[1].at(name), 1e-3, 1e-4), name.c_str());
      QVERIFY(results[1].at(name).equal(results[2].at(name)));
    }
  }

  /// At ratio 1 the clipped ratio has the gradient of the score: Flow-GRPO and DDPO agree.
  void on_policy_ddpo_and_flow_grpo_take_the_same_step() {
    std::vector<at::Tensor> results;
    for (const char* type : {"loss.policy_clip", "loss.policy_gradient"}) {
      const Value generator = new_generator();
      const Bench sample = drawn(generator, Json::object(), {"0", "1", "2"});
      Bench bench = updating(generator, sample, {{"learning_rate", 1e-3}});
      Bench loss(type, Json::object());
      loss.fire();
      bench.connect("terms", {loss.value("term")});
      bench.fire();
      results.push_back(net_of(generator).weights.at("in.weight"));
    }
    QVERIFY(at::allclose(results[0], results[1], 1e-3, 1e-4));
  }

  void steps_of_another_sampler_are_refused() {
    const Value generator = new_generator();
    const Bench sample = drawn(generator, Json::object(), {"0", "1"});
    Bench other = updating(generator, sample, {{"noise_level", 0.5}});
    QCOMPARE(code_of([&] { other.fire(); }), std::string("other-step"));
    const Bench plain = drawn(generator, {{"stochastic_steps", 0}}, {"0", "1"});
    Bench constant = updating(generator, sample, Json::object());
    constant.connect("trajectories", {Value::of<Trajectories>(Trajectories{})});
    QCOMPARE(code_of([&] { constant.fire(); }), std::string("no-trainable-step"));
    QCOMPARE(code_of([&] {
               drawn(generator, {{"kind", "cps"}, {"noise_level", 1.5}}, {"0"});
             }),
             std::string("bad-noise-level"));
    QCOMPARE(code_of([&] {
               drawn(generator, {{"stochastic_steps", 11}}, {"0"});
             }),
             std::string("param-range"));
    QCOMPARE(code_of([&] { drawn(generator, Json::object(), {"seven"}); }),
             std::string("unknown-class"));
    QCOMPARE(code_of([&] { drawn(generator, Json::object(), {"3"}); }),
             std::string("unknown-class"));
  }

  void another_turn_trains_nothing() {
    const Value generator = new_generator();
    const Bench sample = drawn(generator, Json::object(), {"0", "1"});
    Bench bench = updating(generator, sample, Json::object());
    bench.connect("turn", {Value::of<Scalar>(Scalar{0})});
    const at::Tensor before = net_of(generator).weights.at("in.weight").clone();
    bench.fire();
    QVERIFY(net_of(generator).weights.at("in.weight").equal(before));
    QCOMPARE(bench.context.metrics.at("trains"), 0.0);
    bench.connect("turn", {Value::of<Scalar>(Scalar{1})});
    bench.fire();
    QVERIFY(!net_of(generator).weights.at("in.weight").equal(before));
  }

  void references_are_of_the_wanted_class_or_refused_by_name() {
    const at::Tensor pool = ids({2, 0, 2, 1, 0});
    const at::Tensor wanted = ids({0, 2, 1, 2, 0, 0});
    const at::Tensor index = draw_references(pool, wanted, Random({1, 2, 3}));
    QVERIFY(pool.index_select(0, index).equal(wanted));
    const Problem missing = problem_of([&] {
      draw_references(pool, ids({0, 7, 5, 7}), Random({1, 2, 3}));
    });
    QCOMPARE(missing.code, std::string("no-reference"));
    QVERIFY(missing.text.find("5, 7") != std::string::npos);
    Bench bench("image.references", Json::object());
    bench.connect("pool", {image_values(at::zeros({5, 1, 4, 4}), pool)});
    bench.connect("like", {image_values(at::zeros({2, 3, 4, 4}), ids({0, 1}))});
    QCOMPARE(code_of([&] { bench.fire(); }), std::string("bad-shape"));
  }

  void turns_follow_trigger_period_and_ratio() {
    const auto discriminator = [](std::int64_t index, double real, double fake,
                                  AlternationOptions options) {
      return alternation_turn(index, real, fake, options).discriminator;
    };
    const AlternationOptions trigger{.margin = 0.5};
    QVERIFY(discriminator(0, 1, 0.6, trigger));
    QVERIFY(!discriminator(0, 1, 0.4, trigger));
    const AlternationOptions tenth{.mode = AlternationMode::every_k, .k = 10};
    for (std::int64_t i = 0; i < 20; ++i) QCOMPARE(discriminator(i, 0, 0, tenth), i % 10 != 9);
    std::int64_t turns = 0;
    for (std::int64_t i = 0; i < 12; ++i) {
      turns += discriminator(i, 0, 0, {.mode = AlternationMode::ratio, .ratio = 3});
    }
    QCOMPARE(turns, std::int64_t{9});
    QVERIFY(!alternation_turn(0, 0, 1, {}).generator);
    QVERIFY(alternation_turn(0, 0, 1, {.skip_other = false}).generator);
  }

  void a_head_learns_to_tell_and_says_when_nothing_is_left_to_learn() {
    const Value head = new_head(4);
    const at::Tensor real = 2 + 0.1 * normals(1, {20, 4}), fake = -2 + 0.1 * normals(2, {20, 4});
    Bench bench = head_update(head, real, fake, {{"learning_rate", 0.05}, {"saturated", 3}});
    for (std::int64_t i = 0; i < 40; ++i) bench.fire(i);
    QCOMPARE(bench.context.metrics.at("accuracy"), 1.0);
    QCOMPARE(bench.context.alarms.front(), std::string("discriminator-saturated"));
    Bench wrong = head_update(head, real, fake.narrow(0, 0, 10), Json::object());
    const Problem problem = problem_of([&] { wrong.fire(); });
    QCOMPARE(problem.code, std::string("bad-shape"));
    QVERIFY(problem.text.find("[20, 4]") != std::string::npos);
    QVERIFY(problem.text.find("[10, 4]") != std::string::npos);
    Bench narrow = head_update(new_head(5), real, fake, Json::object());
    QCOMPARE(code_of([&] { narrow.fire(); }), std::string("bad-shape"));
  }

  void the_head_scores_images_above_patches_by_its_weight() {
    const Value value = new_head(4);
    const auto& head = dynamic_cast<HeadNet&>(*value.get<Discriminator>().state);
    const at::Tensor global = normals(1, {3, 4}).to(at::kFloat);
    const at::Tensor patches = normals(2, {3, 5, 4}).to(at::kFloat);
    const at::Tensor both = head_reward(head, global, patches, 0.7, false);
    const at::Tensor expected =
        0.7 * head_logits(head.weights, global) + 0.3 * head_logits(head.weights, patches).mean(1);
    QVERIFY(at::allclose(both, expected));
    const at::Tensor scaled = head_reward(head, 3 * global, 3 * patches, 0.7, true);
    QVERIFY(at::allclose(scaled, head_reward(head, global, patches, 0.7, true), 1e-4, 1e-5));
  }

  void a_classifier_learns_classes_and_then_to_tell_real_from_made() {
    Bench maker("image.encoder",
                {{"height", 4}, {"width", 4}, {"classes", 2}, {"filters", 4}, {"features", 8}});
    maker.fire();
    const at::Tensor labels = at::arange(32, at::kLong).remainder(2);
    const at::Tensor real =
        (labels.to(at::kDouble).view({32, 1, 1, 1}) * 2 - 1 + 0.1 * normals(3, {32, 1, 4, 4}))
            .to(at::kFloat);
    Bench learn("optimize.classifier", {{"learning_rate", 0.02}});
    learn.connect("encoder", {maker.value("encoder")});
    learn.connect("images", {image_values(real, labels)});
    for (std::int64_t i = 0; i < 30; ++i) learn.fire(i);
    QCOMPARE(learn.context.metrics.at("accuracy"), 1.0);
    Bench pairs("loss.bradley_terry", Json::object());
    pairs.fire();
    Bench compare("optimize.classifier", {{"learning_rate", 0.02}});
    compare.connect("encoder", {maker.value("encoder")});
    compare.connect("images", {image_values(real, labels)});
    compare.connect("fake", {image_values(0.3 * real, labels)});
    compare.connect("terms", {pairs.value("term")});
    compare.fire();
    const double before = compare.context.metrics.at("loss");
    for (std::int64_t i = 1; i < 30; ++i) compare.fire(i);
    QVERIFY(compare.context.metrics.at("loss") < before);
    compare.connect("fake", {image_values(0.3 * real, 1 - labels)});
    QCOMPARE(code_of([&] { compare.fire(); }), std::string("other-rows"));
    learn.connect("images", {image_values(at::zeros({2, 3, 4, 4}), ids({0, 1}))});
    QCOMPARE(code_of([&] { learn.fire(); }), std::string("bad-shape"));
    learn.connect("images", {image_values(at::zeros({2, 1, 4, 4}), ids({0, 2}))});
    QCOMPARE(code_of([&] { learn.fire(); }), std::string("unknown-class"));
  }

  void an_average_follows_at_its_pace() {
    const Value generator = new_generator();
    Bench bench("image.ema", {{"every", 2}, {"decay", 0.9}});
    bench.connect("generator", {generator});
    bench.fire(0);
    at::Tensor& source = net_of(generator).weights.at("in.bias");
    const at::Tensor first = source.clone();
    source.add_(1);
    const at::Tensor& mean = net_of(bench.value("generator")).weights.at("in.bias");
    bench.fire(1);
    QVERIFY(mean.equal(first));
    bench.fire(2);  // the second move keeps 2/11
    QVERIFY(at::allclose(mean, first + 9.0 / 11, 1e-5, 1e-6));
  }

  void a_saved_generator_is_read_again_and_another_shape_refused() {
    const QTemporaryDir folder;
    const std::string path = folder.filePath("kept").toStdString();
    const Value generator = new_generator();
    Bench save("image.save", {{"path", path}});
    save.connect("generator", {generator});
    save.fire();
    Json params = kGenerator;
    params["model"] = path;
    Bench read("image.generator", params);
    read.fire(0, 7);
    for (const auto& [name, tensor] : net_of(generator).weights) {
      QVERIFY(net_of(read.value("generator")).weights.at(name).equal(tensor));
    }
    params["hidden"] = 8;
    Bench other("image.generator", params);
    QCOMPARE(code_of([&] { other.fire(); }), std::string("bad-shape"));
  }

  void a_copied_generator_starts_where_the_other_is() {
    const Value generator = new_generator();
    Bench copy("image.generator", kGenerator);
    copy.connect("of", {generator});
    copy.fire();
    net_of(generator).weights.at("in.bias").add_(1);
    const FlowNet& own = net_of(copy.value("generator"));
    QVERIFY(!own.weights.at("in.bias").equal(net_of(generator).weights.at("in.bias")));
    QVERIFY(own.weights.at("in.weight").equal(net_of(generator).weights.at("in.weight")));
    Package kept;
    own.save(kept);
    FlowNet again;
    again.load(kept);
    QVERIFY(again.weights.at("in.bias").equal(own.weights.at("in.bias")));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestFlowTraining)
#include "test_flow_training.moc"
