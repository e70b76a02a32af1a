// What a run has recorded, read from its folder while it goes on or after it has ended.
#pragma once
#include <QElapsedTimer>
#include <QObject>
#include <QString>
#include <QTimer>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "editor/rewards/metric_series.h"
#include "engine/graph/document.h"
#include "engine/io/run_reader.h"

namespace rewardloom {

/// A recorded component of a port: "check.rewards / total".
struct ProbeKey {
  std::string node;
  std::string port;
  std::string component;
  auto operator<=>(const ProbeKey&) const = default;
  QString text() const;
};

/// A metric by its name, or the mean of a recorded component as "mean of check.rewards".
inline constexpr const char* kMeanOf = "mean of ";

class RunData final : public QObject {
  Q_OBJECT

 public:
  explicit RunData(QObject* parent = nullptr);

  /// Follows a run folder. Throws Failure as RunReader does.
  void open(const QString& folder);
  void close();
  bool isOpen() const { return reader_ != nullptr; }
  QString folder() const { return folder_; }
  /// Reads what is new; called by a timer, and by tests.
  void refresh();
  /// A finished run needs no timer.
  void setLive(bool live);

  /// Every metric by name; its values are there once series() was asked for them.
  const std::map<std::string, MetricSeries>& metrics() const { return metrics_; }
  const std::vector<ProbeKey>& probes() const { return probes_; }
  /// A metric or "mean of NODE.PORT", read on first use; null if there is none of that name.
  const MetricSeries* series(const std::string& name);
  /// Every name that series() knows: metrics, then the means of recorded rewards.
  std::vector<std::string> seriesNames() const;
  /// All histograms of a component, by iteration; read once, then only what is new.
  const std::vector<HistogramRow>& histograms(const ProbeKey& key);
  bool has(const ProbeKey& key) const;
  /// Every component of a port as last recorded.
  std::vector<HistogramRow> lastHistograms(const ProbeKey& port);
  std::vector<SampleRow> samples(const ProbeKey& port, Iterations range, std::int64_t limit);
  std::vector<SampleRow> samplesOfRow(std::int64_t iteration, std::int64_t row);
  const std::vector<AlarmRow>& alarms() const { return alarms_; }
  std::int64_t lastIteration() const { return last_; }
  /// The graph as it was run, where its file can be read.
  const std::optional<Document>& graph() const { return graph_; }
  /// What could not be read, in words.
  QStringList problems() const;

 Q_SIGNALS:
  void updated();

 private:
  void readMetrics(std::int64_t from);
  void readHistograms(std::int64_t from);
  void readProbes();
  void readGraph();
  void forgetValues();

  QString folder_;
  std::unique_ptr<RunReader> reader_;
  QTimer timer_;
  QElapsedTimer probesRead_;
  std::optional<std::int64_t> counter_;
  std::map<std::string, MetricSeries> metrics_;
  std::set<std::string> read_;
  std::vector<ProbeKey> probes_;
  std::map<ProbeKey, std::vector<HistogramRow>> histograms_;
  std::map<ProbeKey, MetricSeries> means_;
  std::vector<AlarmRow> alarms_;
  std::optional<Document> graph_;
  QStringList otherProblems_;
  std::int64_t last_ = -1;
};

}  // namespace rewardloom
