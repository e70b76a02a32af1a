#include "engine/graph/document_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/graph/json_text.h"

namespace rewardloom {
namespace {

const std::vector<std::string> kTopKeys = {"rewardloom", "name",      "about",
                                           "parameters", "settings",  "nodes",
                                           "subgraphs",  "placement", "layout"};
const std::vector<std::string> kNodeKeys = {"type",   "about",  "role",     "mode",
                                            "inputs", "params", "on_error", "deadline"};
const std::vector<std::string> kSubgraphKeys = {"about", "parameters", "inputs", "nodes",
                                                "outputs"};

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return text;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // whole letters
  text = text.substr(0, end) + "...";
  return text;
}

}  // namespace

Document DocumentReader::read(std::string text, std::string file) {
  JsonText json = parse_json(text, file);
  document_.file = std::move(file);
  if (!json.value.is_object()) {
    throw Failure({Severity::error,
                   "json-shape",
                   {document_.file, "", ""},
                   "a graph file holds an object, but this is " + shown(json.value),
                   "",
                   {}});
  }
  read_version(json.value);
  for (const std::string& key : json.duplicate_keys) {
    report(Severity::error, "duplicate-key", "", "", fmt::format("the key {} is there twice", key),
           "rename or remove one of the two");
  }
  read_top(json.value);
  document_.number_literals_ = std::move(json.number_literals);
  document_.original_text_ = std::move(text);
  return std::move(document_);
}

void DocumentReader::read_version(Json& json) {
  const std::string write = fmt::format("write \"rewardloom\": {}", kGraphFormat);
  const auto version = json.find("rewardloom");
  const Place place{document_.file, "", ""};
  if (version == json.end()) {
    throw Failure({Severity::error,
                   "format-version",
                   place,
                   "the file has no \"rewardloom\" key, so it is no graph file",
                   write + " at its top",
                   {}});
  }
  if (!version->is_number_integer()) {
    throw Failure({Severity::error,
                   "format-version",
                   place,
                   "the version is a whole number, but \"rewardloom\" is " + shown(*version),
                   write,
                   {}});
  }
  const int read = version->get<int>();
  if (read > kGraphFormat) {
    throw Failure({Severity::error,
                   "format-version",
                   place,
                   fmt::format("the file says version {}, but this program reads version {}", read,
                               kGraphFormat),
                   "open it with a newer RewardLoom",
                   {}});
  }
  document_.format_read_ = read;
  if (read == kGraphFormat) return;
  try {
    migrate(json, read, migrations_);
  } catch (const Failure& failure) {
    throw failure.at(place);
  }
}

void DocumentReader::read_top(Json& json) {
  for (auto& [key, value] : json.items()) {
    const auto take_text = [&](std::string& into) {
      if (!expect(value.is_string(), "", key, "a text", value)) return false;
      into = value.get<std::string>();
      return true;
    };
    const auto take_object = [&](Json& into) {
      if (!expect(value.is_object(), "", key, "an object", value)) return false;
      into = std::move(value);
      return true;
    };
    const std::pair<const char*, std::string*> texts[] = {{"name", &document_.name},
                                                          {"about", &document_.about}};
    const std::pair<const char*, Json*> objects[] = {{"parameters", &document_.parameters},
                                                     {"settings", &document_.settings},
                                                     {"placement", &document_.placement},
                                                     {"layout", &document_.layout}};
    bool taken = key == "rewardloom";
    for (const auto& [name, into] : texts) {
      if (key == name) taken = take_text(*into);
    }
    for (const auto& [name, into] : objects) {
      if (key == name) taken = take_object(*into);
    }
    if (key == "nodes" || key == "subgraphs") taken = read_bodies(key, value);
    const bool known = std::find(kTopKeys.begin(), kTopKeys.end(), key) != kTopKeys.end();
    if (!known) unknown_key("", key, "a graph file", kTopKeys);
    if (!taken) append_member(document_.other, key, std::move(value));
  }
}

