#include "engine/cli/app_description.h"

#include <CLI/CLI.hpp>

#include "engine/cli/terminal.h"

namespace rewardloom::cli {

std::string OptionText::form() const {
  if (positional) {
    const std::string name = names.front() + (repeated ? "..." : "");
    return required ? name : "[" + name + "]";
  }
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  if (!value.empty()) out += " " + value;
  return out;
}

std::string CommandText::usage(const std::string& path) const {
  std::string out = path + name;
  if (!commands.empty()) out += " COMMAND";
  for (const OptionText& option : options) {
    if (option.positional) out += " " + option.form();
  }
  return out + " [OPTIONS]";
}

namespace {

OptionText describe_option(const CLI::Option& option) {
  OptionText text;
  text.positional = option.get_positional();
  if (text.positional) text.names.push_back(option.get_name(true, false));
  for (const std::string& name : option.get_snames()) text.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) text.names.push_back("--" + name);
  if (option.get_type_size() != 0) text.value = option.get_type_name();
  text.doc = option.get_description();
  text.required = option.get_required();
  text.repeated = option.get_expected_max() > 1;
  return text;
}

}  // namespace

CommandText describe(const CLI::App& app) {
  CommandText text;
  text.name = app.get_name();
  text.doc = app.get_description();
  text.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) text.options.push_back(describe_option(*option));
  }
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command->get_group().empty()) text.commands.push_back(describe(*command));
  }
  // Positional arguments first, --help last.
  std::stable_partition(text.options.begin(), text.options.end(),
                        [](const OptionText& option) { return option.positional; });
  std::stable_partition(text.options.begin(), text.options.end(),
                        [](const OptionText& option) { return option.names.back() != "--help"; });
  return text;
}

namespace {

constexpr std::size_t kWidestForm = 30;

/// Rows of two columns; a form that is too wide for its column stands on a line of its own.
std::string two_columns(const std::vector<std::pair<std::string, std::string>>& rows,
                        std::size_t width) {
  std::size_t column = 0;
  for (const auto& [form, doc] : rows) {
    if (text_width(form) <= kWidestForm) column = std::max(column, text_width(form));
  }
  const std::string indent(column + 4, ' ');
  const std::size_t room = width > indent.size() + 20 ? width - indent.size() : 20;
  std::string out;
  for (const auto& [form, doc] : rows) {
    const bool own_line = text_width(form) > column;
    out += "  " + (own_line ? form + "\n" + indent : pad_right(form, column + 2));
    bool first = true;
    for (const std::string& line : wrapped(doc, room)) {
      out += (first ? "" : indent) + line + "\n";
      first = false;
    }
  }
  return out;
}

}  // namespace

std::string help_text(const CommandText& command, const std::string& path, std::size_t width) {
  std::string out;
  for (const std::string& line : wrapped(command.doc, width)) out += line + "\n";
  out += "\nUsage: " + command.usage(path) + "\n";
  std::vector<std::pair<std::string, std::string>> rows;
  for (const CommandText& sub : command.commands) rows.emplace_back(sub.name, sub.summary());
  if (!rows.empty()) out += "\nCommands:\n" + two_columns(rows, width);
  rows.clear();
  for (const OptionText& option : command.options) rows.emplace_back(option.form(), option.doc);
  if (!rows.empty()) out += "\nOptions:\n" + two_columns(rows, width);
  if (!command.footer.empty()) out += "\n" + command.footer + "\n";
  return out;
}

}  // namespace rewardloom::cli
