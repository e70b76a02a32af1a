#include "engine/cli/key_metrics.h"

#include <algorithm>
#include <cmath>

namespace rewardloom::cli {
namespace {

constexpr int kReadsBetweenSearches = 20;

constexpr std::size_t kMostBranches = 64;
constexpr int kAccuracy = 50;

}  // namespace

void KeyMetrics::set_about(const std::string& about) {
  const std::lock_guard lock(mutex_);
  telling_ = Telling(about);
}

void KeyMetrics::add(const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  const auto [it, is_new] = places_.try_emplace(name, metrics_.size());
  if (is_new) metrics_.push_back({{name, value, value}, telling_.of(name)});
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

std::vector<KeyMetrics::Metric> KeyMetrics::sorted() const {
  std::vector<Metric> sorted = metrics_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Metric& a, const Metric& b) { return a.telling > b.telling; });
  return sorted;
}

std::vector<KeyMetric> KeyMetrics::key(std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  std::vector<Metric> all = sorted();
  // Counts say nothing where there is anything else.
  const bool any = !all.empty() && all.front().telling > 0;
  if (any) std::erase_if(all, [](const Metric& metric) { return metric.telling == 0; });
  std::size_t first = 0;
  while (first < all.size() && all[first].telling >= Telling::named) ++first;
  // One accuracy before the rewards: it is what people want to see rise.
  if (first == 0 && !all.empty() && all.front().telling >= kAccuracy) first = 1;
  std::vector<KeyMetric> chosen(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first));
  for (const Probe& probe : probes_) {
    if (probe.seen) chosen.push_back(probe.mean);
  }
  chosen.insert(chosen.end(), all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
  if (chosen.size() > limit) chosen.resize(limit);
  return chosen;
}

std::vector<KeyMetric> KeyMetrics::named() const {
  const std::lock_guard lock(mutex_);
  std::vector<KeyMetric> named;
  for (const Metric& metric : sorted()) {
    if (metric.telling >= Telling::named) named.push_back(metric);
  }
  return named;
}

std::optional<BranchSpan> KeyMetrics::branches() const {
  const std::lock_guard lock(mutex_);
  if (looked_at_ != metrics_.size()) {
    looked_at_ = metrics_.size();
    std::vector<std::string> names;
    for (const Metric& metric : metrics_) names.push_back(metric.name);
    const std::vector<Family> found = families(names, telling_, kMostBranches);
    family_ = found.empty() ? std::vector<std::string>() : found.front().names;
    labels_ = labels_of(family_);
  }
  std::optional<BranchSpan> span;
  for (std::size_t i = 0; i < family_.size(); ++i) {
    KeyMetric metric = metrics_[places_.at(family_[i])];
    if (!std::isfinite(metric.last)) continue;
    metric.name = labels_.each[i];
    if (!span) span = BranchSpan{labels_.after, metric, metric};
    if (metric.last < span->lowest.last) span->lowest = metric;
    if (metric.last > span->highest.last) span->highest = metric;
  }
  return span;
}

}  // namespace rewardloom::cli
