// From named tensors and JSON to the values of a node's input ports.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "engine/core/declaration.h"
#include "engine/core/package.h"
#include "engine/core/registry.h"
#include "engine/core/value.h"

namespace rewardloom {

/// The inputs of each update: a tensor called as a port that has one dimension more than the port's
/// main field ([U,N] for [N]) holds U updates in order; everything else goes to all of them. Empty
/// if there is no such tensor.
std::vector<Package> updates_from_keys(const Registry& registry, const NodeDeclaration& node,
                                       const Package& inputs);

/// The edges of each input port, made from `inputs` as described at `evaluate`.
std::vector<std::vector<Value>> values_from_keys(const Registry& registry,
                                                 const NodeDeclaration& node,
                                                 const Package& inputs);

/// A (nested) list of numbers or booleans, or one of them, as a tensor: int64, bool, else double.
/// Undefined for anything else. Failure `bad-value` for a ragged list.
at::Tensor tensor_from_json(const Json& json);

}  // namespace rewardloom
