#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/symbols.h"

namespace rewardloom {

struct SymbolAnswers final : Node {
  Input<Prompts> prompts{this, "prompts", "targets, from world.symbol_tasks"};
  Output<Prompts> out{this, "prompts", "the same with mediocre answers as reference answers"};
  Param<std::string> alphabet{this, "alphabet", "abcdefghijklmnop",
                              "what a careless symbol is drawn from"};
  Param<double> skill{this,
                      "skill",
                      0.5,
                      "chance of each symbol to be one that the target still misses",
                      {.min = 0, .max = 1}};
  Param<double> spread{
      this,
      "spread",
      0.5,
      "each answer has a writer of its own, whose skill is uniform in skill +- spread",
      {.min = 0, .max = 1}};
  Param<std::int64_t> min_length{
      this, "min_length", 4, "shortest answer", {.min = 1, .unit = "symbols"}};
  Param<std::int64_t> max_length{
      this, "max_length", 12, "longest answer", {.min = 1, .unit = "symbols"}};
  Synonyms words{this, {"gold world", "demonstrations", "SFT data", "mediocre answers"}};
  Doc doc{
      this,
      "What a start policy learns from: answers of uniform length, each symbol with the "
      "probability of its writer's skill one of those of the target that are not there yet, else "
      "any of the alphabet. Where writers differ, a policy learns to see how well an answer "
      "matches so far, which a reward model made from it needs."};

  void run(Step& step) const override {
    require_alphabet(alphabet());
    if (min_length() > max_length()) {
      step.fail("param-range",
                fmt::format("min_length {} is above max_length {}", min_length(), max_length()),
                "lower min_length");
    }
    const MediocreOptions options{alphabet(), skill(), spread(), min_length(), max_length()};
    Prompts result = step[prompts];
    result.reference.clear();
    for (std::size_t i = 0; i < result.text.size(); ++i) {
      result.reference.push_back(mediocre_answer(result.text[i], options, step.random(i)));
    }
    step[out] = std::move(result);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolAnswers, "Mediocre answers to symbol tasks", "arXiv:2502.18770")
