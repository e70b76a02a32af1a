#include "engine/graph/override.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

/// The subgraphs that the texts in `value` name.
void add_named_subgraphs(const Json& value, const Document& document,
                         std::vector<std::string>& out) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const bool known = std::find(out.begin(), out.end(), text) != out.end();
    if (!known && document.subgraph(text) != nullptr) out.push_back(text);
  }
  if (!value.is_structured()) return;
  for (const Json& member : value) add_named_subgraphs(member, document, out);
}

void rename_texts(Json& value, const std::string& from, const std::string& to) {
  if (value.is_string() && value == from) value = to;
  if (!value.is_structured()) return;
  for (Json& member : value) rename_texts(member, from, to);
}

class Override {
 public:
  Override(Document& document, std::string_view assignment, const Catalogue* catalogue)
      : document_(document), assignment_(assignment), catalogue_(catalogue) {}

  void apply() {
    const std::size_t equals = assignment_.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail("there is no value", "write node.param=value or name=value");
    }
    const std::string target = assignment_.substr(0, equals);
    value_ = assignment_.substr(equals + 1);
    const std::size_t dot = target.find('.');
    if (dot == std::string::npos) return set_parameter(target);
    const std::string owner = target.substr(0, dot);
    const std::string name = target.substr(dot + 1);
    if (owner == "parameters") return set_parameter(name);
    if (owner == "settings") return set_setting(name);
    set_node_param(owner, name);
  }

 private:
  [[noreturn]] void fail(const std::string& text, std::string help) const {
    throw Failure({Severity::error,
                   "bad-override",
                   {document_.file, "", ""},
                   fmt::format("--set {}: {}", assignment_, text),
                   std::move(help),
                   {}});
  }

  static std::string near_names(std::string_view wrong, const std::vector<std::string>& known,
                                std::string_view none) {
    if (known.empty()) return std::string(none);
    const std::vector<std::string> near = nearest(wrong, known);
    return near.empty() ? "there are " + listed(known, "and") : "did you mean " + listed(near);
  }

  /// JSON where the value is some, else the text; a text parameter takes what looks like a number
  /// too.
  Json parsed(const ParameterDeclaration* declaration) const {
    const Json json = Json::parse(value_, nullptr, false);
    if (json.is_discarded()) return value_;
    const bool text = declaration != nullptr && (declaration->kind == ParameterKind::text ||
                                                 declaration->kind == ParameterKind::choice);
    if (!text || json.is_string()) return json;
    return json.is_null() && declaration->nullable ? json : Json(value_);
  }

  void set_parameter(const std::string& name) {
    if (!document_.parameters.contains(name)) {
      std::vector<std::string> known;
      for (const auto& [key, value] : document_.parameters.items()) known.push_back(key);
      const bool setting = setting_declaration(name) != nullptr;
      fail(fmt::format("the graph has no parameter \"{}\"", name),
           setting ? fmt::format("write settings.{}", name)
                   : near_names(name, known,
                                "it has none (in the graph of a run their values stand in the "
                                "nodes that used them); write node.param=value"));
    }
    const bool text = document_.parameters[name].is_string();
    ParameterDeclaration as_text;
    document_.parameters[name] = parsed(text ? &as_text : nullptr);
  }

  void set_setting(const std::string& name) {
    const SettingDeclaration* const setting = setting_declaration(name);
    if (setting == nullptr) {
      std::vector<std::string> known;
      for (const SettingDeclaration& s : setting_declarations()) known.push_back(s.name);
      fail(fmt::format("there is no setting \"{}\"", name), near_names(name, known, ""));
    }
    const Json value = parsed(setting);
    if (const auto fault = fault_of(*setting, value)) fail(*fault, setting->doc);
    document_.settings[name] = value;
  }

  void set_node_param(const std::string& path, const std::string& param) {
    std::vector<GraphNode>* nodes = &document_.nodes;
    std::string_view rest = path;
    std::string walked;
    for (;;) {
      const std::size_t slash = rest.find('/');
      const std::string name(rest.substr(0, slash));
      GraphNode& node = find(*nodes, name, walked);
      walked += (walked.empty() ? "" : "/") + name;
      if (slash == std::string_view::npos) return set_param(node, param);
      rest = rest.substr(slash + 1);
      Subgraph& body = enter(node, rest, walked);
      nodes = &body.nodes;
    }
  }

  GraphNode& find(std::vector<GraphNode>& nodes, const std::string& name,
                  const std::string& walked) const {
    std::vector<std::string> known;
    for (GraphNode& node : nodes) {
      if (node.name == name) return node;
      known.push_back(node.name);
    }
    fail(walked.empty() ? fmt::format("there is no node \"{}\"", name)
                        : fmt::format("there is no node \"{}\" in {}", name, walked),
         near_names(name, known, "it has no nodes"));
  }

  /// The subgraph behind a node of the path; takes its name off `rest` where a container has
  /// several.
  Subgraph& enter(GraphNode& node, std::string_view& rest, std::string& walked) {
    if (const auto name = node.subgraph()) {
      const Subgraph* const subgraph = document_.subgraph(*name);
      if (subgraph == nullptr) fail(fmt::format("{} is of the unknown {}", walked, node.type), "");
      const std::string own = only_here(subgraph->name, node.name);
      node.type = "subgraph." + own;
      return *document_.subgraph(own);
    }
    std::vector<std::string> bodies = bodies_of(node);
    if (bodies.empty()) fail(fmt::format("{} has no nodes inside", walked), "");
    std::string chosen = bodies.front();
    if (bodies.size() > 1) {
      const std::size_t slash = rest.find('/');
      chosen = std::string(rest.substr(0, slash));
      if (slash == std::string_view::npos ||
          std::find(bodies.begin(), bodies.end(), chosen) == bodies.end()) {
        fail(fmt::format("{} has several bodies", walked),
             fmt::format("write {}/{}/NODE.param", walked, bodies.front()));
      }
      rest = rest.substr(slash + 1);
      walked += "/" + chosen;
    }
    const std::string own = only_here(chosen, node.name);
    rename_texts(node.params, chosen, own);
    return *document_.subgraph(own);
  }

  std::vector<std::string> bodies_of(const GraphNode& node) const {
    std::vector<std::string> out;
    const NodeDeclaration* const type =
        catalogue_ == nullptr ? nullptr : catalogue_->node(node.type);
    for (const auto& [name, value] : node.params.items()) {
      bool body = type == nullptr;
      for (std::size_t i = 0; !body && i < type->bodies.size(); ++i) {
        body = type->bodies[i].parameter == name;
      }
      if (body) add_named_subgraphs(value, document_, out);
    }
    return out;
  }

  int uses_of(const std::string& subgraph) const {
    int uses = 0;
    const auto count = [&](const std::vector<GraphNode>& nodes) {
      for (const GraphNode& node : nodes) {
        const std::vector<std::string> bodies = bodies_of(node);
        uses += node.subgraph() == std::string_view(subgraph) ||
                std::find(bodies.begin(), bodies.end(), subgraph) != bodies.end();
      }
    };
    count(document_.nodes);
    for (const Subgraph& s : document_.subgraphs) count(s.nodes);
    return uses;
  }

  /// The name of a subgraph that only this use has: itself, or a copy.
  std::string only_here(const std::string& subgraph, const std::string& node) {
    if (uses_of(subgraph) <= 1) return subgraph;
    std::string name = subgraph + "_" + node;
    while (document_.subgraph(name) != nullptr) name += "_";
    // References to nodes stay good: subgraphs are moved, and with them their lists of nodes.
    static_assert(std::is_nothrow_move_constructible_v<Subgraph>);
    Subgraph copy = *document_.subgraph(subgraph);
    copy.name = name;
    document_.subgraphs.push_back(std::move(copy));
    return name;
  }

  void set_param(GraphNode& node, const std::string& param) {
    const ParameterDeclaration* declaration = nullptr;
    std::vector<std::string> known;
    bool complete = false;  // whether all parameters are known
    if (const auto name = node.subgraph()) {
      const Subgraph* const subgraph = document_.subgraph(*name);
      complete = subgraph != nullptr;
      if (complete) {
        for (const auto& [key, value] : subgraph->parameters.items()) known.push_back(key);
      }
    } else if (const NodeDeclaration* type =
                   catalogue_ == nullptr ? nullptr : catalogue_->node(node.type)) {
      complete = true;
      declaration = type->param(param);
      for (const ParameterDeclaration& p : type->params) known.push_back(p.name);
    }
    if (complete && std::find(known.begin(), known.end(), param) == known.end()) {
      fail(fmt::format("{} has no parameter \"{}\"", node.type, param),
           near_names(param, known, "it has none"));
    }
    node.params[param] = parsed(declaration);
  }

  Document& document_;
  const std::string assignment_;
  const Catalogue* catalogue_;
  std::string value_;
};

}  // namespace

void apply_override(Document& document, std::string_view assignment, const Catalogue* catalogue) {
  Override(document, assignment, catalogue).apply();
}

}  // namespace rewardloom
