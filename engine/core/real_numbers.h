// Rewards, log-probs and the like are real numbers whatever type they were written in: verdicts
// come as truths or whole numbers, and arithmetic in those would cut off what is behind the point.
#pragma once
#include <ATen/core/Tensor.h>

#include <string_view>

#include "engine/core/value.h"

namespace rewardloom {

/// Truths and whole numbers as `real`; floating point and undefined tensors as they are.
at::Tensor real_numbers(const at::Tensor& tensor, at::ScalarType real);

/// Whether a field of a port type holds real numbers, so not ids, masks, lengths or labels. Values
/// may hold either, which their reader knows.
bool holds_real_numbers(std::string_view type, std::string_view field);
/// The same of a loss's argument, by its name.
bool is_real_argument(std::string_view argument);

/// Turns such fields of a value that nobody reads yet into `real`.
void make_real(Value& value, at::ScalarType real);
void make_real(const PortType& type, Package& package, at::ScalarType real);

}  // namespace rewardloom
