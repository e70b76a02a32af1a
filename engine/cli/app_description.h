// The commands and options of the program as plain data: help, man page and shell completion are
// made from it, so that none of them can say something else than the parser does.
#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace rewardloom::cli {

struct OptionText {
  std::vector<std::string> names;  ///< "--set", "-h"; of a positional its name, "GRAPH"
  std::string value;               ///< "FILE"; empty for a flag
  std::string doc;
  bool positional = false;
  bool required = false;
  bool repeated = false;

  /// "--set NODE.PARAM=VALUE", "[GRAPH]"
  std::string form() const;
};

struct CommandText {
  std::string name;
  std::string doc;  ///< the first line is the summary
  std::string footer;
  std::vector<OptionText> options;
  std::vector<CommandText> commands;

  std::string summary() const { return doc.substr(0, doc.find('\n')); }
  /// "rewardloom run [GRAPH] [OPTIONS]"; `path` are the names of the commands above.
  std::string usage(const std::string& path) const;
};

CommandText describe(const CLI::App& app);

/// What --help prints.
std::string help_text(const CommandText& command, const std::string& path, std::size_t width);
/// The page of man(1) for the whole program, in roff.
std::string man_page(const CommandText& program);
/// A completion script for `shell` (bash, zsh or fish); `types` are the node types.
std::string completion_script(const CommandText& program, const std::string& shell,
                              const std::vector<std::string>& types);

}  // namespace rewardloom::cli
