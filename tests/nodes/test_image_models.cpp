// Image networks from files that others wrote, and files that do not fit.
#include <torch/types.h>

#include <QTemporaryDir>
#include <filesystem>

#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"
#include "nodes/image/encoder_net.h"
#include "nodes/image/flow_net.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;
namespace fs = std::filesystem;

fs::path written_file(const std::string& name) {
  return fs::path(REWARDLOOM_SOURCE_DIR) / "tests/nodes/data" / name;
}

/// What the networks of tests/nodes/image_models.py gave in PyTorch.
at::Tensor computed(const std::string& name) {
  static const Json all = read_json(written_file("image_models.json"));
  const Json& entry = all.at(name);
  return doubles(entry.at("data").get<std::vector<double>>(),
                 entry.at("shape").get<std::vector<std::int64_t>>())
      .to(at::kFloat);
}

const Json kSizes{{"height", 4}, {"width", 6}, {"classes", 3}};

Json generator_params(const fs::path& model) {
  Json out = kSizes;
  out.update({{"hidden", 5}, {"blocks", 2}, {"model", model.string()}});
  return out;
}

Json encoder_params(const fs::path& model) {
  Json out = kSizes;
  out.update({{"filters", 2}, {"features", 4}, {"model", model.string()}});
  return out;
}

bool near(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-5, 1e-5); }

/// The error of a node whose file was changed before it read it.
Problem problem_after(const std::string& type, Json params,
                      const std::function<void(Package&)>& change) {
  const QTemporaryDir folder;
  const fs::path file = fs::path(folder.path().toStdString()) / "model.safetensors";
  Package package = read_safetensors(params.at("model").get<std::string>());
  change(package);
  write_safetensors(file, package);
  params["model"] = file.string();
  Bench bench(type, params);
  return problem_of([&] { bench.fire(); });
}

void expect(const Problem& problem, const std::vector<std::string>& parts) {
  QCOMPARE(problem.code, std::string("bad-shape"));
  for (const std::string& part : parts) {
    QVERIFY2(problem.text.find(part) != std::string::npos, problem.text.c_str());
  }
}

}  // namespace

class TestImageModels : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void a_generator_of_pytorch_gives_its_velocities() {
    Bench bench("image.generator", generator_params(written_file("image_generator.safetensors")));
    bench.fire();
    const auto& net = dynamic_cast<const FlowNet&>(*bench.out<Generator>("generator").state);
    const at::Tensor labels = ids({2, 0, 1});
    const at::Tensor v =
        flow_velocity(net.weights, net.shape, computed("images"), computed("sigma"), labels);
    QVERIFY(near(v, computed("velocity")));
  }

  void an_encoder_of_pytorch_gives_its_features() {
    Bench bench("image.encoder", encoder_params(written_file("image_encoder.safetensors")));
    bench.fire();
    const auto& net = dynamic_cast<const EncoderNet&>(*bench.out<Encoder>("encoder").state);
    const EncodedImages out = net.encode(computed("images"));
    QVERIFY(near(out.global, computed("global")));
    QVERIFY(near(out.patches, computed("patches")));
    QVERIFY(near(out.logits, computed("logits")));
  }

  void a_tensor_that_is_missing_is_named_with_what_there_is() {
    expect(problem_after("image.generator",
                         generator_params(written_file("image_generator.safetensors")),
                         [](Package& p) { p.tensors.erase("in.weight"); }),
           {"model.safetensors has no tensor in.weight", "[5, 24]", "it has blocks.0"});
  }

  void another_shape_is_named_on_both_sides() {
    Json params = encoder_params(written_file("image_encoder.safetensors"));
    params["height"] = 6;
    expect(problem_after("image.encoder", params, [](Package&) {}),
           {"global.weight is [4, 24]", "make it [4, 36]"});
  }

  void deeper_networks_are_not_cut_off() {
    Json params = generator_params(written_file("image_generator.safetensors"));
    params["blocks"] = 1;
    expect(problem_after("image.generator", params, [](Package&) {}),
           {"has a tensor blocks.1.condition.bias [5]", "has no place", "it takes blocks.0"});
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestImageModels)
#include "test_image_models.moc"
