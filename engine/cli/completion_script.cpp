// Completion for bash, zsh and fish, made from the program's own description.
#include <fmt/format.h>

#include <cctype>

#include "engine/cli/app_description.h"

namespace rewardloom::cli {
namespace {

/// What may stand where an option or an argument wants a value.
struct Wanted {
  enum Kind { nothing, files, graphs, folders, words } kind = nothing;
  std::vector<std::string> choices;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (;;) {
    const std::size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end - at));
    if (end == std::string::npos) return parts;
    at = end + 1;
  }
}

Wanted wanted_by(const OptionText& option, const std::vector<std::string>& types) {
  const std::string word = option.positional ? option.names.front() : option.value;
  if (word == "GRAPH") return {Wanted::graphs, {}};
  if (word == "DIR" || word == "RUN") return {Wanted::folders, {}};
  if (word == "FILE") return {Wanted::files, {}};
  if (word == "TYPE") return {Wanted::words, types};
  // "bash|zsh|fish" are the words themselves.
  if (option.value.find('|') != std::string::npos) {
    return {Wanted::words, split(option.value, '|')};
  }
  return {};
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

/// A command and the names that lead to it: "run", "new node".
struct Entry {
  std::string path;
  const CommandText* command;
};

void collect(const CommandText& command, const std::string& path, std::vector<Entry>& entries) {
  entries.push_back({path, &command});
  for (const CommandText& sub : command.commands) {
    collect(sub, path.empty() ? sub.name : path + " " + sub.name, entries);
  }
}

std::vector<Entry> entries_of(const CommandText& program) {
  std::vector<Entry> entries;
  collect(program, "", entries);
  return entries;
}

std::string flags_of(const CommandText& command) {
  std::vector<std::string> names;
  for (const OptionText& option : command.options) {
    if (!option.positional) names.insert(names.end(), option.names.begin(), option.names.end());
  }
  return joined(names);
}

std::string commands_of(const CommandText& command) {
  std::vector<std::string> names;
  for (const CommandText& sub : command.commands) names.push_back(sub.name);
  return joined(names);
}

// ---- bash ----

std::string bash_reply(const Wanted& wanted) {
  switch (wanted.kind) {
    case Wanted::graphs: return "_rewardloom_files '*.json'";
    case Wanted::folders: return "COMPREPLY+=($(compgen -d -- \"$cur\")); compopt -o filenames";
    case Wanted::files: return "_rewardloom_files '*'";
    case Wanted::words:
      return fmt::format("COMPREPLY+=($(compgen -W '{}' -- \"$cur\"))", joined(wanted.choices));
    case Wanted::nothing: break;
  }
  return ":";
}

std::string bash_case(const Entry& entry, const std::vector<std::string>& types) {
  std::string values;
  std::string arguments;
  for (const OptionText& option : entry.command->options) {
    const Wanted wanted = wanted_by(option, types);
    if (option.positional) {
      arguments += "      " + bash_reply(wanted) + "\n";
      continue;
    }
    if (option.value.empty()) continue;
    std::string names;
    for (const std::string& name : option.names) names += (names.empty() ? "" : "|") + name;
    values += fmt::format("        {}) {}; return ;;\n", names, bash_reply(wanted));
  }
  std::string out = fmt::format("    '{}')\n", entry.path);
  if (!values.empty()) out += "      case $prev in\n" + values + "      esac\n";
  out += fmt::format(
      "      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi\n",
      flags_of(*entry.command));
  if (!entry.command->commands.empty()) {
    out += fmt::format("      COMPREPLY+=($(compgen -W '{}' -- \"$cur\"))\n",
                       commands_of(*entry.command));
  }
  return out + arguments + "      ;;\n";
}

std::string bash_paths(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) {
    if (!entry.path.empty()) out += fmt::format("{}'{}'", out.empty() ? "" : "|", entry.path);
  }
  return out;
}

std::string bash_script(const CommandText& program, const std::vector<std::string>& types) {
  const std::vector<Entry> entries = entries_of(program);
  std::string cases;
  for (const Entry& entry : entries) cases += bash_case(entry, types);
  return fmt::format(R"SCRIPT(# bash completion for {0}: eval "$({0} completion bash)"
_rewardloom_files() {{
  local name
  while IFS= read -r name; do
    if [[ -d $name || $name == $1 ]]; then COMPREPLY+=("$name"); fi
  done < <(compgen -f -- "$cur")
  compopt -o filenames
}}
_rewardloom() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command="" longer word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    longer=${{command:+$command }}$word
    case $longer in {1}) command=$longer ;; esac
  done
  case $command in
{2}  esac
}}
complete -F _rewardloom {0}
)SCRIPT",
                     program.name, bash_paths(entries), cases);
}

// ---- zsh ----

/// For a text within single quotes inside an _arguments specification.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else if (c == '[' || c == ']' || c == ':' || c == '\\') {
      out += std::string("\\") + c;
    } else {
      out += c == '\n' ? ' ' : c;
    }
  }
  return out;
}

