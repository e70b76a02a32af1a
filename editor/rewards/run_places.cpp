#include "editor/rewards/run_places.h"

#include <algorithm>

namespace rewardloom {
namespace {

std::vector<std::string> partsOf(const std::string& path) {
  // A slash inside of brackets belongs to a value of a sweep.
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : path) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == '/' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string withoutBranch(const std::string& part) { return part.substr(0, part.find('[')); }

std::optional<RunPlace> resolve(const Document& document, const Scope& scope,
                                const std::vector<std::string>& parts, std::size_t at) {
  if (at >= parts.size()) return std::nullopt;
  const std::string name = withoutBranch(parts[at]);
  const GraphNode* node = findNode(document, scope, name);
  if (!node) return std::nullopt;
  if (at + 1 == parts.size()) return RunPlace{scope, name};
  const std::vector<std::string> bodies = bodiesOf(document, *node);
  // Containers of several bodies name the one that ran.
  const std::string next = withoutBranch(parts[at + 1]);
  if (std::find(bodies.begin(), bodies.end(), next) != bodies.end()) {
    if (const auto found = resolve(document, next, parts, at + 2)) return found;
  }
  for (const std::string& body : bodies) {
    if (const auto found = resolve(document, body, parts, at + 1)) return found;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> bodiesOf(const Document& document, const GraphNode& node) {
  std::vector<std::string> bodies;
  if (const auto own = node.subgraph()) bodies.emplace_back(*own);
  const auto collect = [&](const Json& json, const auto& self) -> void {
    if (json.is_string() && document.subgraph(json.get<std::string>())) {
      bodies.push_back(json.get<std::string>());
    }
    if (!json.is_structured()) return;
    for (const Json& inner : json) self(inner, self);
  };
  collect(node.params, collect);
  return bodies;
}

std::optional<RunPlace> placeInDocument(const Document& document, const std::string& path) {
  return resolve(document, {}, partsOf(path), 0);
}

}  // namespace rewardloom
