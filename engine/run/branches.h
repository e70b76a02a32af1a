// The branches that a node runs in: copies of one body, with the same node names and random
// numbers.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace rewardloom {

/// The branches around a node as they are shown, outermost first: {"sweep[lr=0.1]",
/// "sweep[lr=0.1]/seeds[seed=1]"}. Null where there are none.
using Branches = std::shared_ptr<const std::vector<std::string>>;

/// What a node inside a branch calls things by, without the branches' names: "clip" for
/// "sweep[lr=0.1]/clip", also within a longer name.
inline std::string within_branches(std::string name, const Branches& branches) {
  if (!branches) return name;
  for (auto branch = branches->rbegin(); branch != branches->rend(); ++branch) {
    const std::string prefix = *branch + "/";
    for (std::size_t at = 0; (at = name.find(prefix, at)) != std::string::npos;) {
      name.erase(at, prefix.size());
    }
  }
  return name;
}

}  // namespace rewardloom
