#include "nodes/judge/judging.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

/// The end of an answer, for messages.
std::string tail(const std::string& answer) {
  std::string text = answer.size() > 80 ? "..." + answer.substr(answer.size() - 80) : answer;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  // Cutting may have left the rest of a character.
  const auto is_rest = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  while (answer.size() > 80 && text.size() > 3 && is_rest(text[3])) text.erase(3, 1);
  return text;
}

[[noreturn]] void unusable(std::string text) {
  throw Failure("judge-answer", std::move(text),
                "let the template say clearly how the verdict is to be written");
}

}  // namespace

std::string verdict_in(const Pattern& pattern, const std::string& answer) {
  try {
    const auto match = pattern.last(answer);
    const std::size_t group = pattern.groups() > 0 ? 1 : 0;
    if (match && match->groups[group]) return std::string(*match->groups[group]);
  } catch (const PatternLimit& limit) {
    unusable(fmt::format("finding the verdict takes more than {} steps", limit.steps));
  }
  unusable(fmt::format("the judge's answer has no verdict: \"{}\"", tail(answer)));
}

bool has_slot(std::string_view text, std::string_view name) {
  return text.find(fmt::format("{{{}}}", name)) != std::string_view::npos;
}

std::string fill_template(std::string_view text,
                          const std::vector<std::pair<std::string, std::string>>& values) {
  std::string out;
  while (!text.empty()) {
    const std::size_t brace = std::min(text.find('{'), text.size());
    out += text.substr(0, brace);
    text.remove_prefix(brace);
    bool filled = false;
    for (const auto& [name, value] : values) {
      const std::string slot = fmt::format("{{{}}}", name);
      if (!text.starts_with(slot)) continue;
      out += value;
      text.remove_prefix(slot.size());
      filled = true;
      break;
    }
    if (!filled && !text.empty()) {
      out += text[0];
      text.remove_prefix(1);
    }
  }
  return out;
}

double read_score(const Pattern& pattern, const std::string& answer, double lowest,
                  double highest) {
  const std::string digits = verdict_in(pattern, answer);
  const char* first = digits.data();
  const char* const last = first + digits.size();
  if (first != last && *first == '+') ++first;
  double score = 0;
  const auto [end, error] = std::from_chars(first, last, score);
  if (error != std::errc() || end != last || !std::isfinite(score)) {
    unusable(fmt::format("the judge's score \"{}\" is no number", digits));
  }
  if (score < lowest || score > highest) {
    unusable(fmt::format("the judge's score {} is not within {} and {}", score, lowest, highest));
  }
  return score;
}

double read_preference(const Pattern& pattern, const std::string& answer) {
  std::string verdict = verdict_in(pattern, answer);
  for (char& c : verdict) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (verdict == "a") return 1;
  if (verdict == "b") return 0;
  if (verdict == "c" || verdict == "tie") return 0.5;
  unusable(fmt::format("the judge's verdict \"{}\" is none of A, B, C and tie", verdict));
}

std::vector<Comparison> plan_comparisons(const std::vector<std::int64_t>& group,
                                         ComparedWith with) {
  std::vector<Comparison> list;
  if (with == ComparedWith::reference) {
    for (std::size_t i = 0; i < group.size(); ++i) {
      list.push_back({static_cast<std::int64_t>(i), -1});
    }
    return list;
  }
  std::map<std::int64_t, std::vector<std::int64_t>> members;
  for (std::size_t i = 0; i < group.size(); ++i) {
    auto& before = members[group[i]];
    const std::size_t others =
        with == ComparedWith::first ? std::min<std::size_t>(before.size(), 1) : before.size();
    for (std::size_t k = 0; k < others; ++k) {
      list.push_back({static_cast<std::int64_t>(i), before[k]});
    }
    before.push_back(static_cast<std::int64_t>(i));
  }
  return list;
}

JudgeTable::JudgeTable(std::int64_t rows)
    : scores_(at::full({rows, rows, 2}, std::nan(""), at::kDouble)) {}

void JudgeTable::set(std::int64_t first, std::int64_t second, double of_first, double of_second) {
  const std::int64_t rows = scores_.size(0);
  if (first < 0 || second < 0 || first >= rows || second >= rows) return;
  double* const pair = scores_.data_ptr<double>() + (first * rows + second) * 2;
  pair[0] = of_first;
  pair[1] = of_second;
}

std::vector<std::optional<double>> win_rates(const std::vector<Comparison>& comparisons,
                                             std::size_t rows) {
  std::vector<double> won(rows), met(rows);
  for (const Comparison& c : comparisons) {
    if (!c.answered) continue;
    won[c.row] += c.preference;
    met[c.row] += 1;
    if (c.other < 0) continue;
    won[c.other] += 1 - c.preference;
    met[c.other] += 1;
  }
  std::vector<std::optional<double>> rates(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    if (met[i] > 0) rates[i] = won[i] / met[i];
  }
  return rates;
}

OrderEffect order_effect(const std::vector<std::array<double, 2>>& first_shown) {
  OrderEffect effect;
  if (first_shown.empty()) return effect;
  double first = 0, changed = 0;
  for (const auto& [one, other] : first_shown) {
    first += (one + other) / 2;
    changed += one != 1 - other;
  }
  const double n = static_cast<double>(first_shown.size());
  effect.position_bias = first / n - 0.5;
  effect.disagreement = changed / n;
  return effect;
}

}  // namespace rewardloom
