#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "engine/cli/command_line.h"
#include "engine/cli/event_stream.h"
#include "engine/cli/progress_report.h"
#include "engine/cli/run_control.h"
#include "engine/cli/terminal.h"
#include "engine/graph/checker.h"
#include "engine/graph/hash.h"
#include "engine/graph/override.h"
#include "engine/graph/settings.h"
#include "engine/run/breakpoints.h"
#include "engine/run/devices.h"

namespace rewardloom::cli {
namespace fs = std::filesystem;

namespace {

struct RunGiven {
  std::string graph;
  std::vector<std::string> sets;
  std::optional<std::int64_t> iterations;
  std::optional<std::uint64_t> seed;
  std::optional<std::string> device;
  std::optional<int> threads;
  std::optional<std::string> out;
  std::string resume;
  bool quiet = false;
  bool json = false;
  std::vector<std::string> plugins;
  std::vector<std::string> breakpoints;
};

/// Everything that a run needs, before it is made.
struct Prepared {
  std::unique_ptr<Registry> registry;
  Document document;
  RunOptions options;
  std::vector<std::string> later_sets;  ///< of a resumed run: they change it from here on
};

/// A folder without the slash at its end, which would hide its name.
fs::path plain_path(const std::string& text) {
  const fs::path path = fs::path(text).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

fs::path run_folder_of(const fs::path& given) {
  const bool checkpoint = given.parent_path().filename() == "checkpoints";
  return checkpoint ? given.parent_path().parent_path() : given;
}

void refuse_contradictions(const RunGiven& given) {
  if (given.graph.empty() && given.resume.empty()) {
    throw WrongUsage("usage", "there is nothing to run",
                     "name a GRAPH, or a run folder with --resume");
  }
  if (given.resume.empty()) return;
  if (given.seed) {
    throw WrongUsage("usage", "--seed cannot be given with --resume: a run keeps its seed",
                     "leave it out, or begin a new run");
  }
  if (given.out) {
    throw WrongUsage("usage", "--out cannot be given with --resume: a run keeps its folder",
                     "leave it out, or copy the folder first");
  }
}

void apply(Document& document, const std::vector<std::string>& sets, const Registry& registry) {
  as_usage([&] {
    for (const std::string& set : sets) apply_override(document, set, &registry.catalogue());
    return 0;
  });
}

RunOptions common_options(const RunGiven& given) {
  RunOptions options;
  options.iterations = given.iterations;
  if (given.device) options.device = *given.device;
  if (given.threads) options.threads = *given.threads;
  options.breakpoints = given.breakpoints;
  return options;
}

std::vector<std::string> absolute_paths(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths)
    out.push_back(fs::absolute(path).lexically_normal().string());
  return out;
}

Prepared prepare_new(const RunGiven& given) {
  Prepared run;
  run.options = common_options(given);
  run.options.seed = given.seed;
  if (given.out) run.options.parent = *given.out;
  run.options.plugins = absolute_paths(given.plugins);
  run.document = load_graph(given.graph);
  run.registry = make_registry(run.options.plugins);
  apply(run.document, given.sets, *run.registry);
  return run;
}

/// The graph that a resumed run was made of, if it is the one that the user named.
void require_same_graph(const RunGiven& given, const Registry& registry, const RunInfo& info) {
  Document named = load_graph(given.graph);
  apply(named, given.sets, registry);
  const std::string hash = graph_hash(named);
  if (hash == info.graph_hash) return;
  throw WrongUsage(
      {Severity::error,
       "graph-changed",
       {given.graph, "", ""},
       fmt::format("is not the graph of this run: its hash is {}, the run's is {}", hash,
                   info.graph_hash),
       "leave GRAPH out to go on with the graph that the run folder holds, or begin a new run",
       {}});
}

Prepared prepare_resumed(const RunGiven& given) {
  Prepared run;
  const fs::path named = plain_path(given.resume);
  const fs::path folder = run_folder_of(named);
  const RunInfo info = as_usage([&] { return read_run_info(folder); });
  if (named != folder && !fs::exists(named)) {
    throw WrongUsage("checkpoint-missing", fmt::format("there is no checkpoint {}", named.string()),
                     fmt::format("those of this run are in {}", (folder / "checkpoints").string()));
  }
  run.options = common_options(given);
  run.options.resume = true;
  run.options.folder = named;
  if (!given.device && !info.device.empty()) run.options.device = info.device;
  if (!given.threads) run.options.threads = info.threads;
  std::vector<std::string> plugins = info.plugins;
  for (const std::string& plugin : absolute_paths(given.plugins)) {
    if (std::find(plugins.begin(), plugins.end(), plugin) == plugins.end())
      plugins.push_back(plugin);
  }
  run.registry = make_registry(plugins);
  if (given.graph.empty()) {
    run.later_sets = given.sets;
  } else {
    require_same_graph(given, *run.registry, info);
  }
  ResumedGraph graph = as_usage([&] { return graph_to_resume(folder, resumed_iteration(named)); });
  run.document = std::move(graph.document);
  run.options.versions = std::move(graph.versions);
  run.options.graph_in_file = graph.in_file;
  run.document.file = info.graph_file;
  return run;
}

std::unique_ptr<RunReport> make_report(const RunGiven& given) {
  if (given.json) return std::make_unique<EventStream>();
  return std::make_unique<ProgressReport>(given.quiet);
}

int execute(const RunGiven& given, RunReport& report) {
  refuse_contradictions(given);
  Prepared prepared = given.resume.empty() ? prepare_new(given) : prepare_resumed(given);
  as_usage([&] { return parse_device(prepared.options.device); });
  as_usage([&] {
    for (const std::string& place : given.breakpoints) Breakpoint::parse(place);
    return 0;
  });
  Run run(std::move(prepared.document), *prepared.registry, prepared.options, &report);
  struct Forget {
    RunReport& report;
    ~Forget() { report.forget_run(); }
  };
  const Forget forget{report};
  for (const std::string& set : prepared.later_sets) run.set(set);
  if (auto* const stream = dynamic_cast<EventStream*>(&report))
    stream->unheard = [&run] { run.stop(); };
  const RunEnd end = [&] {
    const RunControl control(run, report, given.json);
    return run.execute();
  }();
  report.finished(run, end);
  return exit_status(end);
}

ExitStatus status_of(const Failure& failure) {
  if (dynamic_cast<const WrongUsage*>(&failure) != nullptr) return kWrongUsage;
  if (dynamic_cast<const UnreadableGraph*>(&failure) != nullptr) return kGraphErrors;
  // Of --set and --break; what the checker finds comes as CheckFailed.
  for (const char* code : {"bad-override", "bad-breakpoint", "unknown-node", "unknown-metric"}) {
    if (failure.problem().code == code) return kWrongUsage;
  }
  const auto& codes = check_codes();
  const bool graph = std::find(codes.begin(), codes.end(), failure.problem().code) != codes.end();
  return graph ? kGraphErrors : kFailed;
}

int run_graph(const RunGiven& given) {
  // A reader that goes away is seen when writing fails, and ends the run in order.
  std::signal(SIGPIPE, SIG_IGN);
  const std::unique_ptr<RunReport> report = make_report(given);
  const auto refuse = [&](const std::vector<Problem>& problems, ExitStatus status) {
    for (const Problem& problem : problems) print_problem(problem);
    report->refused(problems, status);
    return status;
  };
  try {
    return execute(given, *report);
  } catch (const CheckFailed& failure) {
    return refuse(failure.problems(), kGraphErrors);
  } catch (const Failure& failure) {
    return refuse({failure.problem()}, status_of(failure));
  }
}

/// The most that a setting of this name may be.
std::int64_t most_of(const char* setting) {
  return static_cast<std::int64_t>(setting_declaration(setting)->max.value());
}

void add_what_to_run(CLI::App& command, RunGiven& given) {
  command.add_option("GRAPH", given.graph, "the graph file; may be left out with --resume")
      ->type_name("GRAPH");
  command
      .add_option("--set", given.sets,
                  "changes a parameter of a node; parameters.NAME and settings.NAME change the "
                  "graph's own; may be repeated (default: as in the graph)")
      ->type_name("NODE.PARAM=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--iterations", given.iterations,
                  "how often the graph runs (default: the graph's setting)")
      ->type_name("N")
      ->check(whole_number());
  command.add_option("--seed", given.seed, "of all random numbers (default: the graph's setting)")
      ->type_name("S")
      ->check(whole_number());
  command
      .add_option(
          "--resume", given.resume,
          "goes on with a run: its folder, or one of its checkpoints/NNNNNN (default: a new "
          "run)")
      ->type_name("DIR");
  add_plugin_option(command, given.plugins);
}

void add_how_to_run(CLI::App& command, RunGiven& given) {
  command
      .add_option("--device", given.device,
                  "for nodes without a placement: cpu, cuda, cuda:1 (default: cpu)")
      ->type_name("D");
  command
      .add_option("--threads", given.threads,
                  "processor threads; results do not depend on it; 0 is all (default: the graph's "
                  "setting)")
      ->type_name("T")
      ->check(whole_number(most_of("threads")));
  command.add_option("--out", given.out, "where the run folder is made (default: runs)")
      ->type_name("DIR");
  CLI::Option* const quiet = command.add_flag(
      "--quiet", given.quiet, "prints nothing but errors (default: progress and a summary)");
  CLI::Option* const json =
      command
          .add_flag("--json", given.json,
                    "reports as one JSON object a line, and reads commands from standard input "
                    "(default: off)")
          ->excludes(quiet);
  command
      .add_option("--break", given.breakpoints,
                  "waits for a command there: NODE, \"NODE if METRIC > NUMBER\" or \"if iteration "
                  ">= NUMBER\"; may be repeated (default: none)")
      ->type_name("PLACE")
      ->allow_extra_args(false)
      ->needs(json);
}

}  // namespace

void add_run_command(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("run", "runs a graph into a run folder, or resumes a run");
  const auto given = std::make_shared<RunGiven>();
  add_what_to_run(*command, *given);
  add_how_to_run(*command, *given);
  command->footer(
      "Ctrl-C stops after the iteration and writes a checkpoint; again, it ends at once.\n"
      "With --json standard input takes pause, resume, step, step_node, run_to NODE, break PLACE,\n"
      "unbreak [NODE], stop, checkpoint and set NODE.PARAM=VALUE, one a line, as these words or as\n"
      "{\"command\": \"pause\"}. Every run takes them from the pipe `control` in its folder too.\n"
      "\n"
      "Examples:\n"
      "  rewardloom run graph.json --set update.learning_rate=3e-5 --iterations 300\n"
      "  rewardloom run --resume runs/graph-20250101-120000 --iterations 600");
  command->callback([&action, given] { action = [given] { return run_graph(*given); }; });
}

}  // namespace rewardloom::cli
