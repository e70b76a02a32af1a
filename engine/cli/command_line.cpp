#include "engine/cli/command_line.h"

#include <fmt/format.h>

#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "engine/cli/app_description.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"
#include "engine/core/version.h"
#include "engine/run/out_of_memory.h"
#include "nodes/all_nodes.h"

namespace rewardloom::cli {
namespace {

/// --help in the words of app_description.h.
class HelpFormatter final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    std::string path;
    for (const CLI::App* above = app->get_parent(); above != nullptr; above = above->get_parent()) {
      path = above->get_name() + " " + path;
    }
    const auto width = static_cast<std::size_t>(terminal_width(stdout));
    return help_text(describe(*app), path, std::min<std::size_t>(width, 120));
  }
};

constexpr const char* kAbout =
    "typed dataflow graphs for reward-driven training\n"
    "A graph is a JSON file whose nodes sample, score, shape, estimate advantages and train. It is "
    "checked as a whole before anything runs, and a run writes down what flowed, so that rewards "
    "can "
    "be looked at while it goes on and afterwards.";

constexpr const char* kFirstSteps =
    "First steps:\n"
    "  rewardloom new graph first     writes first.json, a small graph to begin with\n"
    "  rewardloom run first.json      runs it and says where its results are\n"
    "  rewardloom inspect RUN         shows rewards, samples and alarms of that run\n"
    "\n"
    "`rewardloom COMMAND --help` explains a command, `rewardloom nodes` lists what graphs are made "
    "of.\n"
    "\n"
    "Exit status: 0 done, 1 the run failed, 2 wrong usage, 3 the graph does not check, 130 "
    "interrupted.";

void build(CLI::App& app, Action& action) {
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "prints this help and ends");
  app.set_version_flag("--version",
                       fmt::format("rewardloom {} (LibTorch {})", kVersion, TORCH_VERSION),
                       "prints the version and ends");
  app.footer(kFirstSteps);
  app.require_subcommand(1);
  add_run_command(app, action);
  add_check_command(app, action);
  add_inspect_command(app, action);
  add_nodes_command(app, action);
  add_eval_command(app, action);
  add_graph_command(app, action);
  add_new_command(app, action);
  add_bench_command(app, action);
  add_completion_command(app, action);
  add_man_command(app, action);
}

std::string did_you_mean(const std::string& wrong, const std::vector<std::string>& known) {
  const std::vector<std::string> near = nearest(wrong, known);
  return near.empty() ? "" : "did you mean " + listed(near) + "?";
}

/// The command that the arguments lead to, and the first word that should have named one.
struct Addressed {
  const CLI::App* app;
  std::string path;
  std::string unknown_command;
};

Addressed addressed(const CLI::App& app, int argc, char** argv) {
  Addressed at{&app, app.get_name(), {}};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("-")) continue;
    if (at.app->get_subcommands({}).empty()) return at;
    const CLI::App* next = nullptr;
    for (const CLI::App* command : at.app->get_subcommands({})) {
      if (command->get_name() == word) next = command;
    }
    if (next == nullptr) {
      at.unknown_command = word;
      return at;
    }
    at.app = next;
    at.path += " " + word;
  }
  return at;
}

/// The fault of a command line in our words.
Problem usage_problem(const CLI::ParseError& error, const CLI::App& app, int argc, char** argv) {
  const Addressed at = addressed(app, argc, argv);
  const std::string see = fmt::format("see `{} --help`", at.path);
  Problem problem;
  problem.code = "usage";
  problem.help = see;
  const CommandText command = describe(*at.app);
  if (!command.commands.empty()) {
    std::vector<std::string> names;
    for (const CommandText& sub : command.commands) names.push_back(sub.name);
    if (!at.unknown_command.empty()) {
      problem.text = fmt::format("{} has no command {}", at.path, at.unknown_command);
      const std::string guess = did_you_mean(at.unknown_command, names);
      problem.help = guess.empty() ? "the commands are " + listed(names, "and") : guess;
      return problem;
    }
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
      problem.text = fmt::format("{} needs a command: {}", at.path, listed(names));
      return problem;
    }
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    std::vector<std::string> known;
    for (const OptionText& option : command.options) {
      if (!option.positional) known.insert(known.end(), option.names.begin(), option.names.end());
    }
    const std::vector<std::string> extra = app.remaining(true);
    const std::string first = extra.empty() ? "" : extra.front().substr(0, extra.front().find('='));
    const bool option = first.starts_with("-");
    problem.text = option ? fmt::format("{} has no option {}", at.path, first)
                          : fmt::format("{} takes no further argument \"{}\"", at.path, first);
    const std::string guess = option ? did_you_mean(first, known) : "";
    if (!guess.empty()) problem.help = guess;
    return problem;
  }
  problem.text = error.what();
  return problem;
}

int guarded(const Action& action) {
  try {
    return action();
  } catch (const WrongUsage& failure) {
    print_problem(failure.problem());
    return kWrongUsage;
  } catch (const UnreadableGraph& failure) {
    print_problem(failure.problem());
    return kGraphErrors;
  } catch (const Failure& failure) {
    print_problem(failure.problem());
    return kFailed;
  } catch (const std::exception& error) {
    if (const auto memory = out_of_memory(error)) {
      print_problem(memory->problem());
      return kFailed;
    }
    print_problem({Severity::error,
                   "internal",
                   {},
                   error.what(),
                   "this is a fault of the program: please report it",
                   {}});
    return kFailed;
  }
}

}  // namespace

void add_plugin_option(CLI::App& command, std::vector<std::string>& plugins) {
  command
      .add_option("--plugin", plugins,
                  "a shared library with node types; may be repeated (default: none)")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

std::function<std::string(const std::string&)> whole_number(std::int64_t most) {
  return [most](const std::string& text) -> std::string {
    if (text.starts_with("-")) return "must not be negative, but is " + text;
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    const bool number = stopped == end && !text.empty();
    if (number && error == std::errc() && value <= most) return {};
    const bool too_large = number && error != std::errc::invalid_argument;
    return too_large ? fmt::format("must be at most {}, but is {}", most, text)
                     : fmt::format("expects a whole number such as 1000, but is {}", text);
  };
}

Document load_graph(const std::string& file) {
  try {
    return Document::load(file);
  } catch (const Failure& failure) {
    throw UnreadableGraph(failure.problem());
  }
}

std::unique_ptr<Registry> make_registry(const std::vector<std::string>& plugins) {
  auto registry = std::make_unique<Registry>();
  register_all_nodes(*registry);
  as_usage([&] {
    for (const std::string& plugin : plugins) registry->load_plugin(plugin);
    return 0;
  });
  return registry;
}

int run_command_line(int argc, char** argv) {
  CLI::App app(kAbout, "rewardloom");
  Action action;
  build(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return guarded([&]() -> int { return app.exit(asked) == 0 ? kDone : kFailed; });
  } catch (const CLI::ParseError& error) {
    print_problem(usage_problem(error, app, argc, argv));
    return kWrongUsage;
  }
  return guarded(action);
}

}  // namespace rewardloom::cli
