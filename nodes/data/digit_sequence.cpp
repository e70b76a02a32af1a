#include "nodes/data/digit_sequence.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kMostNumbers = 100000;

/// Takes a number of 0 .. 10^12 from the front of `text`.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0 || text.front() == '-' || value > 1'000'000'000'000) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, char expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<std::string> digit_sequence_answer(std::string_view prompt) {
  const auto first = take_number(prompt);
  if (!first || !take(prompt, ',')) return std::nullopt;
  const auto second = take_number(prompt);
  if (!second || !take(prompt, ':')) return std::nullopt;
  const auto modulus = take_number(prompt);
  if (!modulus || *modulus == 0 || !take(prompt, ',')) return std::nullopt;
  const auto count = take_number(prompt);
  if (!count || !prompt.empty() || *count > kMostNumbers) return std::nullopt;
  const std::int64_t step = ((*second - *first) % *modulus + *modulus) % *modulus;
  std::int64_t value = *second % *modulus;
  std::string answer;
  for (std::int64_t i = 0; i < *count; ++i) {
    value = (value + step) % *modulus;
    fmt::format_to(std::back_inserter(answer), "{}{}", i == 0 ? "" : ",", value);
  }
  return answer;
}

struct DigitSequence final : Node {
  Input<Prompts> prompts{this, "prompts", "texts such as 8,3:9,4"};
  Output<Prompts> out{this, "prompts", "the same with their reference answers"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"digit completion", "arithmetic sequence", "TinyZero"}};
  Doc doc{
      this,
      "A prompt a,b:M,n asks for the next n numbers of the arithmetic sequence a, b, ... modulo "
      "M: 8,3:9,4 has the answer 7,2,6,1. A prompt of another form fails its row; under "
      "on_error skip_row it is left out."};

  void run(Step& step) const override {
    const Prompts& in = step[prompts];
    Prompts result = in;
    result.reference.assign(in.text.size(), "");
    std::vector<std::size_t> good;
    for (std::size_t i = 0; i < in.text.size(); ++i) {
      if (auto answer = digit_sequence_answer(in.text[i])) {
        result.reference[i] = std::move(*answer);
        good.push_back(i);
      } else {
        step.fail_row(static_cast<std::int64_t>(i),
                      fmt::format("prompt {} \"{}\" is not of the form a,b:M,n",
                                  i < in.id.size() ? in.id[i] : "", in.text[i]));
      }
    }
    if (good.size() != in.text.size()) {
      keep(result, good);
      result.batch = step.new_batch();
    }
    step[out] = std::move(result);
  }

 private:
  template <class T>
  static void keep(std::vector<T>& list, const std::vector<std::size_t>& rows) {
    if (list.empty()) return;
    std::vector<T> kept;
    for (const std::size_t row : rows) kept.push_back(std::move(list[row]));
    list = std::move(kept);
  }
  static void keep(Prompts& prompts, const std::vector<std::size_t>& rows) {
    keep(prompts.id, rows);
    keep(prompts.text, rows);
    keep(prompts.reference, rows);
    keep(prompts.fields, rows);
    const at::Tensor index =
        at::tensor(at::ArrayRef<std::int64_t>(std::vector<std::int64_t>(rows.begin(), rows.end())));
    if (prompts.tokens.defined()) prompts.tokens = prompts.tokens.index_select(0, index);
    if (prompts.mask.defined()) prompts.mask = prompts.mask.index_select(0, index);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DigitSequence, "Digit sequences",
                "github.com/Jiayi-Pan/TinyZero tests/e2e/envs/digit_completion")
