#include "engine/cli/key_metrics.h"

#include <algorithm>
#include <cmath>

namespace rewardloom::cli {
namespace {

constexpr int kReadsBetweenSearches = 20;

bool holds(const std::string& text, const char* word) {
  return text.find(word) != std::string::npos;
}

/// Lower is more telling.
int rank(const std::string& metric) {
  if (holds(metric, "accuracy")) return 0;
  if (holds(metric, "reward")) return 1;
  if (holds(metric, "success") || holds(metric, "return")) return 2;
  for (const char* word : {"kl", "entropy", "loss", "grad_norm"}) {
    if (holds(metric, word)) return 3;
  }
  return 4;
}

}  // namespace

void KeyMetrics::add(const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  const auto [it, is_new] = places_.try_emplace(name, metrics_.size());
  if (is_new) metrics_.push_back({name, value, value});
  metrics_[it->second].last = value;
}

void KeyMetrics::find_probes() {
  for (const ProbeSummary& found : reader_->probes()) {
    // Only rewards have a component of this name.
    if (found.component != "total") continue;
    const bool known = std::any_of(probes_.begin(), probes_.end(), [&](const Probe& probe) {
      return probe.port.node == found.node && probe.port.port == found.port;
    });
    if (known) continue;
    Probe probe;
    probe.port = found;
    probe.mean.name = found.node + "." + found.port;
    probes_.push_back(std::move(probe));
  }
}

void KeyMetrics::read(Probe& probe) {
  // The last iteration is read again: its rows may have been replaced or only now be complete.
  for (const HistogramRow& row : reader_->histograms(
           probe.port.node, probe.port.port, probe.port.component, {probe.next, INT64_MAX})) {
    if (!std::isfinite(row.distribution.mean)) continue;
    if (!probe.seen) probe.mean.first = row.distribution.mean;
    probe.seen = true;
    probe.mean.last = row.distribution.mean;
    probe.next = row.iteration;
  }
}

void KeyMetrics::read_rewards(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  try {
    if (!reader_) reader_ = std::make_unique<RunReader>(folder);
    if (probes_.empty() || reads_ % kReadsBetweenSearches == 0) find_probes();
    ++reads_;
    for (Probe& probe : probes_) read(probe);
  } catch (const Failure&) {
    // A display must not end a run; the run itself says what is wrong with its store.
    reader_.reset();
  }
}

std::vector<KeyMetric> KeyMetrics::key(std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  std::vector<KeyMetric> chosen = metrics_;
  std::stable_sort(chosen.begin(), chosen.end(), [](const KeyMetric& a, const KeyMetric& b) {
    return rank(a.name) < rank(b.name);
  });
  std::vector<KeyMetric> rewards;
  for (const Probe& probe : probes_) {
    if (probe.seen) rewards.push_back(probe.mean);
  }
  // One accuracy before the rewards: it is what people want to see rise.
  const bool measured = !chosen.empty() && rank(chosen.front().name) == 0;
  chosen.insert(chosen.begin() + (measured ? 1 : 0), rewards.begin(), rewards.end());
  if (chosen.size() > limit) chosen.resize(limit);
  return chosen;
}

}  // namespace rewardloom::cli
