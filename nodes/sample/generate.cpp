#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/generation.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

namespace {

std::vector<std::vector<std::int64_t>> prompt_tokens(const Prompts& prompts,
                                                     const Tokenizer& tokenizer) {
  std::vector<std::vector<std::int64_t>> rows;
  if (!prompts.tokens.defined()) {
    for (const std::string& text : prompts.text) rows.push_back(tokenizer.encode_prompt(text));
    return rows;
  }
  const at::Tensor tokens = prompts.tokens.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor mask = prompts.mask.defined() ? prompts.mask.to(at::kCPU, at::kBool).contiguous()
                                                 : at::ones(tokens.sizes(), at::kBool);
  for (std::int64_t i = 0; i < tokens.size(0); ++i) {
    std::vector<std::int64_t> row;
    for (std::int64_t t = 0; t < tokens.size(1); ++t) {
      const std::int64_t at = i * tokens.size(1) + t;
      if (mask.data_ptr<bool>()[at]) row.push_back(tokens.data_ptr<std::int64_t>()[at]);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Up to the first of the stop texts.
std::string cut(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) text = text.substr(0, text.find(stop));
  return text;
}

/// Prompts left-padded to the longest, answers right-padded to the longest.
void lay_out(const std::vector<std::vector<std::int64_t>>& prompts,
             const std::vector<std::int64_t>& prompt_of_row, const std::vector<GeneratedRow>& rows,
             std::int64_t padding, Completions& out) {
  std::size_t before = 0, after = 0;
  for (const auto& prompt : prompts) before = std::max(before, prompt.size());
  for (const GeneratedRow& row : rows) after = std::max(after, row.tokens.size());
  const std::int64_t n = static_cast<std::int64_t>(rows.size());
  const std::int64_t width = static_cast<std::int64_t>(before + after);
  out.tokens = at::full({n, width}, padding, at::kLong);
  out.kinds = at::zeros({n, width}, at::kChar);
  out.log_probs = at::zeros({n, width});
  out.entropy = at::zeros({n, width});
  out.finished = at::zeros({n}, at::kBool);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto& prompt = prompts[prompt_of_row[i]];
    const GeneratedRow& row = rows[i];
    const std::int64_t start = i * width + static_cast<std::int64_t>(before);
    std::copy(prompt.begin(), prompt.end(),
              out.tokens.data_ptr<std::int64_t>() + start - prompt.size());
    std::fill_n(out.kinds.data_ptr<std::int8_t>() + start - prompt.size(), prompt.size(),
                static_cast<std::int8_t>(TokenKind::prompt));
    std::copy(row.tokens.begin(), row.tokens.end(), out.tokens.data_ptr<std::int64_t>() + start);
    std::fill_n(out.kinds.data_ptr<std::int8_t>() + start, row.tokens.size(),
                static_cast<std::int8_t>(TokenKind::action));
    std::copy(row.log_probs.begin(), row.log_probs.end(), out.log_probs.data_ptr<float>() + start);
    std::copy(row.entropy.begin(), row.entropy.end(), out.entropy.data_ptr<float>() + start);
    out.finished.data_ptr<bool>()[i] = row.finished;
  }
}

}  // namespace

struct Generate final : Node {
  Reads<Policy> policy{this, "policy", "the model that writes"};
  Input<Prompts> prompts{this, "prompts", "what it answers"};
  Output<Completions> completions{this,
                                  "completions",
                                  "group_size answers to each prompt",
                                  {.facts = {{"group_size", "$group_size"}}}};
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
  Param<std::vector<std::string>> stop{this, "stop", std::vector<std::string>{},
                                       "texts that end an answer, besides the end token"};
  Synonyms words{this, {"rollout", "sampling", "generation", "decode", "actor rollout"}};
  Doc doc{
      this,
      "Row i * group_size + g answers prompt i; its group is i. Token t of a row is drawn with the "
      "uniform number of (seed, node, iteration, row, t) by the inverse distribution function, so "
      "that no row depends on another, on the batch or on the number of threads. log_probs are "
      "those "
      "of the distribution that was sampled: tempered, cut by top_k and top_p, renormalised "
      "(greedy: "
      "at temperature 1). The end token belongs to the answer. Prompts without tokens are encoded "
      "by the model's tokenizer."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const Prompts& given = step[prompts];
    const auto tokens = prompt_tokens(given, model.tokenizer());
    std::vector<std::int64_t> prompt_of_row;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      prompt_of_row.insert(prompt_of_row.end(), group_size(), static_cast<std::int64_t>(i));
    }
    const auto rows =
        generate(model.decoder(), tokens, prompt_of_row, options(step, model), step.random(),
                 [&](std::size_t count, const auto& call) { step.parallel(count, call); });
    Completions out;
    lay_out(tokens, prompt_of_row, rows, model.padding_token(), out);
    describe(given, prompt_of_row, rows, model.tokenizer(), out);
    out.temperature = temperature();
    out.weight_version = model.weight_version();
    out.batch = step.new_batch();
    report(step, rows);
    step[completions] = std::move(out);
  }

 private:
  GenerationOptions options(const Step& step, const LanguageModel& model) const {
    GenerationOptions o;
    o.sampling = {temperature(), top_k(), top_p()};
    o.max_tokens = max_tokens();
    o.stop_tokens = model.end_tokens();
    if (step.micro_batch() > 0) o.chunk_rows = step.micro_batch();
    if (stop().empty()) return o;
    const Tokenizer& tokenizer = model.tokenizer();
    o.stops = [this, &tokenizer](const std::vector<std::int64_t>& written) {
      const std::string text = tokenizer.decode(written);
      return std::any_of(stop().begin(), stop().end(),
                         [&](const std::string& s) { return text.find(s) != std::string::npos; });
    };
    return o;
  }

  void describe(const Prompts& given, const std::vector<std::int64_t>& prompt_of_row,
                const std::vector<GeneratedRow>& rows, const Tokenizer& tokenizer,
                Completions& out) const {
    out.prompt = at::tensor(prompt_of_row, at::TensorOptions().dtype(at::kLong));
    out.group = out.prompt;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t p = static_cast<std::size_t>(prompt_of_row[i]);
      out.text.push_back(cut(tokenizer.decode(rows[i].tokens), stop()));
      if (!given.text.empty()) out.prompt_text.push_back(given.text[p]);
      if (!given.reference.empty()) out.reference.push_back(given.reference[p]);
      if (!given.fields.empty()) out.fields.push_back(given.fields[p]);
    }
  }

  static void report(Step& step, const std::vector<GeneratedRow>& rows) {
    if (rows.empty()) return;
    double total = 0, entropy = 0;
    std::size_t longest = 0, shortest = rows[0].tokens.size(), cut_off = 0;
    for (const GeneratedRow& row : rows) {
      total += static_cast<double>(row.tokens.size());
      longest = std::max(longest, row.tokens.size());
      shortest = std::min(shortest, row.tokens.size());
      cut_off += !row.finished;
      for (const float h : row.entropy) entropy += h;
    }
    const double n = static_cast<double>(rows.size());
    step.metric("response_length/mean", total / n);
    step.metric("response_length/max", static_cast<double>(longest));
    step.metric("response_length/min", static_cast<double>(shortest));
    step.metric("response_length/clip_ratio", static_cast<double>(cut_off) / n);
    step.metric("entropy", entropy / std::max(total, 1.0));
    step.metric("tokens", total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Generate, "Sample answers", "")
