#include "nodes/world/token_world.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

std::int64_t token_of(char letter, const TokenAlphabet& alphabet) {
  if (letter >= 'a' && letter < 'a' + alphabet.common) return letter - 'a';
  if (letter >= 'A' && letter < 'A' + alphabet.rare) return alphabet.common + (letter - 'A');
  throw Failure("unknown-token", fmt::format("\"{}\" is no letter of this world", letter),
                fmt::format("it has {} common letters from a on and {} rare ones from A on",
                            alphabet.common, alphabet.rare));
}

}  // namespace

char TokenAlphabet::letter(std::int64_t token) const {
  return static_cast<char>(token < common ? 'a' + token : 'A' + (token - common));
}

std::vector<std::string> token_texts(const at::Tensor& tokens, const TokenAlphabet& alphabet) {
  const at::Tensor ids = tokens.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t rows = ids.size(0), length = ids.size(1);
  const std::int64_t* id = ids.data_ptr<std::int64_t>();
  std::vector<std::string> out(static_cast<std::size_t>(rows));
  for (std::string& text : out) {
    for (std::int64_t t = 0; t < length; ++t, ++id) {
      if (*id < 0 || *id >= alphabet.size()) {
        throw Failure(
            "unknown-token",
            fmt::format("there is no token {}: the alphabet has {}", *id, alphabet.size()),
            "sample from a policy of this world");
      }
      text.push_back(alphabet.letter(*id));
    }
  }
  return out;
}

at::Tensor text_tokens(const std::vector<std::string>& texts, const TokenAlphabet& alphabet) {
  if (texts.empty() || texts[0].empty()) {
    throw Failure("nothing-to-read", "there are no letters", "connect texts of this world");
  }
  const std::size_t length = texts[0].size();
  const at::Tensor out = at::empty(
      {static_cast<std::int64_t>(texts.size()), static_cast<std::int64_t>(length)}, at::kLong);
  std::int64_t* id = out.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() != length) {
      throw Failure(
          "ragged-texts",
          fmt::format("text 0 has {} letters, but text {} has {}", length, i, texts[i].size()),
          "sequences of a token world have one length");
    }
    for (const char letter : texts[i]) *id++ = token_of(letter, alphabet);
  }
  return out;
}

TokenWorld make_token_world(const TokenWorldOptions& options, const Random& random) {
  const std::int64_t common = options.alphabet.common, size = options.alphabet.size();
  Random draw = random.at(0);
  const at::Tensor value = at::full({size}, options.rare_value, at::kDouble);
  for (std::int64_t v = 0; v < common; ++v) value.data_ptr<double>()[v] = draw.normal();
  at::Tensor known = value.narrow(0, 0, common);
  known.sub_(known.mean());
  known.narrow(0, 0, std::min(options.marked, common)).zero_();
  const at::Tensor weight = at::ones({size}, at::kDouble);
  weight.narrow(0, common, options.alphabet.rare).fill_(options.rare_weight);
  return {weight / weight.sum(), value};
}

at::Tensor draw_tokens(const at::Tensor& probabilities, std::int64_t rows, const Random& random) {
  const at::Tensor cumulative = probabilities.to(at::kDouble).cumsum(-1).contiguous();
  const std::int64_t tables = cumulative.size(0), length = cumulative.size(1);
  const std::int64_t size = cumulative.size(2);
  const at::Tensor out = at::empty({tables * rows, length}, at::kLong);
  std::int64_t* token = out.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < tables * rows; ++i) {
    const double* table = cumulative.data_ptr<double>() + (i / rows) * length * size;
    for (std::int64_t t = 0; t < length; ++t, table += size) {
      Random place = random.at(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(t));
      // Scaled by the sum, so that rounding never leaves the last token out of reach or past it.
      const double u = place.uniform() * table[size - 1];
      *token++ = std::upper_bound(table, table + size - 1, u) - table;
    }
  }
  return out;
}

at::Tensor token_counts(const at::Tensor& tokens, std::int64_t size) {
  const at::Tensor ones = at::ones({}, at::kDouble).expand(tokens.sizes());
  return at::zeros({tokens.size(0), size}, at::kDouble).scatter_add(1, tokens, ones);
}

at::Tensor token_value_reward(const at::Tensor& tokens, const at::Tensor& value) {
  const at::Tensor each = value.to(at::kDouble).index_select(0, tokens.flatten());
  return each.reshape(tokens.sizes()).sum(1) / std::sqrt(static_cast<double>(tokens.size(1)));
}

TokenPairs draw_token_pairs(const TokenWorld& world, const TokenPairOptions& options,
                            const Random& random) {
  const at::Tensor table = world.prior.expand({2, options.length, world.prior.size(0)});
  const at::Tensor both = draw_tokens(table, options.pairs, random);
  const at::Tensor first = both.narrow(0, 0, options.pairs);
  const at::Tensor second = both.narrow(0, options.pairs, options.pairs);
  const auto marked = [&](const at::Tensor& rows) {
    return rows.select(1, 0).lt(options.marked).to(at::kDouble);
  };
  const at::Tensor gap = options.sharpness * (token_value_reward(first, world.value) -
                                              token_value_reward(second, world.value)) +
                         options.tilt * (marked(first) - marked(second));
  const at::Tensor chance = gap.sigmoid().contiguous();
  const at::Tensor prefer = at::empty({options.pairs, 1}, at::kBool);
  for (std::int64_t i = 0; i < options.pairs; ++i) {
    // Beyond the places of the tokens.
    Random label =
        random.at(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(options.length));
    prefer.data_ptr<bool>()[i] = label.uniform() < chance.data_ptr<double>()[i];
  }
  return {at::where(prefer, first, second), at::where(prefer, second, first)};
}

}  // namespace rewardloom
