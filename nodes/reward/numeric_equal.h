// Numbers as people and models write them.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "engine/core/node.h"

namespace rewardloom {

enum class Percent { fraction, plain, either };
constexpr auto choices(Percent) {
  return std::to_array<Choice<Percent>>({
      {Percent::fraction, "fraction", "50% is 0.5"},
      {Percent::plain, "plain", "50% is 50"},
      {Percent::either, "either", "50% equals both 0.5 and 50"},
  });
}

/// A number and whether a percent sign stood behind it (`value` does not take it into account).
struct WrittenNumber {
  double value = 0;
  bool percent = false;
};

/// Reads the whole of `text`: an optional sign and currency, digits with thousands separators
/// (1,000; 1 000 where the groups have three digits), a decimal part, an exponent, a fraction (3/4,
/// \frac{3}{4}, 1 1/2), a percent sign. White space around and a full stop behind do not count.
/// nullopt for anything else, for a division by 0 and for what is too large for a double.
std::optional<WrittenNumber> read_number(std::string_view text);

/// The last number that stands in the text, as it is written there; empty if there is none. Commas
/// are those of thousands where all groups have three digits (1,234), else those of a list (3,4).
std::string_view last_number_in(std::string_view text);

struct NumericTolerance {
  double relative = 1e-6;
  double absolute = 1e-9;
  Percent percent = Percent::fraction;
};

/// |given - wanted| <= absolute + relative * |wanted|.
bool numerically_equal(const WrittenNumber& given, const WrittenNumber& wanted,
                       const NumericTolerance& tolerance);

}  // namespace rewardloom
