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
std::size_t word_count(std::string_view text);
/// Where the last `count` characters (UTF-8) of the text begin.
std::string_view tail_of(std::string_view text, std::size_t count);

/// What the rows are judged by: `given` (one text per row), else the completions' references.
/// Failure `bad-shape`, `no-references`.
const std::vector<std::string>& truths(const Completions& completions, const TextRows* given);

}  // namespace rewardloom
