// The graph with its plain subgraphs put in place and its references resolved: what the dataflow
// checks and the compiler work on. Built even from a wrong graph; what is wrong is reported on the
// way.
#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/graph/checker.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// An index of the flat graph as one of a container.
inline std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Problems with the place in the file to which they belong, so that they can be put in its order.
class ProblemList {
 public:
  enum Section { whole, parameters, settings, nodes, subgraphs, placement };

  /// `once` names what a node of a subgraph and its problem have in common in all instances; a
  /// second problem of the same name, code, port and text is dropped. Null: keep all.
  void add(Section section, int order, Problem problem, const void* once = nullptr);
  bool empty() const { return entries_.empty(); }
  std::vector<Problem> sorted() &&;

 private:
  struct Entry {
    Section section;
    int order;
    Problem problem;
  };
  std::vector<Entry> entries_;
  std::map<std::tuple<const void*, std::string, std::string, std::string>, bool> seen_;
};

/// One edge into a port of a flat node.
struct FlatEdge {
  int slot = -1;         ///< -1: its source is wrong, and reported
  int level_input = -1;  ///< the input of the container's body through which it comes, or -1
  const Reference* reference = nullptr;  ///< as written
  std::string_view type;                 ///< of the source as seen here
};

struct FlatSlot {
  int node = -1;  ///< -1: comes from outside (a subgraph on its own)
  int port = 0;
  const PortDeclaration* declaration = nullptr;
  bool exported = false;     ///< an output of a subgraph or of a container's body
  std::vector<int> aliases;  ///< of a container's output: the slots of its bodies behind it
};

struct FlatNode {
  std::string name;  ///< the path
  int order = 0;     ///< of the node in the file
  int level = 0;
  int instance = 0;
  const GraphNode* graph = nullptr;
  const NodeDeclaration* type = nullptr;  ///< null: unknown
  const std::vector<PortDeclaration>* inputs = nullptr;
  const std::vector<PortDeclaration>* outputs = nullptr;
  std::vector<PortDeclaration>* derived_inputs = nullptr;  ///< of a container: the same as `inputs`
  const Json* params = nullptr;                            ///< as given, $name substituted
  std::vector<std::vector<FlatEdge>> edges;                ///< per input
  int first_slot = 0;
  std::vector<int> bodies;  ///< of a container: its levels
  bool gold = false;
  bool lacks_ports = false;  ///< a container one of whose bodies is wrong, and reported

  int slot(std::size_t output) const { return first_slot + static_cast<int>(output); }
  bool container() const { return type != nullptr && !type->bodies.empty(); }
};

/// The main graph (level 0), a body of a container, or a subgraph that nothing uses.
struct FlatLevel {
  int container = -1;  ///< flat node
  int instance = 0;
  int declaration = 0;  ///< for bodies: see PlanBody
  int part = 0;
  const Subgraph* subgraph = nullptr;
  Json entry;
  std::vector<int> nodes;          ///< in the order of the file
  std::vector<int> output_slots;   ///< per output of the subgraph; -1 where it names nothing
  std::vector<int> outside_slots;  ///< per input, where no container feeds it
};

/// A graph body in one place of use, with the values of its parameters.
struct FlatInstance {
  const std::vector<GraphNode>* nodes = nullptr;
  const Subgraph* subgraph = nullptr;  ///< null: the main graph
  int parent = -1;
  const GraphNode* parent_node = nullptr;
  int container = -1;  ///< the flat node whose body it is, or -1
  int level = 0;
  int order = 0;
  std::string prefix;  ///< of node names
  Json parameters;
  struct Member {
    int flat = -1;
    int child = -1;
  };
  std::vector<Member> members;  ///< per node
};

struct FlatGraph {
  const Document* document = nullptr;
  const Catalogue* catalogue = nullptr;
  std::vector<FlatNode> nodes;
  std::vector<FlatSlot> slots;
  std::vector<FlatLevel> levels;
  std::deque<FlatInstance> instances;

  std::string slot_name(int slot) const;
  const PortTypeDeclaration* slot_type(int slot) const;
  bool is_handle(int slot) const;
  /// The node's own policy, else that of the subgraph instance around it.
  ErrorPolicy error_policy(const FlatNode& node) const;
  /// Seconds, likewise; 0 where there is none.
  double deadline(const FlatNode& node) const;
  /// The dims of a port, or else of its type.
  std::string_view dims(const PortDeclaration& port) const;

  bool wiring_is_sound = true;  ///< no type, node, port or edge was found wrong

  // Owners of what the nodes point to.
  std::deque<Json> owned_params;
  std::deque<std::vector<PortDeclaration>> owned_ports;
};

/// Reports unknown types, nodes, ports and parameters, types that do not fit, missing inputs and
/// parameters.
FlatGraph flatten(const Document& document, const Catalogue& catalogue, const CheckOptions& options,
                  ProblemList& problems);
/// One subgraph alone, its inputs coming from outside; node names start with `prefix`.
FlatGraph flatten_subgraph(const Document& document, const Catalogue& catalogue,
                           const Subgraph& subgraph, const Json& parameters,
                           const std::string& prefix, ProblemList& problems);

/// "Rewards [N]"
std::string type_text(const Catalogue& catalogue, std::string_view type, std::string_view dims);

}  // namespace rewardloom
