#include "engine/graph/document.h"

#include <fmt/format.h>

#include "engine/graph/document_reader.h"
#include "engine/graph/json_text.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

constexpr std::size_t kNameWidth = 8;  // node names are padded to this, so that columns line up

template <class Items>
auto* named(Items& items, std::string_view name) {
  for (auto& item : items) {
    if (item.name == name) return &item;
  }
  return static_cast<decltype(&*items.begin())>(nullptr);
}

void append_unless_empty(Json& json, const char* key, const Json& value) {
  if (!value.empty()) append_member(json, key, value);
}
void append_unless_empty(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) append_member(json, key, value);
}
void append_all(Json& json, const Json& members) {
  for (const auto& [key, value] : members.items()) append_member(json, key, value);
}

Json inputs_json(const std::vector<InputEdges>& inputs) {
  Json json = Json::object();
  for (const InputEdges& input : inputs) {
    Json list = Json::array();
    for (const Reference& reference : input.from) list.push_back(reference.text());
    const bool single = !input.list && input.from.size() == 1;
    append_member(json, input.port, single ? list[0] : list);
  }
  return json;
}

Json node_json(const GraphNode& node) {
  Json json = Json::object();
  append_member(json, "type", node.type);
  append_unless_empty(json, "about", node.about);
  append_unless_empty(json, "role", node.role);
  if (node.mode != NodeMode::normal) append_member(json, "mode", to_string(node.mode));
  append_unless_empty(json, "inputs", inputs_json(node.inputs));
  append_unless_empty(json, "params", node.params);
  if (node.on_error) {
    Json policy{{"policy", to_string(node.on_error->action)}};
    if (node.on_error->action == FailureAction::retry) {
      policy["attempts"] = node.on_error->attempts;
    }
    append_member(json, "on_error", policy);
  }
  if (node.deadline) append_member(json, "deadline", *node.deadline);
  append_all(json, node.other);
  return json;
}

Json nodes_json(const std::vector<GraphNode>& nodes) {
  Json json = Json::object();
  json.get_ref<Json::object_t&>().reserve(nodes.size());
  for (const GraphNode& node : nodes) append_member(json, node.name, node_json(node));
  return json;
}

Json subgraph_json(const Subgraph& subgraph) {
  Json json = Json::object();
  append_unless_empty(json, "about", subgraph.about);
  append_unless_empty(json, "parameters", subgraph.parameters);
  Json inputs = Json::object();
  for (const auto& [name, type] : subgraph.inputs) append_member(inputs, name, type);
  append_unless_empty(json, "inputs", inputs);
  append_member(json, "nodes", nodes_json(subgraph.nodes));
  Json outputs = Json::object();
  for (const auto& [name, reference] : subgraph.outputs) {
    append_member(outputs, name, reference.text());
  }
  append_unless_empty(json, "outputs", outputs);
  append_all(json, subgraph.other);
  return json;
}

/// "key: value" with the value on one line, or else one member to a line.
std::string section(const JsonLayout& layout, const std::string& key, const Json& value,
                    std::size_t indent) {
  const std::string start = std::string(indent, ' ') + json_quoted(key) + ": ";
  const std::string filled = layout.filled(value, start.size());
  if (!value.is_object() || filled.find('\n') == std::string::npos) return start + filled;
  return start + layout.lines(value, indent + 2);
}

std::string body_section(const JsonLayout& layout, const Json& nodes, std::size_t indent) {
  return std::string(indent, ' ') + "\"nodes\": " + layout.lines(nodes, indent + 2, kNameWidth);
}

std::string subgraph_section(const JsonLayout& layout, const std::string& name, const Json& json) {
  std::string out = "    " + json_quoted(name) + ": {\n";
  for (auto it = json.begin(); it != json.end(); ++it) {
    const bool body = it.key() == "nodes" && it->is_object();
    out += body ? body_section(layout, *it, 6) : section(layout, it.key(), *it, 6);
    out += std::next(it) == json.end() ? "\n" : ",\n";
  }
  return out + "    }";
}

std::string subgraphs_section(const JsonLayout& layout, const Json& subgraphs) {
  if (subgraphs.empty()) return "  \"subgraphs\": {}";
  std::string out = "  \"subgraphs\": {\n";
  for (auto it = subgraphs.begin(); it != subgraphs.end(); ++it) {
    out += subgraph_section(layout, it.key(), *it);
    out += std::next(it) == subgraphs.end() ? "\n" : ",\n";
  }
  return out + "  }";
}

}  // namespace

