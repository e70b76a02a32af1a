// All state of a run by its key ("node/state"): made on first use, loaded from a checkpoint when
// resuming.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "engine/core/step.h"

namespace rewardloom {

class StateStore {
 public:
  /// The state under `key`; made by `make` if there is none, then loaded if a checkpoint holds it.
  /// Safe for several threads with different keys; one key belongs to one node.
  StateHolder& get(const std::string& key, const std::function<StateHolder()>& make);

  /// What a checkpoint must hold: every state, also those that were loaded and not asked for yet.
  std::map<std::string, Package> save() const;
  /// What a checkpoint held; takes effect as nodes ask for their state.
  void restore(std::map<std::string, Package> saved);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, StateHolder> states_;
  std::map<std::string, Package> waiting_;
};

}  // namespace rewardloom
