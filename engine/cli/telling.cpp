#include "engine/cli/telling.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include "engine/core/json.h"

namespace rewardloom::cli {

std::string about_of(const std::filesystem::path& run_folder) {
  std::ifstream file(run_folder / "graph.json");
  const Json graph = Json::parse(file, nullptr, false);
  if (!graph.is_object() || !graph.contains("about")) return {};
  const Json& about = graph.at("about");
  return about.is_string() ? about.get<std::string>() : std::string();
}

std::vector<std::string> path_parts(const std::string& name) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : name) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == '/' && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string joined_parts(const std::vector<std::string>& parts, std::size_t first,
                         std::size_t count) {
  std::string out;
  for (std::size_t i = first; i < first + count && i < parts.size(); ++i) {
    out += (i == first ? "" : "/") + parts[i];
  }
  return out;
}

std::string common_place(const std::string& a, const std::string& b) {
  const std::vector<std::string> x = path_parts(a);
  const std::vector<std::string> y = path_parts(b);
  std::size_t same = 0;
  while (same + 1 < x.size() && same + 1 < y.size() && x[same] == y[same]) ++same;
  return joined_parts(x, 0, same);
}

std::string without_sweep(const std::string& part) { return part.substr(0, part.find('[')); }

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The end of the number that begins at `at`.
std::size_t number_end(const std::string& text, std::size_t at) {
  const auto digits = [&] {
    while (at < text.size() && is_digit(text[at])) ++at;
  };
  digits();
  if (at + 1 >= text.size() || text[at] != '.' || !is_digit(text[at + 1])) return at;
  ++at;
  digits();
  return at;
}

}  // namespace

bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::size_t end_a = number_end(a, i);
      const std::size_t end_b = number_end(b, j);
      const double x = std::strtod(a.substr(i, end_a - i).c_str(), nullptr);
      const double y = std::strtod(b.substr(j, end_b - j).c_str(), nullptr);
      if (x != y) return x < y;
      i = end_a;
      j = end_b;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j];
    ++i;
    ++j;
  }
  const std::size_t left_a = a.size() - i;
  const std::size_t left_b = b.size() - j;
  return left_a != left_b ? left_a < left_b : a < b;
}

namespace {

bool holds(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

bool any_part_holds(const std::vector<std::string>& parts,
                    std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return std::any_of(parts.begin(), parts.end() - 1,
                       [&](const std::string& part) { return holds(part, word); });
  });
}

constexpr int kLossLike = 5;
constexpr int kUnknown = 2;

/// How much the last part of a name means an outcome; at most kLossLike: none.
int outcome(const std::vector<std::string>& parts) {
  const std::string& last = parts.back();
  if (last == "gold") return 60;
  for (const char* word : {"accuracy", "success", "win_rate", "best_of_n", "all_good"}) {
    if (last == word) return 50;
  }
  for (const char* word : {"score", "return", "reward", "mrr", "f1"}) {
    if (last == word) return 40;
  }
  for (const char* word : {"response_length", "tokens", "seconds"}) {
    if (holds(last, word) || any_part_holds(parts, {word})) return 0;
  }
  for (const char* word : {"rows", "absent", "standard_error", "groups", "steps", "staleness"}) {
    if (holds(last, word)) return 0;
  }
  for (const char* word : {"accuracy", "gold", "success", "pass", "reward", "return"}) {
    if (holds(last, word)) return 30;
  }
  for (const char* word : {"kl", "entropy", "loss", "grad_norm"}) {
    if (holds(last, word)) return kLossLike;
  }
  return any_part_holds(parts, {"accuracy", "rewards"}) ? 10 : kUnknown;
}

bool is_wildcard(const std::string& pattern) { return pattern == "*" || pattern == "..."; }

/// A part as `about` may write it: "*", "...", "shape[mode=...]".
bool means(const std::string& pattern, const std::string& part) {
  if (is_wildcard(pattern)) return true;
  return without_sweep(pattern) == without_sweep(part);
}

bool means_at(const std::vector<std::string>& pattern, const std::vector<std::string>& parts,
              std::size_t at) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!means(pattern[i], parts[at + i])) return false;
  }
  return true;
}

}  // namespace

