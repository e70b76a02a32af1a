// Node and port types by name. Nothing registers itself: whoever makes a registry calls
// register_all_nodes.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/core/catalogue.h"
#include "engine/core/node.h"

namespace rewardloom {

/// Changes whenever a plug-in built against older headers would misbehave.
inline constexpr int kPluginAbi = 2;

class Registry {
 public:
  /// Holds the port types of engine/core/port_types.h.
  Registry();

  template <class N>
  void add(std::string id, std::string title, std::string source) {
    add(std::move(id), std::move(title), std::move(source), [] { return std::make_shared<N>(); });
  }
  void add(const PortType& type);

  /// A configured node. Throws Failure for an unknown type or parameters that do not fit.
  std::shared_ptr<Node> make(std::string_view id, const Json& params) const;
  const PortType* type(std::string_view name) const;
  const Catalogue& catalogue() const { return catalogue_; }

  /// Loads a shared library that exports `rewardloom_plugin_abi` and `rewardloom_plugin_register`.
  /// Throws Failure `plugin-load` or `plugin-abi` (both versions named).
  void load_plugin(const std::string& path);

 private:
  using Maker = std::function<std::shared_ptr<Node>()>;
  void add(std::string id, std::string title, std::string source, Maker maker);
  Catalogue catalogue_;
  std::map<std::string, Maker, std::less<>> makers_;
  std::map<std::string, const PortType*, std::less<>> types_;
};

/// `family.name` of a source named nodes/<family>/<name>.cpp.
std::string node_id_of_path(std::string_view path);

}  // namespace rewardloom

/// Ends a node's source: the class, its title, its source. The id comes from the path.
#define REWARDLOOM_NODE(Class, title, source)                      \
  namespace rewardloom {                                           \
  void register_##Class(Registry& registry);                       \
  void register_##Class(Registry& registry) {                      \
    registry.add<Class>(node_id_of_path(__FILE__), title, source); \
  }                                                                \
  }

/// Ends a plug-in of one or more nodes: REWARDLOOM_PLUGIN(registry.add<MyNode>("my.node", "title",
/// "")).
#define REWARDLOOM_PLUGIN(...)                                              \
  extern "C" int rewardloom_plugin_abi() { return rewardloom::kPluginAbi; } \
  extern "C" void rewardloom_plugin_register(rewardloom::Registry& registry) { __VA_ARGS__; }
