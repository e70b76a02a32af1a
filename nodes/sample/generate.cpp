#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/sample/generation.h"
#include "nodes/text/language_model.h"
#include "nodes/text/loaded_tokenizer.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

namespace {

/// Decoding of `rows` answers together, as far as measuring needs it.
struct DecodingShape {
  ModelConfig config;
  c10::Device device{c10::kCPU};
  std::int64_t rows = 0, prompt = 0, steps = 0;
  SamplingOptions sampling;

  std::string kind() const {
    return fmt::format("decoding {} rows behind {} tokens, {} {} {} {} on {}", rows, prompt,
                       config.architecture, config.hidden_size, config.intermediate_size,
                       config.vocab_size, device.str());
  }
  /// Of one token of each row for so many steps, behind the first that the prompts' pass gives.
  double flop(const ModelConfig& c, std::int64_t steps_done, std::int64_t rows_done) const {
    const std::int64_t tokens = rows_done * steps_done;
    return forward_flop(c, {rows_done, tokens, 2 * prompt + steps_done, tokens});
  }
  /// FLOP/s of one layer, its head and the choice of tokens.
  double rate() const {
    const ModelConfig one = one_layer_of(config);
    Decoder decoder(one, random_weights(one, {1, 2, 3}));
    if (!device.is_cpu()) decoder.to(device);
    const std::vector<std::int64_t> tokens(static_cast<std::size_t>(prompt), 0);
    const auto seconds = [&](std::int64_t count) {
      GenerationOptions options;
      options.sampling = sampling;
      options.max_tokens = count;
      options.batch_rows = rows;
      double best = std::numeric_limits<double>::infinity();
      for (int i = 0; i < 4; ++i) {
        const double start = processor_seconds();
        generate(decoder, {tokens}, std::vector<std::int64_t>(static_cast<std::size_t>(rows), 0),
                 options, Random({1, 1, 1}), [](std::size_t n, const auto& call) {
                   for (std::size_t c = 0; c < n; ++c) call(c);
                 });
        best = std::min(best, processor_seconds() - start);
      }
      return best;
    };
    const std::int64_t more = std::min<std::int64_t>(steps, 8);
    return flop(one, more, rows) / std::max(1e-9, seconds(1 + more) - seconds(1));
  }
};

}  // namespace

