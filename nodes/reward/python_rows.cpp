#include "nodes/reward/python_rows.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "nodes/data/rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

const Json kNull;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Token ids and kinds of the answers, on the host.
class AnswerTokens {
 public:
  explicit AnswerTokens(const Completions& c)
      : tokens_(c.tokens.to(at::kCPU, at::kLong).contiguous()) {
    if (c.kinds.defined()) kinds_ = c.kinds.to(at::kCPU, at::kChar).contiguous();
  }
  /// Appends what follows the prompt, without padding, as int64; how many there are.
  std::size_t append(std::size_t row, std::string& bytes) const {
    const std::int64_t width = tokens_.size(1);
    const std::int64_t begin = static_cast<std::int64_t>(row) * width;
    const std::int64_t* const ids = tokens_.data_ptr<std::int64_t>();
    std::size_t count = 0;
    for (std::int64_t t = begin; t < begin + width; ++t) {
      if (kinds_.defined()) {
        const auto kind = static_cast<TokenKind>(kinds_.data_ptr<std::int8_t>()[t]);
        if (kind != TokenKind::action && kind != TokenKind::observation) continue;
      }
      bytes.append(reinterpret_cast<const char*>(ids + t), sizeof(std::int64_t));
      ++count;
    }
    return count;
  }

 private:
  at::Tensor tokens_;
  at::Tensor kinds_;
};

/// Builds the calls of one firing.
class CallBuilder {
 public:
  CallBuilder(const Step& step, const Completions& completions, const PythonRowOptions& options)
      : step_(step), c_(completions), options_(options), function_(options.function) {
    for (const auto& [name, path] : options.columns.items()) {
      if (path.is_string()) continue;
      throw Failure("python-argument",
                    fmt::format("columns: {} is {}, no path", name, path.type_name()),
                    R"(columns looks like {"solution": "reward_model.ground_truth"})");
    }
  }

  PythonCalls verl() {
    need("data_source", false);
    need("ground_truth", c_.reference.size() == c_.text.size());
    PythonCalls calls;
    for (std::size_t row = 0; row < c_.text.size(); ++row) {
      Json values = Json::object();
      put(values, "data_source", [&] { return value(row, "data_source"); });
      put(values, "solution_str", [&] { return Json(c_.text[row]); });
      put(values, "ground_truth", [&] { return ground_truth(row); });
      put(values, "extra_info", [&] { return extra_info(row); });
      add(calls, {row}, std::move(values));
    }
    return calls;
  }

  PythonCalls trl() {
    find_columns();
    std::optional<AnswerTokens> tokens;
    if (takes_tokens()) tokens.emplace(c_);
    PythonCalls calls;
    for (std::vector<std::size_t>& rows : parts()) {
      Json values = Json::object();
      const auto column = [&](const std::string& name, const auto& cell) {
        put(values, name, [&] {
          Json list = Json::array();
          for (const std::size_t row : rows) list.push_back(cell(row));
          return list;
        });
      };
      for (const std::string& name : columns_) {
        column(name, [&](std::size_t row) { return value(row, name); });
      }
      column("prompts", [&](std::size_t row) { return prompt(row); });
      column("completions", [&](std::size_t row) { return completion(row); });
      std::string ids;
      Json lengths = Json::array();
      if (tokens) {
        for (const std::size_t row : rows) lengths.push_back(tokens->append(row, ids));
      }
      add(calls, std::move(rows), std::move(values));
      if (tokens) calls.messages.back() = with_tokens(calls.messages.back(), lengths, ids);
    }
    return calls;
  }

 private:
  template <class Make>
  void put(Json& values, const std::string& name, Make make) const {
    if (function_.takes(name)) values[name] = make();
  }
  bool takes_tokens() const {
    return function_.takes("completion_ids") || function_.takes("completions_ids");
  }

  void add(PythonCalls& calls, std::vector<std::size_t> rows, Json values) const {
    const Json message = {{"seed", step_.random(rows.front()).bits()},
                          {"rows", rows.size()},
                          {"state", {{"global_step", step_.iteration()}}},
                          {"values", std::move(values)}};
    calls.messages.push_back(dumped(message));
    calls.rows.push_back(std::move(rows));
  }

  /// Token ids travel as they lie in memory: as JSON they cost more than most functions.
  static std::string with_tokens(const std::string& message, const Json& lengths,
                                 const std::string& ids) {
    std::string out = R"({"lengths":)" + lengths.dump() + "," + message.substr(1);
    out.push_back('\0');
    return out + ids;
  }

  const Json& fields(std::size_t row) const {
    return row < c_.fields.size() ? c_.fields[row] : kNull;
  }

  /// What `columns` or the row's fields hold under that name; null if nothing.
  const Json* find(std::size_t row, const std::string& name) const {
    const auto mapped = options_.columns.find(name);
    if (mapped == options_.columns.end()) {
      const Json& all = fields(row);
      return all.is_object() && all.contains(name) ? &all.at(name) : nullptr;
    }
    return at_path(fields(row), mapped->get_ref<const std::string&>());
  }
  bool is_reference(const std::string& name) const {
    const auto mapped = options_.columns.find(name);
    return mapped != options_.columns.end() && *mapped == "reference" &&
           c_.reference.size() == c_.text.size();
  }
  Json value(std::size_t row, const std::string& name) const {
    if (const Json* found = find(row, name)) return *found;
    return is_reference(name) ? Json(c_.reference[row]) : Json();
  }

  Json ground_truth(std::size_t row) const {
    Json found = value(row, "ground_truth");
    if (!found.is_null()) return found;
    if (const Json* nested = at_path(fields(row), "reward_model.ground_truth")) return *nested;
    return row < c_.reference.size() ? Json(c_.reference[row]) : Json();
  }

