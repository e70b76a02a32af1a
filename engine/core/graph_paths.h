// Where a relative path in a graph leads. No LibTorch.
#pragma once
#include <optional>
#include <string>

namespace rewardloom {

/// The existing file or folder that `given` names, seen from the folder of `graph_file`; for the
/// graph in a run folder also from that of the graph which the run was made from. Nothing where
/// there is none: then it starts at the working directory.
std::optional<std::string> beside_graph(const std::string& graph_file, const std::string& given);

}  // namespace rewardloom
