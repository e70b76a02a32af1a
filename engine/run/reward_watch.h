// Watches what a run measures for a reward that is hacked: the one that is trained on goes on
// rising while one that is only measured falls. No LibTorch here.
#pragma once
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/core/problem.h"
#include "engine/io/proxy_gold.h"
#include "engine/io/run_reader.h"

namespace rewardloom {

class RewardWatch {
 public:
  static constexpr const char* kCode = "overoptimisation";

  /// A metric of the present iteration; from any thread. The last value of an iteration counts.
  void metric(std::int64_t iteration, const std::string& name, double value);

  /// What has become suspect, each place once. To be asked after every iteration; looks at the
  /// curves in every fifth, in long runs less often. What it says depends on the metrics alone.
  std::vector<Problem> suspects(std::int64_t iteration);

  /// What a resumed run has measured and told before.
  void restore(RunReader& recorded);

 private:
  struct Series {
    std::string name;
    std::vector<CurvePoint> points;
  };
  void note(std::int64_t iteration, const std::string& name, double value);
  void find_pairs();
  const std::vector<CurvePoint>& curve(const std::string& name) const;

  std::mutex mutex_;
  std::vector<Series> series_;
  /// Of every name that was given: its place in series_, or kOther.
  std::unordered_map<std::string, std::size_t> places_;
  std::vector<ProxyGoldNames> pairs_;
  std::size_t searched_ = 0;  ///< how many series there were when pairs were last looked for
  std::set<std::string> told_;
};

}  // namespace rewardloom
