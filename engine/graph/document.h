// The saved graph as plain values: what a graph file says, in the order in which it says it.
// Reading and writing lose nothing; whether the graph makes sense is the checker's business. No
// LibTorch.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/problem.h"

namespace rewardloom {

/// An edge's source, written "node.port"; inside a subgraph "inputs.NAME" is the subgraph's own
/// input.
struct Reference {
  std::string node;
  std::string port;

  /// Splits at the first dot; without one, `port` is empty.
  static Reference parse(std::string_view text);
  std::string text() const { return port.empty() ? node : node + "." + port; }
  bool operator==(const Reference&) const = default;
};

/// What an input port of a node holds: one reference, or a list of them.
struct InputEdges {
  std::string port;
  std::vector<Reference> from;
  bool list = false;  ///< written as a list
  bool operator==(const InputEdges&) const = default;
};

/// What happens when a node fails.
enum class FailureAction { stop, skip_row, skip, retry };
std::string_view to_string(FailureAction action);

struct ErrorPolicy {
  FailureAction action = FailureAction::stop;
  int attempts = 1;  ///< for retry: how often the node is tried in all
  bool operator==(const ErrorPolicy&) const = default;
};

/// Whether a node runs: see active_nodes.h.
enum class NodeMode { normal, mute, bypass };
std::string_view to_string(NodeMode mode);

/// A node of a graph: an instance of a node type, of a subgraph ("subgraph.NAME") or a container.
struct GraphNode {
  std::string name;
  std::string type;
  std::string about;
  std::string role;  ///< "gold": what it gives is for measuring only
  NodeMode mode = NodeMode::normal;
  Json params = Json::object();
  std::vector<InputEdges> inputs;
  std::optional<ErrorPolicy> on_error;
  std::optional<double> deadline;  ///< seconds
  Json other = Json::object();     ///< keys that this version does not know

  const InputEdges* input(std::string_view port) const;
  /// The name of the subgraph that this node is an instance of, or nothing.
  std::optional<std::string_view> subgraph() const;
  bool operator==(const GraphNode&) const = default;
};

/// A graph used as a node. `parameters` are the promoted ones with their defaults.
struct Subgraph {
  std::string name;
  std::string about;
  Json parameters = Json::object();
  std::vector<std::pair<std::string, std::string>> inputs;  ///< name, port type
  std::vector<GraphNode> nodes;
  std::vector<std::pair<std::string, Reference>> outputs;
  Json other = Json::object();
  bool operator==(const Subgraph&) const = default;
};

/// The newest graph format that this program reads and the one that it writes.
inline constexpr int kGraphFormat = 1;

class Document {
 public:
  std::string file;  ///< as given to load(); empty for a new document
  std::string name;
  std::string about;
  Json parameters = Json::object();  ///< what $name stands for
  Json settings = Json::object();    ///< see settings.h
  std::vector<GraphNode> nodes;
  std::vector<Subgraph> subgraphs;
  Json placement = Json::object();
  Json layout = Json::object();
  Json other = Json::object();  ///< keys that this version does not know

  /// Throws Failure missing-file, json-syntax (with line and column), format-version or json-shape.
  static Document load(const std::filesystem::path& path);
  /// The same from memory; `file` is what problems name.
  static Document parse(std::string text, std::string file = {});

  /// Writes text() through a temporary file, so that `path` holds the old or the new graph, never a
  /// part. Throws Failure write-failed.
  void save(const std::filesystem::path& path);
  /// The bytes that were read while nothing was changed, else the canonical layout.
  std::string text() const;
  /// One layout for people: one line per node where it fits into 120 columns.
  std::string canonical_text() const;
  Json to_json() const;

  const GraphNode* node(std::string_view name) const;
  GraphNode* node(std::string_view name);
  const Subgraph* subgraph(std::string_view name) const;
  Subgraph* subgraph(std::string_view name);

  /// The version of the file that was read (older ones were migrated).
  int format_read() const { return format_read_; }
  /// What was odd in the file: unknown keys, parts of the wrong shape. check() reports them too.
  const std::vector<Problem>& reading_problems() const { return reading_problems_; }
  /// The same meaning and the same remarks; ignores `file` and where the text came from.
  bool same_content(const Document& other_document) const;

 private:
  friend class DocumentReader;
  std::string original_text_;
  int format_read_ = kGraphFormat;
  std::vector<Problem> reading_problems_;
  std::map<double, std::string> number_literals_;  ///< how the file spelled its fractions: "1e-4"
};

}  // namespace rewardloom
