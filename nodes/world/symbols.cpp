#include "nodes/world/symbols.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "engine/core/problem.h"

namespace rewardloom {

double multiset_f1(std::string_view target, std::string_view answer) {
  if (target.empty() || answer.empty()) return 0;
  std::array<std::int64_t, 256> missing{};
  for (const unsigned char symbol : target) ++missing[symbol];
  std::int64_t matched = 0;
  for (const unsigned char symbol : answer) matched += missing[symbol]-- > 0;
  return 2.0 * static_cast<double>(matched) / static_cast<double>(target.size() + answer.size());
}

std::int64_t repeated_symbols(std::string_view answer) {
  std::int64_t count = 0;
  for (std::size_t i = 1; i < answer.size(); ++i) count += answer[i] == answer[i - 1];
  return count;
}

SymbolReward symbol_reward(std::string_view target, std::string_view answer,
                           const SymbolRewardOptions& options) {
  const auto length = static_cast<std::int64_t>(answer.size());
  const auto beyond = static_cast<double>(std::max<std::int64_t>(0, length - options.free_length));
  const auto repeated = static_cast<double>(repeated_symbols(answer));
  return {options.scale * multiset_f1(target, answer),
          -options.scale * options.repetition_cost * repeated,
          -options.scale * options.length_cost * beyond};
}

void require_alphabet(const std::string& alphabet) {
  const auto printable = [](char c) { return c > ' ' && c <= '~'; };
  const std::set<char> distinct(alphabet.begin(), alphabet.end());
  if (distinct.size() == alphabet.size() && alphabet.size() > 1 &&
      std::all_of(alphabet.begin(), alphabet.end(), printable)) {
    return;
  }
  throw Failure("bad-alphabet",
                fmt::format("\"{}\" is no alphabet: {} characters, {} of them different", alphabet,
                            alphabet.size(), distinct.size()),
                "give two or more printable ASCII characters, none of them twice");
}

std::string mediocre_answer(std::string_view target, const MediocreOptions& options,
                            Random random) {
  const auto lengths = static_cast<std::uint64_t>(options.max_length - options.min_length + 1);
  const std::uint64_t length =
      static_cast<std::uint64_t>(options.min_length) + random.below(lengths);
  const double skill = options.skill + options.spread * (2 * random.uniform() - 1);
  std::string left(target);
  std::string answer;
  for (std::uint64_t i = 0; i < length; ++i) {
    if (random.uniform() < skill && !left.empty()) {
      const std::size_t place = random.below(left.size());
      answer += left[place];
      left.erase(place, 1);
    } else {
      answer += options.alphabet[random.below(options.alphabet.size())];
    }
  }
  return answer;
}

}  // namespace rewardloom
