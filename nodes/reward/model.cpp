#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/language_model.h"
#include "nodes/text/model_facts.h"
#include "nodes/text/own_tokens.h"

namespace rewardloom {

namespace {

enum class Reading { score, probability, log_probability, mean };
constexpr auto choices(Reading) {
  return std::to_array<Choice<Reading>>({
      {Reading::score, "score", "output `label` as it is"},
      {Reading::probability, "probability", "of class `label`: softmax, or sigmoid of one output"},
      {Reading::log_probability, "log_probability", "the logarithm of that"},
      {Reading::mean, "mean", "of all outputs"},
  });
}

enum class RowSource { tokens, text };
constexpr auto choices(RowSource) {
  return std::to_array<Choice<RowSource>>({
      {RowSource::tokens, "tokens", "the completions' own ids: model and policy share a tokenizer"},
      {RowSource::text, "text", "prompt and answer, in the ids of the reward model's tokenizer"},
  });
}

/// scores [N,K] as one number per row, [N] in double.
at::Tensor read_scores(const at::Tensor& scores, Reading reading, std::int64_t label) {
  const at::Tensor s = scores.to(at::kDouble);
  if (reading == Reading::score) return s.select(1, label);
  if (reading == Reading::mean) return s.mean(1);
  const at::Tensor log_p = s.size(1) == 1 ? at::log_sigmoid(s) : s.log_softmax(1);
  const at::Tensor chosen = log_p.select(1, label);
  return reading == Reading::probability ? chosen.exp() : chosen;
}

}  // namespace

struct ModelReward final : Node, Estimates {
  Reads<RewardModel> reward_model{this, "reward_model", "what scores"};
  Input<Completions> completions{this, "completions", "the answers, behind their prompts"};
  Output<Rewards> rewards{this, "rewards", "one score per answer"};
  Param<Reading> read{this, "read", Reading::score, "how outputs become a reward"};
  Param<std::int64_t> label{this, "label", 0, "which output, from 0", {.min = 0}};
  Param<RowSource> rows{this, "rows", RowSource::tokens, "what the model reads"};
  Synonyms words{this, {"reward model", "RM", "scorer", "learned reward", "classifier"}};
  Doc doc{this,
          "rewards [N]: the head's output at each row's last token, or its mean over the row's "
          "tokens (classifier_pooling mean in the model's config). With several outputs, each is "
          "a component called after its label. Rows that do not fit the model's context are "
          "absent."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const LanguageModel& model = step.read<LanguageModel>(reward_model);
    const std::int64_t labels = model.decoder().config().labels;
    if (label() >= std::max<std::int64_t>(1, labels)) {
      step.fail("no-output",
                fmt::format("the reward model has no output {}, but {} outputs", label(), labels),
                "outputs count from 0");
    }
    TokenRows given = rows_of(c, model);
    const at::Tensor absent = drop_long_rows(step, model, given);
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
    const at::Tensor scores =
        score_sequences(model.decoder(), given, chunk,
                        [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    step[rewards] = rewards_of(step, c, model, scores, absent);
  }

  void estimate(Estimate& e) const override {
    const Extent& given = e[completions];
    state_scoring(e, facts_of(e[reward_model]), given, true);
    e[rewards] = {given.rows, given.tokens, given.longest, given.written, {}, {}};
  }

 private:
  TokenRows rows_of(const Completions& c, const LanguageModel& model) const {
    if (rows() == RowSource::tokens) {
      require_own_tokens(model, c, "set rows to text: the model then reads prompt and answer");
      TokenRows own = token_rows(c.tokens, c.kinds);
      return {own.tokens.clone(), own.kinds.clone()};
    }
    const auto ends = model.end_tokens();
    return text_rows(model.tokenizer(), c.prompt_text, answers(c), model.padding_token(),
                     ends.empty() ? -1 : ends.front());
  }

  /// Rows beyond the context become padding alone. [N] bool.
  static at::Tensor drop_long_rows(Step& step, const LanguageModel& model, TokenRows& given) {
    const at::Tensor lengths = given.kinds.ne(0).sum(1);
    const std::int64_t most = model.decoder().config().max_positions;
    const at::Tensor absent = lengths.gt(most).logical_or(lengths.eq(0));
    for (std::int64_t i = 0; i < given.rows(); ++i) {
      if (!absent[i].item<bool>()) continue;
      given.kinds[i].zero_();
      step.fail_row(i, fmt::format("{} tokens, the reward model reads 1 to {}",
                                   lengths[i].item<std::int64_t>(), most));
    }
    return absent;
  }

  Rewards rewards_of(const Step& step, const Completions& c, const LanguageModel& model,
                     const at::Tensor& scores, const at::Tensor& absent) const {
    const c10::Device device = c.tokens.device();
    const auto column = [&](const at::Tensor& values) {
      return values.to(at::kFloat).masked_fill(absent, 0).to(device);
    };
    Rewards out = Rewards::of(c, column(read_scores(scores, read(), label())));
    if (absent.any().item<bool>()) out.absent = absent.to(device);
    if (scores.size(1) == 1) {
      out.components = {{step.node(), out.total}};
      return out;
    }
    for (std::int64_t k = 0; k < scores.size(1); ++k) {
      out.components.emplace_back(fmt::format("{}/{}", step.node(), label_name(model, k)),
                                  column(scores.select(1, k)));
    }
    return out;
  }

  static std::string label_name(const LanguageModel& model, std::int64_t k) {
    const Json& config = model.decoder().config().source;
    const std::string key = std::to_string(k);
    const auto names = config.find("id2label");
    if (names == config.end() || !names->contains(key) || !(*names)[key].is_string()) return key;
    return (*names)[key].get<std::string>();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ModelReward, "Reward model's score", "arXiv:2203.02155")
