#include "engine/core/graph_paths.h"

#include <filesystem>
#include <fstream>

#include "engine/core/json.h"

namespace rewardloom {
namespace fs = std::filesystem;

namespace {

/// The file that the graph in a run folder was made from. Empty elsewhere.
std::string origin_of(const std::string& graph_file) {
  const fs::path info = fs::path(graph_file).replace_filename("run.json");
  std::error_code ignored;
  if (!fs::is_regular_file(info, ignored)) return {};
  std::ifstream text(info);
  const Json run = Json::parse(text, nullptr, false);
  const bool known = run.is_object() && run.contains("graph_file") && run["graph_file"].is_string();
  return known ? run["graph_file"].get<std::string>() : std::string();
}

}  // namespace

std::optional<std::string> beside_graph(const std::string& graph_file, const std::string& given) {
  // A run may have been made from the graph of another run; the limit ends circles.
  constexpr int kLongestChain = 16;
  std::string file = graph_file;
  for (int i = 0; i < kLongestChain; ++i) {
    std::error_code ignored;
    const fs::path found = fs::path(file).parent_path() / given;
    if (fs::exists(found, ignored)) return found.string();
    file = origin_of(file);
    if (file.empty()) break;
  }
  return std::nullopt;
}

}  // namespace rewardloom
