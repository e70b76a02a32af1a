#include "engine/graph/hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/graph/json_text.h"
#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

class Fnv {
 public:
  void bytes(std::string_view text) {
    for (const char c : text) {
      state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
  }
  /// Tag and length first, so that neighbouring texts cannot run into each other.
  void text(char tag, std::string_view value) {
    bytes(fmt::format("{}{}:", tag, value.size()));
    bytes(value);
  }
  std::string hex() const { return fmt::format("{:016x}", state_); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

void add(Fnv& hash, const Json& value);

void add_object(Fnv& hash, const Json& value) {
  std::vector<std::string> keys;
  for (const auto& [key, member] : value.items()) keys.push_back(key);
  std::vector<const Json*> members;
  for (const auto& member : value) members.push_back(&member);
  std::vector<std::size_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  hash.bytes(fmt::format("o{}:", keys.size()));
  for (const std::size_t i : order) {
    hash.text('k', keys[i]);
    add(hash, *members[i]);
  }
}

void add_number(Fnv& hash, const Json& value) {
  const double number = value.get<double>();
  constexpr double exact = 9007199254740992.0;  // 2^53: whole numbers below are the same as doubles
  if (value.is_number_float() && std::floor(number) == number && std::abs(number) < exact) {
    hash.text('n', std::to_string(static_cast<std::int64_t>(number)));
  } else {
    hash.text('n', value.dump());
  }
}

void add(Fnv& hash, const Json& value) {
  if (value.is_object()) return add_object(hash, value);
  if (value.is_number()) return add_number(hash, value);
  if (value.is_string()) return hash.text('s', value.get_ref<const std::string&>());
  if (value.is_array()) {
    hash.bytes(fmt::format("a{}:", value.size()));
    for (const Json& item : value) add(hash, item);
    return;
  }
  hash.text('l', value.dump());  // null, true, false
}

Json numeric_settings(const Document& document) {
  Json out = Json::object();
  const Json all = with_defaults(document.settings);
  for (const SettingDeclaration& s : setting_declarations()) {
    if (s.numeric) out[s.name] = all[s.name];
  }
  return out;
}

Json nodes_meaning(const std::vector<GraphNode>& nodes) {
  Json out = Json::object();
  for (const GraphNode& node : nodes) {
    Json inputs = Json::object();
    for (const InputEdges& input : node.inputs) {
      Json list = Json::array();
      for (const Reference& reference : input.from) list.push_back(reference.text());
      append_member(inputs, input.port, std::move(list));
    }
    Json meaning{{"type", node.type}, {"role", node.role}, {"params", node.params}};
    append_member(meaning, "inputs", std::move(inputs));
    if (node.mode != NodeMode::normal) append_member(meaning, "mode", to_string(node.mode));
    if (node.on_error) {
      append_member(meaning, "on_error",
                    Json{to_string(node.on_error->action), node.on_error->attempts});
    }
    if (node.deadline) append_member(meaning, "deadline", *node.deadline);
    append_member(out, node.name, std::move(meaning));
  }
  return out;
}

Json subgraph_meaning(const Subgraph& subgraph) {
  Json inputs = Json::object();
  for (const auto& [name, type] : subgraph.inputs) append_member(inputs, name, type);
  Json outputs = Json::object();
  for (const auto& [name, from] : subgraph.outputs) append_member(outputs, name, from.text());
  Json meaning = Json::object();
  append_member(meaning, "inputs", std::move(inputs));
  append_member(meaning, "outputs", std::move(outputs));
  append_member(meaning, "parameters", subgraph.parameters);
  append_member(meaning, "nodes", nodes_meaning(subgraph.nodes));
  return meaning;
}

Json node_params(const std::vector<GraphNode>& nodes) {
  Json out = Json::object();
  for (const GraphNode& node : nodes) {
    if (!node.params.empty()) append_member(out, node.name, node.params);
  }
  return out;
}

}  // namespace

std::string json_hash(const Json& value) {
  Fnv hash;
  add(hash, value);
  return hash.hex();
}

std::string graph_hash(const Document& document) {
  Json meaning = Json::object();
  append_member(meaning, "parameters", document.parameters);
  append_member(meaning, "settings", numeric_settings(document));
  append_member(meaning, "nodes", nodes_meaning(document.nodes));
  Json subgraphs = Json::object();
  for (const Subgraph& subgraph : document.subgraphs) {
    append_member(subgraphs, subgraph.name, subgraph_meaning(subgraph));
  }
  append_member(meaning, "subgraphs", std::move(subgraphs));
  return json_hash(meaning);
}

std::string parameter_hash(const Document& document) {
  Json values = Json::object();
  append_member(values, "parameters", document.parameters);
  append_member(values, "settings", with_defaults(document.settings));
  append_member(values, "nodes", node_params(document.nodes));
  Json subgraphs = Json::object();
  for (const Subgraph& subgraph : document.subgraphs) {
    Json one = Json::object();
    append_member(one, "parameters", subgraph.parameters);
    append_member(one, "nodes", node_params(subgraph.nodes));
    append_member(subgraphs, subgraph.name, std::move(one));
  }
  append_member(values, "subgraphs", std::move(subgraphs));
  return json_hash(values);
}

}  // namespace rewardloom
