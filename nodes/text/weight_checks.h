// Refusing weights that do not fit what they are read for.
#pragma once
#include <string>
#include <vector>

#include "nodes/text/model_weights.h"

namespace rewardloom {

/// Failure `model-weights` with the full list of what is missing, unexpected or misshapen; `owner`
/// is what the shapes belong to.
void require_shapes(const std::string& owner, const std::vector<WeightShape>& shapes,
                    const WeightMap& weights);

}  // namespace rewardloom
