// The settings of a graph file, declared once: the checker, the schema, the command line and the
// editor derive theirs from here.
#pragma once
#include <vector>

#include "engine/core/declaration.h"

namespace rewardloom {

struct SettingDeclaration : ParameterDeclaration {
  /// A part of the graph's meaning: it changes the numbers of an iteration, so it is in the graph
  /// hash.
  bool numeric = false;
};

/// iterations, seed, threads, checkpoint_every, checkpoint_keep, record_samples, record_bins.
const std::vector<SettingDeclaration>& setting_declarations();
const SettingDeclaration* setting_declaration(std::string_view name);
/// `settings` with the defaults of those that it leaves out.
Json with_defaults(const Json& settings);

}  // namespace rewardloom
