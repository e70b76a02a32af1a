#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "engine/core/problem.h"
#include "engine/io/jsonl.h"
#include "nodes/data/benchmark_scores.h"

namespace rewardloom {
namespace {

const Json& list_of(const Json& row, const std::string& field, const std::string& place) {
  const auto it = row.is_object() ? row.find(field) : row.end();
  if (it != row.end() && it->is_array() && !it->empty()) return *it;
  throw Failure("data-field", fmt::format("{}: the row has no list called {}", place, field),
                "name the field that holds one score per solution");
}

std::vector<double> steps_of(const Json& score, const std::string& place) {
  const auto number = [&](const Json& value) {
    if (value.is_number()) return value.get<double>();
    throw Failure("data-field", fmt::format("{}: {} is no score", place, value.dump()),
                  "scores are numbers, or lists of numbers");
  };
  if (!score.is_array()) return {number(score)};
  std::vector<double> out;
  for (const Json& value : score) out.push_back(number(value));
  return out;
}

/// The index of the right solution.
std::size_t right_one(const Json& row, const ScoreFields& fields, std::size_t solutions,
                      const std::string& place) {
  if (!row.contains(fields.source)) return 0;
  const Json& sources = list_of(row, fields.source, place);
  if (sources.size() != solutions) {
    throw Failure("data-field",
                  fmt::format("{}: {} scores, but {} entries in {}", place, solutions,
                              sources.size(), fields.source),
                  "each solution has a score and a source");
  }
  std::vector<std::size_t> right;
  for (std::size_t k = 0; k < sources.size(); ++k) {
    const bool named =
        sources[k].is_string() && std::find(fields.correct.begin(), fields.correct.end(),
                                            sources[k].get<std::string>()) != fields.correct.end();
    if (named) right.push_back(k);
  }
  if (right.size() == 1) return right[0];
  throw Failure("not-one-correct",
                fmt::format("{}: {} of {} solutions are {}", place, right.size(), solutions,
                            listed(fields.correct)),
                "exactly one solution of a problem is right; name its source in correct_source");
}

bool holds_lists(const Json& scores) { return scores[0].is_array(); }

/// '[' is one list, anything else one object a line.
bool is_one_list(const std::string& path) {
  std::ifstream file(path);
  char first = 0;
  file >> first;
  return first == '[';
}

}  // namespace

ProblemScores problem_scores(const Json& row, const ScoreFields& fields, const std::string& place) {
  const Json& scores = list_of(row, fields.score, place);
  const std::size_t right = right_one(row, fields, scores.size(), place);
  ProblemScores out;
  out.steps = holds_lists(scores);
  out.solutions.push_back(steps_of(scores[right], place));
  for (std::size_t k = 0; k < scores.size(); ++k) {
    if (k != right) out.solutions.push_back(steps_of(scores[k], place));
    if (scores[k].is_array() != out.steps) {
      throw Failure("mixed-scores",
                    fmt::format("{}: some scores are lists and some are not", place),
                    "give one score per solution, or one per step of every solution");
    }
  }
  return out;
}

std::vector<ProblemScores> read_benchmark_scores(const std::string& path,
                                                 const ScoreFields& fields) {
  const std::string name = std::filesystem::path(path).filename().string();
  std::vector<ProblemScores> out;
  if (is_one_list(path)) {
    const Json rows = read_json(path);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out.push_back(problem_scores(rows[i], fields, fmt::format("{}[{}]", name, i)));
    }
  } else {
    JsonLinesReader reader(path);
    while (const std::optional<Json> row = reader.next()) {
      out.push_back(problem_scores(*row, fields, reader.place()));
    }
  }
  if (out.empty()) throw Failure("data-empty", fmt::format("{} has no rows", path), "see the file");
  for (std::size_t i = 1; i < out.size(); ++i) {
    if (out[i].steps == out[0].steps) continue;
    throw Failure("mixed-scores", fmt::format("{}: problems 0 and {} differ in kind", name, i),
                  "give one score per solution, or one per step of every solution");
  }
  return out;
}

}  // namespace rewardloom
