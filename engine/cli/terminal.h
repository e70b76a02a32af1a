// Text for terminals: widths, numbers and durations for people, small charts in one line.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom::cli {

bool is_terminal(std::FILE* stream);
/// Columns of the terminal behind `stream`, else what COLUMNS says, else 100.
int terminal_width(std::FILE* stream);
/// Whether colours are welcome: a terminal, and NO_COLOR is not set.
bool use_colour(std::FILE* stream);

/// How many columns UTF-8 text takes, one per code point.
std::size_t text_width(std::string_view text);
/// `text` cut to `width` columns, its end replaced by an ellipsis where it is longer.
std::string cut_text(std::string_view text, std::size_t width);
/// The same with the ellipsis in the middle: names are told apart by their ends.
std::string cut_middle(std::string_view text, std::size_t width);
/// `text` filled with blanks on the right (or left) to `width` columns.
std::string pad_right(std::string_view text, std::size_t width);
std::string pad_left(std::string_view text, std::size_t width);
/// `text` broken at blanks into lines of at most `width` columns; its own line breaks stay.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);
/// One line: line breaks and other control characters become visible escapes.
std::string one_line(std::string_view text);

/// Control characters but line breaks and tabs as visible escapes: text from graphs, programs and
/// models must not steer a terminal.
std::string harmless(std::string_view text);

/// Four significant digits: 0.1235, 1235, 1.235e-05.
std::string number_text(double value);
/// "0.42 s", "12.3 s", "3:05", "2:03:05".
std::string duration_text(double seconds);
/// "1 error", "2 errors".
std::string counted(std::size_t count, std::string_view noun);

/// One character per value, low to high; NaN is a blank. Longer series are averaged down to
/// `width`.
std::string sparkline(const std::vector<double>& values, std::size_t width);
/// A bar of `width` columns in eighths of a column, filled to `share` (0 to 1).
std::string bar(double share, std::size_t width);

/// format(problem), its severity in colour where `stream` is a terminal, and a line break.
std::string problem_text(const Problem& problem, bool colour);
/// Prints it to standard error.
void print_problem(const Problem& problem);
/// Writes `text` to standard output in one go, control characters as `harmless` shows them.
/// Failure `write-failed` if it cannot be written.
void print(std::string_view text);

}  // namespace rewardloom::cli
