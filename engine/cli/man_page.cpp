// The man page: the program's own description in roff.
#include <fmt/format.h>

#include "engine/cli/app_description.h"
#include "engine/core/version.h"

namespace rewardloom::cli {
namespace {

/// Text in which roff finds nothing to obey: no escapes, no line that starts with a request.
std::string escaped(const std::string& text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

/// Text that is shown line by line, as in a terminal.
std::string verbatim(const std::string& text) { return ".nf\n" + escaped(text) + "\n.fi\n"; }

/// The lines of a description as paragraphs.
std::string paragraphs(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\n' ? std::string("\n\n") : std::string(1, c);
  std::string roff = escaped(out);
  for (std::size_t at = 0; (at = roff.find("\n\n", at)) != std::string::npos; at += 5) {
    roff.replace(at, 2, "\n.PP\n");
  }
  return roff + "\n";
}

std::string options_of(const CommandText& command) {
  std::string out;
  for (const OptionText& option : command.options) {
    out += ".TP\n\\fB" + escaped(option.form()) + "\\fR\n" + escaped(option.doc) + "\n";
  }
  return out;
}

std::string section_of(const CommandText& command, const std::string& path) {
  std::string out = ".SS \"" + escaped(command.usage(path)) + "\"\n" + paragraphs(command.doc);
  out += options_of(command);
  if (!command.footer.empty()) out += ".PP\n" + verbatim(command.footer);
  for (const CommandText& sub : command.commands) {
    out += section_of(sub, path + command.name + " ");
  }
  return out;
}

}  // namespace

std::string man_page(const CommandText& program) {
  const std::string name = program.name;
  std::string out =
      fmt::format(".TH {} 1 \"\" \"RewardLoom {}\" \"User commands\"\n", escaped(name), kVersion);
  out += ".SH NAME\n" + escaped(name) + " \\- " + escaped(program.summary()) + "\n";
  out += ".SH SYNOPSIS\n.B " + escaped(program.usage("")) + "\n";
  out += ".SH DESCRIPTION\n" + paragraphs(program.doc);
  if (!program.footer.empty()) out += ".PP\n" + verbatim(program.footer);
  out += ".SH OPTIONS\n" + options_of(program);
  out += ".SH COMMANDS\n";
  for (const CommandText& command : program.commands) out += section_of(command, name + " ");
  return out;
}

}  // namespace rewardloom::cli
