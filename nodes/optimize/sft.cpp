#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/optimize/training_cost.h"
#include "nodes/optimize/update.h"

namespace rewardloom {

namespace {

/// The mean negative log-likelihood of the answers' tokens.
class AnswerLoss final : public LossFunction {
 public:
  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor total = batch.at("log_probs").mul(batch.at("mask")).sum();
    return {-total / *batch.total_tokens, {}};
  }
  const std::vector<LossArgumentDeclaration>& arguments() const override {
    static const std::vector<LossArgumentDeclaration> list{
        {"log_probs", "N,T", "current policy", false, true},
        {"mask", "N,T", "answer tokens", false, false}};
    return list;
  }
};

struct AnswerRow {
  std::vector<std::int64_t> prompt;
  std::vector<std::int64_t> answer;
};

TokenRows lay_out(const std::vector<AnswerRow>& rows, std::int64_t padding) {
  std::size_t width = 0;
  for (const AnswerRow& row : rows) width = std::max(width, row.prompt.size() + row.answer.size());
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows.size()),
                                        static_cast<std::int64_t>(width)};
  TokenRows out{at::full(shape, padding, at::kLong), at::zeros(shape, at::kChar)};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::int64_t* tokens = out.tokens.data_ptr<std::int64_t>() + i * width;
    std::int8_t* kinds = out.kinds.data_ptr<std::int8_t>() + i * width;
    const std::size_t before = rows[i].prompt.size();
    std::copy(rows[i].prompt.begin(), rows[i].prompt.end(), tokens);
    std::copy(rows[i].answer.begin(), rows[i].answer.end(), tokens + before);
    std::fill_n(kinds, before, static_cast<std::int8_t>(TokenKind::prompt));
    std::fill_n(kinds + before, rows[i].answer.size(), static_cast<std::int8_t>(TokenKind::action));
  }
  return out;
}

}  // namespace

struct OptimizeSft final : Node, Estimates {
  State<AdamW> adam{this, "adam"};
  Writes<Policy> policy{this, "policy", "the model to train"};
  Input<Prompts> prompts{this, "prompts", "prompts with reference answers"};
  Output<Policy> trained{this, "policy", "the model after the update", {.same_as = "policy"}};
  OptimizerParams optimizer{this, 1e-4};
  Param<std::int64_t> max_length{this,
                                 "max_length",
                                 0,
                                 "longest row, prompt and answer; longer ones are left out, "
                                 "counted; 0: the model's context",
                                 {.min = 0, .unit = "tokens"}};
  Rule end{this, OptimizerParams::needs_end()};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this,
                 {"supervised fine-tuning", "SFT", "warm start", "behaviour cloning", "AdamW"}};
  Doc doc{this,
          "Minimises the mean of -log pi(token | what stands before it) over the tokens of the "
          "reference "
          "answers and their end token. rows/left_out: rows of more than max_length tokens. "
          "Otherwise as optimize.policy."};

  void run(Step& step) const override {
    LanguageModel& model = step.write<LanguageModel>(policy);
    UpdateRows rows;
    const std::vector<AnswerRow> all = answer_rows(step, model), kept = fitting(all, model);
    step.metric("rows/left_out", static_cast<double>(all.size() - kept.size()));
    if (kept.empty()) {
      step.alarm("nothing-to-learn", "every row was left out: the policy is as it was");
    }
    rows.tokens = lay_out(kept, model.padding_token());
    const AnswerLoss loss;
    UpdateOptions options = optimizer(step);
    options.micro_batch = micro_batch_of(step, optimizer, model.decoder(), rows.tokens, 1);
    const UpdateReport report =
        update(step, model, step[adam], rows, {{"nll", &loss, {}}}, options);
    report_update(step, report, 0);
    step[trained] = step.pass(policy);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    state_training(e, model, optimizer, {answer_extent(model, e[prompts])});
    e[trained] = e[policy];
  }

 private:
  std::vector<AnswerRow> fitting(const std::vector<AnswerRow>& rows,
                                 const LanguageModel& model) const {
    const std::int64_t context = model.decoder().config().max_positions;
    const std::int64_t most = max_length() > 0 ? std::min(max_length(), context) : context;
    std::vector<AnswerRow> kept;
    for (const AnswerRow& row : rows) {
      if (static_cast<std::int64_t>(row.prompt.size() + row.answer.size()) <= most) {
        kept.push_back(row);
      }
    }
    return kept;
  }

  std::vector<AnswerRow> answer_rows(const Step& step, const LanguageModel& model) const {
    const Prompts& given = step[prompts];
    if (given.reference.size() != given.text.size()) {
      step.fail("no-references",
                fmt::format("{} prompts come with {} reference answers", given.text.size(),
                            given.reference.size()),
                "connect prompts that carry answers");
    }
    const std::vector<std::int64_t> ends = model.end_tokens();
    std::vector<AnswerRow> rows;
    for (std::size_t i = 0; i < given.text.size(); ++i) {
      AnswerRow row{model.tokenizer().encode_prompt(given.text[i]),
                    model.tokenizer().encode_answer(given.text[i], given.reference[i])};
      if (!ends.empty())
        row.answer.push_back(model.tokenizer().special().end.value_or(ends.front()));
      rows.push_back(std::move(row));
    }
    return rows;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeSft, "Supervised fine-tuning (AdamW)", "arXiv:2203.02155")
