// All node and port types as data: what the checker works on. Comes from the registry, or from the
// JSON that `rewardloom nodes --json` writes. No LibTorch.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/core/declaration.h"

namespace rewardloom {

class Catalogue {
 public:
  /// Throws Failure `duplicate-node` or `duplicate-type` if the name is taken.
  void add(NodeDeclaration node);
  void add(PortTypeDeclaration type);

  const NodeDeclaration* node(std::string_view id) const;
  const PortTypeDeclaration* type(std::string_view name) const;
  std::vector<std::string> node_ids() const;
  const std::map<std::string, NodeDeclaration, std::less<>>& nodes() const { return nodes_; }
  const std::map<std::string, PortTypeDeclaration, std::less<>>& types() const { return types_; }

  /// Node types that turn a `from` into a `to`: one required value input, a converter by their
  /// traits.
  std::vector<std::string> converters(std::string_view from, std::string_view to) const;

  Json to_json() const;
  static Catalogue from_json(const Json& json);

 private:
  std::map<std::string, NodeDeclaration, std::less<>> nodes_;
  std::map<std::string, PortTypeDeclaration, std::less<>> types_;
};

}  // namespace rewardloom
