#include "engine/run/graph_versions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/graph/hash.h"
#include "engine/graph/settings.h"
#include "engine/io/checkpoint_files.h"
#include "engine/io/durable_file.h"
#include "engine/run/run_folder.h"

namespace rewardloom {
namespace fs = std::filesystem;

namespace {

constexpr int kVersionsFormat = 1;

fs::path folder_of_versions(const fs::path& folder) { return folder / "graphs"; }

GraphVersion read_version(const fs::path& file) {
  try {
    const Json json = Json::parse(read_file(file));
    GraphVersion version;
    version.from = json.at("from").get<std::int64_t>();
    version.set = json.at("set").get<std::vector<std::string>>();
    version.graph_hash = json.at("graph_hash").get<std::string>();
    version.graph = Document::parse(json.at("graph").dump(), file.string());
    return version;
  } catch (const nlohmann::json::exception& error) {
    throw Failure("run-folder", fmt::format("{} is broken: {}", file.string(), error.what()),
                  "restore it from a copy of the run folder, or begin a new run");
  }
}

struct Difference {
  std::string place;
  const Json* before = nullptr;  ///< null: not there
  const Json* now = nullptr;
};

void find_differences(const Json* before, const Json* now, const std::string& place,
                      std::vector<Difference>& found) {
  const bool both = before != nullptr && now != nullptr;
  if (both && *before == *now) return;
  if (!both || !before->is_object() || !now->is_object())
    return found.push_back({place, before, now});
  const auto member = [](const Json& json, const std::string& key) {
    const auto it = json.find(key);
    return it == json.end() ? nullptr : &*it;
  };
  const auto deeper = [&](const std::string& key) {
    // "nodes.update.params.learning_rate" is update.learning_rate for --set.
    if (key == "params" || (place.empty() && key == "nodes")) return place;
    return place.empty() ? key : place + "." + key;
  };
  for (const auto& [key, value] : before->items()) {
    find_differences(&value, member(*now, key), deeper(key), found);
  }
  for (const auto& [key, value] : now->items()) {
    if (!before->contains(key)) find_differences(nullptr, &value, deeper(key), found);
  }
}

/// What changes numbers.
Json meaning(const Document& document) {
  Json json = document.to_json();
  Json out = Json::object();
  for (const char* key : {"parameters", "settings", "nodes", "subgraphs"}) {
    if (json.contains(key)) out[key] = json[key];
  }
  for (const SettingDeclaration& setting : setting_declarations()) {
    if (!setting.numeric && out.contains("settings")) out["settings"].erase(setting.name);
  }
  return out;
}

std::string shortened(const Json* value) {
  if (value == nullptr) return "nothing";
  const std::string text = value->dump();
  constexpr std::size_t kShown = 40;
  return text.size() <= kShown ? text : text.substr(0, kShown) + "…";
}

[[noreturn]] void refuse_edited(const fs::path& file, const Document& found,
                                const Document& expected) {
  const Json before = meaning(expected);
  const Json now = meaning(found);
  std::vector<Difference> differences;
  find_differences(&before, &now, "", differences);
  constexpr std::size_t kTold = 4;
  std::vector<std::string> told;
  for (const Difference& d : differences) {
    if (told.size() == kTold) break;
    told.push_back(fmt::format("{} is {}, in the run it is {}", d.place, shortened(d.now),
                               shortened(d.before)));
  }
  std::string text = fmt::format("was edited after the run wrote it: {}", fmt::join(told, "; "));
  if (differences.size() > kTold) text += fmt::format("; {} more", differences.size() - kTold);
  throw Failure(
      {Severity::error,
       "graph-changed",
       {file.string(), "", ""},
       text,
       "delete this file to go on with the run's own graph, which is written anew; change "
       "parameters with --set NODE.PARAM=VALUE, which the run notes; or begin a new run",
       {}});
}

void take_what_changes_no_number(Document& to, const Document& from) {
  to.placement = from.placement;
  to.layout = from.layout;
  to.about = from.about;
  for (const SettingDeclaration& setting : setting_declarations()) {
    if (setting.numeric) continue;
    if (from.settings.contains(setting.name)) {
      to.settings[setting.name] = from.settings[setting.name];
    } else {
      to.settings.erase(setting.name);
    }
  }
}

}  // namespace

void write_graph_version(const fs::path& folder, const GraphVersion& version) {
  const fs::path place = folder_of_versions(folder);
  std::error_code error;
  fs::create_directories(place, error);
  if (error) {
    throw Failure("write-failed",
                  fmt::format("cannot create {}: {}", place.string(), error.message()));
  }
  const Json json = {{"rewardloom_graph_version", kVersionsFormat},
                     {"from", version.from},
                     {"set", version.set},
                     {"graph_hash", version.graph_hash},
                     {"graph", version.graph.to_json()}};
  write_durably(place / fmt::format("{:06}.json", version.from), json.dump(1) + "\n");
}

std::vector<GraphVersion> read_graph_versions(const fs::path& folder) {
  std::vector<GraphVersion> versions;
  std::error_code error;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(folder_of_versions(folder), error)) {
    const std::string name = entry.path().filename().string();
    const bool ours = entry.path().extension() == ".json" && !name.empty() &&
                      name.find_first_not_of("0123456789") == name.find('.');
    if (ours) versions.push_back(read_version(entry.path()));
  }
  std::sort(versions.begin(), versions.end(),
            [](const GraphVersion& a, const GraphVersion& b) { return a.from < b.from; });
  return versions;
}

ResumedGraph graph_to_resume(const fs::path& folder, std::int64_t iteration) {
  const fs::path file = folder / "graph.json";
  ResumedGraph resumed;
  resumed.versions = read_graph_versions(folder);
  if (resumed.versions.empty()) {
    resumed.document = Document::load(file);
    resumed.versions.push_back({0, {}, read_run_info(folder).graph_hash, resumed.document});
    return resumed;
  }
  const GraphVersion* in_force = &resumed.versions.front();
  for (const GraphVersion& version : resumed.versions) {
    if (version.from <= iteration) in_force = &version;
  }
  if (!fs::exists(file)) {
    resumed.document = in_force->graph;
    resumed.in_file = false;
    return resumed;
  }
  const Document found = Document::load(file);
  const std::string hash = graph_hash(found);
  // A run that was killed while it wrote a change down may have left the graph before it.
  const bool known =
      std::any_of(resumed.versions.begin(), resumed.versions.end(),
                  [&](const GraphVersion& version) { return graph_hash(version.graph) == hash; });
  if (!known) refuse_edited(file, found, resumed.versions.back().graph);
  resumed.in_file = graph_hash(in_force->graph) == hash;
  for (GraphVersion& version : resumed.versions) take_what_changes_no_number(version.graph, found);
  resumed.document = resumed.in_file ? found : in_force->graph;
  return resumed;
}

std::int64_t resumed_iteration(const fs::path& named) {
  if (named.parent_path().filename() == "checkpoints") return read_checkpoint(named).iteration;
  const std::vector<CheckpointInfo> all = list_checkpoints(named / "checkpoints");
  return all.empty() ? 0 : all.back().iteration;
}

}  // namespace rewardloom
