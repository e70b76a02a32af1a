#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/cli/command_line.h"

namespace rewardloom::cli {
namespace fs = std::filesystem;

namespace {

int execute_bench(const std::vector<std::string>& arguments) {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  const std::vector<fs::path> places = {
      folder / "rewardloom-bench",
      folder.parent_path() / "libexec" / "rewardloom" / "rewardloom-bench"};
  for (const fs::path& program : places) {
    if (!fs::exists(program)) continue;
    std::vector<std::string> words = {program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(program.c_str(), argv.data());
    throw Failure("bench-failed",
                  fmt::format("{} cannot be started: {}", program.string(), std::strerror(errno)));
  }
  throw Failure("bench-missing",
                fmt::format("the benchmarks are not installed: there is no {} and no {}",
                            places[0].string(), places[1].string()),
                "build them with `cmake --build --preset release --target rewardloom_bench`");
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "bench", "runs the benchmarks; everything after it goes to rewardloom-bench");
  command->set_help_flag();
  command->prefix_command();
  command->callback([command, &action] {
    action = [arguments = command->remaining()]() -> int { return execute_bench(arguments); };
  });
}

}  // namespace rewardloom::cli
