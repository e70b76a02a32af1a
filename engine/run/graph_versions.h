// The graphs that a run has had: graphs/000000.json is the one it began with, graphs/000028.json
// the one from iteration 28 on. A resumed run goes through them again, so that parameters that were
// set while it ran change at the same iteration as they did.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/graph/document.h"

namespace rewardloom {

/// The graph from an iteration on, every parameter resolved.
struct GraphVersion {
  std::int64_t from = 0;
  std::vector<std::string> set;  ///< what changed it: "update.learning_rate=0.001"
  std::string graph_hash;        ///< what run.json says while it holds
  Document graph;
};

/// Written durably; one of the same iteration is replaced.
void write_graph_version(const std::filesystem::path& folder, const GraphVersion& version);
/// By rising iteration; none in a folder of an older program. Failure `run-folder` for a broken
/// one.
std::vector<GraphVersion> read_graph_versions(const std::filesystem::path& folder);

/// What a run folder says of the graph to resume with at `iteration`.
struct ResumedGraph {
  Document document;                   ///< in force at that iteration
  bool in_file = true;                 ///< graph.json says the same
  std::vector<GraphVersion> versions;  ///< all of the run, at least one
};

/// graph.json may differ from what the run has had in what changes no number (placement, layout,
/// settings such as checkpoint_every): it is taken from there. Failure `graph-changed` if it
/// differs in more: it says what, and what to do.
ResumedGraph graph_to_resume(const std::filesystem::path& folder, std::int64_t iteration);

/// The iteration at which a run folder, or one of its checkpoints, is resumed.
std::int64_t resumed_iteration(const std::filesystem::path& folder_or_checkpoint);

}  // namespace rewardloom
