// Whether a text is a regular expression as nodes compile it.
#pragma once
#include <optional>
#include <string>

namespace rewardloom {

/// What is wrong with a Perl-compatible regular expression and where, or nothing.
std::optional<std::string> regex_fault(const std::string& pattern);

}  // namespace rewardloom
