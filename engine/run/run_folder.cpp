#include "engine/run/run_folder.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "engine/graph/parameters.h"
#include "engine/graph/settings.h"
#include "engine/io/durable_file.h"
#include "engine/io/run_reader.h"

namespace rewardloom {
namespace fs = std::filesystem;

Json to_json(const RunInfo& info) {
  Json json;
  json["rewardloom"] = info.version;
  json["libtorch"] = info.libtorch;
  json["graph_file"] = info.graph_file;
  json["graph_hash"] = info.graph_hash;
  json["seed"] = info.seed;
  json["device"] = info.device;
  json["threads"] = info.threads;
  json["iterations"] = info.iterations;
  json["completed"] = info.completed;
  json["state"] = info.state;
  json["started"] = info.started;
  json["seconds"] = info.seconds;
  json["plugins"] = info.plugins;
  if (!info.problem.is_null()) json["problem"] = info.problem;
  return json;
}

RunInfo run_info_from_json(const Json& json) {
  RunInfo info;
  info.version = json.at("rewardloom");
  info.libtorch = json.value("libtorch", "");
  info.graph_file = json.at("graph_file");
  info.graph_hash = json.at("graph_hash");
  info.seed = json.at("seed");
  info.device = json.value("device", "cpu");
  info.threads = json.value("threads", 0);
  info.iterations = json.at("iterations");
  info.completed = json.value("completed", std::int64_t{0});
  info.state = json.value("state", "");
  info.started = json.value("started", 0.0);
  info.seconds = json.value("seconds", 0.0);
  info.plugins = json.value("plugins", std::vector<std::string>{});
  if (json.contains("problem")) info.problem = json["problem"];
  return info;
}

namespace {

std::string folder_name(const std::string& graph_name) {
  std::string name;
  for (const char c : graph_name) {
    name += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ? c : '-';
  }
  // A hidden graph file's run is not hidden, and no command takes its name for an option.
  name.erase(0, std::min(name.find_first_not_of('-'), name.size()));
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  return fmt::format("{}-{:%Y%m%d-%H%M%S}", name.empty() ? "run" : name,
                     fmt::localtime(std::chrono::system_clock::to_time_t(now)));
}

}  // namespace

fs::path make_run_folder(const fs::path& parent, const std::string& graph_name) {
  const std::string name = folder_name(graph_name);
  try {
    fs::create_directories(parent);
    for (int count = 1;; ++count) {
      const fs::path folder = parent / (count == 1 ? name : fmt::format("{}-{}", name, count));
      if (fs::create_directory(folder)) return folder;
    }
  } catch (const fs::filesystem_error& error) {
    throw Failure(
        "run-folder",
        fmt::format("{} cannot hold a run folder: {}", parent.string(), error.code().message()),
        "choose another place with --out");
  }
}

RunFolderLock::RunFolderLock(const fs::path& folder) {
  const fs::path path = folder / "lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) {
    throw Failure("run-folder",
                  fmt::format("{} cannot be written: {}", path.string(),
                              std::generic_category().message(errno)),
                  "run folders must be writable");
  }
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(std::exchange(file_, -1));
  throw Failure("run-in-use", fmt::format("{} is in use by another run", folder.string()),
                "wait until it has ended, or stop it");
}

RunFolderLock::RunFolderLock(RunFolderLock&& other) noexcept
    : file_(std::exchange(other.file_, -1)) {}

RunFolderLock& RunFolderLock::operator=(RunFolderLock&& other) noexcept {
  RunFolderLock old(std::move(*this));
  file_ = std::exchange(other.file_, -1);
  return *this;
}

RunFolderLock::~RunFolderLock() {
  if (file_ >= 0) ::close(file_);
}

void write_run_info(const fs::path& folder, const RunInfo& info) {
  write_durably(folder / "run.json", to_json(info).dump(2) + "\n");
}

RunInfo read_run_info(const fs::path& folder) {
  const auto text = [&] {
    try {
      return read_file(folder / "run.json");
    } catch (const Failure& failure) {
      if (failure.problem().code != "file-not-found") throw;
      throw Failure("run-folder",
                    fmt::format("{} is no run folder: it has no run.json", folder.string()),
                    "name a folder that `rewardloom run` has made");
    }
  }();
  try {
    return run_info_from_json(Json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    throw Failure("run-folder",
                  fmt::format("{}/run.json is broken: {}", folder.string(), error.what()));
  }
}

namespace {

/// Adds the parameters that the nodes of subgraphs leave to their defaults.
class SubgraphDefaults {
 public:
  explicit SubgraphDefaults(Document& document) : document_(document) {}

  void fill(const std::vector<GraphNode>& nodes, const Plan& plan, const std::string& prefix) {
    for (const GraphNode& node : nodes) {
      const std::string name = prefix + node.name;
      if (const auto subgraph = node.subgraph()) {
        if (Subgraph* const body = document_.subgraph(*subgraph)) enter(*body, plan, name + "/");
        continue;
      }
      const int index = plan.node_index(name);
      if (index < 0) continue;
      for (const PlanBody& inner : plan.nodes[static_cast<std::size_t>(index)].bodies) {
        Subgraph* const body = document_.subgraph(inner.subgraph);
        if (body == nullptr) continue;
        // The names of nodes in bodies: see engine/graph/README.md.
        enter(*body, *inner.plan, name + "/");
        enter(*body, *inner.plan, name + "/" + inner.subgraph + "/");
      }
    }
  }

 private:
  void enter(Subgraph& body, const Plan& plan, const std::string& prefix) {
    for (GraphNode& node : body.nodes) {
      const int index = plan.node_index(prefix + node.name);
      // What a preset fills in may differ between copies of the body.
      const bool varies = has_substitutions(node.params.value("preset", Json()));
      if (index < 0 || varies) continue;
      for (const auto& [key, value] : plan.nodes[static_cast<std::size_t>(index)].params.items()) {
        if (!node.params.contains(key)) node.params[key] = as_written(value);
      }
    }
    fill(body.nodes, plan, prefix);
  }

  Document& document_;
};

}  // namespace

Document resolved_graph(const Document& document, const Plan& plan) {
  Document resolved = document;
  for (GraphNode& node : resolved.nodes) {
    const int index = plan.node_index(node.name);
    Json params = substitute(node.params, document.parameters);
    if (index >= 0) params.update(plan.nodes[static_cast<std::size_t>(index)].params);
    node.params = as_written(params);
  }
  resolved.parameters = Json::object();  // nothing reads them any more
  resolved.settings = with_defaults(document.settings);
  SubgraphDefaults(resolved).fill(document.nodes, plan, "");
  return resolved;
}

void write_graph(const fs::path& folder, const Document& document, const Plan& plan) {
  resolved_graph(document, plan).save(folder / "graph.json");
}

bool has_history(const fs::path& folder) {
  std::error_code error;
  const auto bytes = fs::file_size(folder / "run.db", error);
  if (error || bytes == 0) {
    for (const char* name : {"run.db-wal", "run.db-shm"}) fs::remove(folder / name, error);
    return false;
  }
  try {
    return RunReader(folder).last_iteration().has_value();
  } catch (const Failure&) {
    return true;  // Damaged: whoever opens it to write says how.
  }
}

}  // namespace rewardloom