bool DocumentReader::read_bodies(const std::string& key, Json& value) {
  if (key == "subgraphs") {
    if (!expect(value.is_object(), "", key, "an object of subgraphs by name", value)) return false;
    for (auto& [name, subgraph] : value.items()) read_subgraph(name, subgraph);
    return true;
  }
  if (!value.is_object()) {
    throw Failure({Severity::error,
                   "json-shape",
                   {document_.file, "", "nodes"},
                   "expects an object of nodes by name, but is " + shown(value),
                   "",
                   {}});
  }
  read_nodes(value, document_.nodes, "");
  return true;
}

void DocumentReader::read_nodes(Json& json, std::vector<GraphNode>& nodes,
                                const std::string& prefix) {
  nodes.reserve(json.size());
  for (auto& [name, value] : json.items()) {
    const std::string place = prefix + name;
    if (!expect(value.is_object(), place, "", "an object", value)) continue;
    nodes.push_back(read_node(name, value, place));
  }
}

GraphNode DocumentReader::read_node(std::string name, Json& json, const std::string& place) {
  GraphNode node;
  node.name = std::move(name);
  for (auto& [key, value] : json.items()) {
    if (!read_node_key(node, key, value, place)) append_member(node.other, key, std::move(value));
  }
  return node;
}

bool DocumentReader::read_node_key(GraphNode& node, const std::string& key, Json& value,
                                   const std::string& place) {
  const auto take_text = [&](std::string& into) {
    if (!expect(value.is_string(), place, key, "a text", value)) return false;
    into = std::move(value.get_ref<std::string&>());
    return true;
  };
  if (key == "type") return take_text(node.type);
  if (key == "about") return take_text(node.about);
  if (key == "role") {
    if (!expect(value == "gold", place, key, "\"gold\"", value)) return false;
    return take_text(node.role);
  }
  if (key == "mode") {
    const bool mute = value == "mute";
    if (!expect(mute || value == "bypass", place, key, "\"mute\" or \"bypass\"", value))
      return false;
    node.mode = mute ? NodeMode::mute : NodeMode::bypass;
    return true;
  }
  if (key == "params") {
    if (!expect(value.is_object(), place, key, "an object", value)) return false;
    node.params = std::move(value);
    return true;
  }
  if (key == "inputs") {
    if (!expect(value.is_object(), place, key, "an object of references by port", value)) {
      return false;
    }
    read_inputs(node, value, place);
    return true;
  }
  if (key == "on_error") {
    read_on_error(node, value, place);
    return node.on_error.has_value();
  }
  if (key == "deadline") {
    const bool fits = value.is_number() && value.get<double>() > 0;
    if (!expect(fits, place, key, "a number of seconds above 0", value)) return false;
    node.deadline = value.get<double>();
    return true;
  }
  unknown_key(place, key, "a node", kNodeKeys);
  return false;
}

void DocumentReader::read_inputs(GraphNode& node, Json& json, const std::string& place) {
  node.inputs.reserve(json.size());
  for (auto& [port, value] : json.items()) {
    InputEdges edges;
    edges.port = port;
    if (read_references(edges, value)) {
      node.inputs.push_back(std::move(edges));
      continue;
    }
    report(Severity::error, "bad-reference", place, port,
           "expects \"node.port\" or a list of those, but is " + shown(value));
    Json& kept = node.other["inputs"];
    if (kept.is_null()) kept = Json::object();
    append_member(kept, port, value);
  }
}

bool DocumentReader::read_references(InputEdges& edges, const Json& value) {
  if (value.is_string()) {
    edges.from.push_back(Reference::parse(value.get_ref<const std::string&>()));
    return true;
  }
  if (!value.is_array()) return false;
  edges.list = true;
  for (const Json& item : value) {
    if (!item.is_string()) return false;
    edges.from.push_back(Reference::parse(item.get_ref<const std::string&>()));
  }
  return true;
}

