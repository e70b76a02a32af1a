#include "editor/rewards/run_data.h"

#include <algorithm>

namespace rewardloom {
namespace {

constexpr int kPollMs = 400;

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
  refresh();
}

void RunData::close() {
  timer_.stop();
  reader_.reset();
  folder_.clear();
  metrics_.clear();
  probes_.clear();
  histograms_.clear();
  alarms_.clear();
  last_ = -1;
  Q_EMIT updated();
}

void RunData::setLive(bool live) {
  if (live) {
    timer_.start();
  } else {
    timer_.stop();
    refresh();
  }
}

void RunData::refresh() {
  if (!reader_) return;
  const auto newest = reader_->last_iteration();
  if (!newest) return;
  // The last iteration seen may have been half written: it is read again.
  const std::int64_t from = std::max<std::int64_t>(last_, 0);
  for (const MetricRow& row : reader_->metrics({from, *newest})) {
    MetricSeries& series = metrics_[row.name];
    if (!series.empty() && series.last() > row.iteration) continue;
    series.append(row.iteration, row.value);
  }
  for (auto& [key, rows] : histograms_) {
    std::erase_if(rows, [&](const HistogramRow& row) { return row.iteration >= from; });
    for (HistogramRow& row :
         reader_->histograms(key.node, key.port, key.component, {from, *newest})) {
      rows.push_back(std::move(row));
    }
  }
  if (probes_.empty() || *newest != last_) {
    std::vector<ProbeKey> found;
    for (const ProbeSummary& probe : reader_->probes()) {
      found.push_back({probe.node, probe.port, probe.component});
    }
    probes_ = std::move(found);
  }
  alarms_ = reader_->alarms();
  last_ = *newest;
  Q_EMIT updated();
}

const std::vector<HistogramRow>& RunData::histograms(const ProbeKey& key) {
  const auto [it, fresh] = histograms_.try_emplace(key);
  if (fresh && reader_) it->second = reader_->histograms(key.node, key.port, key.component);
  return it->second;
}

SamplePage RunData::samples(const SampleFilter& filter) {
  return reader_ ? reader_->samples(filter) : SamplePage();
}

QStringList RunData::problems() const {
  QStringList list;
  if (!reader_) return list;
  for (const Problem& problem : reader_->problems()) list << QString::fromStdString(problem.text);
  return list;
}

}  // namespace rewardloom
