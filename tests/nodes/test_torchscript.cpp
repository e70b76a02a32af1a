#include <torch/script.h>

#include <QTemporaryDir>

#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

/// Three rows of five tokens: 0 is padding, then the prompt 9, then the answer.
Completions tokens_of_three() {
  Completions c;
  c.tokens = at::tensor({0, 9, 1, 2, 3, 0, 9, 4, 0, 0, 9, 9, 5, 6, 0}, at::kLong).view({3, 5});
  c.kinds = at::tensor({0, 1, 2, 2, 2, 0, 1, 2, 0, 0, 1, 1, 2, 2, 0}, at::kChar).view({3, 5});
  c.group = at::tensor({0, 0, 1}, at::kLong);
  c.text = {"a", "b", "c"};
  c.batch = 3;
  return c;
}

std::vector<double> list_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

/// Models made here and saved, as torch.jit.save would.
class Models {
 public:
  std::string save(const std::string& source) {
    torch::jit::Module model("Model");
    model.register_parameter("weight", at::full({1}, 0.5), false);
    model.register_attribute("training", c10::BoolType::get(), true);
    model.define(source);
    const std::string path = folder_.filePath(QString::number(count_++) + ".pt").toStdString();
    model.save(path);
    return path;
  }

 private:
  QTemporaryDir folder_;
  int count_ = 0;
};

struct Fired {
  explicit Fired(const std::string& file, Json params = Json::object())
      : bench("reward.torchscript", with_file(file, std::move(params)), "score") {}
  static Json with_file(const std::string& file, Json params) {
    params["file"] = file;
    return params;
  }
  std::vector<double> on(const Completions& c) {
    bench.connect("completions", {Value::of(c)});
    bench.fire();
    return list_of(bench.out<Rewards>("rewards").total);
  }
  std::vector<double> on(const Features& f) {
    bench.connect("features", {Value::of(f)});
    bench.fire();
    return list_of(bench.out<Rewards>("rewards").total);
  }
  Bench bench;
};

Problem problem_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {Severity::note, "none", {}, "nothing was thrown", "", {}};
}

bool has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  qWarning("\"%s\" is not in \"%s\"", part.c_str(), text.c_str());
  return false;
}

constexpr const char* kSumOfTokens = R"(
def forward(self, tokens, mask):
    return self.weight * (tokens * mask).sum(1)
)";

}  // namespace

class TestTorchscript : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void tokens_are_scored_with_their_mask() {
    Fired fired(models_.save(kSumOfTokens));
    QCOMPARE(fired.on(tokens_of_three()), (std::vector<double>{7.5, 6.5, 14.5}));
    const Rewards& rewards = fired.bench.out<Rewards>("rewards");
    QCOMPARE(rewards.components.at(0).first, std::string("score"));
    QCOMPARE(rewards.batch, std::int64_t{3});
    QVERIFY(rewards.group.equal(tokens_of_three().group));
    QVERIFY(!rewards.total.requires_grad());
  }

  void micro_batches_change_nothing() {
    Fired fired(models_.save(kSumOfTokens));
    const std::vector<double> whole = fired.on(tokens_of_three());
    for (const std::int64_t rows : {1, 2, 5}) {
      fired.bench.settings().micro_batch = rows;
      QCOMPARE(fired.on(tokens_of_three()), whole);
    }
  }

  void a_column_of_scores_is_taken() {
    Fired fired(models_.save(R"(
def forward(self, tokens, mask):
    return mask.sum(1, keepdim=True).double() / 3
)"));
    QCOMPARE(fired.on(tokens_of_three()), (std::vector<double>{4.0 / 3, 2.0 / 3, 4.0 / 3}));
  }

  void features_are_scored() {
    Fired fired(models_.save(R"(
def forward(self, features):
    return features.mean(1) + self.weight
)"));
    Features f;
    f.features = at::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}).view({2, 3});
    f.batch = 8;
    QCOMPARE(fired.on(f), (std::vector<double>{2.5, 5.5}));
    QCOMPARE(fired.bench.out<Rewards>("rewards").batch, std::int64_t{8});
  }

  void the_model_is_in_evaluation_mode_and_another_method_can_be_named() {
    Fired fired(models_.save(R"(
def score(self, tokens, mask):
    return torch.full([tokens.size(0)], 1.0 if self.training else 2.0)
)"),
                {{"method", "score"}});
    QCOMPARE(fired.on(tokens_of_three()), (std::vector<double>{2, 2, 2}));
  }

  void a_wrong_shape_is_named() {
    Fired fired(models_.save(R"(
def forward(self, tokens, mask):
    return tokens * self.weight
)"));
    const Problem problem = problem_of([&] { fired.on(tokens_of_three()); });
    QCOMPARE(problem.code, std::string("torchscript-output"));
    QVERIFY(has(problem.text, "returns [3, 5] for 3 rows, not [3] or [3,1]"));
    Fired pair(models_.save(R"(
def forward(self, tokens, mask):
    return tokens.sum(1), mask
)"));
    QVERIFY(has(problem_of([&] { pair.on(tokens_of_three()); }).text, "returns Tuple for 3 rows"));
  }

  void what_the_model_raises_is_named() {
    Fired fired(models_.save(R"(
def forward(self, tokens, mask):
    return torch.mm(tokens.float(), self.weight)
)"));
    const Problem problem = problem_of([&] { fired.on(tokens_of_three()); });
    QCOMPARE(problem.code, std::string("torchscript-call"));
    QVERIFY(has(problem.text,
                "fails on [3, 5] int64 and [3, 5] bool: RuntimeError: mat2 must be a matrix"));
    Fired other(models_.save(R"(
def forward(self, features):
    return features
)"));
    QVERIFY(has(problem_of([&] { other.on(tokens_of_three()); }).text, "at most 2 argument(s)"));
  }

  void rows_without_a_number_are_absent() {
    Fired fired(models_.save(R"(
def forward(self, tokens, mask):
    return torch.log(mask.sum(1) - 2.0)
)"));
    QVERIFY(has(problem_of([&] { fired.on(tokens_of_three()); }).text, "the model gives -inf"));
    fired.bench.context.skip_rows = true;
    fired.on(tokens_of_three());
    const Rewards& rewards = fired.bench.out<Rewards>("rewards");
    QCOMPARE(list_of(rewards.absent), (std::vector<double>{0, 1, 0}));
    QCOMPARE(list_of(rewards.total)[1], 0.0);
  }

  void files_and_methods_that_are_not_there() {
    const Problem missing = problem_of([] { Fired("/nowhere/model.pt").on(tokens_of_three()); });
    QCOMPARE(missing.code, std::string("torchscript-file"));
    QVERIFY(has(missing.text, "/nowhere/model.pt"));
    const std::string path = models_.save(kSumOfTokens);
    const Problem method = problem_of([&] {
      Fired(path, {{"method", "score"}}).on(tokens_of_three());
    });
    QCOMPARE(method.code, std::string("torchscript-method"));
    QVERIFY(has(method.help, "its methods are forward"));
  }

  void nothing_or_both_connected_is_refused() {
    const std::string path = models_.save(kSumOfTokens);
    QCOMPARE(problem_of([&] { Fired(path).bench.fire(); }).code, std::string("node-failed"));
    Fired both(path);
    both.on(tokens_of_three());
    Features f;
    f.features = at::zeros({3, 2});
    QCOMPARE(problem_of([&] { both.on(f); }).code, std::string("node-failed"));
  }

 private:
  Models models_;
};

REWARDLOOM_TEST(TestTorchscript)
#include "test_torchscript.moc"
