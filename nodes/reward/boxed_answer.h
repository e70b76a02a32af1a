// The answer inside \boxed{...}.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace rewardloom {

/// What stands in the last \boxed{...} or \fbox{...}: braces nest, \{ and \} are no braces, "\boxed
/// 5" holds what stands up to the next space or $. nullopt if there is none or the last one never
/// ends.
std::optional<std::string_view> last_boxed(std::string_view text);

/// The text without what does not change its meaning: spaces of any kind, \left, \right, $,
/// \text{..} around words, braces around a single token, a final full stop, \dfrac and \tfrac for
/// \frac.
std::string plain_latex(std::string_view text);

}  // namespace rewardloom
