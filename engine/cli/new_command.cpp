// Beginnings: a node with its function and its test, a graph that runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "engine/cli/command_line.h"
#include "engine/cli/templates.h"
#include "engine/cli/terminal.h"
#include "engine/io/durable_file.h"

namespace rewardloom::cli {
namespace fs = std::filesystem;

namespace {

struct NewGiven {
  std::string name;
  std::string dir = ".";
};

bool is_identifier(const std::string& word) {
  if (word.empty() || word[0] < 'a' || word[0] > 'z') return false;
  return word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

/// Writes all files or, if one is there already, none.
void write_new(const std::vector<std::pair<fs::path, std::string>>& files) {
  for (const auto& [path, text] : files) {
    if (!fs::exists(path)) continue;
    throw WrongUsage("file-exists", fmt::format("{} is there already", path.string()),
                     "choose another name, or remove it first");
  }
  std::string written;
  for (const auto& [path, text] : files) {
    try {
      if (path.has_parent_path()) fs::create_directories(path.parent_path());
    } catch (const fs::filesystem_error& error) {
      throw Failure("write-failed",
                    fmt::format("{} cannot be made: {}", path.parent_path().string(),
                                error.code().message()));
    }
    write_durably(path, text, Durability::buffered);
    written += "wrote " + path.lexically_normal().string() + "\n";
  }
  print(written);
}

int new_node(const NewGiven& given) {
  const std::size_t dot = given.name.find('.');
  const std::string family = given.name.substr(0, dot);
  const std::string name = dot == std::string::npos ? "" : given.name.substr(dot + 1);
  if (!is_identifier(family) || !is_identifier(name)) {
    throw WrongUsage("node-name", fmt::format("\"{}\" is no name of a node type", given.name),
                     "write FAMILY.NAME in lower case, e.g. reward.politeness");
  }
  const NodeTemplate text = node_template(family, name);
  const fs::path root = given.dir;
  write_new({{root / "nodes" / family / (name + ".h"), text.header},
             {root / "nodes" / family / (name + ".cpp"), text.source},
             {root / "tests" / "nodes" / fmt::format("test_{}_{}.cpp", family, name), text.test}});
  print(
      fmt::format("next: cmake --build --preset release && ctest --preset release -R nodes\n"
                  "      build/bin/rewardloom nodes {}\n",
                  given.name));
  return kDone;
}

int new_graph(const NewGiven& given) {
  const std::string file_name = given.name.ends_with(".json") ? given.name : given.name + ".json";
  const fs::path path = fs::path(given.dir) / file_name;
  const std::string title = path.stem().string();
  if (title.empty() || title.starts_with("."))
    throw WrongUsage("graph-name", "the graph has no name", "write a file name");
  write_new({{path, starter_graph(title)}});
  const std::string shown = path.lexically_normal().string();
  print(fmt::format("next: rewardloom check {0}\n      rewardloom run {0}\n", shown));
  return kDone;
}

CLI::App* add_kind(CLI::App& parent, const char* name, const char* doc, const char* argument,
                   const char* argument_doc, const std::shared_ptr<NewGiven>& given) {
  CLI::App* const command = parent.add_subcommand(name, doc);
  command->add_option(argument, given->name, argument_doc)->required()->type_name(argument);
  command->add_option("--dir", given->dir, "the folder to write into (default: the current one)")
      ->type_name("DIR");
  return command;
}

}  // namespace

void add_new_command(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("new", "writes the beginning of a node or of a graph");
  command->require_subcommand(1);
  const auto node = std::make_shared<NewGiven>();
  add_kind(*command, "node", "writes a node type: its function, its class and a test that passes",
           "FAMILY.NAME", "its name, e.g. reward.politeness", node)
      ->callback([&action, node] { action = [node] { return new_node(*node); }; });
  const auto graph = std::make_shared<NewGiven>();
  add_kind(*command, "graph", "writes a small graph that runs: sampling, reward, advantage, update",
           "NAME", "its name; .json is added", graph)
      ->callback([&action, graph] { action = [graph] { return new_graph(*graph); }; });
}

}  // namespace rewardloom::cli
