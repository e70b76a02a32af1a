// A checked graph, compiled: who fires when, which value goes where and when it can be freed. Plain
// data.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom {

struct Plan;

/// A place for one value that an output gives (or that comes from outside).
struct PlanSlot {
  std::string name;   ///< "rollout.completions"; for what comes from outside "inputs.policy"
  std::string type;   ///< port type
  std::string dims;   ///< of the port, or else of its type
  int producer = -1;  ///< index of the node that gives it; -1: the plan's input number `port`
  int port = 0;       ///< index among the producer's outputs, or among the plan's inputs
  int readers =
      0;  ///< how many nodes have it in their `reads`; free the value after the last of them
  bool output = false;          ///< leaves the plan: keep it until the end
  bool probe = false;           ///< recorded by default
  bool gold = false;            ///< for measuring only
  int handle = -1;              ///< index into `handles` where it names state
  Json facts = Json::object();  ///< e.g. {"group_size": 8}
};

struct PlanInput {
  std::string name;
  std::string type;
  Access access = Access::value;
  bool optional = false;
  bool variadic = false;
  std::vector<int> slots;  ///< none: an optional input that is not connected
};

struct PlanOutput {
  std::string name;
  std::string type;
  int slot = -1;
};

/// One body of a container: a plan of its own. Its inputs and outputs are ports of the container.
struct PlanBody {
  int declaration = 0;    ///< which of the node type's body declarations
  std::string parameter;  ///< the container's parameter that names it
  /// BodyCall::part: the position in that parameter's list; with `vary`, list position times the
  /// number of values plus the position of the value.
  int part = 0;
  std::string subgraph;
  Json entry;       ///< the list item that names it (an object for flow.phases), else its name
  Json parameters;  ///< the values of the subgraph's parameters
  std::vector<int>
      input_ports;  ///< for each input of `plan`: which of the container's inputs feeds it
  std::vector<int>
      output_ports;  ///< for each output of `plan`: which of the container's outputs it is
  std::shared_ptr<const Plan> plan;
};

struct PlanNode {
  std::string name;  ///< the path: "outer/inner"
  std::string type;
  std::string role;  ///< "gold" or empty
  Json params;       ///< $name substituted, presets and defaults filled in: for people and run.json
  Json given;        ///< only what the graph gives, $name substituted: what Registry::make takes
  std::vector<PlanInput>
      inputs;  ///< the declaration's, in its order; then those of a container's bodies
  std::vector<PlanOutput> outputs;  ///< likewise
  std::vector<int> reads;           ///< the slots of all inputs, each once
  std::vector<int> successors;      ///< nodes that wait for this one, each once
  int pending = 0;                  ///< how many nodes have this one among their successors
  int level = 0;                    ///< longest way from a node that waits for nothing
  /// Gives the same whenever it fires in a run (pure, fed by such nodes only): fire it once, keep
  /// the outputs.
  bool invariant = false;
  ErrorPolicy on_error;
  double deadline = 0;  ///< seconds; 0: none
  Json placement = Json::object();
  std::vector<PlanBody> bodies;
};

/// State that lives across iterations, known by the output that made it.
struct PlanHandle {
  std::string name;  ///< the output that made it ("actor.policy"), in whichever plan that is
  std::string type;
  int creator = -1;          ///< a node of this plan; -1: it comes from outside
  std::vector<int> readers;  ///< nodes, in topological order
  std::vector<int> writers;  ///< nodes, in the order in which they write
};

struct Plan {
  std::string file;
  std::string name;                  ///< of the graph, or of the subgraph
  Json settings = Json::object();    ///< with defaults
  Json parameters = Json::object();  ///< the values behind $name
  std::vector<PlanNode> nodes;       ///< in the order of the file
  std::vector<PlanSlot> slots;
  std::vector<PlanHandle> handles;
  std::vector<int> order;                 ///< topological; ties as in the file
  std::vector<std::vector<int>> levels;   ///< nodes by level
  std::vector<int> inputs;                ///< slots that are filled from outside
  std::vector<std::string> output_names;  ///< of a subgraph
  std::vector<int> outputs;               ///< the slots behind them
  std::vector<std::pair<int, int>>
      order_edges;  ///< reader before writer; also among the successors

  int node_index(std::string_view node_name) const;  ///< -1 where there is none
  int slot_index(std::string_view slot_name) const;
  /// The most nodes in one level: an estimate of how many can run at once (the largest antichain is
  /// at least this).
  int width() const;
};

struct CriticalPath {
  std::vector<int> nodes;  ///< first to last
  double cost = 0;
};

/// The longest chain of nodes that wait for each other, counting nodes.
CriticalPath critical_path(const Plan& plan);
/// The same by cost, e.g. measured seconds; one entry per node.
CriticalPath critical_path(const Plan& plan, const std::vector<double>& node_cost);

/// Plain subgraphs are put in place ("outer/inner"); containers keep theirs as nested plans, whose
/// nodes are named "container/inner", or "container/SUBGRAPH/inner" where a container has several
/// bodies. Throws the first Failure that check() would report where the graph has no plan.
Plan compile(const Document& document, const Catalogue& catalogue);
/// The plan of one subgraph for given values of its parameters (a branch of a sweep); node names
/// start with `prefix` and a slash.
Plan compile_subgraph(const Document& document, const Catalogue& catalogue,
                      std::string_view subgraph, const Json& parameters, std::string_view prefix);

}  // namespace rewardloom
