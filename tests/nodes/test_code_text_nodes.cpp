// Programs and tests in answers, prompts of reward models, repetition, positions, scores of tokens.
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "nodes/code/fenced_blocks.h"
#include "nodes/text/ngrams.h"
#include "nodes/text/token_log_probs.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;

std::string failed(const std::string& type, const Json& params, const Json& inputs) {
  return code_of([&] { fire_texts(type, params, inputs); });
}

}  // namespace

class TestCodeTextNodes : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void the_last_block_of_the_language_is_the_program() {
    const std::string answer =
        "First:\n```python\na = 1\n```\nbetter:\n```python\n\na = 2\n```\n```cpp\nint a;\n```";
    QCOMPARE(extract_program(answer, "python"), "a = 2");
    QCOMPARE(extract_program(answer, "cpp"), "int a;");
    QCOMPARE(extract_program("```python\nprint()", "python"), "print()");
    QCOMPARE(extract_program("print()\n```\nend", "python"), "print()");
    QCOMPARE(extract_program("", "python"), "");
    QCOMPARE(extract_program("```python```", "python"), "");
  }

  void extracted_programs_go_on_as_completions() {
    const EvaluateResult out = fire_texts("code.extract_program", {{"language", "cpp"}},
                                          {{"text", {"```cpp\nx\n```", "y"}}});
    QCOMPARE(out.outputs.meta["programs"], Json({"x", "y"}));
    QCOMPARE(out.outputs.meta["completions.text"], Json({"x", "y"}));
    Package in;
    in.tensors["completions"] = at::zeros({2, 3}, at::kLong);
    QCOMPARE(code_of([&] { evaluate(all_nodes(), "code.extract_program", {}, in); }), "no-text");
  }

  void test_cases_come_per_row_with_what_they_want() {
    const Json text = {"```\nInput:\n1 2\nOutput:\n3\n```\nand\n```\nInput:\n\nOutput:\n\n```",
                       "nothing", "```\nInput:\n5\nOutput:\n6\n```"};
    const EvaluateResult out = fire_texts("code.parse_tests", {}, {{"text", text}});
    QVERIFY(tensor(out, "counts").equal(ids({2, 0, 1})));
    QCOMPARE(out.outputs.meta["inputs"], Json({"1 2", "", "5"}));
    QCOMPARE(out.outputs.meta["outputs"], Json({"3", "", "6"}));
    const Json& tests = out.outputs.meta["tests"];
    QCOMPARE(tests.size(), std::size_t{3});
    QCOMPARE(tests[2], Json::array({{{"input", "5"}, {"output", "6"}}}));
    QVERIFY(close(number(out, "cases_per_row"), 1));
    QVERIFY(close(number(out, "without_cases"), 1.0 / 3));
  }

  void a_broken_block_gives_no_case() {
    for (const char* text : {"Input:\n1\nOutput:\n2\n```", "```\nInput:\n1\nOutput:\n2",
                             "```\nInput: 1\nOutput: 2\n```", "```\nOutput:\n2\n```", "```", ""}) {
      QVERIFY2(parse_io_cases(text).empty(), text);
    }
  }

  void repetition_counts_what_occurs_twice_once() {
    QCOMPARE(ngram_repetition("a a a a", 1), 0.25);
    QCOMPARE(ngram_repetition("a b a b", 1), 0.5);
    QCOMPARE(ngram_repetition("  a\t\nb  c ", 1), 0.0);
    QCOMPARE(ngram_repetition("a b", 3), 0.0);
    QCOMPARE(ngram_repetition("", 1), 0.0);
    // Words that run together differ from words apart.
    QCOMPARE(ngram_repetition("ab c a bc", 2), 0.0);
    const EvaluateResult out =
        fire_texts("text.ngram_repetition", {{"ngram", 1}}, {{"text", {"a a", "b"}}});
    QVERIFY(tensor(out, "ratio").equal(doubles({0.5, 0})));
    QVERIFY(!failed("text.ngram_repetition", {{"ngram", 0}}, {{"text", {"a"}}}).empty());
  }

  void long_answers_keep_head_and_tail_in_characters() {
    const std::string umlauts = "äöüÄÖÜß€";
    QCOMPARE(head_and_tail(umlauts, 8, 1, 1), umlauts);
    QCOMPARE(head_and_tail(umlauts, 7, 2, 1), std::string("äö€"));
    QCOMPARE(head_and_tail(umlauts, 7, 0, 0), std::string());
    const Json in = {{"question", {"q"}}, {"answer", {"abcdef"}}, {"completion", {"uvwxyz"}}};
    const EvaluateResult out =
        fire_texts("text.reference_prompt", {{"max_chars", 5}, {"head", 1}, {"tail", 2}}, in);
    QCOMPARE(out.outputs.meta["text"][0].get<std::string>(),
             std::string("<question>q</question>\n<reference_answer>aef</reference_answer>\n"
                         "<completion>uyz</completion>"));
  }

  void the_prompt_is_made_of_completions_too() {
    const Json in = {{"completions.text", {"y1", "y2"}},
                     {"completions.prompt_text", {"q1", "q2"}},
                     {"completions.reference", {"a1", "a2"}}};
    const Json out = fire_texts("text.reference_prompt", {}, in).outputs.meta["text"];
    QCOMPARE(out.size(), std::size_t{2});
    QCOMPARE(out[1].get<std::string>(),
             std::string("<question>q2</question>\n<reference_answer>a2</reference_answer>\n"
                         "<completion>y2</completion>"));
    QCOMPARE(failed("text.reference_prompt", {}, {{"question", {"q"}}, {"answer", {"a"}}}),
             "no-text");
    QCOMPARE(failed("text.reference_prompt", {},
                    {{"question", {"q"}}, {"answer", {"a", "b"}}, {"completion", {"y"}}}),
             "bad-shape");
  }

  void positions_begin_at_the_first_token() {
    const at::Tensor mask = flags({0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0}).reshape({3, 4});
    const at::Tensor got = tensor(fire("text.position_ids", {}, {{"mask", mask}}), "positions");
    QVERIFY(got.equal(ids({0, 0, 0, 1, 0, 1, 2, 3, 0, 0, 0, 0}).reshape({3, 4})));
    // Prompt tokens count as well as answers.
    const at::Tensor kinds = ids({0, 1, 1, 2}).reshape({1, 4}).to(at::kChar);
    const at::Tensor of_prompt =
        tensor(fire("text.position_ids", {}, {{"completions.kinds", kinds}}), "positions");
    QVERIFY(of_prompt.equal(ids({0, 0, 1, 2}).reshape({1, 4})));
  }

  void token_log_probs_are_a_log_softmax_with_its_gradient() {
    const at::AutoGradMode gradients(true);
    const at::Tensor tokens = ids({0, 4, 2, 1, 3, 3}).reshape({2, 3});
    at::Tensor logits = normals(1, {2, 3, 5}).requires_grad_(true);
    at::Tensor other = logits.detach().clone().requires_grad_(true);
    const TokenLogProbs out = token_log_probs(logits, tokens, 0.5);
    const at::Tensor all = (other / 0.5).log_softmax(-1);
    const at::Tensor want = all.gather(-1, tokens.unsqueeze(-1)).squeeze(-1);
    QVERIFY(at::allclose(out.log_probs, want, 1e-12, 1e-12));
    QVERIFY(at::allclose(out.sum_pi_squared, all.exp().square().sum(-1), 1e-12, 1e-12));
    out.log_probs.sum().backward();
    want.sum().backward();
    QVERIFY(at::allclose(logits.grad(), other.grad(), 1e-10, 1e-12));
    const TokenLogProbs sure =
        token_log_probs(doubles({1e4, 0}, {1, 1, 2}), ids({1}).reshape({1, 1}), 1);
    QCOMPARE(sure.log_probs.item<double>(), -1e4);
    QCOMPARE(sure.sum_pi_squared.item<double>(), 1.0);
  }

  void token_log_probs_are_zero_outside_the_answer() {
    const Tensors in{{"logits", normals(2, {1, 3, 4})},
                     {"tokens", ids({1, 2, 3}).reshape({1, 3})},
                     {"completions.mask", flags({0, 1, 0}).reshape({1, 3})}};
    const EvaluateResult out = fire("text.token_log_probs", {}, in);
    QVERIFY(tensor(out, "log_probs").ne(0).equal(flags({0, 1, 0}).reshape({1, 3})));
    QVERIFY(tensor(out, "sum_pi_squared").ne(0).equal(flags({0, 1, 0}).reshape({1, 3})));
    const auto code = [](const at::Tensor& logits, const at::Tensor& tokens) {
      return failure("text.token_log_probs", {}, {{"logits", logits}, {"tokens", tokens}});
    };
    QCOMPARE(code(normals(2, {1, 3, 4}), ids({1, 4, 3}).reshape({1, 3})), "bad-token");
    QCOMPARE(code(normals(2, {1, 3, 4}), ids({1, -1, 3}).reshape({1, 3})), "bad-token");
    QCOMPARE(code(normals(2, {1, 3, 4}), ids({1, 2}).reshape({1, 2})), "bad-shape");
    QCOMPARE(code(normals(2, {3, 4}), ids({1, 2, 3}).reshape({1, 3})), "bad-shape");
    QVERIFY(!failure("text.token_log_probs", {{"temperature", 0}}, {}).empty());
  }
};

}  // namespace rewardloom

using rewardloom::TestCodeTextNodes;
REWARDLOOM_TEST(TestCodeTextNodes)
#include "test_code_text_nodes.moc"
