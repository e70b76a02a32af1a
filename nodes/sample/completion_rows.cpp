#include "nodes/sample/completion_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace rewardloom {

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

std::string cut_at(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) text = text.substr(0, text.find(stop));
  return text;
}

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

TopTokenRows lay_out_top(const std::vector<GeneratedRow>& rows, std::int64_t count,
                         const Completions& like) {
  const std::int64_t n = like.tokens.size(0), width = like.tokens.size(1);
  TopTokenRows out{at::full({n, width, count}, -1, at::kLong), at::zeros({n, width, count})};
  std::size_t longest = 0;
  for (const GeneratedRow& row : rows) longest = std::max(longest, row.tokens.size());
  const std::int64_t before = width - static_cast<std::int64_t>(longest);
  for (std::int64_t i = 0; i < n; ++i) {
    const GeneratedRow& row = rows[i];
    const std::int64_t start = (i * width + before) * count;
    std::copy(row.top_tokens.begin(), row.top_tokens.end(),
              out.tokens.data_ptr<std::int64_t>() + start);
    std::copy(row.top_log_probs.begin(), row.top_log_probs.end(),
              out.log_probs.data_ptr<float>() + start);
  }
  return out;
}

void describe(const Prompts& given, const std::vector<std::int64_t>& prompt_of_row,
              std::vector<std::string> texts, Completions& out) {
  out.prompt = at::tensor(prompt_of_row, at::TensorOptions().dtype(at::kLong));
  out.group = out.prompt;
  out.text = std::move(texts);
  for (const std::int64_t prompt : prompt_of_row) {
    const std::size_t p = static_cast<std::size_t>(prompt);
    if (!given.text.empty()) out.prompt_text.push_back(given.text[p]);
    if (!given.reference.empty()) out.reference.push_back(given.reference[p]);
    if (!given.fields.empty()) out.fields.push_back(given.fields[p]);
  }
}

void report_lengths(Step& step, const std::vector<GeneratedRow>& rows) {
  if (rows.empty()) return;
  double total = 0;
  std::size_t longest = 0, shortest = rows[0].tokens.size(), cut_off = 0;
  for (const GeneratedRow& row : rows) {
    total += static_cast<double>(row.tokens.size());
    longest = std::max(longest, row.tokens.size());
    shortest = std::min(shortest, row.tokens.size());
    cut_off += !row.finished;
  }
  const double n = static_cast<double>(rows.size());
  step.metric("response_length/mean", total / n);
  step.metric("response_length/max", static_cast<double>(longest));
  step.metric("response_length/min", static_cast<double>(shortest));
  step.metric("response_length/clip_ratio", static_cast<double>(cut_off) / n);
  step.metric("tokens", total);
}

}  // namespace rewardloom
