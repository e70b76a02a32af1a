// What a value, a state or a checkpoint looks like on disk: named tensors and JSON metadata.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "engine/core/json.h"

namespace rewardloom {

/// One safetensors file in memory. Texts and everything else that is no tensor live in `meta`.
struct Package {
  std::map<std::string, at::Tensor> tensors;
  Json meta = Json::object();
};

}  // namespace rewardloom
