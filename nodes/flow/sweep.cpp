#include <fmt/format.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/flow/bodies.h"

namespace rewardloom {
namespace {

/// One copy of the body.
struct Branch {
  std::size_t part = 0;
  std::uint64_t seed = 0;
  std::string name;
};

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

struct Sweep final : Node {
  Output<Metrics> all{this, "all_metrics", "every number of every branch, as branch/name"};
  Output<Table> table{this, "table", "one row per branch, one column per number"};
  Param<std::string> body{this, "body", required, "the subgraph that each branch runs"};
  Param<std::optional<std::string>> vary{this, "vary", std::nullopt,
                                         "the subgraph's parameter that differs between branches"};
  Param<std::vector<Json>> values{this, "values", std::vector<Json>{},
                                  "its values, one branch each"};
  Param<std::int64_t> seeds{
      this, "seeds", 1, "branches that differ by their seed, per value", {.min = 1}};
  Param<std::optional<Json>> with{this, "with", std::nullopt,
                                  "values of the subgraph's other parameters"};
  Body bodies{this, "body", "vary", "values"};
  Rule varies{this,
              {{{"vary", {{"set", true}}}},
               {{"values", {{"set", true}}}},
               "there are no values to vary over",
               "list them in values"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"grid", "ablation", "hyper-parameter", "seeds", "compare"}};
  Doc doc{this,
          "Runs one copy of its body per value (times `seeds`), several at once. Each copy has its "
          "own state and weights; all draw the same random numbers, so that branches differ by the "
          "value alone (copy k of `seeds` adds k to the seed). Metrics outputs of the body are "
          "gathered: under the output's name, and in all_metrics and table, with the branch in "
          "front (shape=par/accuracy). Other outputs of the body are not passed on."};

  void run(Step& step) const override {
    const std::vector<Branch> branches = make_branches();
    std::vector<NamedValues> results(branches.size());
    step.parallel(branches.size(), [&](std::size_t i) {
      const Branch& branch = branches[i];
      results[i] = step.run(
          bodies, {.part = branch.part, .branch = branch.name, .seed_offset = branch.seed});
    });
    gather(step, branches, results);
  }

 private:
  std::vector<Branch> make_branches() const {
    std::vector<Branch> out;
    const std::size_t parts = std::max<std::size_t>(values().size(), 1);
    for (std::size_t part = 0; part < parts; ++part) {
      for (std::int64_t seed = 0; seed < seeds(); ++seed) {
        std::string name;
        if (!values().empty()) {
          name = fmt::format("{}={}", vary().value_or("copy"),
                             vary() ? shown(values()[part]) : fmt::format("{}", part));
        }
        if (seeds() > 1) name += fmt::format("{}seed={}", name.empty() ? "" : ",", seed);
        if (name.empty()) name = "only";
        out.push_back({part, static_cast<std::uint64_t>(seed), std::move(name)});
      }
    }
    return out;
  }

  void gather(Step& step, const std::vector<Branch>& branches,
              const std::vector<NamedValues>& results) const {
    Metrics everything;
    Table rows;
    rows.columns = {"branch"};
    std::vector<std::pair<std::string, Metrics>> by_output;
    for (std::size_t b = 0; b < branches.size(); ++b) {
      Json cells = Json::array({branches[b].name});
      for (const auto& [output, value] : results[b]) {
        if (!value || value.type() != &PortTraits<Metrics>::type()) continue;
        const Metrics& metrics = value.get<Metrics>();
        for (std::size_t i = 0; i < metrics.names.size(); ++i) {
          const std::string name = branches[b].name + "/" + metrics.names[i];
          everything.add(name, metrics.values[i]);
          entry(by_output, output).add(name, metrics.values[i]);
          set_cell(rows.columns, cells, output + "." + metrics.names[i], metrics.values[i]);
        }
      }
      rows.cells.push_back(std::move(cells));
    }
    for (Json& cells : rows.cells) {
      while (cells.size() < rows.columns.size()) cells.push_back(nullptr);
    }
    NamedValues gathered;
    for (auto& [output, metrics] : by_output) {
      gathered.emplace_back(output, Value::of<Metrics>(std::move(metrics)));
    }
    deliver(step, gathered);
    step[all] = std::move(everything);
    step[table] = std::move(rows);
  }

  static Metrics& entry(std::vector<std::pair<std::string, Metrics>>& list,
                        const std::string& name) {
    for (auto& [known, metrics] : list) {
      if (known == name) return metrics;
    }
    return list.emplace_back(name, Metrics{}).second;
  }

  static void set_cell(std::vector<std::string>& columns, Json& cells, const std::string& column,
                       double value) {
    auto it = std::find(columns.begin(), columns.end(), column);
    if (it == columns.end()) it = columns.insert(columns.end(), column);
    const auto index = static_cast<std::size_t>(it - columns.begin());
    while (cells.size() <= index) cells.push_back(nullptr);
    cells[index] = value;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Sweep, "Sweep", "")
