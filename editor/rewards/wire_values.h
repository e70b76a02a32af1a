// The run's values on the canvas: a histogram on every wire that carries a recorded one, and the
// way from a wire to its value in the reward views.
#pragma once
#include <QElapsedTimer>
#include <QObject>

#include "editor/canvas/graph_scene.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/rewards/run_data.h"

namespace rewardloom {

WireHistogram wireHistogram(const HistogramRow& row);

/// The recorded values of the ports that the wires of a scope come from, by node and port. A
/// subgraph's own input has what feeds it outside, an output of a subgraph or container what gives
/// it inside. Of several branches of a sweep, or nodes that run the subgraph, the one whose path is
/// most like `preferred`, else the first.
std::map<std::pair<std::string, std::string>, ProbeKey> recordedPorts(const RunData& data,
                                                                      const Document& document,
                                                                      const Scope& scope,
                                                                      const std::string& preferred);

class WireValues final : public QObject {
  Q_OBJECT

 public:
  /// `isCurrent` says whether the dock shows this scene's run.
  WireValues(RunData& data, GraphScene& scene, RewardsDock& dock, std::function<bool()> isCurrent,
             QObject* parent);
  /// Shows the value of a port, or of the port that feeds an input; says where none is recorded.
  void open(const PortEnd& end);

 Q_SIGNALS:
  void opened();
  void statusText(const QString& text);

 private:
  void refresh();
  void show();

  RunData& data_;
  GraphScene& scene_;
  RewardsDock& dock_;
  std::function<bool()> isCurrent_;
  QElapsedTimer shown_;
  QTimer later_;
};

}  // namespace rewardloom