Telling::Telling(const std::string& about) {
  constexpr std::string_view kBetweenWords = " \t\n,;:()\"'`";
  std::size_t at = 0;
  while (at < about.size()) {
    const std::size_t end = std::min(about.find_first_of(kBetweenWords, at), about.size());
    std::string word = about.substr(at, end - at);
    at = end + 1;
    while (word.ends_with('.') || word.ends_with('/')) word.pop_back();
    std::vector<std::string> pattern = path_parts(word);
    if (pattern.front() == "...") pattern.erase(pattern.begin());
    // One word alone may be any word, and "a/..." any metric.
    if (pattern.size() >= 2 && !is_wildcard(pattern.back()))
      patterns_.push_back(std::move(pattern));
  }
}

int Telling::mention(const std::vector<std::string>& parts) const {
  int most = 0;
  for (const std::vector<std::string>& pattern : patterns_) {
    if (pattern.size() > parts.size()) continue;
    const std::size_t tail = parts.size() - pattern.size();
    if (means_at(pattern, parts, tail)) {
      most = std::max(most, tail == 0 ? 300 : named);
      continue;
    }
    for (std::size_t at = 0; at < tail; ++at) {
      if (means_at(pattern, parts, at)) most = std::max(most, 100);
    }
  }
  return most;
}

int Telling::of(const std::string& metric) const {
  const std::vector<std::string> parts = path_parts(metric);
  int told = outcome(parts);
  if (told > kLossLike) {
    if (any_part_holds(parts, {"held_out", "exam", "eval", "test", "valid"})) told += 20;
    if (any_part_holds(parts, {"train"})) told = std::max(told - 30, kLossLike + 1);
  }
  const int mentioned = mention(parts);
  // That a node is named says nothing of its inner workings.
  return mentioned >= named || told > kLossLike ? told + mentioned : told;
}

std::vector<Family> families(const std::vector<std::string>& names, const Telling& telling,
                             std::size_t fitting) {
  std::map<std::string, Family> by_key;
  for (const std::string& name : names) {
    const int told = telling.of(name);
    if (told < Telling::worth_comparing) continue;
    std::vector<std::string> parts = path_parts(name);
    for (std::string& part : parts) part = without_sweep(part);
    // The last turn leaves the name as it is: the branches of one sweep.
    for (std::size_t star = 0; star < parts.size(); ++star) {
      std::vector<std::string> key = parts;
      if (star + 1 < parts.size()) key[star] = "*";
      Family& family = by_key[joined_parts(key, 0, key.size())];
      family.names.push_back(name);
      family.telling = std::max(family.telling, told);
    }
  }
  std::vector<Family> found;
  std::set<std::vector<std::string>> seen;
  for (auto& [key, family] : by_key) {
    std::sort(family.names.begin(), family.names.end(), natural_less);
    if (family.names.size() < 2 || !seen.insert(family.names).second) continue;
    found.push_back(std::move(family));
  }
  std::stable_sort(found.begin(), found.end(), [&](const Family& a, const Family& b) {
    if (a.telling != b.telling) return a.telling > b.telling;
    const bool fits_a = a.names.size() <= fitting;
    const bool fits_b = b.names.size() <= fitting;
    if (fits_a != fits_b) return fits_a;
    return fits_a ? a.names.size() > b.names.size() : a.names.size() < b.names.size();
  });
  return found;
}

Labels labels_of(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> paths;
  std::size_t shortest = SIZE_MAX;
  for (const std::string& name : names) {
    paths.push_back(path_parts(name));
    shortest = std::min(shortest, paths.back().size());
  }
  if (paths.size() < 2) return {"", names, ""};
  const std::vector<std::string>& first = paths.front();
  const auto all_have = [&](auto part_of) {
    return std::all_of(paths.begin(), paths.end(), [&](const std::vector<std::string>& path) {
      return part_of(path) == part_of(first);
    });
  };
  std::size_t tail = 0;
  while (tail + 1 < shortest && all_have([&](const std::vector<std::string>& path) {
           return path[path.size() - 1 - tail];
         }))
    ++tail;
  std::size_t lead = 0;
  while (lead + tail + 1 < shortest &&
         all_have([&](const std::vector<std::string>& path) { return path[lead]; }))
    ++lead;
  Labels labels;
  labels.after = joined_parts(first, first.size() - tail, tail);
  labels.shared = joined_parts(first, 0, lead) + (lead > 0 ? "/*" : "*") +
                  (labels.after.empty() ? "" : "/" + labels.after);
  for (const std::vector<std::string>& path : paths) {
    labels.each.push_back(joined_parts(path, lead, path.size() - lead - tail));
  }
  return labels;
}

}  // namespace rewardloom::cli
