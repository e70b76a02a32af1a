#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>

#include "engine/cli/command_line.h"
#include "engine/cli/estimate_table.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"
#include "engine/graph/checker.h"
#include "engine/run/devices.h"
#include "engine/run/run.h"

namespace rewardloom::cli {
namespace {

struct CheckOptionsGiven {
  std::vector<std::string> graphs;
  std::vector<std::string> plugins;
  bool json = false;
  bool estimate = false;
  int threads = 0;
};

struct Counts {
  std::size_t errors = 0;
  std::size_t warnings = 0;
  std::size_t notes = 0;

  void add(Severity severity) {
    ++(severity == Severity::error ? errors : severity == Severity::warning ? warnings : notes);
  }
};

std::string last_line(const Counts& counts, std::size_t graphs, bool json) {
  if (json) {
    return Json({{"graphs", graphs},
                 {"errors", counts.errors},
                 {"warnings", counts.warnings},
                 {"notes", counts.notes}})
               .dump() +
           "\n";
  }
  std::string text =
      fmt::format("{}: {}, {}", counted(graphs, "graph"), counted(counts.errors, "error"),
                  counted(counts.warnings, "warning"));
  if (counts.notes > 0) text += ", " + counted(counts.notes, "note");
  return text + "\n";
}

/// What a run of a graph without errors will take.
std::string estimate_of(const std::string& file, const Registry& registry,
                        const CheckOptionsGiven& given, Counts& counts) {
  const Plan plan = compile(Document::load(file), registry.catalogue());
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const GraphEstimate estimate =
      estimate_graph(plan, registry, {given.threads > 0 ? given.threads : all, "cpu"});
  std::string out = given.json ? estimate_lines(estimate) : estimate_table(estimate);
  if (const auto problem = memory_problem(estimate, file)) {
    counts.add(problem->severity);
    out +=
        given.json ? to_json(*problem).dump() + "\n" : problem_text(*problem, use_colour(stdout));
  }
  return out;
}

/// A graph may be checked on a machine that lacks the devices it is made for.
std::vector<Problem> missing_devices(const std::string& file) {
  std::vector<Problem> problems;
  const Document document = Document::load(file);
  for (const auto& [node, entry] : document.placement.items()) {
    if (!entry.is_object() || !entry.contains("device")) continue;
    try {
      parse_device(entry["device"].get<std::string>());
    } catch (const Failure& failure) {
      Problem problem = failure.problem();
      problem.severity = Severity::warning;
      problem.where = {file, node, "device"};
      problem.help = "a run on this machine will refuse the graph; place the node on cpu for it";
      problems.push_back(std::move(problem));
    }
  }
  return problems;
}

int check_graphs(const CheckOptionsGiven& given) {
  if (given.estimate) prepare_process();
  const auto registry = make_registry(given.plugins);
  const bool colour = !given.json && use_colour(stdout);
  Counts counts;
  std::string out;
  for (const std::string& graph : given.graphs) {
    const std::size_t errors_before = counts.errors;
    CheckResult result = check_file(graph, registry->catalogue());
    if (result.ok()) {
      for (Problem& missing : missing_devices(graph)) result.problems.push_back(std::move(missing));
    }
    for (const Problem& problem : result.problems) {
      counts.add(problem.severity);
      out += given.json
                 ? to_json(problem).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"
                 : problem_text(problem, colour);
    }
    if (given.estimate && counts.errors == errors_before) {
      out += estimate_of(graph, *registry, given, counts);
    }
  }
  print(out + last_line(counts, given.graphs.size(), given.json));
  return counts.errors == 0 ? kDone : kGraphErrors;
}

}  // namespace

void add_check_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "check", "says everything that is wrong with graphs, without running them");
  const auto given = std::make_shared<CheckOptionsGiven>();
  command->add_option("GRAPH", given->graphs, "the graph files")->required()->type_name("GRAPH");
  command->add_flag(
      "--json", given->json,
      "one object a line: severity, code, file, node, port, message, help; counts last "
      "(default: text)");
  command->add_flag("--estimate", given->estimate,
                    "also says what memory and time a run will take, node by node; reads "
                    "configurations, tokenizers and rows, no weights (default: no)");
  command
      ->add_option("--threads", given->threads,
                   "of that run: passes that are under way at once; 0 is all (default: 0)")
      ->type_name("T")
      ->check(whole_number(4096));
  add_plugin_option(*command, given->plugins);
  command->footer("Exit status: 0 if no graph has an error, else 3. Warnings do not count.");
  command->callback([&action, given] { action = [given] { return check_graphs(*given); }; });
}

}  // namespace rewardloom::cli
