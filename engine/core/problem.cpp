#include "engine/core/problem.h"

#include <algorithm>
#include <numeric>

namespace rewardloom {

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::error: return "error";
    case Severity::warning: return "warning";
    case Severity::note: return "note";
  }
  return "error";
}

namespace {

void join(std::string& text, std::string_view separator, std::string_view part) {
  if (part.empty()) return;
  if (!text.empty()) text.append(separator);
  text.append(part);
}

std::string place_text(const Problem& p) {
  std::string inside;
  join(inside, ".", p.where.node);
  join(inside, ".", p.where.port);
  std::string text;
  join(text, ": ", p.where.file);
  join(text, ": ", inside);
  if (p.iteration) join(text, ", ", "iteration " + std::to_string(*p.iteration));
  return text;
}

std::string indented(const std::string& text) {
  std::string out = "\n  ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

}  // namespace

std::string format(const Problem& problem) {
  std::string out(to_string(problem.severity));
  out += "[" + problem.code + "]";
  const std::string place = place_text(problem);
  if (!place.empty()) out += ": " + place;
  out += indented(problem.text);
  if (!problem.help.empty()) out += indented("help: " + problem.help);
  return out;
}

Json to_json(const Problem& problem) {
  Json json;
  json["severity"] = to_string(problem.severity);
  json["code"] = problem.code;
  json["file"] = problem.where.file;
  json["node"] = problem.where.node;
  json["port"] = problem.where.port;
  json["message"] = problem.text;
  json["help"] = problem.help;
  if (problem.iteration) json["iteration"] = *problem.iteration;
  return json;
}

Problem problem_from_json(const Json& json) {
  Problem p;
  const std::string severity = json.value("severity", "error");
  p.severity = severity == "warning" ? Severity::warning
               : severity == "note"  ? Severity::note
                                     : Severity::error;
  p.code = json.value("code", "");
  p.where = {json.value("file", ""), json.value("node", ""), json.value("port", "")};
  p.text = json.value("message", "");
  p.help = json.value("help", "");
  if (json.contains("iteration")) p.iteration = json["iteration"].get<std::int64_t>();
  return p;
}

Failure::Failure(Problem problem) : problem_(std::move(problem)), message_(format(problem_)) {}

Failure::Failure(std::string code, std::string text, std::string help)
    : Failure(Problem{Severity::error, std::move(code), {}, std::move(text), std::move(help), {}}) {
}

Failure Failure::at(const Place& where) const {
  Problem p = problem_;
  if (p.where.file.empty()) p.where.file = where.file;
  if (p.where.node.empty()) p.where.node = where.node;
  if (p.where.port.empty()) p.where.port = where.port;
  return Failure(std::move(p));
}

namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest(std::string_view wrong, const std::vector<std::string>& known,
                                 std::size_t limit) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& name : known) {
    const bool begun = wrong.size() >= 3 && name.starts_with(wrong);  // left unfinished
    const std::size_t distance = begun ? 1 : edit_distance(wrong, name);
    if (distance <= std::max<std::size_t>(2, wrong.size() / 2)) ranked.emplace_back(distance, name);
  }
  std::stable_sort(ranked.begin(), ranked.end());
  std::vector<std::string> out;
  for (const auto& [distance, name] : ranked) {
    if (out.size() == limit) break;
    out.push_back(name);
  }
  return out;
}

std::string listed(const std::vector<std::string>& names, std::string_view conjunction) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0 && i + 1 == names.size()) {
      out.append(" ").append(conjunction).append(" ");
    } else if (i > 0) {
      out.append(", ");
    }
    out.append(names[i]);
  }
  return out;
}

}  // namespace rewardloom
