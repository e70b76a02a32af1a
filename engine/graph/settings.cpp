#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

SettingDeclaration whole(const char* name, std::int64_t value, double min, const char* doc,
                         std::optional<double> max = {}, bool numeric = false) {
  SettingDeclaration s;
  s.name = name;
  s.kind = ParameterKind::integer;
  s.default_value = value;
  s.min = min;
  s.max = max;
  s.doc = doc;
  s.numeric = numeric;
  return s;
}

}  // namespace

const std::vector<SettingDeclaration>& setting_declarations() {
  static const std::vector<SettingDeclaration> declarations = {
      whole("iterations", 1, 0, "how often the graph runs"),
      whole("seed", 0, 0, "from which all random numbers of a run come", {}, true),
      whole("threads", 0, 0, "processor threads; 0: all", 4096),
      whole("checkpoint_every", 20, 0, "iterations between checkpoints; 0: only when a run ends"),
      whole("checkpoint_keep", 3, 1, "how many checkpoints are kept", 1000000),
      whole("record_samples", 16, 0, "whole samples that each probe keeps per iteration", 1000000),
      whole("record_bins", 64, 2, "bins of each probe's histogram", 1000000),
  };
  return declarations;
}

const SettingDeclaration* setting_declaration(std::string_view name) {
  for (const SettingDeclaration& declaration : setting_declarations()) {
    if (declaration.name == name) return &declaration;
  }
  return nullptr;
}

Json with_defaults(const Json& settings) {
  Json all = settings;
  for (const SettingDeclaration& declaration : setting_declarations()) {
    if (!all.contains(declaration.name)) all[declaration.name] = declaration.default_value;
  }
  return all;
}

}  // namespace rewardloom
