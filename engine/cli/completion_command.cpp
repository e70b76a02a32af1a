#include <CLI/CLI.hpp>

#include "engine/cli/app_description.h"
#include "engine/cli/command_line.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"

namespace rewardloom::cli {

void add_completion_command(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("completion", "writes completion for a shell: bash, zsh or fish");
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->type_name("bash|zsh|fish")
      ->required()
      ->check([](const std::string& given) {
        const bool known = given == "bash" || given == "zsh" || given == "fish";
        return known ? std::string() : "must be bash, zsh or fish, not " + given;
      });
  command->footer("Example: eval \"$(rewardloom completion bash)\"");
  command->callback([&app, &action, shell] {
    action = [&app, shell] {
      print(completion_script(describe(app), *shell, make_registry({})->catalogue().node_ids()));
      return kDone;
    };
  });
}

}  // namespace rewardloom::cli
