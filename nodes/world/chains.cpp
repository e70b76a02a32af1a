#include "nodes/world/chains.h"

#include <fmt/format.h>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

std::int64_t applied(char op, std::int64_t a, std::int64_t b, std::int64_t modulus) {
  const std::int64_t value = op == '+' ? a + b : op == '-' ? a - b : a * b;
  return ((value % modulus) + modulus) % modulus;
}

/// A number of 0 .. modulus-1 that is not `value`.
std::int64_t another(std::int64_t value, std::int64_t modulus, Random& random) {
  const auto other =
      static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(modulus - 1)));
  return other < value ? other : other + 1;
}

/// The lines of a solution and the number that it ends with.
struct WorkedChain {
  std::vector<std::string> lines;
  std::int64_t final = 0;
};

/// `wrong` is the step whose result is `instead`, `skipped` one that is left out; -1: none.
WorkedChain work_out(const ModularChain& chain, ChainStyle style, std::int64_t wrong,
                     std::int64_t instead, std::int64_t skipped) {
  WorkedChain out;
  out.final = chain.start;
  for (std::size_t k = 0; k < chain.operands.size(); ++k) {
    if (static_cast<std::int64_t>(k) == skipped) continue;
    const std::int64_t before = out.final;
    out.final = static_cast<std::int64_t>(k) == wrong
                    ? instead
                    : applied(chain.operators[k], before, chain.operands[k], chain.modulus);
    out.lines.push_back(
        style == ChainStyle::terse
            ? fmt::format("{};", out.final)
            : fmt::format("{}{}{}={};", before, chain.operators[k], chain.operands[k], out.final));
  }
  return out;
}

/// With a mistake in a step that changes the answer; tried a few times, else without one.
WorkedChain mistaken(const ModularChain& chain, ChainMistake mistake, ChainStyle style,
                     Random& random) {
  const auto steps = static_cast<std::uint64_t>(chain.operands.size());
  const std::vector<std::int64_t> results = chain.results();
  for (int tries = 0; tries < 20; ++tries) {
    const std::size_t k = random.below(steps);
    const auto place = static_cast<std::int64_t>(k);
    const WorkedChain out =
        mistake == ChainMistake::wrong_step
            ? work_out(chain, style, place, another(results[k], chain.modulus, random), -1)
            : work_out(chain, style, -1, 0, place);
    if (out.final != results.back()) return out;
  }
  return work_out(chain, style, -1, 0, -1);
}

}  // namespace

std::string ModularChain::question() const {
  std::string text = fmt::format("{}", start);
  for (std::size_t k = 0; k < operands.size(); ++k) {
    text += fmt::format("{}{}", operators[k], operands[k]);
  }
  return text + "=";
}

std::vector<std::int64_t> ModularChain::results() const {
  std::vector<std::int64_t> out;
  std::int64_t value = start;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    value = applied(operators[k], value, operands[k], modulus);
    out.push_back(value);
  }
  return out;
}

bool ModularChain::is_held_out(double share) const {
  const std::uint64_t hash = mix(hash_name("chains.held_out"), hash_name(question()));
  return static_cast<double>(hash >> 11) * 0x1.0p-53 < share;
}

Json ModularChain::to_json() const {
  return {{"modulus", modulus}, {"start", start}, {"operators", operators}, {"operands", operands}};
}

ModularChain ModularChain::parse(std::string_view question, std::int64_t modulus) {
  const auto digit = [&](std::size_t i) {
    return question[i] >= '0' && question[i] < '0' + modulus;
  };
  bool good = question.size() >= 4 && question.size() % 2 == 0 && question.back() == '=';
  for (std::size_t i = 0; good && i + 1 < question.size(); ++i) {
    good = i % 2 == 0 ? digit(i) : std::string_view("+-*").find(question[i]) != std::string::npos;
  }
  if (!good) {
    throw Failure("no-chain", fmt::format("{} is no chain modulo {}", question, modulus),
                  "take the prompts of world.chain_tasks, and its modulus");
  }
  ModularChain out;
  out.modulus = modulus;
  out.start = question[0] - '0';
  for (std::size_t i = 1; i + 2 < question.size(); i += 2) {
    out.operators += question[i];
    out.operands.push_back(question[i + 1] - '0');
  }
  return out;
}

ModularChain ModularChain::from_json(const Json& fields) {
  ModularChain out;
  try {
    out.modulus = fields.at("modulus").get<std::int64_t>();
    out.start = fields.at("start").get<std::int64_t>();
    out.operators = fields.at("operators").get<std::string>();
    out.operands = fields.at("operands").get<std::vector<std::int64_t>>();
  } catch (const Json::exception&) {
    throw Failure("no-chain", fmt::format("the prompt's fields are {}", fields.dump()),
                  "take the prompts of world.chain_tasks");
  }
  if (out.modulus < 2 || out.operands.empty() || out.operators.size() != out.operands.size()) {
    throw Failure("no-chain", fmt::format("the prompt's fields are {}", fields.dump()),
                  "take the prompts of world.chain_tasks");
  }
  return out;
}

ModularChain ChainSpace::draw(Random random, bool held_out, double held_out_share) const {
  for (;;) {
    ModularChain chain;
    chain.modulus = modulus;
    chain.start = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(modulus)));
    const std::int64_t length =
        fewest +
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most - fewest + 1)));
    for (std::int64_t k = 0; k < length; ++k) {
      chain.operators += operators[random.below(operators.size())];
      chain.operands.push_back(
          1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(modulus - 1))));
    }
    if (chain.is_held_out(held_out_share) == held_out) return chain;
  }
}

std::string chain_solution(const ModularChain& chain, ChainMistake mistake, ChainStyle style,
                           Random random) {
  const bool in_steps =
      mistake == ChainMistake::wrong_step || mistake == ChainMistake::skipped_step;
  WorkedChain worked =
      in_steps ? mistaken(chain, mistake, style, random) : work_out(chain, style, -1, 0, -1);
  if (mistake != ChainMistake::none && worked.final == chain.answer()) {
    worked.final = another(worked.final, chain.modulus, random);
  }
  std::string text;
  for (const std::string& line : worked.lines) text += line;
  return text + fmt::format("#{}", worked.final);
}

ChainMistake drawn_mistake(Random& random) {
  constexpr std::array kinds{ChainMistake::wrong_step, ChainMistake::skipped_step,
                             ChainMistake::wrong_final};
  return kinds[random.below(kinds.size())];
}

ChainStyle drawn_style(StyleChoice choice, Random& random) {
  if (choice == StyleChoice::verbose) return ChainStyle::verbose;
  if (choice == StyleChoice::terse) return ChainStyle::terse;
  return random.uniform() < 0.5 ? ChainStyle::verbose : ChainStyle::terse;
}

}  // namespace rewardloom
