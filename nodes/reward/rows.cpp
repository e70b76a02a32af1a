#include "nodes/reward/rows.h"

#include <fmt/format.h>
#include <torch/types.h>

namespace rewardloom {

Rewards scored(const Step& step, const Completions& completions,
               const std::vector<double>& scores) {
  const at::Tensor total = at::tensor(at::ArrayRef<double>(scores), at::dtype(at::kDouble))
                               .to(completions.tokens.device(), at::kFloat);
  Rewards rewards = Rewards::of(completions, total);
  rewards.components = {{step.node(), total}};
  return rewards;
}

Rewards changed(const Step& step, const Rewards& rewards, const at::Tensor& total) {
  Rewards out = rewards;
  out.components.emplace_back(step.node(), total - rewards.total);
  out.total = total;
  return out;
}

const std::vector<std::string>& answers(const Completions& completions) {
  if (static_cast<std::int64_t>(completions.text.size()) == completions.rows()) {
    return completions.text;
  }
  throw Failure("no-text",
                fmt::format("there are {} completions, but {} texts", completions.rows(),
                            completions.text.size()),
                "take completions from a sampler that decodes its answers");
}

const std::vector<std::string>& references(const Completions& completions) {
  if (static_cast<std::int64_t>(completions.reference.size()) == completions.rows()) {
    return completions.reference;
  }
  throw Failure("no-references",
                fmt::format("there are {} completions, but {} reference answers",
                            completions.rows(), completions.reference.size()),
                "sample from prompts that carry a reference answer");
}

void require_same_rows(std::string_view a, std::int64_t a_rows, std::int64_t a_batch,
                       std::string_view b, std::int64_t b_rows, std::int64_t b_batch) {
  if (a_rows != b_rows) {
    throw Failure("bad-shape", fmt::format("{} has {} rows, but {} has {}", a, a_rows, b, b_rows),
                  "rows must agree in number and order");
  }
  if (a_batch != 0 && b_batch != 0 && a_batch != b_batch) {
    throw Failure("other-rows", fmt::format("{} and {} come from different samplings", a, b),
                  "connect both to nodes that score the same completions");
  }
}

}  // namespace rewardloom