Reference Reference::parse(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return {std::string(text), ""};
  return {std::string(text.substr(0, dot)), std::string(text.substr(dot + 1))};
}

std::string_view to_string(FailureAction action) {
  switch (action) {
    case FailureAction::stop: return "stop";
    case FailureAction::skip_row: return "skip_row";
    case FailureAction::skip: return "skip";
    case FailureAction::retry: return "retry";
  }
  return "stop";
}

std::string_view to_string(NodeMode mode) {
  switch (mode) {
    case NodeMode::normal: return "normal";
    case NodeMode::mute: return "mute";
    case NodeMode::bypass: return "bypass";
  }
  return "normal";
}

const InputEdges* GraphNode::input(std::string_view port) const {
  for (const InputEdges& input : inputs) {
    if (input.port == port) return &input;
  }
  return nullptr;
}

std::optional<std::string_view> GraphNode::subgraph() const {
  constexpr std::string_view prefix = "subgraph.";
  if (!type.starts_with(prefix)) return std::nullopt;
  return std::string_view(type).substr(prefix.size());
}

Document Document::load(const std::filesystem::path& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const Failure& failure) {
    const bool missing = failure.problem().code == "file-not-found";
    if (!missing) throw;
    throw Failure({Severity::error,
                   "missing-file",
                   {path.string(), "", ""},
                   "there is no such graph file",
                   "check the path, or make one with rewardloom new",
                   {}});
  }
  return parse(std::move(text), path.string());
}

Document Document::parse(std::string text, std::string file) {
  return DocumentReader(graph_migrations()).read(std::move(text), std::move(file));
}

void Document::save(const std::filesystem::path& path) {
  std::string bytes = text();
  // A link stays a link: what it points to is replaced.
  std::error_code missing;
  const std::filesystem::path target = std::filesystem::canonical(path, missing);
  write_durably(missing ? path : target, bytes);
  original_text_ = std::move(bytes);
  format_read_ = kGraphFormat;
}

std::string Document::text() const {
  if (!original_text_.empty() && format_read_ == kGraphFormat &&
      same_content(parse(original_text_, file))) {
    return original_text_;
  }
  return canonical_text();
}

std::string Document::canonical_text() const {
  const JsonLayout layout(number_literals_);
  const Json json = to_json();
  std::string out = "{\n";
  for (auto it = json.begin(); it != json.end(); ++it) {
    if (it.key() == "nodes") {
      out += body_section(layout, *it, 2);
    } else if (it.key() == "subgraphs") {
      out += subgraphs_section(layout, *it);
    } else {
      out += section(layout, it.key(), *it, 2);
    }
    out += std::next(it) == json.end() ? "\n" : ",\n";
  }
  return out + "}\n";
}

Json Document::to_json() const {
  Json json = Json::object();
  append_member(json, "rewardloom", kGraphFormat);
  append_unless_empty(json, "name", name);
  append_unless_empty(json, "about", about);
  append_unless_empty(json, "parameters", parameters);
  append_unless_empty(json, "settings", settings);
  append_member(json, "nodes", nodes_json(nodes));
  Json bodies = Json::object();
  for (const Subgraph& subgraph : subgraphs) {
    append_member(bodies, subgraph.name, subgraph_json(subgraph));
  }
  append_unless_empty(json, "subgraphs", bodies);
  append_unless_empty(json, "placement", placement);
  append_unless_empty(json, "layout", layout);
  append_all(json, other);
  return json;
}

const GraphNode* Document::node(std::string_view node_name) const {
  return named(nodes, node_name);
}
GraphNode* Document::node(std::string_view node_name) { return named(nodes, node_name); }
const Subgraph* Document::subgraph(std::string_view subgraph_name) const {
  return named(subgraphs, subgraph_name);
}
Subgraph* Document::subgraph(std::string_view subgraph_name) {
  return named(subgraphs, subgraph_name);
}

bool Document::same_content(const Document& that) const {
  return name == that.name && about == that.about && parameters == that.parameters &&
         settings == that.settings && nodes == that.nodes && subgraphs == that.subgraphs &&
         placement == that.placement && layout == that.layout && other == that.other;
}

}  // namespace rewardloom
