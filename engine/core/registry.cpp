#include "engine/core/registry.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace rewardloom {

Registry::Registry() {
  for (const PortType* type : core_port_types()) add(*type);
}

std::string node_id_of_path(std::string_view path) {
  const std::filesystem::path source(path);
  return source.parent_path().filename().string() + "." + source.stem().string();
}

void Registry::add(const PortType& type) {
  catalogue_.add(type.declaration);
  types_[type.declaration.name] = &type;
}

void Registry::add(std::string id, std::string title, std::string source, Maker maker) {
  NodeDeclaration declaration = maker()->declaration();
  declaration.id = id;
  declaration.title = std::move(title);
  declaration.source = std::move(source);
  catalogue_.add(std::move(declaration));
  makers_.emplace(std::move(id), std::move(maker));
}

std::shared_ptr<Node> Registry::make(std::string_view id, const Json& params) const {
  const auto it = makers_.find(id);
  if (it == makers_.end()) {
    throw Failure("unknown-type", fmt::format("there is no node type {}", id),
                  "did you mean " + listed(nearest(id, catalogue_.node_ids())));
  }
  std::shared_ptr<Node> node = it->second();
  node->declaration_.id = it->first;
  node->configure(params);
  return node;
}

const PortType* Registry::type(std::string_view name) const {
  const auto it = types_.find(name);
  return it == types_.end() ? nullptr : it->second;
}

void Registry::load_plugin(const std::string& path) {
  // Stays loaded for good: its nodes' code and types are used until the program ends.
  void* const library = dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Failure("plugin-load", fmt::format("{} cannot be loaded: {}", path, dlerror()),
                  "build it against the installed package with find_package(RewardLoom)");
  }
  const auto abi = reinterpret_cast<int (*)()>(dlsym(library, "rewardloom_plugin_abi"));
  const auto enter =
      reinterpret_cast<void (*)(Registry&)>(dlsym(library, "rewardloom_plugin_register"));
  if (abi == nullptr || enter == nullptr) {
    throw Failure("plugin-load", fmt::format("{} is no RewardLoom plug-in", path),
                  "end one of its sources with REWARDLOOM_PLUGIN(...)");
  }
  if (abi() != kPluginAbi) {
    throw Failure("plugin-abi",
                  fmt::format("{} was built for plug-in interface {}, this program has {}", path,
                              abi(), kPluginAbi),
                  "build it again against the installed headers");
  }
  enter(*this);
}

}  // namespace rewardloom
