#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/symbols.h"

namespace rewardloom {

struct SymbolTasks final : Node {
  Output<Prompts> prompts{
      this, "prompts", "targets, each with itself as the reference answer", {.dims = "P"}};
  Param<std::string> alphabet{this, "alphabet", "abcdefghijklmnop",
                              "the symbols; one character each"};
  Param<std::string> excluded{this, "excluded", "p",
                              "symbols that are in no target, such as the one that flatters"};
  Param<std::int64_t> size{
      this, "size", 4, "symbols of a target", {.min = 1, .max = 64, .unit = "symbols"}};
  Param<std::int64_t> batch{this, "batch", 64, "prompts per iteration", {.min = 1, .unit = "rows"}};
  Synonyms words{this, {"gold world", "symbolic task", "multiset", "toy task", "dataset"}};
  Doc doc{this,
          "A prompt is a multiset of `size` symbols, drawn with replacement and written in the "
          "order of the alphabet; an answer should hold exactly these symbols (see "
          "world.symbol_gold). Iteration i gives the same prompts whenever and wherever it runs."};

  void run(Step& step) const override {
    require_alphabet(alphabet());
    std::string targets = alphabet();
    std::erase_if(targets, [&](char c) { return excluded().find(c) != std::string::npos; });
    if (targets.empty()) {
      step.fail("bad-alphabet",
                fmt::format("excluded \"{}\" leaves no symbol of \"{}\"", excluded(), alphabet()),
                "exclude fewer symbols");
    }
    Prompts out;
    out.batch = step.new_batch();
    for (std::int64_t i = 0; i < batch(); ++i) {
      std::string target = drawn(targets, step.random(static_cast<std::uint64_t>(i)));
      out.id.push_back(fmt::format("{}.{}", step.iteration(), i));
      out.text.push_back(target);
      out.fields.push_back({{"target", target}});
      out.reference.push_back(std::move(target));
    }
    step[prompts] = std::move(out);
  }

 private:
  std::string drawn(const std::string& symbols, Random random) const {
    std::string target;
    for (std::int64_t k = 0; k < size(); ++k) target += symbols[random.below(symbols.size())];
    const auto place = [&](char c) { return alphabet().find(c); };
    std::sort(target.begin(), target.end(), [&](char a, char b) { return place(a) < place(b); });
    return target;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolTasks, "Symbol tasks", "arXiv:2502.18770")
