// `rewardloom check --estimate`: what a graph will take, as a table or as lines of JSON.
#pragma once
#include <optional>
#include <string>

#include "engine/run/estimate.h"

namespace rewardloom::cli {

/// "812 B", "4.1 kB", "12 MB", "1.3 GB"; 1 MB is 1 000 000 bytes.
std::string bytes_text(double bytes);
std::string estimate_table(const GraphEstimate& estimate);
/// One object per node and one with the totals; bytes, FLOP and seconds as numbers.
std::string estimate_lines(const GraphEstimate& estimate);
/// The warning where a run would take more memory than there is.
std::optional<Problem> memory_problem(const GraphEstimate& estimate, const std::string& file);

}  // namespace rewardloom::cli
