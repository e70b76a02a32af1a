// Makes a FlatGraph: instances first, then edges.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/graph/flat.h"

namespace rewardloom {

class Flattener {
 public:
  Flattener(const Document& document, const Catalogue& catalogue, const CheckOptions& options,
            ProblemList& problems);

  FlatGraph whole();
  FlatGraph only(const Subgraph& subgraph, const Json& parameters, const std::string& prefix);

 private:
  using Index = std::unordered_map<std::string_view, int>;

  /// What a reference names, as far as declarations tell.
  struct Declared {
    const PortDeclaration* port = nullptr;  ///< null where it is a subgraph's input
    std::string_view type;
    std::string_view dims;
  };
  struct Source {
    int slot = -1;
    int level_input = -1;
  };

  // instances (flattener.cpp)
  int instantiate(FlatInstance instance);
  void add_member(int instance, std::size_t index);
  void add_instance_of(int instance, std::size_t index, const Subgraph& subgraph);
  void add_flat(int instance, std::size_t index, const NodeDeclaration* type);
  void check_name(const FlatInstance& instance, const GraphNode& node);
  const Subgraph* find_subgraph(std::string_view name) const;
  /// Reports once when subgraphs within subgraphs have multiplied beyond reason.
  bool too_many(int instance, const GraphNode& node);
  bool recursive(int instance, const Subgraph& subgraph, const GraphNode& node);
  void add_unused_subgraphs();

  // containers (container_bodies.cpp)
  void add_bodies(int flat);
  void report_unknown_subgraph(const FlatNode& node, const std::string& parameter,
                               const std::string& subgraph);
  void report_equal_values(const FlatNode& node, const std::string& parameter, const Json& values);
  void add_copies(int flat, std::size_t declaration, int position, const Json& entry,
                  const Json& with, const Subgraph& subgraph, bool alone);
  void add_body(int flat, int declaration, int part, const Json& entry, const Subgraph& subgraph,
                const Json& with, bool alone);
  void derive_ports(int flat);
  void derive_inputs(const FlatNode& node, std::vector<PortDeclaration>& ports);
  void derive_outputs(const FlatNode& node, std::vector<PortDeclaration>& ports);
  void container_port_clash(const FlatNode& node, const std::string& port, std::string_view first,
                            std::string_view second, std::string_view subgraph);
  void find_container_access();

  // parameters (flat_parameters.cpp)
  const Json* resolved_params(const FlatInstance& instance, const GraphNode& node,
                              const std::string& name, int order, const NodeDeclaration* type);
  void check_params(const FlatNode& node);
  void check_path(const FlatNode& node, const ParameterDeclaration& parameter, const Json& value);
  Json promoted(const Subgraph& subgraph, const Json& given, const std::string& name, int order,
                const void* once);
  void check_unused_parameters();
  void check_settings();

  // edges (flat_edges.cpp)
  void connect();
  void connect_node(FlatNode& node);
  void connect_port(FlatNode& node, std::size_t port, const InputEdges& edges);
  void connect_instance(const FlatInstance& instance);
  void connect_outputs();
  void check_input_types(const FlatInstance& instance);
  void report_unreachable(const FlatInstance& instance, const std::string& output,
                          const Reference& reference);
  void check_count(const FlatNode& node, std::size_t port);
  void check_type(const FlatInstance& instance, const std::string& name, int order,
                  const PortDeclaration& port, const Reference& reference, const Declared& given,
                  const void* once, const FlatNode* node = nullptr);
  std::string mismatch_help(const FlatInstance& instance, const PortDeclaration& port,
                            const Reference& reference, const Declared& given);
  /// Help for an edge that only sits at the wrong input of its node; empty where it does not.
  std::string other_input_help(const FlatNode& node, const PortDeclaration& port,
                               const Reference& reference, const Declared& given) const;
  std::vector<std::string> sources_of_type(const FlatInstance& instance, std::string_view type,
                                           std::string_view only_node,
                                           std::string_view but_node = {});
  /// Looking for names to suggest takes a while in large graphs: after some problems no more.
  bool may_search(const FlatInstance& instance);
  /// Nothing, after having reported why, where the reference names nothing.
  std::optional<Declared> declared(const FlatInstance& instance, const Reference& reference,
                                   const std::string& name, int order, const std::string& port,
                                   const void* once);
  std::optional<Declared> declared_or_nothing(const FlatInstance& instance,
                                              const Reference& reference) const;
  std::optional<Source> source(const FlatInstance& instance, const Reference& reference,
                               int depth = 0) const;
  std::vector<std::string> outputs_of(const FlatInstance& instance, int member) const;
  const Index& index(const FlatInstance& instance) const;
  int member(const FlatInstance& instance, std::string_view name) const;

  void report(int order, const std::string& node, const std::string& port, std::string code,
              std::string text, std::string help, const void* once = nullptr,
              Severity severity = Severity::error);

  FlatGraph graph_;
  const Document& document_;
  const Catalogue& catalogue_;
  CheckOptions options_;
  ProblemList& problems_;
  int order_ = 0;
  int searches_left_ = 20;
  bool told_too_many_ = false;
  std::unordered_map<std::string_view, const Subgraph*> subgraphs_;
  mutable std::unordered_map<const void*, Index> indices_;
  std::set<const Subgraph*> used_subgraphs_;
  std::unordered_map<const void*, std::unordered_set<std::string>> used_parameters_;
};

/// "a, b and c", or the nearest three of a long list.
std::string known_names(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace rewardloom
