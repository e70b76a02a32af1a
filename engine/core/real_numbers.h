// Rewards, log-probs and the like are real numbers whatever type they were written in: verdicts
// come as truths or whole numbers, and arithmetic in those would cut off what is behind the point.
#pragma once
#include <ATen/core/Tensor.h>

#include <string_view>

#include "engine/core/value.h"

namespace rewardloom {

/// Truths and whole numbers as `real`; floating point and undefined tensors as they are.
at::Tensor real_numbers(const at::Tensor& tensor, at::ScalarType real);

/// Whether a loss's argument of that name holds real numbers, so not ids, masks, lengths or labels.
bool is_real_argument(std::string_view argument);

/// Turns the fields of real numbers (FieldOptions) of a value that nobody reads yet into `real`.
/// Values may hold either, which their reader knows.
void make_real(Value& value, at::ScalarType real);
void make_real(const PortType& type, Package& package, at::ScalarType real);

}  // namespace rewardloom
