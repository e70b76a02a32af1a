// A run as a child process: its stream read, its commands written. A crash of the run is an event
// here and nothing more.
#pragma once
#include <QElapsedTimer>
#include <QObject>
#include <QProcess>
#include <QString>
#include <QStringList>
#include <map>
#include <set>
#include <string>

#include "editor/canvas/node_view.h"
#include "engine/core/json.h"
#include "engine/core/problem.h"

namespace rewardloom {

enum class RunState { idle, starting, running, paused, stopping, done, interrupted, failed };
QString runStateText(RunState state);

/// What to run and how.
struct RunRequest {
  QString program;   ///< the `rewardloom` executable
  QString graph;     ///< a graph file
  QString resume;    ///< or a run folder to go on with
  QString out;       ///< where run folders go; empty: runs/
  QStringList sets;  ///< node.param=value
  QStringList plugins;
  qint64 iterations = 0;    ///< 0: as the graph says
  QStringList breakpoints;  ///< "adv", "adv if reward/accuracy > 0.9", "if iteration >= 20"
};

/// What is wrong with a breakpoint's condition, or nothing.
QString faultOfCondition(const QString& condition);

class RunProcess final : public QObject {
  Q_OBJECT

 public:
  explicit RunProcess(QObject* parent = nullptr);
  ~RunProcess() override;

  void start(const RunRequest& request);
  /// Asks for a checkpoint and the end; a second call ends the process.
  void stop();
  void pause();
  void resume();
  void stepIteration();
  void stepNode();
  /// Goes on until this node, named by its path, is about to fire.
  void runTo(const QString& node);
  void addBreakpoint(const QString& place);
  /// By node; an empty one is the breakpoint before iterations.
  void removeBreakpoint(const QString& node);
  void checkpoint();
  void setParameter(const QString& node, const QString& parameter, const Json& value);

  RunState state() const { return state_; }
  bool isActive() const;
  QString folder() const { return folder_; }
  QString graphHash() const { return graphHash_; }
  qint64 iteration() const { return iteration_; }
  qint64 iterations() const { return iterations_; }
  /// The node before which the run is held, or empty.
  const std::string& heldAt() const { return heldAt_; }
  double secondsLeft() const;
  const std::map<std::string, NodeActivity>& activities() const { return activities_; }
  const QStringList& log() const { return log_; }

  /// One line of the stream; public so that a recorded stream can be played in tests.
  void readLine(const QByteArray& line);

 Q_SIGNALS:
  void stateChanged();
  void started();
  void metricsArrived(qint64 iteration, const std::map<std::string, double>& values);
  void activityChanged();
  /// Held before a node (or, without one, before an iteration) by a breakpoint or a step.
  void stoppedAt(const QString& node, const QString& breakpoint);
  void problemArrived(const rewardloom::Problem& problem);
  void logged(const QString& line);
  void finished();

 private:
  void setState(RunState state);
  void send(const Json& command);
  void note(const QString& line);
  void onNodes(const Json& event);
  void onProblem(const Json& event);
  void onEnd(const Json& event);
  void onStopped(const Json& event);
  void setHeld(const std::string& node);
  void onExit(int code, QProcess::ExitStatus status);

  QProcess process_;
  QByteArray buffer_;
  RunState state_ = RunState::idle;
  QString folder_;
  QString graphHash_;
  qint64 first_ = 0;
  qint64 iteration_ = 0;
  qint64 iterations_ = 0;
  bool ended_ = false;
  std::string heldAt_;
  QElapsedTimer clock_;
  std::map<std::string, NodeActivity> activities_;
  QStringList log_;
};

}  // namespace rewardloom
