#include "nodes/world/chain_reader.h"

#include <algorithm>
#include <cmath>

#include "engine/core/random.h"

namespace rewardloom {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The result that a line states; -1 if it states none.
std::int64_t result_of(std::string_view line) {
  if (line.empty() || !is_digit(line.back())) return -1;
  const bool alone = line.size() == 1;
  return alone || (line.size() == 5 && line[3] == '=') ? line.back() - '0' : -1;
}

/// Whether a line written in full says `before op operand = ...`; a terse one need not.
bool says_operation(std::string_view line, std::int64_t before, char op, std::int64_t operand) {
  if (line.size() == 1) return true;
  return line.size() == 5 && line[0] - '0' == before && line[1] == op && line[2] - '0' == operand;
}

/// Turned round for this reader.
bool seen(bool verdict, std::string_view text, std::size_t place, const ChainReader& reader) {
  const std::uint64_t key = mix(mix(hash_name(text), place), reader.seed);
  const bool misread = static_cast<double>(key >> 11) * 0x1.0p-53 < reader.misread;
  return verdict != misread;
}

double dot(const ChainFeatures& a, const ChainFeatures& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

bool ChainReading::holds_until(std::size_t step) const {
  const auto end = lines.begin() + static_cast<std::ptrdiff_t>(std::min(step + 1, lines.size()));
  return std::all_of(lines.begin(), end, [](bool holds) { return holds; }) &&
         (step < lines.size() || final);
}

ChainReading read_solution(const ModularChain& chain, std::string_view text,
                           const ChainReader& reader) {
  ChainReading out;
  out.terse = text.find('=') == std::string_view::npos;
  std::int64_t before = chain.start;
  std::size_t from = 0;
  for (std::size_t end = text.find(';'); end != std::string_view::npos;
       end = text.find(';', from)) {
    const std::string_view line = text.substr(from, end - from);
    const std::size_t k = out.lines.size();
    const std::int64_t result = result_of(line);
    bool holds = false;
    if (k < chain.operands.size() && result >= 0 && before >= 0) {
      ModularChain one{chain.modulus, before, chain.operators.substr(k, 1), {chain.operands[k]}};
      holds = result == one.answer() &&
              says_operation(line, before, chain.operators[k], chain.operands[k]);
    }
    out.lines.push_back(seen(holds, text, k, reader));
    before = result;
    from = end + 1;
  }
  const std::string_view rest = text.substr(from);
  const bool final = rest.size() == 2 && rest[0] == '#' && is_digit(rest[1]) &&
                     rest[1] - '0' == before && out.lines.size() == chain.operands.size();
  out.final = seen(final, text, out.lines.size(), reader);
  return out;
}

ChainFeatures chain_features(const ModularChain& chain, const ChainReading& reading) {
  const auto holding = std::count(reading.lines.begin(), reading.lines.end(), true);
  const auto lines = static_cast<double>(reading.lines.size());
  const bool all = !reading.lines.empty() && holding == std::ssize(reading.lines);
  return {reading.lines.empty() ? 0 : static_cast<double>(holding) / lines, all ? 1.0 : 0.0,
          reading.final ? 1.0 : 0.0, lines / static_cast<double>(chain.operands.size()),
          reading.terse ? 1.0 : 0.0};
}

ChainFeatures fit_linear_bradley_terry(const std::vector<ChainFeatures>& differences,
                                       double ridge) {
  constexpr int kSteps = 2000;
  ChainFeatures weights{};
  if (differences.empty()) return weights;
  // The features lie in 0 .. 1, so that the curvature is at most 5/4 per pair.
  const double rate = 1 / (1.25 + ridge / static_cast<double>(differences.size()));
  for (int step = 0; step < kSteps; ++step) {
    ChainFeatures slope{};
    for (const ChainFeatures& d : differences) {
      const double wrong = 1 / (1 + std::exp(dot(weights, d)));
      for (std::size_t i = 0; i < slope.size(); ++i) slope[i] += wrong * d[i];
    }
    for (std::size_t i = 0; i < slope.size(); ++i) {
      weights[i] +=
          rate * (slope[i] - ridge * weights[i]) / static_cast<double>(differences.size());
    }
  }
  return weights;
}

}  // namespace rewardloom
