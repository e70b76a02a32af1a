// Scorers whose tokens see the whole row and whose score is a mean over it; and where rows end.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/types.h>

#include "nodes/optimize/whole_step.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "tests/nodes/reward_rows.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

Json small_config(bool bidirectional, const std::string& pooling) {
  return {{"hidden_size", 16},
          {"intermediate_size", 24},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 24},
          {"use_bidirectional_attention", bidirectional},
          {"classifier_pooling", pooling},
          {"initializer_range", 0.3}};
}

std::shared_ptr<LanguageModel> scorer(bool bidirectional, const std::string& pooling) {
  ModelSource source;
  source.random = true;
  source.seed = 5;
  source.config = small_config(bidirectional, pooling);
  source.characters = "0123456789+=V:";
  source.head = ScoreHead{HeadKind::sequence, 1, false};
  return make_language_model(source);
}

/// Rows of different lengths, the second with padding before it.
TokenRows some_rows() {
  const at::Tensor tokens =
      at::tensor({3, 4, 5, 6, 7, 8, 0, 0, 4, 9, 3, 0, 5, 0, 0, 0, 0, 0}, at::kLong).view({3, 6});
  const at::Tensor kinds =
      at::tensor({1, 1, 1, 2, 2, 2, 0, 0, 1, 1, 2, 0, 1, 0, 0, 0, 0, 0}, at::kChar).view({3, 6});
  return token_rows(tokens, kinds);
}

/// Scores by LibTorch's operators over padded rows: [N], the mean or the last over each row.
at::Tensor by_operators(const Decoder& decoder, const TokenRows& rows, const WeightMap& weights,
                        bool mean) {
  const at::Tensor mask = rows.kinds.ne(0);
  const at::Tensor each = decoder.forward(rows.tokens, mask, weights).squeeze(2);
  if (mean) return each.masked_fill(mask.logical_not(), 0).sum(1) / mask.sum(1);
  std::vector<at::Tensor> last;
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    last.push_back(each[i].masked_select(mask[i])[-1]);
  }
  return at::stack(last);
}

ParallelCalls one_after_the_other() {
  return [](std::size_t count, const std::function<void(std::size_t)>& call) {
    for (std::size_t i = 0; i < count; ++i) call(i);
  };
}

Bench rows_of_model(const std::string& end, const std::vector<std::int64_t>& finished) {
  Bench bench("text.reference_rows",
              {{"template", "{question}{reference}:{completion}"}, {"end", end}});
  Completions c = answers_of({"VV42", "7"}, {"42", "8"});
  c.prompt_text = {"40+2=", "3+4="};
  if (!finished.empty()) c.finished = flags(finished);
  bench.connect("reward_model", {Value::of<RewardModel>(RewardModel{{scorer(false, "last")}})});
  bench.connect("completions", {Value::of(c)});
  bench.fire();
  return bench;
}

}  // namespace

class TestPooledScores : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void scores_are_means_over_the_tokens_of_a_row() {
    const TokenRows rows = some_rows();
    for (const bool bidirectional : {false, true}) {
      for (const std::string pooling : {"last", "mean"}) {
        const auto model = scorer(bidirectional, pooling);
        const at::Tensor scores =
            score_sequences(model->decoder(), rows, 2, one_after_the_other()).squeeze(1);
        const at::Tensor expected =
            by_operators(model->decoder(), rows, model->decoder().weights(), pooling == "mean");
        QVERIFY(at::allclose(scores, expected, 1e-4, 1e-5));
      }
    }
  }

  void what_stands_behind_a_token_reaches_it_in_both_directions_alone() {
    TokenRows rows = some_rows();
    TokenRows other{rows.tokens.clone(), rows.kinds};
    other.tokens[0][5] = 9;
    for (const bool bidirectional : {false, true}) {
      const auto model = scorer(bidirectional, "mean");
      const auto first = [&](const TokenRows& given) {
        return model->decoder().forward(given.tokens, given.kinds.ne(0),
                                        model->decoder().weights())[0][0];
      };
      QCOMPARE(at::allclose(first(rows), first(other), 0, 1e-7), !bidirectional);
    }
  }

  void gradients_are_those_of_the_operators() {
    const TokenRows rows = some_rows();
    const auto model = scorer(true, "mean");
    const at::Tensor d = at::tensor({0.5, -1.0, 2.0}, at::kDouble);
    const RowReader reader(model->decoder(), rows, Readout::row_score);
    WeightMap gradients = model->decoder().zero_gradients();
    reader.backward(reader.forward({0, 1, 2}, true), d.unsqueeze(1), gradients);
    const c10::AutoGradMode with_gradients(true);
    WeightMap leaves;
    for (const auto& [name, weight] : model->decoder().weights()) {
      leaves[name] = weight.detach().requires_grad_();
    }
    (by_operators(model->decoder(), rows, leaves, true) * d).sum().backward();
    for (const auto& [name, gradient] : gradients) {
      QVERIFY2(at::allclose(gradient, leaves.at(name).grad(), 1e-3, 1e-5), name.c_str());
    }
  }

  void configs_keep_the_entries_and_other_words_are_refused() {
    const auto model = scorer(true, "mean");
    const Json json = to_json(model->decoder().config());
    QCOMPARE(json.at("classifier_pooling"), Json("mean"));
    QVERIFY(model_config(json).bidirectional);
    QVERIFY(!model_config(json).has_own_kernels());
    QCOMPARE(code_of([] { scorer(true, "max"); }), std::string("model-config"));
  }

  void what_sees_ahead_cannot_write() {
    ModelSource source;
    source.random = true;
    source.config = small_config(true, "last");
    source.characters = "01";
    const auto model = make_language_model(source);
    QCOMPARE(code_of([&] { model->decoder().decode(1, 4); }), std::string("model-head"));
  }

  void an_answer_that_was_cut_gets_no_end_token() {
    const Bench always = rows_of_model("always", {});
    const Bench some = rows_of_model("finished", {1, 0});
    const auto lengths = [](const Bench& bench) {
      return bench.out<Completions>("completions").kinds.ne(0).sum(1);
    };
    QVERIFY((lengths(always) - lengths(some)).equal(ids({0, 1})));
    const auto& tokens = some.out<Completions>("completions").tokens;
    QVERIFY(tokens.equal(always.out<Completions>("completions").tokens));
    QCOMPARE(code_of([] { rows_of_model("finished", {}); }), std::string("node-failed"));
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestPooledScores)
#include "test_pooled_scores.moc"