struct Generate final : Node, Estimates {
  Reads<Policy> policy{this, "policy", "the model that writes"};
  Input<Prompts> prompts{this, "prompts", "what it answers"};
  Output<Completions> completions{this,
                                  "completions",
                                  "group_size answers to each prompt",
                                  {.facts = {{"group_size", "$group_size"}}}};
  Output<Values> top_tokens{this,
                            "top_tokens",
                            "with alternatives: ids of the most likely tokens at each written one, "
                            "in falling order; -1 where there is none",
                            {.dims = "N,T,K"}};
  Output<Values> top_log_probs{this,
                               "top_log_probs",
                               "with alternatives: their log-probs, of the distribution "
                               "that was sampled",
                               {.dims = "N,T,K"}};
  Output<LogProbs> best_log_probs{
      this, "best_log_probs",
      "with alternatives: that of the most likely token at each written one, recorded"};
  Param<std::int64_t> group_size{this, "group_size", 1, "answers per prompt", {.min = 1}};
  Param<std::int64_t> max_tokens{
      this, "max_tokens", 64, "longest answer", {.min = 1, .unit = "tokens"}};
  Param<double> temperature{
      this, "temperature", 1.0, "divides the logits; 0 is greedy", {.min = 0}};
  Param<std::int64_t> top_k{this, "top_k", 0, "keeps the most likely tokens; 0: all", {.min = 0}};
  Param<double> top_p{this,
                      "top_p",
                      1.0,
                      "keeps the fewest tokens of this mass; 1: all",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> min_p{
      this,
      "min_p",
      0.0,
      "keeps tokens of at least this share of the likeliest one's probability; 0: all",
      {.min = 0, .max = 1}};
  Param<std::int64_t> alternatives{this,
                                   "alternatives",
                                   0,
                                   "most likely tokens that top_tokens and top_log_probs give",
                                   {.min = 0}};
  Param<std::int64_t> batch_rows{
      this,
      "batch_rows",
      0,
      "rows decoded at once: as some end, the next take their places; 0: the placement's "
      "micro_batch, or what suits the device",
      {.min = 0}};
  Param<bool> recorded_steps{
      this, "recorded_steps", false,
      "on a GPU: a step is recorded once for 128 tokens and repeated as one launch (a CUDA graph)"};
  Param<std::vector<std::string>> stop{this, "stop", std::vector<std::string>{},
                                       "texts that end an answer, besides the end token"};
  Synonyms words{this, {"rollout", "sampling", "generation", "decode", "actor rollout"}};
  Doc doc{
      this,
      "Row i * group_size + g answers prompt i; its group is i. Token t of a row is drawn with the "
      "uniform number of (seed, node, iteration, row, t) by the inverse distribution function, so "
      "that no row depends on another, on the batch or on the number of threads. log_probs are "
      "those "
      "of the distribution that was sampled: tempered, cut by top_k, top_p and min_p, renormalised "
      "(greedy: "
      "at temperature 1), as are those of top_tokens; metric top_mass is their mean share of the "
      "distribution. The end token belongs to the answer. Prompts without tokens are encoded "
      "by the model's tokenizer."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const Prompts& given = step[prompts];
    const auto tokens = prompt_tokens(given, model.tokenizer());
    alarm_double_begin(step, model.tokenizer(), tokens);
    if (temperature() == 0 && group_size() > 1) {
      step.alarm("greedy-group",
                 fmt::format("at temperature 0 the {} answers to a prompt are one and the same",
                             group_size()));
    }
    std::vector<std::int64_t> prompt_of_row;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      prompt_of_row.insert(prompt_of_row.end(), group_size(), static_cast<std::int64_t>(i));
    }
    const auto rows =
        generate(model.decoder(), tokens, prompt_of_row, options(step, model), step.random(),
                 [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    Completions out;
    lay_out(tokens, prompt_of_row, rows, model.padding_token(), out);
    std::vector<std::string> texts;
    for (const GeneratedRow& row : rows) {
      texts.push_back(cut_at(model.tokenizer().decode(row.tokens), stop()));
    }
    describe(given, prompt_of_row, std::move(texts), out);
    out.temperature = temperature();
    out.weight_version = model.weight_version();
    out.batch = step.new_batch();
    report(step, rows);
    if (alternatives() > 0) give_top(step, rows, out);
    step[completions] = std::move(out);
  }

  /// Answers are taken to be max_tokens long.
  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    if (!e[prompts].example) {
      throw Failure("estimate", "nothing is known of its prompts before the run");
    }
    RowLengths lengths;
    for (const auto& ids : prompt_tokens(e[prompts].example.get<Prompts>(), *model.tokenizer)) {
      lengths.add(static_cast<std::int64_t>(ids.size()), 0);
    }
    const Extent& before = lengths.extent();
    const std::int64_t rows = before.rows * group_size();
    const std::int64_t at_once = batch_rows() > 0 ? batch_rows() : e.micro_batch();
    const std::int64_t own = rows_together(model.config, model.device, rows);
    const std::int64_t chunk =
        std::max<std::int64_t>(1, std::min(rows, at_once > 0 ? at_once : own));
    const std::int64_t together = (chunk + group_size() - 1) / group_size();
    PassSize pass = some_of(before, together);
    pass.wanted = pass.sequences;
    add_passes(e.cost,
               decoding_bytes(model.config, chunk, before.longest + max_tokens() - 1, pass.tokens,
                              model.own_kernels()),
               e.at_once(decoding_sessions(model.config, model.device, rows, chunk)));
    e.cost.copies = model.take_copies(false);
    e.cost.micro_batch = chunk;
    e.cost.device = model.device;
    const PassSize all{before.rows, before.tokens, before.longest, before.rows};
    e.cost.work.push_back(pass_work(model, forward_flop(model.config, all), pass, false));
    if (max_tokens() > 1) {
      const std::int64_t mean = before.tokens / std::max<std::int64_t>(1, before.rows);
      const DecodingShape shape{model.config,
                                model.device,
                                chunk,
                                std::max<std::int64_t>(1, mean),
                                max_tokens() - 1,
                                {temperature(), top_k(), top_p(), min_p()}};
      e.cost.work.push_back({shape.flop(model.config, shape.steps, rows), shape.kind(),
                             [shape] { return shape.rate(); }});
    }
    e[completions] = {rows,
                      group_size() * before.tokens + rows * max_tokens(),
                      before.longest + max_tokens(),
                      rows * max_tokens(),
                      {},
                      {}};
  }

 private:
  GenerationOptions options(const Step& step, const LanguageModel& model) const {
    GenerationOptions o;
    o.sampling = {temperature(), top_k(), top_p(), min_p()};
    o.max_tokens = max_tokens();
    o.stop_tokens = model.end_tokens();
    o.top_tokens = alternatives();
    o.recorded = recorded_steps();
    // A micro-batch is meant for passes over whole rows; accelerators decode all at once.
    const bool on_cpu = model.decoder().device().is_cpu();
    o.batch_rows = batch_rows() > 0 ? batch_rows() : on_cpu ? step.micro_batch() : 0;
    if (stop().empty()) return o;
    const Tokenizer& tokenizer = model.tokenizer();
    o.stops = [this, &tokenizer](const std::vector<std::int64_t>& written) {
      const std::string text = tokenizer.decode(written);
      return std::any_of(stop().begin(), stop().end(),
                         [&](const std::string& s) { return text.find(s) != std::string::npos; });
    };
    return o;
  }

  void give_top(Step& step, const std::vector<GeneratedRow>& rows, const Completions& out) const {
    const TopTokenRows top = lay_out_top(rows, alternatives(), out);
    LogProbs best{top.log_probs.select(2, 0).contiguous(), out.mask(), out.weight_version,
                  out.batch};
    step[best_log_probs] = std::move(best);
    step[top_tokens] = Values{top.tokens, out.batch};
    step[top_log_probs] = Values{top.log_probs, out.batch};
    const at::Tensor there = top.tokens.ge(0);
    const double tokens = static_cast<double>(out.mask().sum().item<std::int64_t>());
    const double mass =
        top.log_probs.to(at::kDouble).exp().masked_select(there).sum().item<double>();
    step.metric("top_mass", mass / std::max(tokens, 1.0));
  }

  static void report(Step& step, const std::vector<GeneratedRow>& rows) {
    if (rows.empty()) return;
    double total = 0, entropy = 0;
    for (const GeneratedRow& row : rows) {
      total += static_cast<double>(row.tokens.size());
      for (const float h : row.entropy) entropy += h;
    }
    report_lengths(step, rows);
    step.metric("entropy", entropy / std::max(total, 1.0));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Generate, "Sample answers", "")
