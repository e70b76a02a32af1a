#include "engine/cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace rewardloom::cli {

bool is_terminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

int terminal_width(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* const columns = std::getenv("COLUMNS");
  const int given = columns == nullptr ? 0 : std::atoi(columns);
  return given >= 20 ? given : 100;
}

bool use_colour(std::FILE* stream) {
  const char* const refused = std::getenv("NO_COLOR");
  return is_terminal(stream) && (refused == nullptr || *refused == '\0');
}

namespace {

bool starts_code_point(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::size_t text_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_code_point));
}

std::string cut_text(std::string_view text, std::size_t width) {
  if (text_width(text) <= width) return std::string(text);
  std::size_t taken = 0;
  std::size_t end = 0;
  while (end < text.size()) {
    if (starts_code_point(text[end]) && taken++ + 1 >= width) break;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string cut_middle(std::string_view text, std::size_t width) {
  const std::size_t whole = text_width(text);
  if (whole <= width || width < 2) return cut_text(text, width);
  const std::size_t front = (width - 1) / 3;
  std::size_t skipped = whole - (width - 1 - front);
  std::size_t at = 0;
  while (at < text.size() && (!starts_code_point(text[at]) || skipped-- > 0)) ++at;
  return cut_text(text, front + 1) + std::string(text.substr(at));
}

std::string pad_right(std::string_view text, std::size_t width) {
  const std::size_t taken = text_width(text);
  return std::string(text) + std::string(taken < width ? width - taken : 0, ' ');
}

std::string pad_left(std::string_view text, std::size_t width) {
  const std::size_t taken = text_width(text);
  return std::string(taken < width ? width - taken : 0, ' ') + std::string(text);
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  std::string line;
  std::size_t at = 0;
  const auto finish = [&] { lines.push_back(std::exchange(line, {})); };
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (!line.empty() && text_width(line) + 1 + text_width(word) > width) finish();
    if (!line.empty() && !word.empty()) line += ' ';
    line += word;
    if (end == text.size()) break;
    if (text[end] == '\n') finish();
    at = end + 1;
  }
  if (!line.empty() || lines.empty()) finish();
  return lines;
}

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string harmless(std::string_view text) {
  const auto steers = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
  };
  if (std::none_of(text.begin(), text.end(), steers)) return std::string(text);
  std::string out;
  for (const char c : text) {
    if (steers(c)) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string number_text(double value) {
  if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e6) {
    return fmt::format("{:.0f}", value == 0 ? 0.0 : value);
  }
  return fmt::format("{:.4g}", value);
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 60) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

namespace {

/// The mean of the finite values of each of `width` equal parts.
std::vector<double> averaged(const std::vector<double>& values, std::size_t width) {
  if (values.size() <= width) return values;
  std::vector<double> out(width, std::nan(""));
  for (std::size_t part = 0; part < width; ++part) {
    const std::size_t first = part * values.size() / width;
    const std::size_t last = (part + 1) * values.size() / width;
    double sum = 0;
    int count = 0;
    for (std::size_t i = first; i < last; ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      ++count;
    }
    if (count > 0) out[part] = sum / count;
  }
  return out;
}

}  // namespace

std::string sparkline(const std::vector<double>& values, std::size_t width) {
  static constexpr std::array<const char*, 8> kLevels = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::vector<double> shown = averaged(values, std::max<std::size_t>(width, 1));
  double low = INFINITY;
  double high = -INFINITY;
  for (const double value : shown) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  std::string out;
  for (const double value : shown) {
    if (!std::isfinite(value)) {
      out += ' ';
      continue;
    }
    const double share = high > low ? (value - low) / (high - low) : 0.0;
    out += kLevels[std::min<std::size_t>(7, static_cast<std::size_t>(share * 8))];
  }
  return out;
}

std::string bar(double share, std::size_t width) {
  static constexpr std::array<const char*, 7> kParts = {"▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double filled = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0);
  const auto eighths =
      static_cast<std::size_t>(std::lround(filled * 8 * static_cast<double>(width)));
  std::string out;
  for (std::size_t i = 0; i < eighths / 8; ++i) out += "█";
  if (eighths % 8 != 0) out += kParts[eighths % 8 - 1];
  return pad_right(out, width);
}

std::string problem_text(const Problem& problem, bool colour) {
  std::string text = harmless(format(problem));
  if (colour) {
    const std::size_t end = text.find(']');
    const char* const code = problem.severity == Severity::error     ? "\033[1;31m"
                             : problem.severity == Severity::warning ? "\033[1;35m"
                                                                     : "\033[1;36m";
    text = code + text.substr(0, end + 1) + "\033[0m" + text.substr(end + 1);
  }
  return text + "\n";
}

void print_problem(const Problem& problem) {
  const std::string text = problem_text(problem, use_colour(stderr));
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void print(std::string_view given) {
  const std::string text = harmless(given);
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written) return;
  throw Failure("write-failed",
                fmt::format("standard output cannot be written: {}", std::strerror(errno)));
}

}  // namespace rewardloom::cli
