// From JSON to the graph document. Parts of a wrong shape are reported and kept among the unknown
// keys.
#pragma once
#include <string>
#include <vector>

#include "engine/graph/document.h"
#include "engine/graph/migration.h"

namespace rewardloom {

class DocumentReader {
 public:
  explicit DocumentReader(const std::vector<Migration>& migrations) : migrations_(migrations) {}

  /// Throws Failure json-syntax, format-version or json-shape (where the whole is no object).
  Document read(std::string text, std::string file);

 private:
  void read_version(Json& json);
  void read_top(Json& json);
  bool read_bodies(const std::string& key, Json& value);
  void read_nodes(Json& json, std::vector<GraphNode>& nodes, const std::string& prefix);
  GraphNode read_node(std::string name, Json& json, const std::string& place);
  bool read_node_key(GraphNode& node, const std::string& key, Json& value,
                     const std::string& place);
  void read_inputs(GraphNode& node, Json& json, const std::string& place);
  bool read_references(InputEdges& edges, const Json& value);
  void read_on_error(GraphNode& node, Json& json, const std::string& place);
  void read_subgraph(std::string name, Json& json);

  bool expect(bool holds, const std::string& node, const std::string& key, const std::string& what,
              const Json& value);
  void unknown_key(const std::string& node, const std::string& key, std::string_view owner,
                   const std::vector<std::string>& known);
  void report(Severity severity, std::string code, const std::string& node, const std::string& key,
              std::string text, std::string help = {});

  const std::vector<Migration>& migrations_;
  Document document_;
};

}  // namespace rewardloom
