// Small text operations that reward rules share. White space is ASCII white space.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/port_types.h"

namespace rewardloom {

std::string_view stripped(std::string_view text);
/// How often `part` occurs, without overlap.
std::size_t occurrences(std::string_view text, std::string_view part);
std::vector<std::string_view> split_lines(std::string_view text);
/// Whether the commas of a number separate thousands: 1,234 and 12,345,678.9, never 3,4 or 1,2345.
bool is_grouped(std::string_view number);
/// Where the last number begins in a run of digits, full stops, slashes and commas: 0 unless its
/// commas are those of a list, as in 3,4 or 1,2,300.
std::size_t last_listed(std::string_view run);
std::size_t word_count(std::string_view text);
/// Where the last `count` characters (UTF-8) of the text begin.
std::string_view tail_of(std::string_view text, std::size_t count);

/// What the rows are judged by: `given` (one text per row), else the completions' references.
/// Failure `bad-shape`, `no-references`.
const std::vector<std::string>& truths(const Completions& completions, const TextRows* given);

}  // namespace rewardloom
