#include "engine/core/step.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/core/graph_paths.h"

namespace rewardloom {

void Step::fail(std::string code, std::string text, std::string help) const {
  throw Failure({Severity::error,
                 std::move(code),
                 {settings_.file, settings_.node, ""},
                 std::move(text),
                 std::move(help),
                 iteration_});
}

void Step::refuse_handle(const HandleState* state, const std::string& wanted) const {
  fail("handle-kind",
       fmt::format("needs a {}, but the handle names a {}", wanted,
                   state ? state->kind() : "nothing"),
       "connect a node that gives a " + wanted);
}

std::string path_from(const std::string& graph_file, const std::string& given) {
  if (std::filesystem::path(given).is_absolute()) return given;
  return beside_graph(graph_file, given).value_or(given);
}

std::string Step::path(const std::string& given) const { return path_from(settings_.file, given); }

}  // namespace rewardloom
