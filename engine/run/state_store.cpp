#include "engine/run/state_store.h"

namespace rewardloom {

StateHolder& StateStore::get(const std::string& key, const std::function<StateHolder()>& make) {
  Package saved;
  bool load = false;
  {
    const std::lock_guard lock(mutex_);
    const auto it = states_.find(key);
    if (it != states_.end()) return it->second;
    const auto waiting = waiting_.find(key);
    load = waiting != waiting_.end();
    if (load) saved = waiting->second;
  }
  // Making a state may load a model: other nodes must not wait for that.
  StateHolder made = make();
  if (load) {
    try {
      made.load(saved);
    } catch (const nlohmann::json::exception& error) {
      throw Failure("checkpoint-state",
                    "the checkpoint's state " + key + " does not fit this node: " + error.what(),
                    "resume with the graph that wrote the checkpoint");
    }
  }
  const std::lock_guard lock(mutex_);
  waiting_.erase(key);
  return states_.emplace(key, std::move(made)).first->second;
}

std::map<std::string, Package> StateStore::save() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, Package> all = waiting_;
  for (const auto& [key, holder] : states_) {
    Package package;
    holder.save(package);
    all[key] = std::move(package);
  }
  return all;
}

void StateStore::restore(std::map<std::string, Package> saved) {
  const std::lock_guard lock(mutex_);
  waiting_ = std::move(saved);
}

}  // namespace rewardloom