  /// As verl's reward manager: a dict that also holds the turns and rewards of the rollout.
  Json extra_info(std::size_t row) const {
    Json info = value(row, "extra_info");
    if (info.is_null()) info = Json::object();
    if (!info.is_object()) return info;
    if (!info.contains("num_turns")) info["num_turns"] = nullptr;
    if (!info.contains("rollout_reward_scores")) info["rollout_reward_scores"] = Json::object();
    return info;
  }

  /// `columns` maps a name to what no row has: a typing error, not a missing value.
  void need(const std::string& name, bool otherwise) const {
    if (!function_.takes(name) || otherwise || is_reference(name)) return;
    for (std::size_t row = 0; row < c_.text.size(); ++row) {
      if (name == "ground_truth" ? !ground_truth(row).is_null() : find(row, name) != nullptr)
        return;
    }
    const bool mapped = options_.columns.contains(name);
    if (mapped || (name != "data_source" && function_.needs(name))) refuse(name);
  }

  [[noreturn]] void refuse(const std::string& name) const {
    std::set<std::string> there;
    for (const Json& row : c_.fields) {
      if (!row.is_object()) continue;
      for (const auto& [field, unused] : row.items()) there.insert(field);
    }
    const auto mapped = options_.columns.find(name);
    throw Failure(
        "python-argument",
        fmt::format("{} is to get {}{}, but {}", function_.name, name,
                    mapped == options_.columns.end()
                        ? ""
                        : " from " + mapped->get_ref<const std::string&>(),
                    there.empty() ? "the rows have no fields"
                                  : "the rows have " + listed({there.begin(), there.end()}, "and")),
        fmt::format(
            R"(say where it is with columns: {{"{}": "path.of.field"}} (or "reference"), or )"
            "give one value for all rows in args",
            name));
  }

  // ---- TRL ----

  void find_columns() {
    std::set<std::string> seen = {"prompt",        "completion",     "prompts",
                                  "completions",   "completion_ids", "completions_ids",
                                  "trainer_state", "log_extra",      "log_metric"};
    for (const auto& [name, path] : options_.columns.items()) {
      seen.insert(name);
      need(name, false);
      columns_.push_back(name);
    }
    for (const Json& row : c_.fields) {
      if (!row.is_object()) continue;
      for (const auto& [name, cell] : row.items()) {
        if (seen.insert(name).second) columns_.push_back(name);
      }
    }
    for (const std::string& name : function_.required) {
      if (function_.needs(name) && !seen.contains(name)) refuse(name);
    }
  }

  std::vector<std::vector<std::size_t>> parts() const {
    std::map<std::int64_t, std::size_t> group_parts;
    std::vector<std::vector<std::size_t>> list;
    std::vector<double> group;
    if (options_.at_once == AtOnce::group && c_.group.defined()) group = numbers_of(c_.group);
    for (std::size_t row = 0; row < c_.text.size(); ++row) {
      const std::int64_t key = options_.at_once == AtOnce::row ? static_cast<std::int64_t>(row)
                               : group.empty()                 ? 0
                                               : static_cast<std::int64_t>(group[row]);
      const auto [found, is_new] = group_parts.try_emplace(key, list.size());
      if (is_new) list.emplace_back();
      list[found->second].push_back(row);
    }
    return list;
  }

  Json prompt(std::size_t row) const {
    const Json* const given = at_path(fields(row), "prompt");
    if (options_.conversational && given != nullptr && given->is_array()) return *given;
    Json text = row < c_.prompt_text.size() ? Json(c_.prompt_text[row]) : Json();
    if (text.is_null() && given != nullptr) text = *given;
    if (!options_.conversational) return text;
    return Json::array({{{"role", "user"}, {"content", std::move(text)}}});
  }
  Json completion(std::size_t row) const {
    if (!options_.conversational) return c_.text[row];
    return Json::array({{{"role", "assistant"}, {"content", c_.text[row]}}});
  }

  const Step& step_;
  const Completions& c_;
  const PythonRowOptions& options_;
  const PythonFunction& function_;
  std::vector<std::string> columns_;
};

/// One row's part of an answer: [score], [score, extras], null or a reason.
void read_row(const Json& part, std::size_t row, PythonScores& scores) {
  if (part.is_string()) {
    scores.failure[row] = part.get<std::string>();
  } else if (part.is_array()) {
    scores.score[row] = part[0].get<double>();
    scores.scored[row] = 1;
    if (part.size() < 2) return;
    for (const auto& [name, value] : part[1].items())
      scores.extras[row][name] = value.get<double>();
  }
}

}  // namespace

PythonCalls python_calls(const Step& step, const Completions& completions,
                         const PythonRowOptions& options) {
  answers(completions);
  CallBuilder builder(step, completions, options);
  return options.function.convention == "verl" ? builder.verl() : builder.trl();
}

PythonScores python_scores(std::size_t rows, const PythonCalls& calls,
                           const std::vector<PythonAnswer>& answers) {
  PythonScores scores(rows);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const Json& body = answers[i].body;
    const std::string whole = !answers[i].failure.empty() ? answers[i].failure
                              : body["rows"].is_string()  ? body["rows"].get<std::string>()
                                                          : "";
    for (std::size_t k = 0; k < calls.rows[i].size(); ++k) {
      if (whole.empty()) {
        read_row(body["rows"][k], calls.rows[i][k], scores);
      } else {
        scores.failure[calls.rows[i][k]] = whole;
      }
    }
    if (!body.is_object()) continue;
    for (const auto& [name, value] : body["metrics"].items()) {
      scores.metrics[name].push_back(value.get<double>());
    }
  }
  return scores;
}

}  // namespace rewardloom