std::string zsh_action(const Wanted& wanted) {
  switch (wanted.kind) {
    case Wanted::graphs: return "_files -g \"*.json\"";
    case Wanted::folders: return "_files -/";
    case Wanted::files: return "_files";
    case Wanted::words: return "(" + joined(wanted.choices) + ")";
    case Wanted::nothing: break;
  }
  return " ";
}

std::string zsh_option(const OptionText& option, const std::vector<std::string>& types) {
  const Wanted wanted = wanted_by(option, types);
  if (option.positional) {
    return fmt::format("'{}:{}:{}'",
                       option.repeated   ? "*"
                       : option.required ? ""
                                         : ":",
                       zsh_text(option.names.front()), zsh_action(wanted));
  }
  std::string out;
  for (const std::string& name : option.names) {
    const std::string value =
        option.value.empty() ? ""
                             : fmt::format(":{}:{}", zsh_text(option.value), zsh_action(wanted));
    out += fmt::format("{}'{}{}[{}]{}'", out.empty() ? "" : " ", option.repeated ? "*" : "", name,
                       zsh_text(option.doc), value);
  }
  return out;
}

std::string zsh_function(const CommandText& command, const std::string& name,
                         const std::vector<std::string>& types) {
  std::string out = name + "() {\n";
  std::string specifications;
  for (const OptionText& option : command.options) {
    specifications += " \\\n    " + zsh_option(option, types);
  }
  if (command.commands.empty()) return out + "  _arguments -s" + specifications + "\n}\n";
  out += "  local state line\n  _arguments -s -C" + specifications +
         " \\\n    '1:command:->command' '*::argument:->argument'\n";
  out += "  case $state in\n    command)\n      local -a commands=(\n";
  for (const CommandText& sub : command.commands) {
    out += fmt::format("        '{}:{}'\n", sub.name, zsh_text(sub.summary()));
  }
  out += "      )\n      _describe command commands ;;\n    argument)\n      case $line[1] in\n";
  for (const CommandText& sub : command.commands) {
    out += fmt::format("        {0}) {1}_{0} ;;\n", sub.name, name);
  }
  out += "      esac ;;\n  esac\n}\n";
  for (const CommandText& sub : command.commands) {
    out += zsh_function(sub, name + "_" + sub.name, types);
  }
  return out;
}

std::string zsh_script(const CommandText& program, const std::vector<std::string>& types) {
  return fmt::format(
      "#compdef {0}\n# zsh completion for {0}: eval \"$({0} completion zsh)\"\n{1}"
      "compdef _{0} {0}\n",
      program.name, zsh_function(program, "_" + program.name, types));
}

// ---- fish ----

std::string fish_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string fish_value(const Wanted& wanted) {
  switch (wanted.kind) {
    case Wanted::graphs: return " -F";
    case Wanted::folders: return " -a '(__fish_complete_directories)'";
    case Wanted::files: return " -F";
    case Wanted::words: return fmt::format(" -a '{}'", joined(wanted.choices));
    case Wanted::nothing: break;
  }
  return "";
}

/// True where exactly the commands of `path` have been typed so far.
std::string fish_condition(const Entry& entry) {
  std::string condition;
  for (const std::string& word : split(entry.path, ' ')) {
    if (!word.empty()) condition += "; and __fish_seen_subcommand_from " + word;
  }
  if (!entry.command->commands.empty()) {
    condition += "; and not __fish_seen_subcommand_from " + commands_of(*entry.command);
  }
  return condition.empty() ? "true" : condition.substr(std::string("; and ").size());
}

std::string fish_option(const OptionText& option, const std::vector<std::string>& types) {
  std::string out;
  for (const std::string& name : option.names) {
    if (option.positional) break;
    out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!option.positional && !option.value.empty()) out += " -r";
  if (option.positional || !option.value.empty()) out += fish_value(wanted_by(option, types));
  return out + fmt::format(" -d '{}'", fish_text(option.doc));
}

std::string fish_script(const CommandText& program, const std::vector<std::string>& types) {
  std::string out =
      fmt::format("# fish completion for {0}: {0} completion fish | source\ncomplete -c {0} -f\n",
                  program.name);
  for (const Entry& entry : entries_of(program)) {
    const std::string start =
        fmt::format("complete -c {} -n '{}'", program.name, fish_condition(entry));
    for (const CommandText& sub : entry.command->commands) {
      out += fmt::format("{} -a {} -d '{}'\n", start, sub.name, fish_text(sub.summary()));
    }
    for (const OptionText& option : entry.command->options) {
      out += start + fish_option(option, types) + "\n";
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CommandText& program, const std::string& shell,
                              const std::vector<std::string>& types) {
  if (shell == "zsh") return zsh_script(program, types);
  if (shell == "fish") return fish_script(program, types);
  return bash_script(program, types);
}

}  // namespace rewardloom::cli
