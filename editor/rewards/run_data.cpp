#include "editor/rewards/run_data.h"

#include <algorithm>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

// A look at an unchanged store costs some ten microseconds, so that it can be a frequent one.
constexpr int kPollMs = 100;
constexpr int kProbesMs = 1000;

ProbeKey probeOfMean(const std::string& name) {
  const std::string port = name.substr(std::string(kMeanOf).size());
  const std::size_t dot = port.rfind('.');
  if (dot == std::string::npos) return {};
  return {port.substr(0, dot), port.substr(dot + 1), "total"};
}

void appendMean(MetricSeries& series, const HistogramRow& row) {
  if (row.distribution.count == 0) return;
  if (!series.empty() && series.last() > row.iteration) return;
  series.append(row.iteration, row.distribution.mean);
}

}  // namespace

QString ProbeKey::text() const {
  QString text = QString::fromStdString(node + "." + port);
  if (!component.empty() && component != "total" && component != port) {
    text += QStringLiteral(" / ") + QString::fromStdString(component);
  }
  return text;
}

RunData::RunData(QObject* parent) : QObject(parent) {
  timer_.setInterval(kPollMs);
  connect(&timer_, &QTimer::timeout, this, &RunData::refresh);
}

void RunData::open(const QString& folder) {
  close();
  reader_ = std::make_unique<RunReader>(folder.toStdString());
  folder_ = folder;
  readGraph();
  refresh();
}

void RunData::close() {
  timer_.stop();
  reader_.reset();
  folder_.clear();
  counter_.reset();
  metrics_.clear();
  read_.clear();
  probes_.clear();
  histograms_.clear();
  means_.clear();
  alarms_.clear();
  graph_.reset();
  otherProblems_.clear();
  last_ = -1;
  Q_EMIT updated();
}

void RunData::setLive(bool live) {
  if (live) {
    timer_.start();
    return;
  }
  timer_.stop();
  counter_.reset();
  probesRead_.invalidate();
  refresh();
}

void RunData::readGraph() {
  try {
    graph_ = Document::load((folder_ + QStringLiteral("/graph.json")).toStdString());
  } catch (const Failure& failure) {
    otherProblems_ << tr("the graph as it was run cannot be read: %1")
                          .arg(QString::fromStdString(failure.problem().text));
  }
}

void RunData::refresh() {
  if (!reader_) return;
  try {
    const std::int64_t counter = reader_->change_counter();
    if (counter_ == counter) return;
    const auto newest = reader_->last_recorded_iteration();
    if (!newest) {
      // A store without a row yet is asked again; one that cannot be read says why.
      if (!reader_->problems().empty()) Q_EMIT updated();
      return;
    }
    counter_ = counter;
    if (*newest < last_) forgetValues();
    // The last iteration seen may have been half written: it is read again.
    const std::int64_t from = std::max<std::int64_t>(last_, 0);
    readProbes();
    readMetrics(from);
    readHistograms(from);
    alarms_ = reader_->alarms();
    last_ = *newest;
  } catch (const Failure& failure) {
    const QString text = QString::fromStdString(failure.problem().text);
    if (!otherProblems_.contains(text)) otherProblems_ << text;
  }
  Q_EMIT updated();
}

/// A resumed run writes its last iterations anew.
void RunData::forgetValues() {
  for (auto& [name, series] : metrics_) series.clear();
  read_.clear();
  histograms_.clear();
  means_.clear();
  last_ = -1;
}

void RunData::readProbes() {
  if (!probes_.empty() && probesRead_.isValid() && probesRead_.elapsed() < kProbesMs) return;
  probesRead_.start();
  std::vector<ProbeKey> found;
  for (ProbeName& name : reader_->probe_names()) {
    found.push_back({std::move(name.node), std::move(name.port), std::move(name.component)});
  }
  if (found != probes_) probes_ = std::move(found);
}

void RunData::readMetrics(std::int64_t from) {
  if (last_ < 0) {
    for (const std::string& name : reader_->metric_names()) metrics_[name];
    return;
  }
  for (const MetricRow& row : reader_->metrics({from, std::numeric_limits<std::int64_t>::max()})) {
    MetricSeries& series = metrics_[row.name];
    if (!read_.contains(row.name)) continue;
    if (!series.empty() && series.last() > row.iteration) continue;
    series.append(row.iteration, row.value);
  }
}

void RunData::readHistograms(std::int64_t from) {
  for (auto& [key, rows] : histograms_) {
    std::erase_if(rows, [&](const HistogramRow& row) { return row.iteration >= from; });
    const auto mean = means_.find(key);
    for (HistogramRow& row : reader_->histograms(
             key.node, key.port, key.component, {from, std::numeric_limits<std::int64_t>::max()})) {
      if (mean != means_.end()) appendMean(mean->second, row);
      rows.push_back(std::move(row));
    }
  }
}

const MetricSeries* RunData::series(const std::string& name) {
  if (name.starts_with(kMeanOf)) {
    const ProbeKey key = probeOfMean(name);
    if (!has(key)) return nullptr;
    const auto [it, fresh] = means_.try_emplace(key);
    if (fresh) {
      for (const HistogramRow& row : histograms(key)) appendMean(it->second, row);
    }
    return &it->second;
  }
  const auto it = metrics_.find(name);
  if (it == metrics_.end()) return nullptr;
  if (reader_ && read_.insert(name).second) {
    for (const MetricPoint& point : reader_->metric(name)) {
      it->second.append(point.iteration, point.value);
    }
  }
  return &it->second;
}

std::vector<std::string> RunData::seriesNames() const {
  std::vector<std::string> names;
  for (const auto& [name, series] : metrics_) names.push_back(name);
  for (const ProbeKey& key : probes_) {
    if (key.component == "total") names.push_back(kMeanOf + key.node + "." + key.port);
  }
  return names;
}

bool RunData::has(const ProbeKey& key) const {
  return std::binary_search(probes_.begin(), probes_.end(), key);
}

const std::vector<HistogramRow>& RunData::histograms(const ProbeKey& key) {
  const auto [it, fresh] = histograms_.try_emplace(key);
  if (fresh && reader_) it->second = reader_->histograms(key.node, key.port, key.component);
  return it->second;
}

std::vector<HistogramRow> RunData::lastHistograms(const ProbeKey& port) {
  return reader_ ? reader_->last_histograms(port.node, port.port) : std::vector<HistogramRow>();
}

std::vector<SampleRow> RunData::samples(const ProbeKey& port, Iterations range,
                                        std::int64_t limit) {
  return reader_ ? reader_->samples_of(port.node, port.port, range, limit)
                 : std::vector<SampleRow>();
}

std::vector<SampleRow> RunData::samplesOfRow(std::int64_t iteration, std::int64_t row) {
  return reader_ ? reader_->samples_of_row(iteration, row) : std::vector<SampleRow>();
}

QStringList RunData::problems() const {
  QStringList list = otherProblems_;
  if (!reader_) return list;
  for (const Problem& problem : reader_->problems()) list << QString::fromStdString(problem.text);
  return list;
}

}  // namespace rewardloom
