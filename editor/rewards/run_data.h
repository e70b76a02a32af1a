// What a run has recorded, read from its folder while it goes on or after it has ended.
#pragma once
#include <QObject>
#include <QString>
#include <QTimer>
#include <map>
#include <memory>
#include <vector>

#include "editor/rewards/metric_series.h"
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

  const std::map<std::string, MetricSeries>& metrics() const { return metrics_; }
  const std::vector<ProbeKey>& probes() const { return probes_; }
  /// All histograms of a component, by iteration; read once, then only what is new.
  const std::vector<HistogramRow>& histograms(const ProbeKey& key);
  SamplePage samples(const SampleFilter& filter);
  const std::vector<AlarmRow>& alarms() const { return alarms_; }
  std::int64_t lastIteration() const { return last_; }
  /// What could not be read, in words.
  QStringList problems() const;

 Q_SIGNALS:
  void updated();

 private:
  QString folder_;
  std::unique_ptr<RunReader> reader_;
  QTimer timer_;
  std::map<std::string, MetricSeries> metrics_;
  std::vector<ProbeKey> probes_;
  std::map<ProbeKey, std::vector<HistogramRow>> histograms_;
  std::vector<AlarmRow> alarms_;
  std::int64_t last_ = -1;
};

}  // namespace rewardloom
