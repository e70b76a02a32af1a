#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/chains.h"

namespace rewardloom {
namespace {

enum class ChainSplit { train, held_out };
constexpr auto choices(ChainSplit) {
  return std::to_array<Choice<ChainSplit>>({
      {ChainSplit::train, "train", "random chains that are not held out"},
      {ChainSplit::held_out, "held_out", "the same held-out chains in every iteration"},
  });
}

enum class ChainReference { answer, demonstration };
constexpr auto choices(ChainReference) {
  return std::to_array<Choice<ChainReference>>({
      {ChainReference::answer, "answer", "the result, to grade with"},
      {ChainReference::demonstration, "demonstration", "a solution, right or not, to learn from"},
  });
}

}  // namespace

struct ChainTasks final : Node {
  Output<Prompts> prompts{this, "prompts", "chains such as 3+4*2=", {.dims = "P"}};
  Param<std::int64_t> modulus{
      this, "modulus", 5, "all numbers are below it", {.min = 2, .max = 10}};
  Param<std::int64_t> fewest{this, "fewest", 3, "fewest operators", {.min = 1, .max = 16}};
  Param<std::int64_t> most{this, "most", 4, "most operators", {.min = 1, .max = 16}};
  Param<std::string> operators{this, "operators", "+-*", "what stands between the numbers"};
  Param<std::int64_t> batch{this, "batch", 16, "prompts per iteration", {.min = 1, .unit = "rows"}};
  Param<ChainSplit> split{this, "split", ChainSplit::train, "which chains are given"};
  Param<double> held_out{
      this, "held_out", 0.2, "share of the chains kept for evaluation", {.min = 0, .max = 0.9}};
  Param<ChainReference> reference{this, "reference", ChainReference::answer,
                                  "what the references hold"};
  Param<double> terse_share{
      this, "terse_share", 0.5, "share of terse demonstrations", {.min = 0, .max = 1}};
  Param<double> verbose_right{this,
                              "verbose_right",
                              0.6,
                              "share of the verbose demonstrations that are right",
                              {.min = 0, .max = 1}};
  Param<double> terse_right{
      this, "terse_right", 0.3, "share of the terse ones", {.min = 0, .max = 1}};
  Synonyms words{this, {"modular arithmetic", "RewardMATH", "toy task", "math", "multi-step"}};
  Doc doc{this,
          "Arithmetic from left to right modulo a small number: 3+4*2= is 4 modulo 5. A "
          "demonstration is a solution of world.chain_solutions, verbose or terse, right or with "
          "one of three mistakes, so that a policy that imitates them makes these. Whether a chain "
          "is held out depends on it alone."};

  void run(Step& step) const override {
    check(step);
    const ChainSpace space{modulus(), fewest(), most(), operators()};
    const bool evaluation = split() == ChainSplit::held_out;
    Prompts out;
    out.batch = step.new_batch();
    for (std::int64_t i = 0; i < batch(); ++i) {
      const ModularChain chain = space.draw(stream(step, i, Draw::chain), evaluation, held_out());
      out.id.push_back(chain.question());
      out.text.push_back(chain.question());
      out.reference.push_back(reference() == ChainReference::answer
                                  ? fmt::format("{}", chain.answer())
                                  : demonstration(chain, stream(step, i, Draw::text)));
      out.fields.push_back(chain.to_json());
    }
    step[prompts] = std::move(out);
  }

 private:
  enum class Draw : std::uint64_t { chain, text };

  void check(const Step& step) const {
    if (fewest() > most()) {
      step.fail(fmt::format("fewest is {}, but most is {}", fewest(), most()), "raise most");
    }
    if (operators().empty() || operators().find_first_not_of("+-*") != std::string::npos) {
      step.fail(fmt::format("operators is \"{}\"", operators()), "use some of + - *");
    }
    if (split() == ChainSplit::held_out && held_out() == 0) {
      step.fail("nothing is held out", "raise held_out in every node that gives these chains");
    }
  }

  Random stream(const Step& step, std::int64_t i, Draw draw) const {
    const auto row = static_cast<std::uint64_t>(i);
    const auto token = static_cast<std::uint64_t>(draw);
    if (split() == ChainSplit::train) return step.random(row, token);
    return Random({0, hash_name("chains.held_out"), 0}, row, token);
  }

  std::string demonstration(const ModularChain& chain, Random random) const {
    const bool terse = random.uniform() < terse_share();
    const bool right = random.uniform() < (terse ? terse_right() : verbose_right());
    const ChainMistake mistake = right ? ChainMistake::none : drawn_mistake(random);
    return chain_solution(chain, mistake, terse ? ChainStyle::terse : ChainStyle::verbose, random);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ChainTasks, "Chained modular arithmetic", "arXiv:2410.01729")
