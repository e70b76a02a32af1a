#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/cli/command_line.h"
#include "engine/cli/port_view.h"
#include "engine/cli/run_overview.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

struct InspectGiven {
  std::string run;
  std::string port;
  std::optional<std::int64_t> at;
  bool json = false;
};

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

int inspect_run(const InspectGiven& given) {
  if (given.at && given.port.empty()) {
    throw WrongUsage("usage", "--at needs --port", "name the port whose iteration is to be shown");
  }
  const std::filesystem::path folder = run_folder_named(given.run);
  const auto width =
      std::clamp<std::size_t>(static_cast<std::size_t>(terminal_width(stdout)), 60, 160);
  if (!std::filesystem::exists(folder / "run.db")) {
    throw WrongUsage("run-store-missing",
                     fmt::format("{} is no run folder: it holds no run.db", folder.string()),
                     "name a folder that `rewardloom run` has made, by default below runs/");
  }
  RunReader reader(folder);
  if (!given.port.empty()) {
    const PortView view = read_port(reader, given.port, given.at);
    print(given.json ? line_of(port_json(view)) : port_text(view, width));
    for (const Problem& problem : reader.problems()) print_problem(problem);
    return kDone;
  }
  const RunOverview run = read_overview(reader, folder);
  print(given.json ? line_of(overview_json(run)) : overview_text(run, width));
  for (const Problem& problem : run.problems) print_problem(problem);
  return kDone;
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "inspect", "shows metrics, reward distributions, samples and alarms of a run");
  const auto given = std::make_shared<InspectGiven>();
  command->add_option("RUN", given->run, "the run folder, also while the run goes on")
      ->required()
      ->type_name("RUN");
  command
      ->add_option(
          "--port", given->port,
          "draws what flowed through this port over the iterations (default: the overview)")
      ->type_name("NODE.PORT");
  command
      ->add_option("--at", given->at,
                   "the iteration that --port shows in detail (default: the last)")
      ->type_name("N");
  command->add_flag("--json", given->json, "the same numbers as one JSON object (default: text)");
  command->callback([&action, given] { action = [given] { return inspect_run(*given); }; });
}

}  // namespace rewardloom::cli
