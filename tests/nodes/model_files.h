// Where the tests of language models find the shared models and golden numbers.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "engine/core/json.h"
#include "engine/io/jsonl.h"

namespace rewardloom::model_files {

inline std::filesystem::path shared() {
  return std::filesystem::path(REWARDLOOM_SOURCE_DIR) / ".." / "shared" / "data";
}
inline bool available() { return std::filesystem::exists(shared() / "logits-golden"); }
inline Json golden(const std::string& name) {
  return read_json(shared() / "logits-golden" / (name + ".json"));
}
inline std::filesystem::path folder(const std::string& model) {
  if (model.starts_with("tiny-random")) return shared() / "hf-tiny" / model;
  return shared() / (model == "stories260K" ? "stories260K-hf" : "tinyzero-arith-model");
}

}  // namespace rewardloom::model_files