void DocumentReader::read_on_error(GraphNode& node, Json& json, const std::string& place) {
  const std::string allowed = R"({"policy": "stop", "skip_row", "skip" or "retry", "attempts": N})";
  const Json policy = json.is_object() && json.contains("policy") ? json["policy"] : json;
  ErrorPolicy result;
  bool fits = policy.is_string();
  if (fits) {
    fits = false;
    for (const FailureAction action : {FailureAction::stop, FailureAction::skip_row,
                                       FailureAction::skip, FailureAction::retry}) {
      if (policy != to_string(action)) continue;
      result.action = action;
      fits = true;
    }
  }
  if (fits && result.action == FailureAction::retry) result.attempts = 3;
  if (fits && json.is_object() && json.contains("attempts")) {
    const Json& attempts = json["attempts"];
    fits = attempts.is_number_integer() && attempts >= 1 && attempts <= 1000;
    if (fits) result.attempts = attempts.get<int>();
  }
  if (expect(fits, place, "on_error", allowed, json)) node.on_error = result;
}

void DocumentReader::read_subgraph(std::string name, Json& json) {
  const std::string place = "subgraph." + name;
  if (!expect(json.is_object(), place, "", "an object", json)) return;
  Subgraph subgraph;
  subgraph.name = std::move(name);
  for (auto& [key, value] : json.items()) {
    bool taken = true;
    if (key == "about" && value.is_string()) {
      subgraph.about = value.get<std::string>();
    } else if (key == "parameters" && value.is_object()) {
      subgraph.parameters = std::move(value);
    } else if (key == "nodes" && value.is_object()) {
      read_nodes(value, subgraph.nodes, place + "/");
    } else if (key == "inputs" && value.is_object()) {
      for (const auto& [port, type] : value.items()) {
        if (!expect(type.is_string(), place, port, "the name of a port type", type)) continue;
        subgraph.inputs.emplace_back(port, type.get<std::string>());
      }
    } else if (key == "outputs" && value.is_object()) {
      for (const auto& [port, reference] : value.items()) {
        if (!expect(reference.is_string(), place, port, "\"node.port\"", reference)) continue;
        subgraph.outputs.emplace_back(port, Reference::parse(reference.get<std::string>()));
      }
    } else {
      taken = false;
      const bool known =
          std::find(kSubgraphKeys.begin(), kSubgraphKeys.end(), key) != kSubgraphKeys.end();
      if (known) {
        expect(false, place, key, key == "about" ? "a text" : "an object", value);
      } else {
        unknown_key(place, key, "a subgraph", kSubgraphKeys);
      }
    }
    if (!taken) append_member(subgraph.other, key, std::move(value));
  }
  document_.subgraphs.push_back(std::move(subgraph));
}

bool DocumentReader::expect(bool holds, const std::string& node, const std::string& key,
                            const std::string& what, const Json& value) {
  if (holds) return true;
  report(Severity::error, "json-shape", node, key,
         fmt::format("expects {}, but is {}", what, shown(value)));
  return false;
}

void DocumentReader::unknown_key(const std::string& node, const std::string& key,
                                 std::string_view owner, const std::vector<std::string>& known) {
  const std::vector<std::string> near = nearest(key, known);
  report(Severity::warning, "unknown-key", node, key,
         fmt::format("{} has no key of this name; it is kept but has no effect", owner),
         near.empty() ? "its keys are " + listed(known, "and") : "did you mean " + listed(near));
}

void DocumentReader::report(Severity severity, std::string code, const std::string& node,
                            const std::string& key, std::string text, std::string help) {
  document_.reading_problems_.push_back(Problem{severity,
                                                std::move(code),
                                                {document_.file, node, key},
                                                std::move(text),
                                                std::move(help),
                                                {}});
}

}  // namespace rewardloom
