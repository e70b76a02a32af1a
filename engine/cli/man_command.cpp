#include <CLI/CLI.hpp>

#include "engine/cli/app_description.h"
#include "engine/cli/command_line.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {

void add_man_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("man", "writes the manual page, for man(1)");
  command->footer("Example: rewardloom man > rewardloom.1; man ./rewardloom.1");
  command->callback([&app, &action] {
    action = [&app] {
      print(man_page(describe(app)));
      return kDone;
    };
  });
}

}  // namespace rewardloom::cli
