// What the standard library and the tensor library say when memory runs out, in words of ours.
#pragma once
#include <exception>
#include <optional>

#include "engine/core/problem.h"

namespace rewardloom {

/// A Failure `out-of-memory` where `error` says that memory ran out, of the host or of a device,
/// with the size that was asked for where it is known; nothing for any other error.
std::optional<Failure> out_of_memory(const std::exception& error);

}  // namespace rewardloom
